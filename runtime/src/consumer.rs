//! The one consumer loop. It never steps over a record.
//!
//! A batch is polled on an OS thread of its own, handed to the stage's [`Handler`], and every record gets one [`Outcome`]:
//! done, forwarded, or rejected. What is forwarded or dead-lettered is published and acknowledged before any offset of the batch
//! moves; then the batch's offsets are committed. So a committed offset always ends a prefix in which every record has its next home.
//!
//! While the world is down (broker, registry, database) the handler answers [`Transient`]: the loop pauses its partitions and keeps
//! polling with the same batch in hand, so it stays in the group and nothing is dead-lettered. Rebalances arrive inside `poll`,
//! which is called only between batches or while waiting; a batch held through one is let go uncommitted and read again by the new owner.

use crate::breaker::{Breaker, BreakerSettings};
use crate::dead_letter;
use crate::group::{self, GroupConsumer, Member};
use crate::health::Health;
use crate::kafka::{self, KafkaArgs};
use crate::metrics as names;
use crate::publisher::{OutRecord, PublishError, Publisher};
pub use crate::record::Record;
use bytes::Bytes;
use contracts::Rejection;
use rdkafka::Message;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

/// What a stage does with records. Three stages implement it; the loop is the only caller.
pub trait Handler: Send {
    /// The stage's name, in metrics, logs and dead letters.
    fn stage(&self) -> &'static str;

    /// Settles a batch: exactly one outcome a record, in order. Called again with the same records after a [`Transient`],
    /// so a handler must not do twice what it did once. Every wait inside has a deadline well below `max.poll.interval.ms`.
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
        Self { code, reason: reason.to_string(), fatal: false }
    }

    /// Waiting cannot help: end the process.
    pub fn fatal(code: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { code, reason: reason.to_string(), fatal: true }
    }
}

/// How a stage consumes.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Connection
    pub kafka: KafkaArgs,
    /// Consumer group
    pub group: String,
    /// Topics read
    pub topics: Vec<String>,
    /// Where rejections go
    pub dead_letter_topic: String,
    /// Most records a batch
    pub batch_records: usize,
    /// Most bytes of values a batch
    pub batch_bytes: usize,
    /// How long a batch waits for more after its first record
    pub batch_age: Duration,
    /// Longest single wait for acknowledgements before they are tried again
    pub publish_deadline: Duration,
    /// When to stop dead-lettering
    pub breaker: BreakerSettings,
}

/// Tuning of a consuming stage, as flags.
#[derive(Debug, Clone, clap::Args)]
pub struct StageArgs {
    /// Most records a batch
    #[arg(long, env = "EVENTFLOW_BATCH_RECORDS", default_value_t = 1000)]
    pub batch_records: usize,
    /// Most milliseconds a batch waits for more records after its first
    #[arg(long, env = "EVENTFLOW_BATCH_AGE_MS", default_value_t = 2)]
    pub batch_age_ms: u64,
    /// Stop when more than this share of recent records would be dead-lettered (0 to 1); above 1: never
    #[arg(long, env = "EVENTFLOW_BREAKER_SHARE", default_value_t = 0.5)]
    pub breaker_share: f64,
    /// Records the breaker looks back on
    #[arg(long, env = "EVENTFLOW_BREAKER_WINDOW", default_value_t = 200)]
    pub breaker_window: usize,
    /// Dead-letter topic
    #[arg(long, env = "EVENTFLOW_TOPIC_DLQ", default_value = contracts::topics::DLQ)]
    pub topic_dlq: String,
}

impl StageArgs {
    /// Settings of a stage reading `topic` as `group`.
    #[must_use]
    pub fn settings(&self, kafka: &KafkaArgs, group: &str, topics: Vec<String>) -> ConsumerSettings {
        ConsumerSettings {
            kafka: kafka.clone(),
            group: group.to_owned(),
            topics,
            dead_letter_topic: self.topic_dlq.clone(),
            batch_records: self.batch_records.max(1),
            batch_bytes: 16 << 20,
            batch_age: Duration::from_millis(self.batch_age_ms),
            publish_deadline: Duration::from_secs(12),
            breaker: BreakerSettings { share: self.breaker_share, window: self.breaker_window },
        }
    }
}

/// What a stage did, said when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Records settled without a new record
    pub done: u64,
    /// Records forwarded
    pub forwarded: u64,
    /// Records dead-lettered
    pub dead_lettered: u64,
    /// Records in hand at the end that are not settled; they are read again
    pub left_unsettled: u64,
}

/// Runs a stage until `shutdown`: drains, commits, and says what was left.
///
/// # Errors
/// A fatal client error, settings librdkafka refuses, or a handler that broke its contract. Nothing unsettled is committed.
pub async fn run<H: Handler + 'static>(
    settings: ConsumerSettings,
    handler: H,
    publisher: Publisher,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<Report> {
    health.set(group::CHECK, Err("no partitions assigned yet".to_owned()));
    let runtime = tokio::runtime::Handle::current();
    let (done, ended) = tokio::sync::oneshot::channel();
    let stage = handler.stage();
    std::thread::Builder::new().name(stage.to_owned()).spawn(move || {
        let result = consume(settings, handler, publisher, health, shutdown, runtime);
        if done.send(result).is_err() {
            tracing::warn!(event = "stage_ended_unobserved", stage);
        }
    })?;
    let report = ended.await.map_err(|_| anyhow::anyhow!("the {stage} thread panicked; its offsets are uncommitted"))??;
    tracing::info!(
        event = "stage_drained",
        stage,
        done = report.done,
        forwarded = report.forwarded,
        dead_lettered = report.dead_lettered,
        left_unsettled = report.left_unsettled
    );
    Ok(report)
}

/// Health check of what a stage waits for.
const WORLD: &str = "world";
/// Health check of the breaker.
const BREAKER: &str = "breaker";
/// How often `poll` returns to look around when there is nothing to read.
const IDLE_POLL: Duration = Duration::from_millis(50);

/// The stage's thread, from first poll to last commit.
fn consume<H: Handler>(
    settings: ConsumerSettings,
    handler: H,
    publisher: Publisher,
    health: Health,
    shutdown: CancellationToken,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<Report> {
    let stage = handler.stage();
    let consumer = connect(&settings, &health, stage)?;
    let breaker = Breaker::new(settings.breaker);
    let report = Report::default();
    let mut turn = Loop {
        settings,
        handler,
        stage,
        publisher,
        health,
        shutdown,
        runtime,
        breaker,
        report,
        consumer: &consumer,
        early: Vec::new(),
    };
    let result = turn.until_shutdown();
    let report = turn.report;
    // What is settled is committed even when the loop ends in an error: it has reached its next home.
    consumer.context().commit(&consumer, CommitMode::Sync);
    result.map(|()| report)
}

fn connect(settings: &ConsumerSettings, health: &Health, stage: &'static str) -> anyhow::Result<GroupConsumer> {
    let mut config = settings.kafka.client_config(&settings.group);
    let ours = [
        ("group.id", settings.group.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // An offset that is gone is a loss to be seen by a person, never a silent jump.
        ("auto.offset.reset", "error"),
        // Eager: a rebalance takes everything, so a batch is either wholly ours or let go.
        ("partition.assignment.strategy", "range"),
        ("check.crcs", "true"),
        ("isolation.level", "read_committed"),
        // The default sleeps a second whenever the local queue is full.
        ("fetch.queue.backoff.ms", "10"),
        ("queued.max.messages.kbytes", "32768"),
    ];
    for (name, value) in ours {
        config.set(name, value);
    }
    for (name, value) in [("session.timeout.ms", "10000"), ("max.poll.interval.ms", "120000")] {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    let consumer = GroupConsumer::from_config_and_context(&config, Member::new(health.clone(), stage))?;
    consumer.subscribe(&settings.topics.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(consumer)
}

/// How a wait ended.
#[derive(PartialEq, Eq)]
enum Waited {
    /// Try again
    Again,
    /// The partitions changed or the role is ending: let the batch go
    LetGo,
}

struct Loop<'c, H> {
    settings: ConsumerSettings,
    handler: H,
    stage: &'static str,
    publisher: Publisher,
    health: Health,
    shutdown: CancellationToken,
    runtime: tokio::runtime::Handle,
    breaker: Breaker,
    report: Report,
    consumer: &'c GroupConsumer,
    /// Records that came out of a paused client all the same: first in the next batch.
    early: Vec<BorrowedMessage<'c>>,
}

impl<'c, H: Handler> Loop<'c, H> {
    fn until_shutdown(&mut self) -> anyhow::Result<()> {
        while !self.shutdown.is_cancelled() {
            self.settle_assignment()?;
            let generation = self.consumer.context().generation();
            let batch = self.collect()?;
            if generation != self.consumer.context().generation() {
                // The partitions changed while polling: these records belong to whoever has them now.
                self.early.clear();
                continue;
            }
            if batch.is_empty() {
                metrics::gauge!(names::LAG_SECONDS, "stage" => self.stage).set(0.0);
                self.consumer.context().commit(self.consumer, CommitMode::Async);
                continue;
            }
            let started = Instant::now();
            if self.settle(&batch, generation)? {
                for message in &batch {
                    self.consumer.context().settle(message.topic(), message.partition(), message.offset() + 1);
                }
                self.consumer.context().commit(self.consumer, CommitMode::Async);
                metrics::histogram!(names::BATCH_SECONDS, "stage" => self.stage).record(started.elapsed());
            } else {
                self.report.left_unsettled += batch.len() as u64;
                tracing::warn!(
                    event = "batch_let_go",
                    stage = self.stage,
                    records = batch.len(),
                    "uncommitted; it is read again"
                );
            }
        }
        Ok(())
    }

    /// Answers a new assignment: asks the handler where to start, and starts there.
    fn settle_assignment(&mut self) -> anyhow::Result<()> {
        while let Some(partitions) = self.consumer.context().take_assigned() {
            self.early.clear();
            let generation = self.consumer.context().generation();
            let starts = loop {
                match self.handler.positions(&partitions).and_then(|starts| self.resolve(&partitions, &starts)) {
                    Ok(list) => break list,
                    Err(error) if error.fatal => return Err(error.into()),
                    Err(error) => {
                        if self.wait(&error, 0, generation, &[])? == Waited::LetGo {
                            break TopicPartitionList::new();
                        }
                    }
                }
            };
            if self.consumer.context().generation() != generation || self.shutdown.is_cancelled() {
                continue;
            }
            self.consumer.assign(&starts)?;
            // A partition lost while the stage waited is still paused in the client when it comes back.
            self.consumer.resume(&starts)?;
            self.health.set(WORLD, Ok(()));
            self.health.set(group::CHECK, Ok(()));
            #[expect(clippy::cast_precision_loss, reason = "a count of partitions")]
            metrics::gauge!(names::PARTITIONS, "stage" => self.stage).set(starts.count() as f64);
        }
        Ok(())
    }

    /// Turns starts into offsets the client can be assigned.
    fn resolve(&self, partitions: &[(String, i32)], starts: &[Start]) -> Result<TopicPartitionList, Transient> {
        let unknown = |error: KafkaError| Transient::wait("kafka_unavailable", format!("cannot learn where to start: {error}"));
        let (mut list, mut committed, mut since) =
            (TopicPartitionList::new(), TopicPartitionList::new(), TopicPartitionList::new());
        if starts.len() != partitions.len() {
            return Err(Transient::fatal("handler_contract", "one start a partition is needed"));
        }
        for ((topic, partition), start) in partitions.iter().zip(starts) {
            match start {
                Start::Beginning => list.add_partition_offset(topic, *partition, Offset::Beginning),
                Start::Offset(offset) => list.add_partition_offset(topic, *partition, Offset::Offset(*offset)),
                Start::Committed => {
                    committed.add_partition(topic, *partition);
                    Ok(())
                }
                Start::Since(time) => since.add_partition_offset(topic, *partition, Offset::Offset(*time)),
            }
            .map_err(unknown)?;
        }
        let deadline = Duration::from_secs(5);
        // Learned before the times are asked, so that nothing published in between is beyond both.
        let mut ends = Vec::new();
        for element in since.elements() {
            let (_, end) = self.consumer.fetch_watermarks(element.topic(), element.partition(), deadline).map_err(unknown)?;
            ends.push((element.topic().to_owned(), element.partition(), end));
        }
        for (asked, answer) in [
            (
                committed.count(),
                if committed.count() > 0 { self.consumer.committed_offsets(committed, deadline) } else { Ok(committed) },
            ),
            (since.count(), if since.count() > 0 { self.consumer.offsets_for_times(since, deadline) } else { Ok(since) }),
        ] {
            if asked == 0 {
                continue;
            }
            for element in answer.map_err(unknown)?.elements() {
                element.error().map_err(unknown)?;
                let offset = match element.offset() {
                    Offset::Invalid => Offset::Beginning,
                    // The client would look the end up later and pass over what is published meanwhile.
                    Offset::End => Offset::Offset(
                        ends.iter().find(|end| end.0 == element.topic() && end.1 == element.partition()).map_or(0, |end| end.2),
                    ),
                    known => known,
                };
                list.add_partition_offset(element.topic(), element.partition(), offset).map_err(unknown)?;
            }
        }
        Ok(list)
    }

    /// Polls a batch: what is there now, up to the bounds; after the first record it waits at most the batch's age for more.
    fn collect(&mut self) -> anyhow::Result<Vec<BorrowedMessage<'c>>> {
        let mut batch = std::mem::take(&mut self.early);
        let mut bytes: usize = batch.iter().map(|message| message.payload_len()).sum();
        let mut age_ends = (!batch.is_empty()).then(Instant::now);
        while batch.len() < self.settings.batch_records && bytes < self.settings.batch_bytes {
            let patience = match age_ends {
                None => IDLE_POLL,
                Some(end) => end.saturating_duration_since(Instant::now()),
            };
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    bytes += message.payload_len();
                    batch.push(message);
                    age_ends.get_or_insert_with(|| Instant::now() + self.settings.batch_age);
                }
                Some(Err(error)) => self.note_poll_error(&error)?,
                None => break,
            }
        }
        Ok(batch)
    }

    /// What `poll` reports beside records. Fatal errors end the stage; others are the world's and show in `/ready`.
    fn note_poll_error(&self, error: &KafkaError) -> anyhow::Result<()> {
        if let KafkaError::MessageConsumptionFatal(code) = error {
            anyhow::bail!("fatal consumer error: {code}; the process must be restarted");
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PollExceeded) => {
                self.health.set(group::CHECK, Err("max.poll.interval.ms was exceeded; rejoining the group".to_owned()));
            }
            Some(RDKafkaErrorCode::AutoOffsetReset) => {
                self.health.set(
                    group::CHECK,
                    Err("the next offset is no longer in the topic: records were deleted before they were read; \
                         decide where to go on with `kafka-consumer-groups --reset-offsets`"
                        .to_owned()),
                );
            }
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed,
            ) => {
                self.health.set(kafka::CHECK, Err(format!("{}: {error}", kafka::code_of(error))));
            }
            Some(_) | None => tracing::debug!(event = "poll_notice", stage = self.stage, %error),
        }
        Ok(())
    }

    /// Brings every record of the batch to its next home. False: let go, nothing of it may be committed.
    fn settle(&mut self, batch: &[BorrowedMessage<'c>], generation: u64) -> anyhow::Result<bool> {
        let records: Vec<Record<'_>> = batch.iter().map(Record::of).collect();
        self.note_lag(&records);
        metrics::counter!(names::RECORDS_CONSUMED, "stage" => self.stage).increment(records.len() as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch size")]
        metrics::histogram!(names::BATCH_RECORDS, "stage" => self.stage).record(records.len() as f64);
        let mut attempt = 0;
        let outcomes = loop {
            match self.handler.handle(&records) {
                Ok(outcomes) => {
                    anyhow::ensure!(outcomes.len() == records.len(), "{}: one outcome a record is needed", self.stage);
                    if !self.breaker.would_open(outcomes.iter().map(is_rejection)) {
                        self.breaker.admit(outcomes.iter().map(is_rejection));
                        break outcomes;
                    }
                    if self.hold(&outcomes, attempt, generation, &records)? == Waited::LetGo {
                        return Ok(false);
                    }
                }
                Err(error) if error.fatal => return Err(error.into()),
                Err(error) => {
                    if self.wait(&error, attempt, generation, &records)? == Waited::LetGo {
                        return Ok(false);
                    }
                }
            }
            attempt += 1;
        };
        if !self.publish(&records, &outcomes, attempt + 1, generation)? {
            return Ok(false);
        }
        attempt = 0;
        while let Err(error) = self.handler.settled() {
            if error.fatal {
                return Err(error.into());
            }
            if self.wait(&error, attempt, generation, &records)? == Waited::LetGo {
                return Ok(false);
            }
            attempt += 1;
        }
        self.health.set(WORLD, Ok(()));
        self.health.set(BREAKER, Ok(()));
        self.health.set(group::CHECK, Ok(()));
        metrics::gauge!(names::BREAKER_OPEN, "stage" => self.stage).set(0.0);
        self.count(&outcomes);
        Ok(true)
    }

    /// Publishes what the outcomes ask for and waits for every acknowledgement; what fails is tried again until the world is back.
    fn publish(&mut self, records: &[Record<'_>], outcomes: &[Outcome], attempts: u32, generation: u64) -> anyhow::Result<bool> {
        let mut pending: Vec<usize> = (0..outcomes.len()).filter(|&i| !matches!(outcomes[i], Outcome::Done)).collect();
        let mut attempt = 0;
        while !pending.is_empty() {
            let mut sent = Vec::with_capacity(pending.len());
            let mut failed: Vec<(usize, PublishError)> = Vec::new();
            let mut publishing = self.publisher.batch(pending.len());
            for &index in &pending {
                let record = &records[index];
                let (topic, value, headers) = match &outcomes[index] {
                    Outcome::Done => continue,
                    Outcome::Forward { topic, value } => (&**topic, Some(&**value), dead_letter::forwarded(record)),
                    Outcome::Reject(rejection) => {
                        let author = dead_letter::Author {
                            stage: self.stage,
                            group: &self.settings.group,
                            now_micros: now_micros(),
                            attempts,
                        };
                        (
                            self.settings.dead_letter_topic.as_str(),
                            record.payload,
                            dead_letter::headers(record, rejection, &author),
                        )
                    }
                };
                match publishing.add_with(OutRecord { topic, key: record.key, value, headers: &[] }, headers) {
                    Ok(()) => sent.push(index),
                    Err(error) => failed.push((index, error)),
                }
            }
            let unacknowledged = self.runtime.block_on(publishing.wait(self.settings.publish_deadline));
            failed.extend(unacknowledged.into_iter().map(|(place, error)| (sent[place], error)));
            let Some((_, error)) = failed.first() else { break };
            anyhow::ensure!(!self.publisher.has_failed(), "fatal producer error: {error}; the process must be restarted");
            let world =
                Transient::wait(error.code(), format!("{} of {} records not published: {error}", failed.len(), pending.len()));
            if self.wait(&world, attempt, generation, records)? == Waited::LetGo {
                return Ok(false);
            }
            attempt += 1;
            pending = failed.into_iter().map(|(index, _)| index).collect();
        }
        Ok(true)
    }

    /// The breaker is open: wait with the batch in hand. A new look after each wait, since a deploy of the registry or a
    /// restart of this stage with mended contracts changes the verdict.
    fn hold(&mut self, outcomes: &[Outcome], attempt: u32, generation: u64, records: &[Record<'_>]) -> anyhow::Result<Waited> {
        let rejected = outcomes.iter().filter(|outcome| is_rejection(outcome)).count();
        let first = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Reject(rejection) => Some(rejection.code.code()),
            Outcome::Done | Outcome::Forward { .. } => None,
        });
        let reason = format!(
            "{rejected} of {} records would be dead-lettered (first code: {}), above the breaker's share; nothing is lost, nothing moves. \
             Mend the contract or the deploy and restart, or restart with --breaker-share 2 to let them through",
            outcomes.len(),
            first.unwrap_or("none")
        );
        self.health.set(BREAKER, Err(reason));
        metrics::gauge!(names::BREAKER_OPEN, "stage" => self.stage).set(1.0);
        self.pause_and_poll(attempt, generation, records)
    }

    /// The world is down: say so, pause, keep polling so the group keeps us, and come back after a backoff.
    fn wait(&mut self, error: &Transient, attempt: u32, generation: u64, records: &[Record<'_>]) -> anyhow::Result<Waited> {
        self.health.set(WORLD, Err(error.to_string()));
        metrics::counter!(names::WAITS, "stage" => self.stage, "code" => error.code).increment(1);
        self.pause_and_poll(attempt, generation, records)
    }

    fn pause_and_poll(&mut self, attempt: u32, generation: u64, records: &[Record<'_>]) -> anyhow::Result<Waited> {
        let until = Instant::now() + Duration::from_millis((50 << attempt.min(6)).min(2000));
        let assignment = self.consumer.assignment()?;
        self.consumer.pause(&assignment)?;
        let changed = |consumer: &GroupConsumer| consumer.context().generation() != generation;
        while Instant::now() < until && !changed(self.consumer) && !self.shutdown.is_cancelled() {
            self.note_lag(records);
            match self.consumer.poll(IDLE_POLL) {
                Some(Ok(message)) => self.early.push(message),
                Some(Err(error)) => self.note_poll_error(&error)?,
                None => {}
            }
        }
        if changed(self.consumer) || self.shutdown.is_cancelled() {
            return Ok(Waited::LetGo);
        }
        self.consumer.resume(&assignment)?;
        Ok(Waited::Again)
    }

    fn note_lag(&self, records: &[Record<'_>]) {
        if let Some(oldest) = records.iter().map(|record| record.timestamp_ms).filter(|&time| time > 0).min() {
            #[expect(clippy::cast_precision_loss, reason = "seconds for a gauge")]
            let lag = (now_micros() / 1000 - oldest).max(0) as f64 / 1000.0;
            metrics::gauge!(names::LAG_SECONDS, "stage" => self.stage).set(lag);
        }
    }

    fn count(&mut self, outcomes: &[Outcome]) {
        let (mut done, mut forwarded, mut dead_lettered) = (0, 0, 0);
        for outcome in outcomes {
            match outcome {
                Outcome::Done => done += 1,
                Outcome::Forward { .. } => forwarded += 1,
                Outcome::Reject(rejection) => {
                    dead_lettered += 1;
                    metrics::counter!(names::DEAD_LETTERS, "stage" => self.stage, "code" => rejection.code.code()).increment(1);
                }
            }
        }
        self.report.done += done;
        self.report.forwarded += forwarded;
        self.report.dead_lettered += dead_lettered;
        for (outcome, records) in [("done", done), ("forwarded", forwarded), ("dead_lettered", dead_lettered)] {
            metrics::counter!(names::RECORDS_SETTLED, "stage" => self.stage, "outcome" => outcome).increment(records);
        }
    }
}

fn is_rejection(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Reject(_))
}

/// Microseconds since the epoch.
fn now_micros() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
