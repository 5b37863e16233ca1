//! Dead letters in a list, by any filter.

use super::groups::meaning;
use crate::App;
use crate::page::{Answer, Page};
use crate::view::{
    EVERY_STATE, Filter, ago, command, count, empty, filters, letters, number, pager,
};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::DeadLetterPage;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dead-letters", get(list))
}

const PATH: &str = "/dead-letters";
const PAGE: u32 = 50;

const FILTERS: [Filter; 7] = [
    Filter::text("contains", "Detail has", "text"),
    Filter::text("event_id", "Event id", "any"),
    Filter::text("entity_key", "Entity key", "any"),
    Filter::text("source", "Source", "any"),
    Filter::text("code", "Code", "any"),
    Filter::since("Failed within"),
    Filter::state(),
];

async fn list(visit: Visit) -> Answer {
    let asked = match visit.asked.get("limit") {
        Some(_) => visit.asked.clone(),
        None => visit.asked.with("limit", PAGE.to_string()),
    };
    let page: DeadLetterPage = visit.get("/api/v1/dead-letters", &asked).await?;
    let words = visit.asked.without("before");
    let selection = words.selection()?;
    let body = html! {
        p.way { a href="/groups" { "Dead letters" } }
        div.head {
            h1 {
                @match words.get("code") { Some(code) => (meaning(code)), None => "Dead letters" }
            }
            p.lead { (found(&page)) }
        }
        (filters(PATH, &visit.asked, &FILTERS))
        @if page.letters.is_empty() {
            (nothing(&visit, &page))
        } @else {
            @if visit.may_change() && selection.has_filter() && selection.state.iter().all(|state| state.as_str() == "open") {
                p.actions {
                    a.button href=(words.without("limit").to("/plan")) { "Replay these" }
                    a.button href=(words.without("limit").to("/patch")) { "Patch these" }
                    a.button href=(words.without("limit").to("/discard")) { "Discard these" }
                }
            }
            (letters(&page.letters, false))
            (older(&visit, &page))
        }
        (command(&format!("eventflow dlq ls{}", selection.to_flags())))
    };
    Ok(Page::new("Dead letters", body))
}

fn found(page: &DeadLetterPage) -> Markup {
    let shown = page.letters.len() as i64;
    html! {
        @match page.total {
            Some(total) if total > shown => { (number(shown)) " of " (count(total, "dead letter")) ", the newest first" },
            Some(total) => (count(total, "dead letter")),
            None => { "The newest " (number(shown)) " of more" },
        }
    }
}

fn nothing(visit: &Visit, page: &DeadLetterPage) -> Markup {
    let last = html! { @if let Some(at) = page.last_settled_at { " The last one was resolved or discarded " (ago(at)) "." } };
    if visit.asked.pairs().is_empty() {
        return empty(
            "No dead letter is open.",
            &html! { (last) " " a href="/groups?state=resolved,discarded" { "See those that were" } "." },
        );
    }
    empty(
        "No dead letter matches.",
        &html! {
            a href=(visit.asked.with("state", EVERY_STATE).without("before").to(PATH)) { "Look in every state" }
            ", or " a href=(PATH) { "remove the filters" } "." (last)
        },
    )
}

fn older(visit: &Visit, page: &DeadLetterPage) -> Markup {
    let last = page.letters.last().map(|letter| letter.id);
    let more = page
        .total
        .is_none_or(|total| total > page.letters.len() as i64);
    pager(&visit.asked, PATH, last.filter(|_| more))
}
