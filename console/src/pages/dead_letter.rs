//! One dead letter: why, its value, what was done about it, and what can be.

use super::groups::meaning;
use crate::App;
use crate::asked::Asked;
use crate::page::{Answer, Page};
use crate::view::{
    ago, at, badge, command, count, explanation, facts, is_open, not_allowed, short, steps, text,
};
use crate::visit::{Named, Visit};
use axum::Router;
use axum::routing::get;
use maud::{Markup, html};
use recovery::model::{DeadLetterDetail, Explanation};
use runtime::text::encoded;
use serde::Deserialize;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/dead-letters/{id}", get(show))
}

/// The value as text that a replay would send.
#[derive(Deserialize)]
pub(super) struct ValueText {
    pub(super) text: String,
}

/// Where the API has a dead letter.
pub(super) fn api(id: &str, what: &str) -> String {
    format!("/api/v1/dead-letters/{}{what}", encoded(id))
}

async fn show(visit: Visit, Named(id): Named) -> Answer {
    let none = Asked::default();
    let detail: DeadLetterDetail = visit.get(&api(&id, ""), &none).await?;
    let explained: Explanation = visit.get(&api(&id, "/explain"), &none).await?;
    let letter = &detail.letter;
    let body = html! {
        p.way { a href="/groups" { "Dead letters" } " / " a href={ "/groups/" (letter.group) } { (meaning(&letter.code)) } }
        div.head {
            h1 { "Dead letter " (letter.id) " " (badge(letter.state.as_str())) }
            p.lead {
                strong { (short(&letter.source, 60)) }
                @if !letter.event_type.is_empty() { " · " (short(&letter.event_type, 60)) }
                @if let Some(event) = &letter.event_id { " · " (short(event, 60)) }
                " · failed " (ago(letter.last_failed_at)) " at " (short(&letter.stage, 40))
            }
        }
        (actions(&visit, &detail))
        (explanation(&explained, &detail))
        @if let Some(edit) = detail.edits.iter().max_by_key(|edit| edit.id).filter(|_| letter.edited) {
            h2 { "Edited" }
            p.hint { "A replay sends the edited value. The original, above, is kept." }
            (steps(&edit.patch))
        }
        (history(&detail))
        h2 { "Facts" }
        (facts_of(&detail))
        (headers(&detail))
        (command(&format!("eventflow dlq show {}", letter.id)))
    };
    Ok(Page::new(format!("Dead letter {}", letter.id), body))
}

fn actions(visit: &Visit, detail: &DeadLetterDetail) -> Markup {
    let letter = &detail.letter;
    if !is_open(letter) {
        return html! {
            @if let Some(job) = &letter.job { p.actions { a.button href={ "/replays/" (encoded(job)) } { "Its replay" } } }
        };
    }
    if !visit.may_change() {
        return not_allowed(visit);
    }
    let this = Asked::from_iter([("id", letter.id)]);
    let vouch = letter.unproven.as_deref() == Some("unverified") && letter.genuine_by.is_none();
    html! {
        p.actions {
            a.button.primary[!letter.edited] href={ "/dead-letters/" (letter.id) "/edit" } { "Edit" }
            a.button.primary[letter.edited] href=(this.to("/plan")) { "Replay" }
            @if vouch { a.button href=(this.to("/genuine")) { "Call genuine" } }
            a.button href=(this.to("/discard")) { "Discard" }
        }
    }
}

/// What was done about it, and how it failed before.
fn history(detail: &DeadLetterDetail) -> Markup {
    if detail.edits.is_empty() && detail.failures.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Before" }
        ol.history {
            @for edit in &detail.edits {
                li {
                    (ago(edit.edited_at)) " " strong { (text(&edit.edited_by)) } " edited it"
                    @if !edit.reason.is_empty() { ": " (text(&edit.reason)) }
                    (steps(&edit.patch))
                }
            }
            @for failure in &detail.failures {
                li {
                    (ago(failure.failed_at)) " it failed with " code { (short(&failure.code, 60)) } " at " (short(&failure.stage, 40))
                    @if failure.replay_count > 0 { ", replay " (failure.replay_count) }
                    ": " (text(&failure.detail))
                }
            }
        }
    }
}

fn facts_of(detail: &DeadLetterDetail) -> Markup {
    let letter = &detail.letter;
    let said =
        |value: &Option<String>| value.as_deref().filter(|value| !value.is_empty()).map(text);
    let coded = |value: &Option<String>| {
        value
            .as_deref()
            .map(|value| html! { code { (text(value)) } })
    };
    let position = format!("{}:{}", detail.dlq.0, detail.dlq.1);
    facts(&[
        ("Event id", coded(&letter.event_id)),
        ("Entity key", coded(&letter.entity_key)),
        ("Failed", Some(html! { (at(letter.last_failed_at)) ", " (count(letter.attempts.into(), "attempt")) })),
        ("First failed", (letter.first_failed_at != letter.last_failed_at).then(|| at(letter.first_failed_at))),
        ("Disposition", Some(text(&letter.disposition))),
        ("Consumer group", Some(text(&letter.consumer_group))),
        ("Raw record", Some(html! { code { (text(&letter.origin)) } })),
        ("In the dead-letter topic", Some(html! { code { (position) } ", headers of " (detail.family) })),
        ("Replayed", (letter.replay_count > 0).then(|| html! { (count(letter.replay_count.into(), "time")) })),
        ("Replay", letter.job.as_ref().map(|job| html! { a href={ "/replays/" (encoded(job)) } { (text(job)) } })),
        ("Resolved as", letter.resolution.map(|resolution| html! { (resolution) })),
        ("Discarded for", said(&letter.reason)),
        ("Not proven", said(&letter.unproven)),
        ("Called genuine", letter.genuine_by.as_ref().map(|who| html! { "by " (text(who)) ": " (text(letter.genuine_reason.as_deref().unwrap_or_default())) })),
        ("Trace id", coded(&detail.trace_id)),
        ("Version", said(&detail.service_version)),
        ("Key", coded(&detail.key)),
        ("SHA-256", coded(&detail.value_sha256)),
    ])
}

fn headers(detail: &DeadLetterDetail) -> Markup {
    html! {
        details {
            summary { (count(detail.headers.len() as i64, "header")) }
            div.table tabindex="0" role="region" aria-label="Headers" {
                table.headers {
                    tbody {
                        @for (name, value) in &detail.headers {
                            tr {
                                th scope="row" { code { (text(name)) } }
                                td { @match value { Some(value) => code { (text(value)) }, None => span.none { "null" } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
