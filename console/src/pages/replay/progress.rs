//! The part of a replay's page that moves: drawn, and streamed as it changes.

use super::{api, moving};
use crate::api::Problem;
use crate::asked::{Asked, segment};
use crate::view::{count, csrf, number, text};
use crate::visit::{Named, Visit};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use maud::{Markup, html};
use recovery::model::{ItemState, Job, JobState};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
            form method="post" action={ "/replays/" (segment(&job.id)) "/change/" (what) } { (csrf(visit)) button class=(class) type="submit" { (name) } }
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
                    form.inline method="post" action={ "/replays/" (segment(&job.id)) "/apply" } {
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
                form.inline method="post" action={ "/replays/" (segment(&job.id)) "/apply" } {
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

/// Where a stream stands.
struct Watched {
    visit: Visit,
    id: String,
    shown: Option<String>,
    ended: bool,
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// The moving part whenever it has changed, until the replay or the session ends; then `end`.
pub(super) async fn stream(visit: Visit, Named(id): Named) -> Response {
    let streams = Arc::clone(&visit.app.console.streams);
    let Ok(place) = streams.try_acquire_owned() else {
        return Problem::new(
            503,
            "overloaded",
            "too many pages stream at once; this one asks again by itself",
        )
        .into_response();
    };
    let watched = Watched {
        visit,
        id,
        shown: None,
        ended: false,
        _place: place,
    };
    let events = stream::unfold(watched, |mut watched| async {
        let event = watched.next().await?;
        Some((Ok::<_, Infallible>(event), watched))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl Watched {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        loop {
            let console = &self.visit.app.console;
            if self.shown.is_some() {
                let wait = tokio::time::sleep(EVERY);
                // At the role's end the browser finds the next one by itself.
                console.shutdown.run_until_cancelled(wait).await?;
            }
            if !console
                .sessions
                .is_open(&self.visit.member.session, Instant::now())
            {
                return None;
            }
            let job: Job = self
                .visit
                .get(&api(&self.id, ""), &Asked::default())
                .await
                .ok()?;
            let part = moving(&self.visit, &job).into_string();
            if self.shown.as_ref() != Some(&part) {
                self.shown = Some(part.clone());
                return Some(Event::default().data(part));
            }
            if matches!(job.state, JobState::Stopped | JobState::Finished) {
                self.ended = true;
                return Some(Event::default().event("end").data("end"));
            }
        }
    }
}
