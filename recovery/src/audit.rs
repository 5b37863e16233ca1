//! P10: the fate of every raw record, from the database alone.
//!
//! **Why a gap is a gap.** Stages work at different speeds, so a raw record without a row may just be on its way. A checkpoint
//! ([`checkpoint`]) tells one from the other, by reading four things in this order:
//!
//! 1. the validator's committed offsets. It commits an offset only after every record before it was forwarded or dead-lettered and that was
//!    acknowledged (P3). So each raw record before them is, by now, in the validated topic or in the dead-letter topic.
//! 2. then the ends of the validated topic. What was acknowledged before they were read lies before them, open transactions or not
//!    ([`runtime::admin::ends`]).
//! 3. once persistence's offsets, which move in the transaction that stores, have passed those ends: the ends of the dead-letter topic.
//!    Persistence moves past a record only after its row is committed or its dead letter acknowledged. So each record of step 1 has its row,
//!    or its dead letter, whoever wrote it, lies before these ends.
//! 4. once the index's offsets have passed those: that dead letter is a row of `dead_letters`, written in the transaction that moved them.
//!
//! The checkpoint is reached, and *every* raw record before the offsets of step 1 has its fate in this database. What has none was lost:
//! stepped over by hand, deleted by retention before it was read, or deleted here. Nothing of this leans on clocks. Reading a topic again,
//! a restart, or a group set back only repeat what is known. A replayed record is known by the same raw coordinates, and its dead letter
//! stays until its row is there, so it has a fate all the while.
//!
//! **What is looked at** ([`judge`], [`pages`]): offsets from the frontier to a reached checkpoint, once, by pages of 100,000; then again the pages in
//! which something changed since: a replay in hand, a dead letter settled, an open dead letter whose record is now stored, an earlier finding.
//! And each time the page longest not looked at, so that a row somebody deleted is missed before long. Every other question ([`report`]) is a
//! sum over pages, or, for a range of time, the same look without writing anything down.

mod checkpoint;
mod classify;
mod pages;

mod report;

pub use checkpoint::Checkpoint;
pub use pages::{Look, PAGE, Reading};

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Audit, Time};
use metrics::{Unit, describe_gauge};
use runtime::health::Health;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Raw records without a fate, or with two.
pub const UNACCOUNTED: &str = "eventflow_unaccounted_records";
/// Since the audit's last reached checkpoint.
pub const CHECKPOINT_AGE: &str = "eventflow_audit_checkpoint_age_seconds";
/// Raw records that no reached checkpoint covers yet.
pub const IN_FLIGHT: &str = "eventflow_audit_in_flight_records";

/// Health check of the audit.
const CHECK: &str = "audit";
/// A checkpoint that is not reached yet is looked at this often.
const POLL: Duration = Duration::from_secs(5);
/// And this often while somebody waits for it.
const IMPATIENT: Duration = Duration::from_millis(300);

/// Registers help texts and units.
pub fn describe() {
    describe_gauge!(UNACCOUNTED, "Raw records without a fate, or with two");
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
/// disturb each other. While Kafka or the database is down it waits, and says so.
pub async fn run(recovery: Context, every: Duration, health: Health, shutdown: CancellationToken) {
    let mut pause = Duration::ZERO;
    while shutdown
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        let Some(step) = shutdown.run_until_cancelled(recovery.step()).await else {
            return;
        };
        pause = match &step {
            Ok(true) => every,
            Ok(false) | Err(_) => every.min(POLL),
        };
        health.set(CHECK, step.map(drop).map_err(|refusal| refusal.to_string()));
    }
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

impl Context {
    /// Every raw record received in a time range (or ever), by fate; gaps and double fates by coordinates. From the database alone: what
    /// the running role's last checkpoint covers. A range is looked at anew, record by record, and widened to whole checkpoints.
    ///
    /// # Errors
    /// [`RecoveryError::NotFound`] for a topic that was never accounted for, [`RecoveryError::Unavailable`]
    pub async fn audit(
        &self,
        topic: Option<&str>,
        from: Option<Time>,
        to: Option<Time>,
    ) -> Result<Audit, RecoveryError> {
        let topic = topic.unwrap_or(&self.pipeline.raw);
        match (from, to) {
            (None, None) => report::of_pages(self, topic).await,
            _ => report::of_range(self, topic, from, to).await,
        }
    }

    /// As [`audit`](Self::audit) of everything, but of now: takes a checkpoint and waits until it is reached.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`] when it is not reached within `deadline`: it says which stage is behind.
    pub async fn audit_now(&self, deadline: Duration) -> Result<Audit, RecoveryError> {
        let until = Instant::now() + deadline;
        let late = |behind: &str| {
            RecoveryError::Unavailable(format!(
                "the books cannot be closed within {} s: {behind}",
                deadline.as_secs()
            ))
        };
        let taken = tokio::time::timeout_at(until, Checkpoint::take(self)).await;
        let mut checkpoint = taken.map_err(|_| late("Kafka or the database does not answer"))??;
        let mut behind = "nothing was read yet".to_owned();
        loop {
            match tokio::time::timeout_at(until, checkpoint.advance(self)).await {
                Ok(Ok(None)) => break,
                Ok(Ok(Some(waits_for))) => behind = waits_for,
                Ok(Err(refusal)) => return Err(refusal),
                Err(_) => return Err(late(&behind)),
            }
            if Instant::now() + IMPATIENT >= until {
                return Err(late(&behind));
            }
            tokio::time::sleep(IMPATIENT).await;
        }
        self.audit(None, None, None).await
    }

    /// Brings the oldest checkpoint in hand, or a new one, as far as it goes. True when it was reached.
    async fn step(&self) -> Result<bool, RecoveryError> {
        let topic = &self.pipeline.raw;
        let step = async {
            let mut checkpoint = match Checkpoint::pending(&self.pool, topic).await? {
                Some(checkpoint) => checkpoint,
                None => Checkpoint::take(self).await?,
            };
            let behind = checkpoint.advance(self).await?;
            if let Some(behind) = &behind {
                tracing::debug!(event = "checkpoint_waits", behind);
            }
            Ok(behind.is_none())
        };
        let step = step.await;
        // The gauges are true while a stage is behind, too.
        report::measure(self, topic).await?;
        step
    }
}
