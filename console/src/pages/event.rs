//! One event: its story step by step, what was signed beside what is stored, and the signature verified once more.

use crate::App;
use crate::asked::Asked;
use crate::page::{Answer, Page};
use crate::view::{at, command, duration, facts, fate, marked, short, text};
use crate::visit::{Named, Visit};
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{
    EventDetail, Payload, ReceivedRecord, StepKind, StoredRow, Timeline, TraceStep,
};
use runtime::text::encoded;
use runtime::text::is_unsafe;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/events/{raw}", get(show))
}

async fn show(visit: Visit, Named(raw): Named) -> Answer {
    let place = format!("/api/v1/events/{}", encoded(&raw));
    let event: EventDetail = visit.get(&place, &Asked::default()).await?;
    let timeline = &event.timeline;
    let title = timeline
        .event_id
        .as_deref()
        .unwrap_or("Event without a readable id");
    let body = html! {
        p.way { a href="/events" { "Events" } " / " code { (text(&event.raw)) } }
        div.head {
            h1 { (short(title, 80)) " " (fate(&timeline.fate)) }
            p.lead {
                @if let Some(source) = &timeline.source { "from " a href=(Asked::from_iter([("source", source)]).to("/events")) { (short(source, 60)) } }
                @if let Some(row) = &event.row { " · " (short(&row.event_type, 60)) }
                @if let Some(key) = &timeline.entity_key { " · entity " a href=(Asked::from_iter([("q", key)]).to("/events")) { (short(key, 60)) } }
            }
        }
        @if !event.letters.is_empty() {
            p.actions { @for letter in &event.letters { a.button href={ "/dead-letters/" (letter) } { "Dead letter " (letter) } } }
        }
        (story(timeline))
        (signature(timeline, &event.raw))
        div.beside {
            section aria-label="What was signed" { h2 { "What was signed" } (received(event.received.as_ref())) }
            section aria-label="What is stored" { h2 { "What is stored" } (stored(event.row.as_ref())) }
        }
        @if let Some(received) = &event.received { (sent(received)) }
        (command(&format!("eventflow events show {}", event.raw)))
    };
    Ok(Page::new(title.to_owned(), body))
}

/// Every step, with how long it took since the one before.
fn story(timeline: &Timeline) -> Markup {
    html! {
        section.story aria-label="What happened to it" {
            ol.timeline {
                @for (place, step) in timeline.steps.iter().enumerate() {
                    li class={ "step is-" (colour(step)) } {
                        div.after { @if place > 0 { "+" (duration(step.delay_seconds)) } }
                        div.what {
                            strong { (words(step.what)) }
                            " " span.hint { (at(step.at)) }
                            div { (text(&step.detail)) }
                            code.place { (text(&step.place)) }
                        }
                    }
                }
            }
        }
    }
}

fn words(what: StepKind) -> String {
    let mut words = what.as_str().replace('_', "-");
    words.get_mut(..1).map(str::make_ascii_uppercase);
    words
}

fn colour(step: &TraceStep) -> &'static str {
    match step.what {
        StepKind::Stored | StepKind::Retyped => "fine",
        StepKind::DeadLettered => "wrong",
        StepKind::Edited | StepKind::Genuine | StepKind::Replayed | StepKind::Discarded => {
            "waiting"
        }
        StepKind::Received | StepKind::Published | StepKind::Duplicate | StepKind::Filtered => {
            "none"
        }
    }
}

/// The stored bytes are verified at every look; the button looks again.
fn signature(timeline: &Timeline, raw: &str) -> Markup {
    let verdict = timeline
        .verified_again
        .as_deref()
        .unwrap_or("not verified again");
    let class = if verdict.starts_with("verified") {
        "verdict taken"
    } else if verdict.starts_with("NOT") {
        "verdict refused"
    } else {
        "verdict"
    };
    html! {
        div #signature class=(class) {
            p { strong { "Signature: " } (text(verdict)) }
            @if let Some(signature) = &timeline.signature { p.hint { "At the edge: " (text(signature)) } }
            form method="get" action={ "/events/" (encoded(raw)) "#signature" } { button type="submit" { "Verify it again" } }
        }
    }
}

fn received(received: Option<&ReceivedRecord>) -> Markup {
    let Some(received) = received else {
        return html! { p.hint { "Kafka has the record no more, and no dead letter holds it." } };
    };
    html! {
        @match &received.value {
            Payload::Text { text } | Payload::Avro { text, .. } => {
                (marked(text, None))
                details {
                    summary { "Verbatim, byte for byte" }
                    pre.wrapped tabindex="0" role="region" aria-label="Verbatim" { (short(text, 100_000)) }
                }
            },
            Payload::Binary { base64 } => {
                p.hint { "These bytes are no text; in base64:" }
                pre.wrapped tabindex="0" role="region" aria-label="Value" { (short(base64, 20_000)) }
            },
            Payload::Null => p.hint { "The record has no value." },
            Payload::Dropped { bytes } => p.hint { (bytes) " bytes, removed by the retention of the index." },
        }
        details {
            summary { (received.headers.len()) " headers" }
            div.table tabindex="0" role="region" aria-label="Headers" {
                table.headers {
                    tbody { @for (name, value) in &received.headers {
                        tr { th scope="row" { code { (text(name)) } } td.detail { code { (short(value.as_deref().unwrap_or("(null)"), 400)) } } }
                    } }
                }
            }
        }
    }
}

fn stored(row: Option<&StoredRow>) -> Markup {
    let Some(row) = row else {
        return html! { p.hint { "This record made no row: its fate says why." } };
    };
    let text_of = |value: &Option<String>| value.as_deref().map(text);
    html! {
        (marked(&row.payload, None))
        (facts(&[
            ("Event id", Some(text(&row.event_id))),
            ("Contract", text_of(&row.contract)),
            ("Occurred", Some(at(row.occurred_at))),
            ("Received", row.received_at.map(at)),
            ("Stored", Some(at(row.stored_at))),
            ("Amount", text_of(&row.amount)),
            ("Currency", text_of(&row.currency)),
            ("Entity key", text_of(&row.entity_key)),
            ("Secret", text_of(&row.secret_id)),
            ("Schema id", Some(html! { (row.schema_id) })),
            ("Trace id", text_of(&row.trace_id)),
            ("Edited by", text_of(&row.edited_by)),
        ]))
    }
}

/// The command that posts the same bytes once more.
fn sent(received: &ReceivedRecord) -> Markup {
    // Nobody copies what they cannot see.
    let hides = |text: &str| text.chars().any(|c| c != '\n' && is_unsafe(c));
    let hides = received.curl.as_deref().is_some_and(hides);
    html! {
        @if let Some(curl) = &received.curl {
            details {
                summary { "The same request as a command" }
                p.hint { "EVENTFLOW_EDGE_URL is the edge's URL. A duplicate if it was stored; too old, where the signed time says so." }
                div.command.long { pre { code { (text(curl)) } } @if !hides { button.copy type="button" data-copy=(curl) { "Copy" } } }
            }
        }
    }
}
