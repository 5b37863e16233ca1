//! What a stage is to the loop: the trait it implements, and the values it answers with.

use super::Record;
use crate::admin::TopicIds;
use bytes::Bytes;
use contracts::Rejection;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a stage does with records. The loop is the only caller.
pub trait Handler: Send {
    /// The stage's name, in metrics, logs and dead letters.
    fn stage(&self) -> &'static str;

    /// Settles a batch, or a piece of one: exactly one outcome for each record, in order. Called again with the same records after a [`StageError`],
    /// so a handler must not do twice what it did once. Every stage asks [`Record::refused`] before anything else: a record that belongs to
    /// no raw record, or came back too often, is rejected by it, not handled. Every wait inside has a deadline well below `max.poll.interval.ms`.
    ///
    /// # Errors
    /// [`StageError`] when a dependency, not a record, is at fault. No record of the batch is settled then.
    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError>;

    /// Everything made of the batch's records, dead letters too, is acknowledged. Called before the offsets are committed.
    ///
    /// # Errors
    /// [`StageError`]; called again after a wait.
    fn settled(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// What Kafka knows of the assignment that [`positions`](Self::positions) is asked about next.
    fn assigned(&mut self, _assigned: &Assigned) {}

    /// Called every few seconds between batches, also when there is nothing to read: whether what the handler keeps elsewhere is still as it
    /// left it.
    ///
    /// # Errors
    /// [`StageError`]; called again after a wait.
    fn look(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// Where to start on newly assigned partitions, one answer for each, in order.
    ///
    /// # Errors
    /// [`StageError`] when that cannot be known now; called again after a wait.
    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, StageError> {
        Ok(vec![Start::Committed; partitions.len()])
    }
}

/// What Kafka knows of a stage's topics and of what its group has read of them.
#[derive(Debug, Clone, Default)]
pub struct Assigned {
    /// Ids of the topics, where the broker gives them any
    pub topic_ids: TopicIds,
    /// The group's committed next offsets in these topics, by topic and partition; not those in a topic that had the same name before
    pub committed: BTreeMap<(String, i32), i64>,
}

/// What becomes of one record.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing to publish: the stage has stored it, or has no use for it.
    Done,
    /// Publish these records made from it, each with its key and the headers that still apply.
    Forward(Vec<Forward>),
    /// The record itself is at fault: dead-letter it.
    Reject(Rejection),
}

/// One record made from another.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Topic it is published to
    pub topic: Arc<str>,
    /// Published verbatim; `None` is Kafka's null
    pub value: Option<Bytes>,
    /// Headers beside those that still apply
    pub headers: Vec<(&'static str, String)>,
}

impl Forward {
    /// Without headers of its own.
    #[must_use]
    pub fn new(topic: &Arc<str>, value: Bytes) -> Self {
        Self {
            topic: Arc::clone(topic),
            value: Some(value),
            headers: Vec::new(),
        }
    }
}

/// Where a partition is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The group's committed offset, or the beginning when there is none
    Committed,
    /// The oldest record there is
    Beginning,
    /// The record with this offset, whatever the group committed
    Offset(i64),
    /// The first record at or after this time (milliseconds since the epoch), or the end
    Since(i64),
}

/// Why a batch cannot be settled: never the fault of a record. The same records are handed over again.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Something outside (broker, registry, database) is at fault: wait, then retry
    #[error("{code}: {reason}")]
    Wait {
        /// Stable code, also a metric label: a constant
        code: &'static str,
        /// For people
        reason: String,
    },
    /// Waiting cannot help (a broken invariant, a refused database): the process must end, offset uncommitted
    #[error("{code}: {reason}")]
    Stop {
        /// Stable code: a constant
        code: &'static str,
        /// For people
        reason: String,
    },
}

impl StageError {
    /// Wait, then retry.
    pub fn wait(code: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Wait {
            code,
            reason: reason.to_string(),
        }
    }

    /// Waiting cannot help: end the process.
    pub fn stop(code: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Stop {
            code,
            reason: reason.to_string(),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Wait { code, .. } | Self::Stop { code, .. } => code,
        }
    }

    /// Whether the process must end.
    #[must_use]
    pub fn must_stop(&self) -> bool {
        match self {
            Self::Wait { .. } => false,
            Self::Stop { .. } => true,
        }
    }
}

impl Outcome {
    /// The rejection, if it is one.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Reject(rejection) => Some(rejection),
            Self::Done | Self::Forward(_) => None,
        }
    }
}
