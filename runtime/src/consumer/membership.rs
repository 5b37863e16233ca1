//! Membership of the consumer group: what the client reports about it from inside `poll`.
//!
//! An assignment is only noted here. The loop takes it between batches, asks the handler where to start, and starts there.

use super::checks;
use super::commit_log::{CommitLine, CommitLog};
use crate::health::Health;
use crate::kafka;
use crate::kafka::brokers::Brokers;
use crate::metrics as names;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The Kafka client of a stage.
pub(super) type GroupConsumer = BaseConsumer<GroupMembership>;

/// Called by the client on the loop's own thread.
pub(super) struct GroupMembership {
    health: Health,
    stage: &'static str,
    /// Counts what makes a batch from before it no longer wholly ours: every revocation and, where one revokes everything, every assignment.
    generation: AtomicU64,
    /// An assignment the loop has not taken yet.
    assigned: Mutex<Option<Vec<(String, i32)>>>,
    brokers: Brokers,
    commits: Mutex<CommitLog>,
    /// The client was replaced: what it still reports counts no more.
    replaced: AtomicBool,
}

impl GroupMembership {
    pub(super) fn new(health: Health, stage: &'static str) -> Self {
        Self {
            health,
            stage,
            generation: AtomicU64::new(0),
            assigned: Mutex::default(),
            brokers: Brokers::default(),
            commits: Mutex::default(),
            replaced: AtomicBool::new(false),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The partitions of a new assignment, once.
    pub(super) fn take_assigned(&self) -> Option<Vec<(String, i32)>> {
        self.assigned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// True when the client will not connect again: it must be replaced.
    pub(super) fn has_forgotten_brokers(&self) -> bool {
        self.brokers.are_forgotten(Instant::now())
    }

    /// True while the client is connected and logged in to a broker.
    pub(super) fn is_connected(&self) -> bool {
        self.brokers.any_is_up()
    }

    /// From now on the client reports nothing.
    pub(super) fn mark_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// Sets the gauge to how many partitions are ours.
    pub(super) fn report_partitions(&self, consumer: &GroupConsumer) {
        if let Ok(assignment) = consumer.assignment() {
            #[expect(clippy::cast_precision_loss, reason = "a count of partitions")]
            metrics::gauge!(names::PARTITIONS, "stage" => self.stage)
                .set(assignment.count() as f64);
        }
    }

    fn set_assigned(&self, partitions: Option<Vec<(String, i32)>>) {
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner) = partitions;
    }
}

/// True where a rebalance leaves a member the partitions that stay its own: under the consumer protocol (KIP-848).
pub(super) fn keeps_others(consumer: &GroupConsumer) -> bool {
    matches!(
        consumer.rebalance_protocol(),
        RebalanceProtocol::Cooperative
    )
}

impl ClientContext for GroupMembership {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        kafka::token()
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !self.is_replaced() {
            kafka::note_client_error(&self.health, &error, reason);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.brokers.note(statistics, Instant::now());
    }
}

impl ConsumerContext for GroupMembership {
    /// Runs inside `poll`. An assignment is only noted: where to start may have to wait for a database. At a revocation nothing is in
    /// flight: the client commits what is stored and gives the partitions back.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        err: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.is_replaced() {
            if let Err(error) = consumer.unassign() {
                tracing::debug!(event = "unassign_failed", stage = self.stage, %error);
            }
            return;
        }
        let partitions: Vec<_> = list
            .elements()
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect();
        let keeps_others = keeps_others(consumer);
        if err != RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS || !keeps_others {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        if err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            tracing::info!(
                event = "partitions_assigned",
                stage = self.stage,
                count = partitions.len()
            );
            self.set_assigned(Some(partitions));
            return;
        }
        let lost = consumer.assignment_lost();
        if lost {
            self.health.set(
                checks::MEMBERSHIP,
                Err("the group revoked this instance's partitions because its heartbeats stopped; it rejoins by itself"
                    .to_owned()),
            );
        }
        self.set_assigned(None);
        tracing::info!(
            event = "partitions_revoked",
            stage = self.stage,
            count = partitions.len(),
            lost
        );
        let unassigned = if keeps_others {
            consumer.incremental_unassign(list)
        } else {
            consumer.unassign()
        };
        self.report_partitions(consumer);
        if let Err(error) = unassigned {
            tracing::error!(event = "unassign_failed", stage = self.stage, %error);
        }
    }

    /// A failed commit is only counted: the client retries it while what is stored is ahead of what is committed.
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        let mut log = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let line = log.note(result.is_ok(), Instant::now());
        drop(log);
        let stage = self.stage;
        if let Err(error) = result {
            metrics::counter!(names::COMMIT_FAILURES, "stage" => stage).increment(1);
            if let Some(CommitLine::Failing(count)) = line {
                tracing::warn!(event = "offset_commit_failed", stage, count, %error, "the client retries it");
            }
        } else if let Some(CommitLine::Recovered(count)) = line {
            tracing::info!(event = "offset_commit_recovered", stage, failed = count);
        }
    }
}
