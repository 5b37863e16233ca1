//! What a stage is to the loop.

use super::Record;
use bytes::Bytes;
use contracts::Rejection;
use std::sync::Arc;

/// What a stage does with records. Three stages implement it; the loop is the only caller.
pub trait Handler: Send {
    /// The stage's name, in metrics, logs and dead letters.
    fn stage(&self) -> &'static str;

    /// Settles a batch, or a piece of one: exactly one outcome a record, in order. Called again with the same records after a [`Transient`],
    /// so a handler must not do twice what it did once. A stage with a retry topic asks [`Record::refused_replay`] before anything else: a
    /// record that came back too often is rejected by it, not handled. Every wait inside has a deadline well below `max.poll.interval.ms`.
    ///
    /// # Errors
    /// [`Transient`] when the world, not a record, is at fault. Then no record of the batch is settled.
    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, Transient>;

    /// Every record of the batch, the rejected ones too, has reached its next home, acknowledged. Called before the offsets are committed.
    ///
    /// # Errors
    /// [`Transient`]; called again after a wait.
    fn settled(&mut self) -> Result<(), Transient> {
        Ok(())
    }

    /// Where to start on newly assigned partitions, one answer each, in order.
    ///
    /// # Errors
    /// [`Transient`] when it cannot be known now; asked again after a wait.
    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, Transient> {
        Ok(vec![Start::Committed; partitions.len()])
    }
}

/// The fate a stage gives one record.
#[derive(Debug)]
pub enum Outcome {
    /// It has reached its next home.
    Done,
    /// Publish this, made from it, with its key and the headers that still apply.
    Forward {
        /// Topic
        topic: Arc<str>,
        /// Value
        value: Bytes,
    },
    /// Its own fault: dead-letter it.
    Reject(Rejection),
}

/// Where a partition is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The group's committed offset, or the beginning when there is none
    Committed,
    /// The oldest record there is
    Beginning,
    /// This offset
    Offset(i64),
    /// The first record at or after this time (milliseconds since the epoch), or the end
    Since(i64),
}

/// The world is at fault; the same records are tried again after a wait.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Transient {
    /// Stable code, also a metric label: a constant
    pub code: &'static str,
    /// For people
    pub reason: String,
    /// Waiting cannot help (a broken invariant, a refused database): the process must end, offset uncommitted
    pub fatal: bool,
}

impl Transient {
    /// Wait and try again.
    pub fn wait(code: &'static str, reason: impl std::fmt::Display) -> Self {
        Self {
            code,
            reason: reason.to_string(),
            fatal: false,
        }
    }

    /// Waiting cannot help: end the process.
    pub fn fatal(code: &'static str, reason: impl std::fmt::Display) -> Self {
        Self {
            code,
            reason: reason.to_string(),
            fatal: true,
        }
    }
}

impl Outcome {
    /// The rejection, if it is one.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Reject(rejection) => Some(rejection),
            Self::Done | Self::Forward { .. } => None,
        }
    }
}
