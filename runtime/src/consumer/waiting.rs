//! Waiting with a batch in hand, and what the client says beside records.

use super::topics::Look;
use super::turn::{IDLE_POLL, Loop};
use super::{Handler, Record, StageError, assignment};
use crate::kafka;
use crate::metrics as names;
use contracts::Rejection;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::{Duration, Instant};

/// Health check of what a stage waits for.
pub(super) const WORLD: &str = "world";
/// Health check of the breaker.
pub(super) const BREAKER: &str = "breaker";
/// Health check of what the stage reads: its topics are there.
pub(super) const TOPIC: &str = "topic";
/// Health check of the stage's rights to read.
pub(super) const RIGHTS: &str = "rights";
/// Health check of where the stage reads: its next offsets are still in the topic.
pub(super) const OFFSET: &str = "offset";

/// How a wait ended.
#[derive(PartialEq, Eq)]
pub(super) enum Waited {
    /// Try again
    Again,
    /// The partitions changed or the role is ending: let the batch go
    LetGo,
}

impl<H: Handler> Loop<'_, H> {
    /// The world is down: say so, pause, keep polling so the group keeps us, and come back after a backoff.
    pub(super) fn wait(
        &mut self,
        error: &StageError,
        attempt: u32,
        generation: u64,
        records: &[Record<'_>],
    ) -> anyhow::Result<Waited> {
        self.health.set(WORLD, Err(error.to_string()));
        metrics::counter!(names::WAITS, "stage" => self.stage, "code" => error.code()).increment(1);
        self.pause_and_poll(attempt, generation, records)
    }

    /// The breaker is open: wait with the batch in hand. A new look after each wait, since a deploy of the registry or a
    /// restart of this stage with mended contracts changes the verdict.
    pub(super) fn hold<'v>(
        &mut self,
        verdicts: impl Iterator<Item = Option<&'v Rejection>> + Clone,
        attempt: u32,
        generation: u64,
        records: &[Record<'_>],
    ) -> anyhow::Result<Waited> {
        let rejected = verdicts.clone().flatten().count();
        let first = verdicts
            .clone()
            .flatten()
            .next()
            .map_or("none", |rejection| rejection.code.code());
        self.health.set(
            BREAKER,
            Err(format!(
                "{rejected} of {} records would be dead-lettered (first code: {first}), above the breaker's share; nothing is lost, \
                 nothing moves. Mend the contract or the deploy and restart, or restart with --breaker-share 2 to let them through",
                verdicts.count()
            )),
        );
        metrics::gauge!(names::BREAKER_OPEN, "stage" => self.stage).set(1.0);
        self.pause_and_poll(attempt, generation, records)
    }

    fn pause_and_poll(
        &mut self,
        attempt: u32,
        generation: u64,
        records: &[Record<'_>],
    ) -> anyhow::Result<Waited> {
        let until = Instant::now() + Duration::from_millis((50 << attempt.min(6)).min(2000));
        let assignment = self.consumer.assignment()?;
        self.consumer.pause(&assignment)?;
        while Instant::now() < until && self.is_current(generation) && !self.shutdown.is_cancelled()
        {
            self.note_lag(records);
            match self.consumer.poll(IDLE_POLL) {
                Some(Ok(message)) => self.early.push(message),
                Some(Err(error)) => self.note_poll_error(&error)?,
                None => {}
            }
        }
        if !self.is_current(generation) || self.shutdown.is_cancelled() {
            // What came early comes after what is let go: it must be read again too.
            self.early.clear();
            return Ok(Waited::LetGo);
        }
        self.consumer.resume(&assignment)?;
        Ok(Waited::Again)
    }

    /// Ends the stage when the client is beyond repair.
    pub(super) fn refuse_fatal(&self) -> anyhow::Result<()> {
        match self.consumer.client().fatal_error() {
            None => Ok(()),
            Some((code, reason)) => anyhow::bail!(
                "fatal consumer error: {code:?}: {reason}; the process must be restarted"
            ),
        }
    }

    /// What `poll` reports beside records. Fatal errors end the stage; others are the world's and show in `/ready`.
    pub(super) fn note_poll_error(&mut self, error: &KafkaError) -> anyhow::Result<()> {
        match error.rdkafka_error_code() {
            // What came before it says more than "fatal".
            Some(RDKafkaErrorCode::Fatal) => self.refuse_fatal()?,
            Some(RDKafkaErrorCode::PollExceeded) => {
                self.health.set(
                    assignment::CHECK,
                    Err("max.poll.interval.ms was exceeded; rejoining the group".to_owned()),
                );
            }
            // Said once, and the partition is not fetched any more: only a new assignment takes it back.
            Some(RDKafkaErrorCode::AutoOffsetReset) => {
                let moved = "decide where to go on: `kafka-consumer-groups --reset-offsets`, for persistence the row in \
                             persistence.consumer_offsets; then restart";
                self.health.set(
                    OFFSET,
                    Err(format!(
                        "the next offset is no longer in the topic: records were deleted before they were read ({error}); {moved}"
                    )),
                );
            }
            // It does not say which topic: a look does.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => self.look = Some(Look::now()),
            Some(
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed),
            ) => {
                self.health
                    .set(RIGHTS, Err(format!("{}: {error}", kafka::code_of(error))));
                if code == RDKafkaErrorCode::TopicAuthorizationFailed {
                    self.look = Some(Look::now());
                }
            }
            Some(_) | None => tracing::debug!(event = "poll_notice", stage = self.stage, %error),
        }
        Ok(())
    }
}
