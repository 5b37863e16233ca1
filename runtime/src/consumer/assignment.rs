//! Membership of the group: assignments are noted inside `poll` and settled by the loop, between batches.

use super::turn::Loop;
use super::waiting::{BREAKER, OFFSET, RIGHTS, WORLD, Waited};
use super::{Handler, StageError, Start};
use crate::health::Health;
use crate::kafka;
use crate::metrics as names;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Health check of the group membership.
pub(super) const CHECK: &str = "consumer";
/// Longest wait for one answer of the broker.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the client tells us from inside `poll`, on the loop's own thread.
pub(super) struct Member {
    health: Health,
    stage: &'static str,
    /// Counts every assignment and revocation: a batch from before a change is not ours any more.
    generation: AtomicU64,
    /// An assignment the loop has not settled yet.
    assigned: Mutex<Option<Vec<(String, i32)>>>,
}

pub(super) type GroupConsumer = BaseConsumer<Member>;

impl Member {
    pub(super) fn new(health: Health, stage: &'static str) -> Self {
        Self {
            health,
            stage,
            generation: AtomicU64::new(0),
            assigned: Mutex::default(),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn set_assigned(&self, partitions: Option<Vec<(String, i32)>>) {
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner) = partitions;
    }

    fn take_assigned(&self) -> Option<Vec<(String, i32)>> {
        self.assigned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        kafka::token()
    }

    fn error(&self, error: KafkaError, reason: &str) {
        kafka::note_client_error(&self.health, &error, reason);
    }
}

impl ConsumerContext for Member {
    /// Runs inside `poll`. An assignment is only noted: the loop asks the handler where to start (which may have to wait for a
    /// database) and assigns then. At a revocation nothing is in flight: the client commits what is stored and lets the partitions go.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        err: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<_> = list
            .elements()
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect();
        self.generation.fetch_add(1, Ordering::AcqRel);
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
                CHECK,
                Err("the group took the partitions away, since this instance was not heard of in time; rejoining by itself"
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
        metrics::gauge!(names::PARTITIONS, "stage" => self.stage).set(0.0);
        if let Err(error) = consumer.unassign() {
            tracing::error!(event = "unassign_failed", stage = self.stage, %error);
        }
    }

    /// A failed commit is only counted: the client tries again while what is stored is ahead of what is committed.
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            metrics::counter!(names::COMMIT_FAILURES, "stage" => self.stage).increment(1);
            tracing::warn!(event = "offset_commit_failed", stage = self.stage, %error, "tried again");
        }
    }
}

impl<H: Handler> Loop<'_, H> {
    /// Answers a new assignment: asks the handler where to start, and starts there.
    pub(super) fn settle_assignment(&mut self) -> anyhow::Result<()> {
        while let Some(partitions) = self.consumer.context().take_assigned() {
            self.early.clear();
            let generation = self.consumer.context().generation();
            let mut attempt = 0;
            let starts = loop {
                match self
                    .handler
                    .positions(&partitions)
                    .and_then(|starts| self.resolve(&partitions, &starts))
                {
                    Ok(list) => break list,
                    Err(error) if error.must_stop() => return Err(error.into()),
                    Err(error) => {
                        if self.wait(&error, attempt, generation, &[])? == Waited::LetGo {
                            break TopicPartitionList::new();
                        }
                        attempt += 1;
                    }
                }
            };
            if !self.is_current(generation) || self.shutdown.is_cancelled() {
                continue;
            }
            self.consumer.assign(&starts)?;
            // A partition lost while the stage waited is still paused in the client when it comes back.
            self.consumer.resume(&starts)?;
            // Whatever was wrong was with the partitions of before.
            for check in [WORLD, BREAKER, RIGHTS, OFFSET, CHECK] {
                self.health.set(check, Ok(()));
            }
            metrics::gauge!(names::BREAKER_OPEN, "stage" => self.stage).set(0.0);
            #[expect(clippy::cast_precision_loss, reason = "a count of partitions")]
            metrics::gauge!(names::PARTITIONS, "stage" => self.stage).set(starts.count() as f64);
        }
        Ok(())
    }

    /// Turns starts into offsets the client can be assigned.
    fn resolve(
        &self,
        partitions: &[(String, i32)],
        starts: &[Start],
    ) -> Result<TopicPartitionList, StageError> {
        if starts.len() != partitions.len() {
            return Err(StageError::stop(
                "handler_contract",
                "one start a partition is needed",
            ));
        }
        let mut list = TopicPartitionList::new();
        let (mut committed, mut since) = (TopicPartitionList::new(), TopicPartitionList::new());
        for ((topic, partition), start) in partitions.iter().zip(starts) {
            let (to, offset) = match start {
                Start::Beginning => (&mut list, Offset::Beginning),
                Start::Offset(offset) => (&mut list, Offset::Offset(*offset)),
                Start::Committed => (&mut committed, Offset::Invalid),
                Start::Since(time) => (&mut since, Offset::Offset(*time)),
            };
            to.add_partition_offset(topic, *partition, offset)
                .map_err(unknown)?;
        }
        if committed.count() > 0 {
            for element in self
                .consumer
                .committed_offsets(committed, DEADLINE)
                .map_err(unknown)?
                .elements()
            {
                element.error().map_err(unknown)?;
                let offset = if element.offset() == Offset::Invalid {
                    Offset::Beginning
                } else {
                    element.offset()
                };
                list.add_partition_offset(element.topic(), element.partition(), offset)
                    .map_err(unknown)?;
            }
        }
        if since.count() > 0 {
            // Learned before the times are asked, so that nothing published in between is beyond both.
            let mut ends = Vec::new();
            for element in since.elements() {
                let (_, end) = self
                    .consumer
                    .fetch_watermarks(element.topic(), element.partition(), DEADLINE)
                    .map_err(unknown)?;
                ends.push((element.topic().to_owned(), element.partition(), end));
            }
            for element in self
                .consumer
                .offsets_for_times(since, DEADLINE)
                .map_err(unknown)?
                .elements()
            {
                element.error().map_err(unknown)?;
                let end = ends
                    .iter()
                    .find(|end| end.0 == element.topic() && end.1 == element.partition())
                    .map_or(0, |end| end.2);
                // The client would look the end up later and pass over what is published meanwhile.
                let offset = if element.offset() == Offset::End {
                    Offset::Offset(end)
                } else {
                    element.offset()
                };
                list.add_partition_offset(element.topic(), element.partition(), offset)
                    .map_err(unknown)?;
            }
        }
        Ok(list)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn unknown(error: KafkaError) -> StageError {
    StageError::wait(
        "kafka_unavailable",
        format!("cannot learn where to start: {error}"),
    )
}
