//! One replay: what its dry run expects, its start, its progress as it happens, and what became of each.

mod predicted;
mod progress;

use super::plan::dry_run;
use crate::App;
use crate::api::Problem;
use crate::asked::Asked;
use crate::guard::Form;
use crate::layout::problem_box;
use crate::page::{Answer, Changed, Fragment, Page};
use crate::view::{ago, badge, command, count, empty, facts, number, short, text};
use crate::visit::{Named, Visit};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use maud::{Markup, html};
use recovery::model::{ItemState, Job, JobItem, JobKind, JobState};
use runtime::text::encoded;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/replays/{id}", get(show))
        .route("/replays/{id}/dry-run", post(try_it))
        .route("/replays/{id}/apply", post(apply))
        .route("/replays/{id}/change/{what}", post(change))
        .route("/live/replays/{id}", get(part))
        .route("/live/replays/{id}/stream", get(progress::streamed))
}

/// Items listed; a filter by state leads to the others.
const ITEMS: u32 = 200;

/// Where the API has a replay.
fn api(id: &str, what: &str) -> String {
    format!("/api/v1/replays/{}{what}", encoded(id))
}

async fn job(visit: &Visit, id: &str) -> Result<Job, Problem> {
    visit.get(&api(id, ""), &Asked::default()).await
}

async fn show(visit: Visit, Named(id): Named) -> Answer {
    page(&visit, &id, None).await
}

#[derive(Deserialize)]
struct Items {
    items: Vec<JobItem>,
}

/// Whether it moves by itself.
fn is_moving(job: &Job) -> bool {
    matches!(job.state, JobState::Running)
}

async fn page(visit: &Visit, id: &str, problem: Option<&Problem>) -> Answer {
    let job = job(visit, id).await?;
    let sessions = &visit.app.console.sessions;
    let tried = sessions.dry_run(&visit.member.session, &job.id);
    let state = visit.asked.get("state").unwrap_or_default();
    let words = Asked::from_iter([("state", state), ("limit", &ITEMS.to_string())]);
    let Items { items } = visit.get(&api(id, "/items"), &words).await?;
    let place = format!("/live/replays/{}", encoded(&job.id));
    let body = html! {
        p.way { a href="/replays" { "Replays" } }
        @if let Some(problem) = problem { (problem_box(problem)) }
        div #job hx-get=(place) hx-trigger="poll" hx-swap="innerMorph" { (moving(visit, &job)) }
        @if is_moving(&job) {
            // What streams replaces the part above; where it cannot, the script polls it.
            div hx-sse:connect={ (place) "/stream" } hx-sse:close="end" hx-target="#job" hx-swap="innerMorph" data-poll="#job" {}
        }
        @if job.state == JobState::Planned { (predicted::dry_run(visit, &job, tried.as_ref(), &items)) }
        h2 { "Each of them" }
        @if is_moving(&job) { p.hint { "As it was when this page was loaded; at the end it is loaded again." } }
        (items_of(&job, &items, state))
        h2 { "Facts" }
        (facts(&[
            ("Planned", Some(html! { (ago(job.created_at)) " by " (text(&job.created_by)) })),
            ("Reason", (!job.reason.is_empty()).then(|| text(&job.reason))),
            ("Policy", job.policy.as_deref().map(text)),
            ("Approved by", job.approved_by.as_deref().map(text)),
            ("Selection", Some(html! { code { (text(job.selection.to_flags().trim())) } })),
            ("In the log", Some(html! { a href=(Asked::from_iter([("job", &job.id)]).to("/log")) { "who did what" } })),
        ]))
        (command(&format!("eventflow replay status {} --items", job.id)))
    };
    let page = Page::new(format!("{} {}", title(job.kind), job.id), body);
    Ok(if is_moving(&job) {
        page.refreshed(3)
    } else {
        page
    })
}

fn title(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Replay => "Replay",
        JobKind::Revalidation => "Revalidation",
    }
}

/// What changes while it runs: state, progress, and what can be done now.
fn moving(visit: &Visit, job: &Job) -> Markup {
    html! {
        div.head {
            h1 { (title(job.kind)) " " (text(&job.id)) " " (badge(job.state.as_str())) }
            p.lead { "of " (count(job.items, job.kind.item())) }
        }
        @if let Some(why) = &job.blocked { p.verdict.refused { strong { "Waits: " } (text(why)) } }
        @if job.no_role && is_moving(job) { p.verdict.refused { "No running recovery role was seen lately: it waits for one." } }
        (progress::bar(job))
        (progress::actions(visit, job))
    }
}

async fn part(visit: Visit, Named(id): Named) -> Result<Fragment, Problem> {
    Ok(Fragment(moving(&visit, &job(&visit, &id).await?)))
}

fn items_of(job: &Job, items: &[JobItem], state: &str) -> Markup {
    let here = format!("/replays/{}", encoded(&job.id));
    html! {
        nav.tabs aria-label="Items by state" {
            a href=(here) aria-current=[state.is_empty().then_some("true")] { "all " (number(job.items)) }
            @for (one, many) in &job.by_state {
                @if *many > 0 {
                    a href={ (here) "?state=" (one) } aria-current=[(state == one.as_str()).then_some("true")] { (one) " " (number(*many)) }
                }
            }
        }
        @if items.is_empty() {
            (empty("None of them.", &html! { a href=(here) { "See all" } "." }))
        } @else {
            div.table tabindex="0" role="region" aria-label="Items" {
                table {
                    thead { tr { th { @if job.kind == JobKind::Replay { "Letter" } @else { "Raw record" } } th { "State" } th { "Expected" } th { "Event" } th { "Why" } } }
                    tbody { @for item in items { (row(item)) } }
                }
            }
            @if items.len() as u32 >= ITEMS { p.hint { "The first " (ITEMS) "; choose a state to see others." } }
        }
    }
}

fn row(item: &JobItem) -> Markup {
    let code = item.code.as_deref().or(item.would_code.as_deref());
    let detail = item.detail.as_deref().or(item.would_detail.as_deref());
    let waits = matches!(item.state, ItemState::Pending);
    html! {
        tr data-row {
            td {
                @match (item.letter, &item.raw) {
                    (Some(letter), _) => a href={ "/dead-letters/" (letter) } { (letter) },
                    (None, Some(raw)) => code { (text(raw)) },
                    (None, None) => "",
                }
            }
            td { (badge(item.state.as_str())) }
            td { @if let (Some(would), true) = (item.would, waits) { (badge(would.as_str())) } }
            td.name { @if let Some(event) = &item.event_id { (short(event, 24)) } }
            td.detail {
                @if let Some(code) = code { code { (short(code, 40)) } " " }
                @if let Some(detail) = detail { (short(detail, 160)) }
            }
        }
    }
}

async fn try_it(visit: Visit, Named(id): Named) -> Result<Changed, Problem> {
    dry_run(&visit, &id).await?;
    Ok(Changed::Done(format!("/replays/{}", encoded(&id))))
}

async fn apply(visit: Visit, Named(id): Named, form: Form) -> Result<Changed, Problem> {
    let rate = form.text("rate").trim();
    let rate: Option<f64> = match rate {
        "" => None,
        rate => Some(rate.parse().map_err(|_| {
            Problem::new(
                400,
                "bad_value",
                "rate: write records a second as a number, such as 50",
            )
        })?),
    };
    let body = json!({"rate": rate, "yes": form.is_checked("yes")});
    let answer = visit
        .post::<Job>(&api(&id, "/apply"), &body)
        .await
        .map(drop);
    done(&visit, &id, answer).await
}

/// What can be done to a replay without another word.
async fn change(
    visit: Visit,
    Path((id, what)): Path<(String, String)>,
) -> Result<Changed, Problem> {
    let known = ["approve", "pause", "resume", "stop"]
        .into_iter()
        .find(|known| *known == what);
    let Some(what) = known else {
        return Err(Problem::new(
            404,
            "no_such_route",
            "nothing of that name can be done to a replay",
        ));
    };
    let answer = visit
        .post::<Value>(&api(&id, &format!("/{what}")), &json!({}))
        .await
        .map(drop);
    done(&visit, &id, answer).await
}

/// The replay's page: by its own address when it was done, with the reason when it was refused.
async fn done(visit: &Visit, id: &str, answer: Result<(), Problem>) -> Result<Changed, Problem> {
    match answer {
        Ok(()) => Ok(Changed::Done(format!("/replays/{}", encoded(id)))),
        Err(problem) if problem.status == 409 => {
            let page = page(visit, id, Some(&problem)).await?;
            Ok(Changed::Again(page.with_status(problem.status)))
        }
        Err(problem) => Err(problem),
    }
}
