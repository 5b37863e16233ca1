//! A member of a consumer group: assignments arrive here and are settled by the loop, between batches.

use crate::health::Health;
use crate::kafka;
use crate::metrics as names;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Health check of the group membership.
pub(crate) const CHECK: &str = "consumer";

/// What the client tells us from inside `poll`, on the loop's own thread.
pub(crate) struct Member {
    health: Health,
    stage: &'static str,
    /// Counts every assignment and revocation: a batch from before a change is not ours any more.
    generation: AtomicU64,
    /// An assignment the loop has not settled yet.
    assigned: Mutex<Option<Vec<(String, i32)>>>,
    /// Next offsets of what is settled: every record before them has reached its next home.
    positions: Mutex<BTreeMap<(String, i32), i64>>,
    uncommitted: AtomicBool,
}

pub(crate) type GroupConsumer = BaseConsumer<Member>;

impl Member {
    pub(crate) fn new(health: Health, stage: &'static str) -> Self {
        Self {
            health,
            stage,
            generation: AtomicU64::new(0),
            assigned: Mutex::default(),
            positions: Mutex::default(),
            uncommitted: AtomicBool::new(false),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn take_assigned(&self) -> Option<Vec<(String, i32)>> {
        lock(&self.assigned).take()
    }

    /// Remembers that everything before `next_offset` is settled.
    pub(crate) fn settle(&self, topic: &str, partition: i32, next_offset: i64) {
        let mut positions = lock(&self.positions);
        match positions.iter_mut().find(|((t, p), _)| t == topic && *p == partition) {
            Some((_, position)) => *position = next_offset.max(*position),
            None => {
                positions.insert((topic.to_owned(), partition), next_offset);
            }
        }
        self.uncommitted.store(true, Ordering::Release);
    }

    /// Commits what is settled. A failure is counted and repaired by the next commit, which covers more.
    pub(crate) fn commit(&self, consumer: &GroupConsumer, mode: CommitMode) {
        if !self.uncommitted.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), next) in lock(&self.positions).iter() {
            if let Err(error) = list.add_partition_offset(topic, *partition, Offset::Offset(*next)) {
                tracing::error!(event = "commit_list_refused", stage = self.stage, %error);
            }
        }
        if let Err(error) = consumer.commit(&list, mode) {
            self.note_commit(&Err(error));
        }
    }

    fn note_commit(&self, result: &KafkaResult<()>) {
        if let Err(error) = result {
            self.uncommitted.store(true, Ordering::Release);
            metrics::counter!(names::COMMIT_FAILURES, "stage" => self.stage).increment(1);
            tracing::warn!(event = "offset_commit_failed", stage = self.stage, %error);
        }
    }

    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Member {
    fn error(&self, error: KafkaError, reason: &str) {
        kafka::note_client_error(&self.health, &error, reason);
    }
}

impl ConsumerContext for Member {
    /// Runs inside `poll`. An assignment is only noted: the loop asks the handler where to start (which may have to wait for a
    /// database) and assigns then. A revocation is settled here: nothing is in flight between batches, so what is settled is
    /// committed and the partitions are let go.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<_> =
            list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        self.changed();
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(event = "partitions_assigned", stage = self.stage, count = partitions.len());
            *lock(&self.assigned) = Some(partitions);
            return;
        }
        let lost = consumer.assignment_lost();
        if lost {
            self.health.set(CHECK, Err("the group took the partitions away; rejoining".to_owned()));
        } else {
            self.commit(consumer, CommitMode::Sync);
        }
        *lock(&self.assigned) = None;
        lock(&self.positions).clear();
        tracing::info!(event = "partitions_revoked", stage = self.stage, count = partitions.len(), lost);
        metrics::gauge!(names::PARTITIONS, "stage" => self.stage).set(0.0);
        if let Err(error) = consumer.unassign() {
            tracing::error!(event = "unassign_failed", stage = self.stage, %error);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.note_commit(&result);
    }
}
