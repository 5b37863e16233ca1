//! Accepted events: searched, each with its fate; and what is new, said and not pushed in.

use crate::App;
use crate::api::Problem;
use crate::asked::Asked;
use crate::page::{Answer, Fragment, Page};
use crate::view::{Filter, ago, at, command, count, empty, fate, filters, number, short};
use crate::visit::Visit;
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{EventPage, EventSummary};
use runtime::text::encoded;
use runtime::text::quoted;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/events", get(list))
        .route("/live/events", get(newer))
}

/// Longest list of new ones that is counted.
const NEW: usize = 200;

const FILTERS: [Filter; 6] = [
    Filter::text("q", "Id", "event id, entity key or trace id"),
    Filter::text("source", "Source", "any"),
    Filter::text("event_type", "Type", "any"),
    Filter::choice(
        "fate",
        "Fate",
        &[
            ("stored", "stored"),
            ("duplicate", "duplicate"),
            ("filtered", "filtered"),
            ("dead_lettered", "dead-lettered"),
        ],
        "any",
    ),
    Filter::text("field", "Field of the payload", "/path=value"),
    Filter::since("Received within"),
];

async fn list(visit: Visit) -> Answer {
    let page: EventPage = visit.get("/api/v1/events", &visit.asked).await?;
    let asked = &visit.asked;
    let next = page
        .next
        .as_deref()
        .map(|next| asked.with("before", next).to("/events"));
    let body = html! {
        div.head { h1 { "Events" } p.lead { "Every accepted event has exactly one fate. The newest first." } }
        (filters("/events", asked, &FILTERS))
        @if asked.get("before").is_none() { (place_of_newer(asked, &page)) }
        @if page.events.is_empty() {
            (nothing(&visit, &page))
        } @else {
            div.table tabindex="0" role="region" aria-label="Events" {
                table {
                    thead { tr { th { "Event" } th { "Fate" } th { "Source" } th { "Type" } th { "Entity" } th { "Received" } } }
                    tbody { @for event in &page.events { (row(event)) } }
                }
            }
        }
        @if let Some(to) = page.searched_to {
            p.hint { "Everything received since " (at(to)) " was searched." }
        }
        nav.pager aria-label="More" {
            @if asked.get("before").is_some() { a href=(asked.without("before").to("/events")) { "The newest" } }
            @if let Some(next) = &next { a rel="next" href=(next) { @if page.searched_to.is_some() { "Search further back" } @else { "Older" } } }
        }
        (command(&line(asked)))
    };
    Ok(Page::new("Events", body))
}

/// The same on the command line.
fn line(asked: &Asked) -> String {
    let mut line = "eventflow events ls".to_owned();
    if let Some(id) = asked.get("q") {
        line.push_str(&format!(" {}", quoted(id)));
    }
    let flags = asked
        .pairs()
        .iter()
        .filter(|(word, _)| word != "q" && word != "before");
    for (word, value) in flags {
        line.push_str(&format!(" --{} {}", word.replace('_', "-"), quoted(value)));
    }
    line
}

fn nothing(visit: &Visit, page: &EventPage) -> Markup {
    if page.next.is_some() {
        return empty(
            "No event matches so far.",
            &html! { "Search further back, or name a time." },
        );
    }
    if visit.asked.pairs().is_empty() {
        return empty(
            "No event has its fate yet.",
            &html! { "What the edge accepts appears here once it is stored or dead-lettered. What it refused is in " a href="/rejections" { "Rejections" } "." },
        );
    }
    empty(
        "No event matches.",
        &html! { a href="/events" { "Remove the filters" } ". What the edge refused is in " a href="/rejections" { "Rejections" } "; what is in flight has no fate yet." },
    )
}

fn row(event: &EventSummary) -> Markup {
    let place = format!("/events/{}", encoded(&event.raw));
    html! {
        tr data-row {
            td {
                a href=(place) { @match &event.event_id { Some(id) => (short(id, 44)), None => "no readable id" } }
                @if let Some(why) = &event.why { div.under { code { (short(why, 60)) } } }
            }
            td { (fate(&event.fate)) }
            td { (short(&event.source, 40)) }
            td { @if let Some(kind) = &event.event_type { (short(kind, 40)) } }
            td { @if let Some(key) = &event.entity_key { a.plain href=(Asked::from_iter([("q", key)]).to("/events")) { (short(key, 36)) } } }
            td.when { (ago(event.at)) }
        }
    }
}

/// Where it is said that there are new ones: the list itself never moves.
fn place_of_newer(asked: &Asked, page: &EventPage) -> Markup {
    let Some(newest) = page.events.first() else {
        return html! {};
    };
    let seen = asked.with("seen", &newest.raw);
    html! { div.newer role="status" hx-get=(seen.to("/live/events")) hx-trigger="every 5s" hx-swap="innerMorph" {} }
}

/// How many are newer than what is listed.
async fn newer(visit: Visit) -> Result<Fragment, Problem> {
    let seen = visit.asked.get("seen").unwrap_or_default().to_owned();
    let asked = visit.asked.without("seen").without("before");
    let page: EventPage = visit
        .get("/api/v1/events", &asked.with("limit", NEW.to_string()))
        .await?;
    let new = page.events.iter().position(|event| event.raw == seen);
    let new = new.unwrap_or(page.events.len());
    Ok(Fragment(html! {
        @if new > 0 {
            a.button href=(asked.to("/events")) data-new {
                @if new >= NEW { "More than " (number(NEW as i64)) " new" } @else { (count(new as i64, "new event")) }
                " · press " kbd { "." } " to load"
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_says_what_the_address_says() {
        let asked = Asked::from_iter([
            ("q", "pay 1"),
            ("event_type", "a.b"),
            ("field", "/a=x"),
            ("before", "0:1"),
        ]);
        assert_eq!(
            line(&asked),
            "eventflow events ls 'pay 1' --event-type a.b --field /a=x"
        );
    }
}
