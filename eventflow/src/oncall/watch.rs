//! Follows a running replay to its end. An interrupt stops the watching and nothing else.

use super::client::{Client, read};
use super::error::CommandError;
use super::{note, text};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use recovery::model::{ItemState, Job, JobState};
use runtime::text::encoded;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Between two polls.
const POLL: Duration = Duration::from_millis(500);
/// Between two lines, where there is no terminal for a bar.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a replay may wait for a role to run it before watching ends.
const NO_ROLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the API may be unreachable.
const API_TIMEOUT: Duration = Duration::from_secs(60);

/// How the watching ended.
pub(super) enum End {
    /// The replay's last state: finished, stopped or paused, or waiting for a role that does not run; and its JSON
    Job(Box<Job>, String),
    /// Interrupted
    Interrupted,
}

pub(super) async fn watch(client: &Client, id: &str) -> Result<End, CommandError> {
    // Before the first output: from here on an interrupt ends only the watching.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let bar = ProgressBar::with_draw_target(None, target());
    let style = "{bar:30} {pos}/{len}  {msg}";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (mut roleless, mut away, mut line): (Option<Instant>, Option<Instant>, Option<Instant>) =
        (None, None, None);
    loop {
        match client
            .get(&format!("/api/v1/replays/{}", encoded(id)), &[])
            .await
        {
            Ok(text) => {
                away = None;
                let job: Job = read(&text)?;
                roleless = job.no_role.then(|| roleless.unwrap_or_else(Instant::now));
                bar.set_length(job.items.unsigned_abs());
                bar.set_position(done(&job).unsigned_abs());
                bar.set_message(text::line(&progress(&job)));
                if bar.is_hidden() && line.is_none_or(|line| line.elapsed() > LINE_INTERVAL) {
                    note(&format!("{}/{}  {}", done(&job), job.items, progress(&job)));
                    line = Some(Instant::now());
                }
                let waits = roleless.is_some_and(|since| since.elapsed() > NO_ROLE_TIMEOUT);
                if waits
                    || matches!(
                        job.state,
                        JobState::Finished | JobState::Stopped | JobState::Paused
                    )
                {
                    bar.finish_and_clear();
                    return Ok(End::Job(Box::new(job), text));
                }
            }
            // The replay goes on without us; an API that restarts is waited for.
            Err(error)
                if error.code.is_none() || error.is("unavailable") || error.is("overloaded") =>
            {
                if away.get_or_insert_with(Instant::now).elapsed() > API_TIMEOUT {
                    return Err(error);
                }
                bar.set_message("recovery does not answer; retrying");
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = interrupt.recv() => {
                bar.finish_and_clear();
                return Ok(End::Interrupted);
            }
        }
    }
}

fn target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

fn of(job: &Job, state: ItemState) -> i64 {
    job.by_state.get(&state).copied().unwrap_or_default()
}

/// Items whose outcome is known.
pub(super) fn done(job: &Job) -> i64 {
    [
        ItemState::Stored,
        ItemState::Duplicate,
        ItemState::Filtered,
        ItemState::Retyped,
        ItemState::Processed,
        ItemState::Failed,
        ItemState::Skipped,
    ]
    .into_iter()
    .map(|state| of(job, state))
    .sum()
}

/// Whether items failed.
pub(super) fn has_failed(job: &Job) -> bool {
    of(job, ItemState::Failed) > 0
}

/// Outcomes, rate and time left, in one line.
pub(super) fn progress(job: &Job) -> String {
    let mut parts: Vec<String> = [
        ItemState::Stored,
        ItemState::Duplicate,
        ItemState::Filtered,
        ItemState::Retyped,
        ItemState::Processed,
        ItemState::Failed,
        ItemState::Skipped,
        ItemState::Sent,
        ItemState::Sending,
        ItemState::Pending,
    ]
    .into_iter()
    .filter(|state| of(job, *state) > 0)
    .map(|state| format!("{} {state}", of(job, state)))
    .collect();
    if job.state == JobState::Running {
        parts.push(format!("{} records/s", job.rate));
        parts.extend(
            job.eta_seconds
                .map(|seconds| format!("{} left", text::span(seconds.clamp(0.0, 1e9) as u64))),
        );
    }
    parts.extend(
        job.blocked
            .as_ref()
            .map(|reason| format!("waiting: {reason}")),
    );
    if job.no_role && job.state == JobState::Running {
        parts.push("no recovery role is running: start one (eventflow recovery)".to_owned());
    }
    parts.join(", ")
}
