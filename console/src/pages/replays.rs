//! Replays and revalidations, the newest first.

use crate::App;
use crate::page::{Answer, Page};
use crate::view::{Filter, ago, badge, command, empty, filters, number, pager, short, text};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{ItemState, Job};
use runtime::text::encoded;
use serde::Deserialize;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/replays", get(list))
}

const LISTED: u32 = 50;
/// The API lists no more.
const MOST: usize = 200;

const FILTERS: [Filter; 1] = [Filter::choice(
    "state",
    "State",
    &[
        ("planned", "planned"),
        ("running", "running"),
        ("paused", "paused"),
        ("stopped", "stopped"),
        ("finished", "finished"),
    ],
    "any",
)];

#[derive(Deserialize)]
struct Jobs {
    replays: Vec<Job>,
}

async fn list(visit: Visit) -> Answer {
    let asked = match visit.asked.get("limit") {
        Some(_) => visit.asked.clone(),
        None => visit.asked.with("limit", LISTED.to_string()),
    };
    let listed = asked.get("limit").and_then(|limit| limit.parse().ok());
    let listed: usize = listed.map_or(MOST, |listed: usize| listed.min(MOST));
    let Jobs { replays } = visit.get("/api/v1/replays", &asked).await?;
    let body = html! {
        div.head { h1 { "Replays" } p.lead { "Dead letters sent once more to the stage that failed, and stored events validated again." } }
        (filters("/replays", &visit.asked, &FILTERS))
        @if replays.is_empty() && !visit.asked.pairs().is_empty() {
            (empty("No replay is in this state, or none is older.", &html! { a href="/replays" { "See all" } "." }))
        } @else if replays.is_empty() {
            (empty("Nothing was replayed yet.", &html! { "Begin with a group of " a href="/groups" { "dead letters" } "." }))
        } @else {
            div.table tabindex="0" role="region" aria-label="Replays" {
                table {
                    thead { tr { th { "Replay" } th { "State" } th.number { "Items" } th { "Outcome" } th { "Planned" } th { "Reason" } } }
                    tbody { @for job in &replays { (row(job)) } }
                }
            }
            @let last = replays.last().filter(|_| replays.len() >= listed);
            (pager(&visit.asked, "/replays", last.map(|job| &job.id)))
        }
        (command("eventflow replay ls"))
    };
    Ok(Page::new("Replays", body))
}

fn row(job: &Job) -> Markup {
    let settled = job
        .by_state
        .iter()
        .filter(|(state, many)| **many > 0 && **state != ItemState::Pending);
    html! {
        tr data-row {
            td { a href={ "/replays/" (encoded(&job.id)) } { (text(&job.id)) } div.under { (job.kind) } }
            td { (badge(job.state.as_str())) @if job.needs_approval && job.approved_by.is_none() { div.under { "needs approval" } } }
            td.number { (number(job.items)) }
            td { @for (state, many) in settled { (number(*many)) " " (state) " " } }
            td.when { (ago(job.created_at)) div.under { "by " (short(&job.created_by, 30)) } }
            td.detail { (short(&job.reason, 100)) }
        }
    }
}
