//! A batch as a Kafka transaction: the records made from it and the offsets behind it are committed together or not at all.
//!
//! Three rules keep that true through every failure:
//!
//! - Offsets are sent as the member of the group that the stage was when the transaction began (KIP-447). A member that the group has
//!   replaced meanwhile, such as a process that was stopped for a while, is refused by the brokers. One that was replaced already has no
//!   name any more, and offsets without a name are not checked by the brokers: it may not begin.
//! - An error before the commit aborts the transaction, and the same batch is sent again in another. Offsets did not move, so there is
//!   nothing to seek to.
//! - An error of the commit leaves open how it ended. The client is replaced, which makes the brokers end the transaction, and then the
//!   group's committed offsets say which way. Nothing is sent again before.

use super::StageError;
use super::membership::GroupConsumer;
use super::start::committed;
use crate::admin::TopicIds;
use crate::metrics as names;
use crate::publisher::{Publisher, reason};
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;

/// What a batch's transaction needs of the group.
#[derive(Clone, Copy)]
pub(super) struct Position<'a> {
    pub(super) consumer: &'a GroupConsumer,
    /// Behind the batch
    pub(super) offsets: &'a TopicPartitionList,
    pub(super) topic_ids: &'a TopicIds,
}

/// The transactions of a stage, one after the other.
pub(super) struct Transactions {
    stage: &'static str,
    publisher: Publisher,
    state: State,
}

enum State {
    /// No transaction is open
    Idle,
    Open(Arc<ConsumerGroupMetadata>),
    /// The commit of the batch in hand failed: nobody knows whether it happened
    InDoubt,
    /// It had happened
    Committed,
}

impl Transactions {
    pub(super) fn new(stage: &'static str, publisher: Publisher) -> Self {
        for outcome in ["committed", "aborted", "in_doubt"] {
            count(stage, outcome, 0);
        }
        Self {
            stage,
            publisher,
            state: State::Idle,
        }
    }

    /// Makes sure that a transaction is open for the batch. True: it is new, and nothing of the batch is in it yet.
    pub(super) fn begin(&mut self, at: Position<'_>) -> Result<bool, StageError> {
        if matches!(self.state, State::Open(_) | State::Committed) {
            return Ok(false);
        }
        if let Err(error) = self.publisher.init_transactions() {
            if is_fatal(&error) {
                self.publisher.replace_after(&error);
            }
            return Err(failed(&error));
        }
        if matches!(self.state, State::InDoubt) {
            let was_committed = is_committed(at)?;
            tracing::info!(
                event = "transaction_looked_up",
                stage = self.stage,
                was_committed
            );
            if was_committed {
                self.state = State::Committed;
                return Ok(false);
            }
            self.state = State::Idle;
        }
        let member = at.consumer.group_metadata();
        // In this order: a member that is lost before its name is read shows now.
        let Some(member) = member.filter(|_| !at.consumer.assignment_lost()) else {
            return Err(StageError::wait(
                "membership_lost",
                "the group has revoked this instance's partitions; it rejoins by itself",
            ));
        };
        if let Err(error) = self.publisher.begin_transaction() {
            self.publisher.replace_after(&error);
            return Err(failed(&error));
        }
        self.state = State::Open(Arc::new(member));
        Ok(true)
    }

    /// The records made from the batch are in no topic, and its offsets did not move.
    pub(super) fn abort(&mut self) {
        if matches!(self.state, State::Open(_)) {
            self.publisher.abort_transaction();
            self.state = State::Idle;
            count(self.stage, "aborted", 1);
        }
    }

    /// Commits what was published and the offsets behind the batch.
    pub(super) fn commit(&mut self, at: Position<'_>) -> Result<(), StageError> {
        if let State::Open(member) = &self.state {
            if let Err(error) = self.publisher.send_offsets(at.offsets, member) {
                self.abort();
                return Err(failed(&error));
            }
            if let Err(error) = self.publisher.commit_transaction() {
                self.state = State::InDoubt;
                count(self.stage, "in_doubt", 1);
                self.publisher.replace_after(&error);
                return Err(failed(&error));
            }
        }
        self.state = State::Idle;
        count(self.stage, "committed", 1);
        Ok(())
    }

    /// The batch is not in hand any more. True: whether it was committed is not known, so only the group's committed offsets say where to go
    /// on.
    pub(super) fn release(&mut self) -> bool {
        self.abort();
        matches!(
            std::mem::replace(&mut self.state, State::Idle),
            State::InDoubt | State::Committed
        )
    }
}

/// Whether the group's offsets are behind the batch. Answered only once no transaction holds them.
fn is_committed(at: Position<'_>) -> Result<bool, StageError> {
    let wanted = at.offsets.elements();
    let partitions: Vec<_> = wanted
        .iter()
        .map(|element| (element.topic().to_owned(), element.partition()))
        .collect();
    let (found, _) = committed(at.consumer, &partitions, at.topic_ids)?;
    Ok(partitions.iter().zip(&wanted).all(|(place, element)| {
        let next = found.get(place).copied().map(Offset::Offset);
        next.is_some_and(|next| next.to_raw() >= element.offset().to_raw())
    }))
}

fn is_fatal(error: &KafkaError) -> bool {
    match error {
        KafkaError::Transaction(error) => !error.is_retriable(),
        _ => true,
    }
}

fn failed(error: &KafkaError) -> StageError {
    StageError::wait("transaction_failed", reason(error))
}

fn count(stage: &'static str, outcome: &'static str, by: u64) {
    metrics::counter!(names::TRANSACTIONS, "stage" => stage, "outcome" => outcome).increment(by);
}
