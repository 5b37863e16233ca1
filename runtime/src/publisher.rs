//! A record is published when the broker has acknowledged it: idempotent producer, `acks=all`, a deadline on every record.
//!
//! Many records are awaited with one waiter: [`Batch::add`] hands each to librdkafka, [`Batch::wait`] wakes once, when the last
//! acknowledgement is in. What a record needs until then is freed by the delivery report, not by the waiter, so an HTTP client
//! that goes away in the middle harms nothing. Nothing here ever flushes: rust-rdkafka's flush works in steps of 100 ms.

use crate::health::Health;
use crate::kafka::{self, KafkaArgs};
use crate::metrics as names;
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Bounds of a publisher.
#[derive(Debug, Clone)]
pub struct PublisherSettings {
    /// Named in the broker's logs: `eventflow-<client_id>`
    pub client_id: String,
    /// How long librdkafka keeps trying one record before it reports failure
    pub record_timeout: Duration,
    /// Records held (queued and in flight) before `add` answers queue-full
    pub queue_records: usize,
    /// Bytes held before `add` answers queue-full
    pub queue_bytes: usize,
    /// How long a record may wait for company
    pub linger: Duration,
}

impl PublisherSettings {
    /// For a consuming stage: patient, and large enough for several batches.
    #[must_use]
    pub fn stage(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            record_timeout: Duration::from_secs(10),
            queue_records: 100_000,
            queue_bytes: 256 << 20,
            linger: Duration::from_millis(1),
        }
    }
}

/// Why a record is not (known to be) in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bound on queued records or bytes is reached
    #[error("the publish queue is full")]
    QueueFull,
    /// No acknowledgement in time; the record may or may not be in Kafka
    #[error("not acknowledged in time: {0}")]
    NotAcknowledged(String),
    /// The record is larger than the broker takes
    #[error("the record is larger than the broker takes")]
    TooLarge,
    /// The broker refused: rights, unknown topic, or a fatal client
    #[error("refused by the broker: {0}")]
    Refused(String),
}

impl PublishError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueFull => "publish_queue_full",
            Self::NotAcknowledged(_) => "publish_not_acknowledged",
            Self::TooLarge => "record_too_large",
            Self::Refused(_) => "publish_refused",
        }
    }
}

/// A record to publish. Bytes are copied before `add` returns.
#[derive(Debug, Clone, Copy)]
pub struct OutRecord<'a> {
    /// Topic name
    pub topic: &'a str,
    /// Partitioned by this (murmur2, as Java clients do); none is spread at random
    pub key: Option<&'a [u8]>,
    /// Value; `None` is Kafka's null
    pub value: Option<&'a [u8]>,
    /// Record headers in order
    pub headers: &'a [(&'a str, &'a [u8])],
}

#[derive(Clone)]
enum State {
    Pending,
    Acknowledged,
    Failed(PublishError),
}

/// What the records of one batch share.
struct Tally {
    states: Mutex<Vec<State>>,
    /// Records without a delivery report, plus one while the batch is open.
    remaining: AtomicUsize,
    settled: Notify,
}

impl Tally {
    fn finish_one(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }

    fn states(&self) -> std::sync::MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka holds for one record until its delivery report.
struct Receipt {
    tally: Arc<Tally>,
    index: usize,
}

struct Reports {
    health: Health,
    /// True once the broker gave this producer its id: before, a first send takes half a second.
    warm: AtomicBool,
    failed: AtomicBool,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.failed.store(true, Ordering::Release);
        }
        kafka::note_client_error(&self.health, &error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Eos {
            idemp_state: String,
        }
        #[derive(serde::Deserialize)]
        struct Stats {
            msg_cnt: u64,
            eos: Option<Eos>,
        }
        if let Ok(stats) = serde_json::from_slice::<Stats>(statistics) {
            #[expect(clippy::cast_precision_loss, reason = "a gauge; the queue is bounded far below 2^52")]
            metrics::gauge!(names::PUBLISH_QUEUE).set(stats.msg_cnt as f64);
            if stats.eos.is_some_and(|eos| eos.idemp_state == "Assigned") {
                self.warm.store(true, Ordering::Release);
            }
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Self::DeliveryOpaque) {
        let state = match result {
            Ok(_) => State::Acknowledged,
            Err((error, _)) => State::Failed(classify(error)),
        };
        receipt.tally.states()[receipt.index] = state;
        receipt.tally.finish_one();
    }
}

fn classify(error: &KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => PublishError::QueueFull,
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => PublishError::TooLarge,
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::Fatal,
        ) => PublishError::Refused(error.to_string()),
        // Everything else is the world's: it may pass, and the record may already be there.
        Some(_) | None => PublishError::NotAcknowledged(error.to_string()),
    }
}

/// Publishes to Kafka. Clones share one librdkafka producer.
#[derive(Clone)]
pub struct Publisher {
    producer: Arc<ThreadedProducer<Reports>>,
    published: Arc<str>,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes the producer; it connects in the background, [`warm_up`](Self::warm_up) waits for it.
    ///
    /// # Errors
    /// Settings librdkafka refuses.
    pub fn new(kafka: &KafkaArgs, settings: &PublisherSettings, health: &Health) -> anyhow::Result<Self> {
        let mut config = kafka.client_config(&settings.client_id);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", settings.record_timeout.as_millis().to_string())
            .set("linger.ms", settings.linger.as_millis().to_string())
            .set("queue.buffering.max.messages", settings.queue_records.to_string())
            .set("queue.buffering.max.kbytes", (settings.queue_bytes / 1024).max(1).to_string())
            .set("compression.type", "lz4")
            // Java's partitioner, so that both agree on the partition of a key.
            .set("partitioner", "murmur2_random")
            .set("statistics.interval.ms", "250")
            // A lost request is tried again within the record's own deadline.
            .set("retry.backoff.ms", "50")
            .set("topic.metadata.refresh.interval.ms", "30000");
        let reports = Reports { health: health.clone(), warm: AtomicBool::new(false), failed: AtomicBool::new(false) };
        let producer = ThreadedProducer::from_config_and_context(&config, reports)?;
        Ok(Self { producer: Arc::new(producer), published: settings.client_id.as_str().into() })
    }

    /// Waits until the broker has given this producer its id and the topics' metadata is here, so that the first record
    /// is as quick as the rest. Sets the `kafka` check either way; an unreachable broker is no error, the role comes up unready.
    pub async fn warm_up(&self, topics: &[&str], health: &Health, deadline: Duration) {
        let until = tokio::time::Instant::now() + deadline;
        for topic in topics {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if let Err(reason) = self.probe(topic, left).await {
                health.fail_if_fine(kafka::CHECK, reason);
                return;
            }
        }
        while !self.is_warm() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.is_warm() {
            health.set(kafka::CHECK, Ok(()));
        } else {
            health.fail_if_fine(kafka::CHECK, "the broker has not given a producer id yet".to_owned());
        }
    }

    /// Asks the broker for the topic's metadata; clears or sets nothing.
    ///
    /// # Errors
    /// The reason the topic cannot be published to.
    pub async fn probe(&self, topic: &str, deadline: Duration) -> Result<(), String> {
        let (publisher, name) = (self.clone(), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = publisher
                .producer
                .client()
                .fetch_metadata(Some(&name), deadline)
                .map_err(|error| format!("{}: no metadata of topic {name}", kafka::code_of(&error)))?;
            match metadata.topics().first().map(rdkafka::metadata::MetadataTopic::error) {
                Some(None) => Ok(()),
                Some(Some(error)) => {
                    Err(format!("topic {name}: {:?}; create it with `eventflow admin topics`", RDKafkaErrorCode::from(error)))
                }
                None => Err(format!("topic {name} is unknown; create it with `eventflow admin topics`")),
            }
        });
        asked.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Keeps the `kafka` check honest until `shutdown`: while it fails, asks the broker every second and clears it once it answers.
    pub async fn watch(self, topic: String, health: Health, shutdown: tokio_util::sync::CancellationToken) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            let failing = health.reasons().iter().any(|(check, _)| *check == kafka::CHECK);
            if failing && !self.has_failed() {
                let probe = self.probe(&topic, Duration::from_secs(2)).await;
                if probe.is_ok() || !health.reasons().iter().any(|(check, _)| *check == kafka::CHECK) {
                    health.set(kafka::CHECK, probe);
                }
            }
        }
    }

    /// True once the broker gave this producer its id.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.producer.context().warm.load(Ordering::Acquire)
    }

    /// True after a fatal client error: nothing will be published any more, the process must be restarted.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.producer.context().failed.load(Ordering::Acquire)
    }

    /// Records queued or in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    /// Starts a batch expecting about `records` records.
    #[must_use]
    pub fn batch(&self, records: usize) -> Batch {
        let tally =
            Tally { states: Mutex::new(Vec::with_capacity(records)), remaining: AtomicUsize::new(1), settled: Notify::new() };
        Batch { publisher: self.clone(), tally: Arc::new(tally) }
    }

    /// Publishes one record and waits for its acknowledgement.
    ///
    /// # Errors
    /// [`PublishError`]; after `NotAcknowledged` the record may still be in Kafka.
    pub async fn publish(&self, record: OutRecord<'_>, deadline: Duration) -> Result<(), PublishError> {
        let mut batch = self.batch(1);
        batch.add(record)?;
        match batch.wait(deadline).await.into_iter().next() {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }

    /// Waits until nothing is queued or in flight, or the deadline; returns what is left unacknowledged.
    pub async fn drain(&self, deadline: Duration) -> usize {
        let until = tokio::time::Instant::now() + deadline;
        while self.in_flight() > 0 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.in_flight()
    }
}

/// Records awaited together.
pub struct Batch {
    publisher: Publisher,
    tally: Arc<Tally>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("records", &self.tally.states().len()).finish_non_exhaustive()
    }
}

impl Batch {
    /// Hands a record to the Kafka client.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`] at once when the bound is reached. The record is then not part of the batch.
    pub fn add(&mut self, record: OutRecord<'_>) -> Result<(), PublishError> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        self.add_with(record, headers)
    }

    pub(crate) fn add_with(&mut self, record: OutRecord<'_>, headers: OwnedHeaders) -> Result<(), PublishError> {
        let index = {
            let mut states = self.tally.states();
            states.push(State::Pending);
            states.len() - 1
        };
        self.tally.remaining.fetch_add(1, Ordering::AcqRel);
        let receipt = Box::new(Receipt { tally: Arc::clone(&self.tally), index });
        let mut base = BaseRecord::<'_, [u8], [u8], _>::with_opaque_to(record.topic, receipt).headers(headers);
        base.key = record.key;
        base.payload = record.value;
        self.publisher.producer.send(base).map_err(|(error, _)| {
            self.tally.states().pop();
            self.tally.finish_one();
            let error = classify(&error);
            metrics::counter!(names::PUBLISH_FAILURES, "code" => error.code()).increment(1);
            error
        })
    }

    /// Waits for every acknowledgement. Returns the records (by their place in the batch) that are not known to be in Kafka: none is success.
    /// At the deadline those without a report count as not acknowledged; the client goes on with them in the background.
    pub async fn wait(self, deadline: Duration) -> Vec<(usize, PublishError)> {
        self.tally.finish_one();
        let settled = async {
            while self.tally.remaining.load(Ordering::Acquire) > 0 {
                self.tally.settled.notified().await;
            }
        };
        let in_time = tokio::time::timeout(deadline, settled).await.is_ok();
        // After the deadline reports may still arrive for these places: they get a copy, the tally keeps its own.
        let states = if in_time { std::mem::take(&mut *self.tally.states()) } else { self.tally.states().clone() };
        let acknowledged = states.iter().filter(|state| matches!(state, State::Acknowledged)).count();
        metrics::counter!(names::PUBLISHED, "client" => Arc::clone(&self.publisher.published)).increment(acknowledged as u64);
        let failed: Vec<_> = states
            .into_iter()
            .enumerate()
            .filter_map(|(index, state)| match state {
                State::Acknowledged => None,
                State::Pending => Some((index, PublishError::NotAcknowledged("no acknowledgement in time".to_owned()))),
                State::Failed(error) => Some((index, error)),
            })
            .collect();
        for (_, error) in &failed {
            metrics::counter!(names::PUBLISH_FAILURES, "code" => error.code()).increment(1);
        }
        failed
    }
}
