//! P10: the fate of every raw record, from the database alone.
//!
//! **Why a gap is a gap.** Stages work at different speeds, so a raw record without a row may just be on its way. A checkpoint
//! ([`checkpoint`]) tells one from the other. It reads the offsets that the first stage on the path has committed, then waits at a
//! [`barrier`](crate::barrier) behind what that stage had written by then. Once the barrier is passed, *every* raw record before those
//! offsets has its outcome in this database. What has none was lost: stepped over by hand, deleted by retention before it was read, or
//! deleted here. A replayed record has the same raw coordinates, and its dead letter stays until its row is there, so it has an outcome all
//! the while.
//!
//! **What is examined** ([`classify`], [`pages`]): offsets from the frontier to a reached checkpoint, once, by pages of 100,000; then again
//! the pages in which something changed since: a replay in progress, a dead letter resolved or discarded, an open dead letter whose record
//! is now stored, an earlier finding. And each time the page longest not examined, so that a row somebody deleted is missed before long.
//! A raw topic that was deleted and created again is another topic ([`crate::raw_topic`]). Of the old one, what was in it at the last look
//! is examined to its end: what had no fate by then has none for ever.
//!
//! Every other query ([`report`]) is a sum over pages, or, for a range of time, the same examination without writing anything down.

mod checkpoint;
mod classify;
mod hours;
mod pages;
mod report;

use checkpoint::Checkpoint;
pub use hours::hours;
pub use pages::{Examined, PAGE, Reading, examine_pages};
pub(crate) use report::{ends_after, ends_before, topic_now};

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Audit, Time};
use crate::raw_topic;
use crate::restored::Restored;
use metrics::{Unit, describe_gauge};
use runtime::health::Health;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) const UNACCOUNTED: &str = "eventflow_unaccounted_records";
pub(crate) const CHECKPOINT_AGE: &str = "eventflow_audit_checkpoint_age_seconds";
pub(crate) const IN_FLIGHT: &str = "eventflow_audit_in_flight_records";

/// Health check of the audit.
const CHECK: &str = "audit";
/// A checkpoint that is not reached yet is polled this often.
const POLL: Duration = Duration::from_secs(5);
/// And this often while somebody waits for it.
const FAST_POLL: Duration = Duration::from_millis(300);

/// Registers help texts and units.
pub(crate) fn describe() {
    describe_gauge!(
        UNACCOUNTED,
        "Raw records without a fate, or with two, and faults of the raw topic that an audit found"
    );
    describe_gauge!(
        CHECKPOINT_AGE,
        Unit::Seconds,
        "Since the audit's last reached checkpoint"
    );
    describe_gauge!(
        IN_FLIGHT,
        "Raw records that no reached checkpoint of the audit covers yet"
    );
}

/// Accounts for every raw record, `every` so often, until `shutdown`. Several instances may do so at once: one is enough, and they do not
/// disturb each other. While Kafka or the database is down it waits, and reports that in `health`.
pub async fn run(context: Context, every: Duration, health: Health, shutdown: CancellationToken) {
    let (mut pause, mut restored) = (Duration::ZERO, Restored::default());
    while shutdown
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        let step = async {
            let restored = restored.check(&context).await;
            // The audit goes on all the same.
            let step = step(&context).await;
            restored.and(step)
        };
        let Some(step) = shutdown.run_until_cancelled(step).await else {
            return;
        };
        pause = match &step {
            Ok(true) => every,
            Ok(false) | Err(_) => every.min(POLL),
        };
        health.set(CHECK, step.map(drop).map_err(|error| error.to_string()));
    }
}

/// Every raw record received in a time range (or ever), by outcome; gaps and double fates by coordinates. From the database alone: what
/// the running role's last checkpoint covers. A range is examined record by record, and widened to whole checkpoints.
///
/// # Errors
/// [`RecoveryError::NotFound`] for a topic that was never audited, [`RecoveryError::Unavailable`]
pub async fn audit(
    context: &Context,
    topic: Option<&str>,
    from: Option<Time>,
    to: Option<Time>,
) -> Result<Audit, RecoveryError> {
    let now = report::topic_now(context).await?;
    let (name, all) = topic.map_or((now.as_str(), true), |topic| (topic, topic == now));
    match (from, to) {
        (None, None) => report::of_pages(context, name, all).await,
        _ => report::of_range(context, name, from, to).await,
    }
}

/// As [`audit`](fn@audit) of everything, but of now: takes a checkpoint and waits until it is reached.
///
/// # Errors
/// [`RecoveryError::Unavailable`] when it is not reached within `deadline`: it names the stage that is behind.
pub async fn audit_now(context: &Context, deadline: Duration) -> Result<Audit, RecoveryError> {
    let until = Instant::now() + deadline;
    let late = |behind: &str| {
        RecoveryError::Unavailable(format!(
            "the audit did not finish within {} s: {behind}",
            deadline.as_secs()
        ))
    };
    let taking = async {
        let epoch = raw_topic::current_epoch(context).await?;
        Checkpoint::take(context, &epoch).await
    };
    let taken = tokio::time::timeout_at(until, taking).await;
    let mut checkpoint = taken.map_err(|_| late("Kafka or the database does not answer"))??;
    let mut behind = "no offsets were read yet".to_owned();
    loop {
        match tokio::time::timeout_at(until, checkpoint.advance(context)).await {
            Ok(Ok(None)) => break,
            Ok(Ok(Some(waits_for))) => behind = waits_for,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(late(&behind)),
        }
        if Instant::now() + FAST_POLL >= until {
            return Err(late(&behind));
        }
        tokio::time::sleep(FAST_POLL).await;
    }
    audit(context, None, None, None).await
}

/// Advances the oldest pending checkpoint, or a new one, as far as it goes. True when it was reached.
async fn step(context: &Context) -> Result<bool, RecoveryError> {
    let step = async {
        let epoch = raw_topic::current_epoch(context).await?;
        let topic = raw_topic::name_of(context, &epoch);
        let mut checkpoint = match Checkpoint::pending(context, &topic).await? {
            Some(checkpoint) => checkpoint,
            None => Checkpoint::take(context, &epoch).await?,
        };
        let behind = checkpoint.advance(context).await?;
        if let Some(behind) = &behind {
            tracing::debug!(event = "checkpoint_waits", behind);
        }
        Ok(behind.is_none())
    };
    let step = step.await;
    // The gauges are true while a stage is behind, too.
    report::measure(context).await?;
    step
}

/// Raw records whose dead letter is resolved: their fate is their row's.
///
/// # Errors
/// [`RecoveryError::Unavailable`]
pub async fn resolved(context: &Context) -> Result<Vec<(i32, i64)>, RecoveryError> {
    let resolved = sqlx::query_as(
        "SELECT d.origin_partition, d.origin_offset FROM groups g JOIN dead_letters d ON d.group_id = g.id
         WHERE g.resolved > 0 AND d.state = 'resolved' AND d.origin_topic = $1 AND d.origin_group = ''",
    );
    Ok(resolved
        .bind(&context.pipeline.raw)
        .fetch_all(&context.pool)
        .await?)
}
