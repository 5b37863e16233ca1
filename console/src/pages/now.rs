//! The pipeline as it is now: a picture drawn from its description, every record by its fate, every source and role.

mod layout;
mod picture;
mod tables;

use crate::App;
use crate::api::Problem;
use crate::asked::Asked;
use crate::page::{Answer, Fragment, Page};
use crate::stream::{Drawn, stream};
use crate::view::{command, duration, number};
use crate::visit::Visit;
use axum::Router;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{FatesNow, Now};
use std::time::Duration;

/// How often a stream looks: the role looks as often.
const EVERY: Duration = Duration::from_secs(2);
/// The width of the bar of fates.
const WIDTH: i64 = 1000;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/now", get(show))
        .route("/live/now", get(part))
        .route("/live/now/stream", get(streamed))
}

async fn show(visit: Visit) -> Answer {
    let now = ask(&visit).await?;
    let body = html! {
        div #now hx-get="/live/now" hx-trigger="poll" hx-swap="innerMorph" { (moving(&now)) }
        // What streams replaces the part above; where it cannot, the script polls it.
        div hx-sse:connect="/live/now/stream" hx-target="#now" hx-swap="innerMorph" data-poll="#now" {}
        (command("eventflow now"))
    };
    Ok(Page::new("Now", body).refreshed(5))
}

async fn ask(visit: &Visit) -> Result<Now, Problem> {
    visit.get("/api/v1/now", &Asked::default()).await
}

async fn part(visit: Visit) -> Result<Fragment, Problem> {
    Ok(Fragment(moving(&ask(&visit).await?)))
}

async fn streamed(visit: Visit) -> Response {
    stream(visit, EVERY, |visit| {
        Box::pin(async move {
            let part = moving(&ask(&visit).await?);
            let is_last = false;
            Ok(Drawn { part, is_last })
        })
    })
}

/// What moves: all of it.
fn moving(now: &Now) -> Markup {
    html! {
        (head(now))
        (picture::picture(now))
        (fates(&now.fates))
        (tables::sources(now))
        (tables::roles(now))
    }
}

fn head(now: &Now) -> Markup {
    let troubled = now.attention.len();
    html! {
        div.head {
            h1 { "Now" }
            p.lead {
                @if now.looked_at.is_none() { "The roles were not looked at yet." }
                @else if troubled == 0 { span.fine { "✓ " } "Nothing needs a person." }
                @else { strong { (troubled) } " of these need a person: see the top of the page." }
            }
        }
    }
}

/// Accepted = what became of it. Each number leads to what it counts.
fn fates(fates: &FatesNow) -> Markup {
    let parts = [
        ("stored", fates.stored, "/events?fate=stored"),
        ("duplicate", fates.duplicate, "/events?fate=duplicate"),
        ("filtered", fates.filtered, "/events?fate=filtered"),
        (
            "dead_lettered",
            fates.dead_lettered,
            "/events?fate=dead_lettered",
        ),
        ("in_flight", fates.in_flight, "/audit"),
    ];
    let total = fates.accepted.max(1);
    let wrong = fates.gaps + fates.double_fates;
    let mut start = 0;
    let mut bars = Vec::new();
    for (fate, many, _) in parts {
        let width = many * WIDTH / total;
        bars.push((fate, start, width));
        start += width;
    }
    html! {
        section.fates aria-label="Every accepted event by its fate" {
            p.equation {
                a.sum href="/events" { strong { (number(fates.accepted)) } " accepted" }
                @for (place, (fate, many, href)) in parts.iter().enumerate() {
                    span.sign { (if place == 0 { " = " } else { " + " }) }
                    a class={ "term is-" (fate) } href=(href) { strong { (number(*many)) } " " (words(fate)) }
                }
            }
            svg.progress viewBox={ "0 0 " (WIDTH) " 12" } preserveAspectRatio="none" aria-hidden="true" {
                @for (fate, start, width) in bars {
                    @if width > 0 { rect class={ "is-" (fate) } x=(start) y="0" width=(width) height="12" {} }
                }
            }
            p.proof {
                @match (wrong, fates.checkpoint_age_seconds) {
                    (_, None) => span.hint { "Not audited yet." },
                    (0, Some(age)) => { a.fine href="/audit" { "✓ Nothing is missing" } span.hint { " · audited " (duration(age)) " ago" } },
                    (_, Some(age)) => { a.wrong href="/audit" { "✕ " (number(fates.gaps)) " without a fate, " (number(fates.double_fates)) " with two" } span.hint { " · audited " (duration(age)) " ago" } },
                }
            }
        }
    }
}

fn words(fate: &str) -> String {
    match fate {
        "dead_lettered" => "dead-lettered".to_owned(),
        other => other.replace('_', " "),
    }
}
