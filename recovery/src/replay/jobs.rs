//! Replays as jobs: planned, applied, approved, paused, stopped, listed.
//!
//! A change of a job locks its row, checks its state, changes it and writes the audit log, all in one transaction. Two people who do the
//! same at once get the same answer, and one of them a change.

mod change;
mod plan;
mod show;

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{AuditLogEntry, ItemState, Job, JobItem, JobKind, JobState, Selection};

/// Most dead letters of one job.
const MAX_ITEMS: i64 = 1_000_000;
/// Most records a second.
const MAX_RATE: f64 = 100_000.0;
/// A recovery role that has not been seen for so long is gone.
const ROLE_GONE_SECONDS: i32 = 10;

/// Database work, or a refusal when the database is silent: its own time limits end statements, not silence.
pub(crate) async fn within<T>(
    work: impl Future<Output = Result<T, RecoveryError>>,
) -> Result<T, RecoveryError> {
    tokio::time::timeout(store::DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(store::silent().into()))
}

/// Freezes a selection's open dead letters into a job. The same `key` again answers the same job.
///
/// # Errors
/// [`RecoveryError::NotFound`] when nothing is selected.
pub async fn plan(
    context: &Context,
    who: &str,
    selection: &Selection,
    reason: &str,
    key: &str,
    policy: Option<&str>,
) -> Result<Job, RecoveryError> {
    let kind = JobKind::Replay;
    plan_kind(context, kind, who, selection, reason, key, policy).await
}

/// As [`plan`], of either kind.
pub(crate) async fn plan_kind(
    context: &Context,
    kind: JobKind,
    who: &str,
    selection: &Selection,
    reason: &str,
    key: &str,
    policy: Option<&str>,
) -> Result<Job, RecoveryError> {
    let id = plan::plan(
        context,
        &plan::Wanted {
            kind,
            who,
            selection,
            reason,
            key,
            policy,
        },
    )
    .await?;
    get(context, &id).await
}

/// Starts a planned job, or changes the rate of a running one. Idempotent.
///
/// # Errors
/// [`RecoveryError::NeedsConfirmation`], [`RecoveryError::NeedsApproval`], [`RecoveryError::WrongState`]
pub async fn apply(
    context: &Context,
    who: &str,
    job: &str,
    rate: Option<f64>,
    yes: bool,
) -> Result<Job, RecoveryError> {
    within(change::apply(context, who, job, rate, yes)).await?;
    get(context, job).await
}

/// Approves a job that needs a second person.
///
/// # Errors
/// [`RecoveryError::WrongState`] for the person who planned it.
pub async fn approve(context: &Context, who: &str, job: &str) -> Result<Job, RecoveryError> {
    within(change::approve(context, who, job)).await?;
    get(context, job).await
}

/// Sends no more until [`resume`]. Idempotent.
///
/// # Errors
/// [`RecoveryError`]
pub async fn pause(context: &Context, who: &str, job: &str) -> Result<Job, RecoveryError> {
    within(change::switch(context, who, job, &change::PAUSE)).await?;
    get(context, job).await
}

/// Resumes a paused job. Idempotent.
///
/// # Errors
/// [`RecoveryError`]
pub async fn resume(context: &Context, who: &str, job: &str) -> Result<Job, RecoveryError> {
    within(change::switch(context, who, job, &change::RESUME)).await?;
    get(context, job).await
}

/// Sends no more for good; what was sent is followed to its end. Idempotent.
///
/// # Errors
/// [`RecoveryError`]
pub async fn stop(context: &Context, who: &str, job: &str) -> Result<Job, RecoveryError> {
    within(change::switch(context, who, job, &change::STOP)).await?;
    get(context, job).await
}

/// One job, with its progress.
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub async fn get(context: &Context, job: &str) -> Result<Job, RecoveryError> {
    let found = within(show::jobs(context, Some(job), &[], None, 1)).await?;
    found.into_iter().next().ok_or_else(|| unknown(job))
}

/// Its items, in order; those in one of `states`, or all.
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub async fn items(
    context: &Context,
    job: &str,
    states: &[ItemState],
    limit: u32,
) -> Result<Vec<JobItem>, RecoveryError> {
    within(show::items(context, job, states, limit)).await
}

/// Jobs in one of `states`, or all, the newest first; `before` continues after the last of a page.
///
/// # Errors
/// [`RecoveryError::NotFound`] when there is no job `before`
pub async fn history(
    context: &Context,
    states: &[JobState],
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Job>, RecoveryError> {
    within(show::jobs(
        context,
        None,
        states,
        before,
        limit.clamp(1, 200),
    ))
    .await
}

/// The audit log, the newest first; of one job or dead letter, or all. `before` is the number of an entry: continues after a page.
///
/// # Errors
/// [`RecoveryError`]
pub async fn audit_log(
    context: &Context,
    job: Option<&str>,
    letter: Option<i64>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditLogEntry>, RecoveryError> {
    within(show::audit_log(context, job, letter, before, limit)).await
}

pub(crate) fn unknown(job: &str) -> RecoveryError {
    let shown: String = job.chars().filter(|c| !c.is_control()).take(40).collect();
    RecoveryError::NotFound(format!(
        "there is no replay {shown}; `eventflow replay ls` lists them"
    ))
}
