//! What people change about a job.

use super::{MAX_RATE, unknown};
use crate::audit_log::{self, Entry};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{JobKind, JobState};
use crate::replay::{approval, state};
use sqlx::{FromRow, PgConnection};

#[derive(FromRow)]
struct LockedJob {
    kind: JobKind,
    state: JobState,
    created_by: String,
    needs_confirmation: bool,
    approved_by: Option<String>,
    rate: f64,
}

/// The job's row, locked until the transaction ends.
async fn lock(connection: &mut PgConnection, job: &str) -> Result<LockedJob, RecoveryError> {
    if job.contains('\0') {
        return Err(unknown(job));
    }
    sqlx::query_as(
        "SELECT kind, state, created_by, needs_confirmation, approved_by, rate FROM replay_jobs WHERE id = $1 FOR UPDATE",
    )
    .bind(job)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| unknown(job))
}

pub(super) async fn apply(
    context: &Context,
    who: &str,
    job: &str,
    rate: Option<f64>,
    yes: bool,
) -> Result<(), RecoveryError> {
    if let Some(rate) = rate
        && !(rate > 0.0 && rate <= MAX_RATE)
    {
        return Err(RecoveryError::Invalid(format!(
            "the rate must be more than 0 and at most {MAX_RATE} records a second"
        )));
    }
    let mut transaction = context.pool.begin().await?;
    let known = lock(&mut transaction, job).await?;
    let action = match known.state {
        JobState::Planned => {
            if known.needs_confirmation && !yes {
                return Err(RecoveryError::NeedsConfirmation(format!(
                    "{} {job} is of many {}s, or of a selection without a filter: check its dry run, then apply it with --yes",
                    known.kind,
                    known.kind.item()
                )));
            }
            approval::serialize(&mut transaction, &known.created_by).await?;
            if let Some(why) = approval::missing(&mut transaction, job, &context.args).await? {
                return Err(RecoveryError::NeedsApproval(format!(
                    "replay {job} needs approval by a second person, since {why}: somebody who neither planned it nor edited a value of it \
                     must approve it first"
                )));
            }
            "replay.apply"
        }
        JobState::Running if rate.is_some_and(|rate| (rate - known.rate).abs() > f64::EPSILON) => {
            "replay.rate"
        }
        // Applied before: the second time changes nothing.
        JobState::Running | JobState::Finished => return Ok(()),
        JobState::Paused => {
            return Err(RecoveryError::WrongState(format!(
                "replay {job} is paused; resume it with `eventflow replay resume {job}`"
            )));
        }
        JobState::Stopped => {
            return Err(RecoveryError::WrongState(format!(
                "replay {job} was stopped; plan a new one"
            )));
        }
    };
    state::start(&mut transaction, job, rate).await?;
    let counts = serde_json::json!({"rate": rate.unwrap_or(known.rate)});
    audit_log::write(
        &mut transaction,
        Entry {
            who,
            action,
            job: Some(job),
            counts,
            ..Entry::default()
        },
    )
    .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn approve(context: &Context, who: &str, job: &str) -> Result<(), RecoveryError> {
    let mut transaction = context.pool.begin().await?;
    let known = lock(&mut transaction, job).await?;
    let approver = audit_log::clean(who);
    approval::check_approver(&mut transaction, job, &known.created_by, &approver).await?;
    if known.approved_by.is_some() {
        return Ok(());
    }
    // An applied one may wait for it too: the role that sends asks for it, whatever the command that applied was told.
    if matches!(known.state, JobState::Stopped | JobState::Finished) {
        return Err(RecoveryError::WrongState(format!(
            "replay {job} is {}: there is nothing to approve",
            known.state
        )));
    }
    sqlx::query(
        "UPDATE replay_jobs SET approved_by = $2, approved_at = clock_timestamp() WHERE id = $1",
    )
    .bind(job)
    .bind(approver)
    .execute(&mut *transaction)
    .await?;
    audit_log::write(
        &mut transaction,
        Entry {
            who,
            action: "replay.approve",
            job: Some(job),
            ..Entry::default()
        },
    )
    .await?;
    Ok(transaction.commit().await?)
}

/// A change of state that needs no more than the right state before.
pub(super) struct Switch {
    action: &'static str,
    /// What is done to the job, for a refusal
    done: &'static str,
    from: &'static [JobState],
    to: JobState,
}

pub(super) const PAUSE: Switch = Switch {
    action: "replay.pause",
    done: "paused",
    from: &[JobState::Running],
    to: JobState::Paused,
};
pub(super) const RESUME: Switch = Switch {
    action: "replay.resume",
    done: "resumed",
    from: &[JobState::Paused],
    to: JobState::Running,
};
pub(super) const STOP: Switch = Switch {
    action: "replay.stop",
    done: "stopped",
    from: &[JobState::Planned, JobState::Running, JobState::Paused],
    to: JobState::Stopped,
};

pub(super) async fn switch(
    context: &Context,
    who: &str,
    job: &str,
    switch: &Switch,
) -> Result<(), RecoveryError> {
    let mut transaction = context.pool.begin().await?;
    let known = lock(&mut transaction, job).await?;
    if known.state == switch.to {
        return Ok(());
    }
    if !switch.from.contains(&known.state) {
        return Err(RecoveryError::WrongState(format!(
            "replay {job} is {} and cannot be {}",
            known.state, switch.done
        )));
    }
    state::switch(&mut transaction, job, known.state, switch.to).await?;
    audit_log::write(
        &mut transaction,
        Entry {
            who,
            action: switch.action,
            job: Some(job),
            ..Entry::default()
        },
    )
    .await?;
    Ok(transaction.commit().await?)
}
