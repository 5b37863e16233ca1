//! The part of a replay's page that moves: drawn, and streamed as it changes.

use super::{job, moving};
use crate::stream::{Drawn, stream};
use crate::view::{count, csrf, number, text};
use crate::visit::{Named, Visit};
use axum::response::Response;
use maud::{Markup, html};
use recovery::model::{ItemState, Job, JobState};
use runtime::text::encoded;
use std::time::Duration;

/// How often a stream looks.
const EVERY: Duration = Duration::from_millis(700);
/// The width of a bar.
const WIDTH: i64 = 1000;

/// Outcomes in the order of the bar: its colour is the state's.
const OUTCOMES: [ItemState; 10] = [
    ItemState::Stored,
    ItemState::Duplicate,
    ItemState::Retyped,
    ItemState::Processed,
    ItemState::Filtered,
    ItemState::Failed,
    ItemState::Skipped,
    ItemState::Sent,
    ItemState::Sending,
    ItemState::Pending,
];

fn many(job: &Job, state: ItemState) -> i64 {
    job.by_state.get(&state).copied().unwrap_or_default()
}

/// Its items by state, as a bar and in numbers.
pub(super) fn bar(job: &Job) -> Markup {
    let total = job.items.max(1);
    let mut start = 0;
    let mut parts = Vec::new();
    for state in OUTCOMES {
        let width = many(job, state) * WIDTH / total;
        parts.push((state, start, width));
        start += width;
    }
    let moving = [ItemState::Pending, ItemState::Sending, ItemState::Sent];
    let left: i64 = moving.into_iter().map(|state| many(job, state)).sum();
    html! {
        svg.progress viewBox={ "0 0 " (WIDTH) " 12" } preserveAspectRatio="none" role="img" aria-label={ (number(job.items - left)) " of " (number(job.items)) " have their outcome" } {
            @for (state, start, width) in parts {
                @if width > 0 { rect class={ "is-" (state) } x=(start) y="0" width=(width) height="12" {} }
            }
        }
        ul.outcomes {
            @for state in OUTCOMES {
                @if many(job, state) > 0 { li { span class={ "dot is-" (state) } {} strong { (number(many(job, state))) } " " (state) } }
            }
            @if let (Some(seconds), JobState::Running) = (job.eta_seconds, job.state) {
                li.hint { "about " (runtime::text::span(seconds.clamp(0.0, 1e9) as u64)) " left at " (job.rate) " a second" }
            }
        }
        @if !job.by_code.is_empty() {
            p.hint { @for (code, many) in &job.by_code { (number(*many)) " " code { (text(code)) } " " } }
        }
    }
}

/// What can be done now, by whom.
pub(super) fn actions(visit: &Visit, job: &Job) -> Markup {
    if !visit.may_change() {
        return crate::view::not_allowed(visit);
    }
    let change = |what: &str, name: &str, class: &str| {
        html! {
            form method="post" action={ "/replays/" (encoded(&job.id)) "/change/" (what) } { (csrf(visit)) button class=(class) type="submit" { (name) } }
        }
    };
    let unapproved = job.needs_approval && job.approved_by.is_none();
    html! {
        @match job.state {
            JobState::Planned => {
                @if unapproved {
                    div.verdict {
                        p { strong { "It needs a second person." } " Somebody who neither planned it nor edited a value of it approves it: send them this page's address." }
                        (change("approve", "Approve", "primary"))
                    }
                }
                div.row {
                    form.inline method="post" action={ "/replays/" (encoded(&job.id)) "/apply" } {
                        (csrf(visit))
                        label { "Records a second " input.small name="rate" inputmode="decimal" value=(job.rate); }
                        @if job.needs_confirmation {
                            label.check { input type="checkbox" name="yes" value="yes" required; " Yes, all " (count(job.items, job.kind.item())) }
                        }
                        button.primary[!unapproved] type="submit" { "Start" }
                    }
                    (change("stop", "Give it up", ""))
                }
            },
            JobState::Running => div.row {
                (change("pause", "Pause", "primary"))
                (change("stop", "Stop for good", ""))
                @if unapproved { (change("approve", "Approve", "")) }
                form.inline method="post" action={ "/replays/" (encoded(&job.id)) "/apply" } {
                    (csrf(visit))
                    label { "Records a second " input.small name="rate" inputmode="decimal" value=(job.rate); }
                    button type="submit" { "Change" }
                }
            },
            JobState::Paused => div.row { (change("resume", "Resume", "primary")) (change("stop", "Stop for good", "")) },
            JobState::Stopped | JobState::Finished => {},
        }
    }
}

/// The moving part whenever it has changed, until the replay ends.
pub(super) async fn streamed(visit: Visit, Named(id): Named) -> Response {
    stream(visit, EVERY, move |visit| {
        let id = id.clone();
        Box::pin(async move {
            let job = job(&visit, &id).await?;
            let is_last = matches!(job.state, JobState::Stopped | JobState::Finished);
            let part = moving(&visit, &job);
            Ok(Drawn { part, is_last })
        })
    })
}
