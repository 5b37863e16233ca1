//! The records of the assigned partitions: polled in batches, and kept waiting while a batch cannot go on.

use super::batch::{Batch, Held};
use super::membership::{GroupConsumer, keeps_others};
use super::topic_probe::TopicProbe;
use super::{ConsumerSettings, checks};
use crate::health::Health;
use crate::kafka;
use crate::metrics as names;
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Longest wait until the client has gone back; it asks no broker for that.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often `poll` returns when there is nothing to read.
const IDLE_POLL: Duration = Duration::from_millis(50);

/// Every call of the client's `poll` is here, and with it everything the client reports beside records.
pub(super) struct Source<'c> {
    consumer: &'c GroupConsumer,
    stage: &'static str,
    health: Health,
    shutdown: CancellationToken,
    max_records: usize,
    max_bytes: usize,
    max_age: Duration,
    /// Records that came out of a paused client all the same: first in the next batch.
    early: Vec<BorrowedMessage<'c>>,
    topics: TopicProbe,
}

/// What the group gave this instance.
pub(super) struct Assignment {
    /// Every partition that is this instance's now: those it has not started on, and those it keeps
    pub(super) all: Vec<(String, i32)>,
    /// Released once they are revoked again
    pub(super) held: Held,
}

impl<'c> Source<'c> {
    pub(super) fn new(
        consumer: &'c GroupConsumer,
        settings: &ConsumerSettings,
        stage: &'static str,
        health: Health,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            consumer,
            stage,
            health,
            shutdown,
            max_records: settings.batch_records,
            max_bytes: settings.batch_bytes,
            max_age: settings.batch_age,
            early: Vec::new(),
            topics: TopicProbe::new(settings),
        }
    }

    pub(super) fn consumer(&self) -> &'c GroupConsumer {
        self.consumer
    }

    /// An assignment that came with the last `poll`.
    pub(super) fn take_assignment(&mut self) -> anyhow::Result<Option<Assignment>> {
        let Some(mut all) = self.consumer.context().take_assigned() else {
            return Ok(None);
        };
        if self.keeps_others() {
            let kept = self.consumer.assignment()?;
            let kept = kept.elements();
            all.extend(
                kept.iter()
                    .map(|element| (element.topic().to_owned(), element.partition())),
            );
        } else {
            self.early.clear();
        }
        let held = self.held_nothing();
        Ok(Some(Assignment { all, held }))
    }

    /// Whether partitions that are read already are kept at an assignment of others.
    pub(super) fn keeps_others(&self) -> bool {
        keeps_others(self.consumer)
    }

    /// The present assignment, without a record in hand.
    pub(super) fn held_nothing(&self) -> Held {
        Held {
            generation: self.consumer.context().generation(),
            oldest_ms: None,
        }
    }

    /// Reads from these offsets on; partitions that are read already go on where they are.
    pub(super) fn start(&self, offsets: &TopicPartitionList) -> anyhow::Result<()> {
        if keeps_others(self.consumer) {
            let kept = self.consumer.assignment()?;
            let mut new = TopicPartitionList::new();
            for element in offsets.elements() {
                let (topic, partition) = (element.topic(), element.partition());
                if kept.find_partition(topic, partition).is_none() {
                    new.add_partition_offset(topic, partition, element.offset())?;
                }
            }
            self.consumer.incremental_assign(&new)?;
        } else {
            self.consumer.assign(offsets)?;
        }
        // A partition that was lost while the stage waited is still paused in the client when it comes back.
        self.consumer.resume(offsets)?;
        self.consumer.context().report_partitions(self.consumer);
        Ok(())
    }

    /// A batch was released: what it holds of partitions that are still ours is read again, with what came after it. Where a rebalance
    /// revokes everything there is nothing to do, since every partition is started again.
    pub(super) fn read_again(&mut self, batch: &Batch<'_>) -> anyhow::Result<()> {
        let early = std::mem::take(&mut self.early);
        if !keeps_others(self.consumer) || !self.may_continue() {
            return Ok(());
        }
        let ours = self.consumer.assignment()?;
        let mut first = TopicPartitionList::new();
        for message in batch.messages().iter().chain(&early) {
            let (topic, partition) = (message.topic(), message.partition());
            // Each partition's records are in order.
            if ours.find_partition(topic, partition).is_some()
                && first.find_partition(topic, partition).is_none()
            {
                first.add_partition_offset(topic, partition, Offset::Offset(message.offset()))?;
            }
        }
        if first.count() > 0 {
            let sought = self.consumer.seek_partitions(first, SEEK_TIMEOUT)?;
            for element in sought.elements() {
                element.error()?;
            }
        }
        self.consumer.resume(&ours)?;
        Ok(())
    }

    /// While a topic is missing: probes the topics when that is due, and reports it in `/ready`. Progress on other topics does not hide it.
    pub(super) fn probe_topics(&mut self) {
        if let Some(state) = self.topics.run_if_due(self.consumer) {
            self.health.set(checks::TOPIC_MISSING, state);
        }
    }

    /// Polls a batch: what is there now, up to the bounds; after the first record it waits at most the batch's age for more. `None`: nothing
    /// to read, or the partitions changed meanwhile.
    pub(super) fn next_batch(&mut self) -> anyhow::Result<Option<Batch<'c>>> {
        let generation = self.consumer.context().generation();
        let messages = self.collect()?;
        if self.consumer.context().generation() != generation {
            // Some of these records belong to another member now.
            self.read_again(&Batch::new(messages, generation))?;
            return Ok(None);
        }
        if messages.is_empty() {
            self.check_fatal()?;
            // Silence means "caught up" only where records could come from.
            if self.health.is_ready() {
                metrics::gauge!(names::LAG_SECONDS, "stage" => self.stage).set(0.0);
            }
            return Ok(None);
        }
        Ok(Some(Batch::new(messages, generation)))
    }

    fn collect(&mut self) -> anyhow::Result<Vec<BorrowedMessage<'c>>> {
        let mut messages = std::mem::take(&mut self.early);
        let mut bytes: usize = messages.iter().map(|message| message.payload_len()).sum();
        let mut age_ends = (!messages.is_empty()).then(Instant::now);
        while messages.len() < self.max_records && bytes < self.max_bytes {
            let timeout = match age_ends {
                None => IDLE_POLL,
                Some(end) => end.saturating_duration_since(Instant::now()),
            };
            match self.consumer.poll(timeout) {
                Some(Ok(message)) => {
                    bytes += message.payload_len();
                    messages.push(message);
                    age_ends.get_or_insert_with(|| Instant::now() + self.max_age);
                }
                Some(Err(error)) => {
                    self.report(&error)?;
                    if self.shutdown.is_cancelled() {
                        break;
                    }
                }
                None => break,
            }
        }
        Ok(messages)
    }

    /// Waits with a batch in hand: pauses the partitions and keeps polling, so that the group keeps this instance as a member; calls
    /// `at_each_poll` meanwhile. False: the partitions changed or the stage is ending, so the batch must be released.
    pub(super) fn wait(
        &mut self,
        delay: Duration,
        held: Held,
        at_each_poll: impl Fn(),
    ) -> anyhow::Result<bool> {
        let until = Instant::now() + delay;
        let assignment = self.consumer.assignment()?;
        self.consumer.pause(&assignment)?;
        while Instant::now() < until && self.may_settle(held) {
            at_each_poll();
            match self.consumer.poll(IDLE_POLL) {
                Some(Ok(message)) => self.early.push(message),
                Some(Err(error)) => self.report(&error)?,
                None => {}
            }
        }
        if !self.may_settle(held) {
            return Ok(false);
        }
        self.consumer.resume(&assignment)?;
        Ok(true)
    }

    /// Whether the partitions are still those of then, and the stage is not ending.
    pub(super) fn may_settle(&self, held: Held) -> bool {
        self.consumer.context().generation() == held.generation && self.may_continue()
    }

    /// False once the stage is ending, or the client must be replaced.
    pub(super) fn may_continue(&self) -> bool {
        !self.shutdown.is_cancelled() && !self.lost_brokers()
    }

    /// True when the client will not connect again: it must be replaced.
    pub(super) fn lost_brokers(&self) -> bool {
        self.consumer.context().has_forgotten_brokers()
    }

    /// Clears the `kafka` check once a broker is connected again. For a stage whose only client is the consumer: a publisher does it itself.
    pub(super) fn note_connection(&self) {
        if self.consumer.context().is_connected() && self.health.is_failing(kafka::CHECK) {
            self.health.set(kafka::CHECK, Ok(()));
        }
    }

    /// Ends the stage when the client cannot recover.
    fn check_fatal(&self) -> anyhow::Result<()> {
        match self.consumer.client().fatal_error() {
            None => Ok(()),
            Some((code, reason)) => {
                anyhow::bail!("fatal consumer error: {code:?}: {reason}; restart the process")
            }
        }
    }

    /// What `poll` reports beside records. Fatal errors end the stage; others are a dependency's and show in `/ready`.
    fn report(&mut self, error: &KafkaError) -> anyhow::Result<()> {
        match error.rdkafka_error_code() {
            // What came before it says more than "fatal".
            Some(RDKafkaErrorCode::Fatal) => self.check_fatal()?,
            Some(RDKafkaErrorCode::PollExceeded) => self.health.set(
                checks::MEMBERSHIP,
                Err("max.poll.interval.ms was exceeded; rejoining the group".to_owned()),
            ),
            // Reported once, and the partition is not fetched any more: only a new assignment takes it back.
            Some(RDKafkaErrorCode::AutoOffsetReset) => self.health.set(
                checks::OFFSET_OUT_OF_RANGE,
                Err(format!(
                    "the next offset is no longer in the topic: records were deleted before they were read ({error}). Decide where to \
                     continue: run `kafka-consumer-groups --reset-offsets`, or for persistence change the row in \
                     persistence.consumer_offsets; then restart"
                )),
            ),
            // It does not name the topic: a probe does.
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => self.topics.request(),
            Some(
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed),
            ) => {
                self.health.set(
                    checks::AUTHORIZATION,
                    Err(format!("{}: {error}", kafka::code_of(error))),
                );
                if code == RDKafkaErrorCode::TopicAuthorizationFailed {
                    self.topics.request();
                }
            }
            Some(_) | None => tracing::debug!(event = "poll_error", stage = self.stage, %error),
        }
        Ok(())
    }
}
