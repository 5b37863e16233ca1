//! A record is published when the broker has acknowledged it: idempotent producer, `acks=all`, a deadline on every record.
//!
//! Many records are awaited with one waiter: [`Batch::add`] hands each to librdkafka, [`Batch::wait`] wakes once, when the last
//! acknowledgement is in. What a record needs until then is freed by the delivery report, not by the waiter, so an HTTP client
//! that goes away in the middle harms nothing. Nothing here ever flushes: rust-rdkafka's flush works in steps of 100 ms.

mod batch;
mod error;
mod leaders;
mod progress;
mod transaction;
mod watch;

pub use batch::{Batch, OutRecord, RecordHeaders};
pub use error::PublishError;
pub(crate) use transaction::reason;

use crate::faults;
use crate::health::Health;
use crate::kafka::brokers::Brokers;
use crate::kafka::{self, KafkaArgs};
use crate::metrics as names;
use progress::Progress;
use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{Producer, ThreadedProducer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Bounds of a publisher.
#[derive(Debug, Clone)]
pub struct PublisherSettings {
    /// Named in the broker's logs: `eventflow-<client_id>`
    pub client_id: String,
    /// How long librdkafka keeps trying one record before it reports failure. Longer than any fail-over of Kafka: when it ends, librdkafka
    /// numbers the records behind it again, and one that was appended without an acknowledgement may be there twice
    pub record_timeout: Duration,
    /// Records held (queued and in flight) before `add` answers queue-full
    pub queue_records: usize,
    /// Bytes held before `add` answers queue-full
    pub queue_bytes: usize,
    /// How long a record may wait for company
    pub linger: Duration,
    /// Every record is published in a transaction of this id, which no other producer may have; without one, there are no transactions
    pub transactional_id: Option<String>,
}

impl PublisherSettings {
    /// For a consuming stage: a long timeout, and room for several batches.
    #[must_use]
    pub fn stage(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            record_timeout: Duration::from_secs(10),
            queue_records: 100_000,
            queue_bytes: 256 << 20,
            linger: Duration::from_millis(1),
            transactional_id: None,
        }
    }

    /// For a consuming stage whose batches are transactions: the name of its `group` begins the transactional id, for the right to it.
    #[must_use]
    pub fn transactional_stage(client_id: &str, group: &str) -> Self {
        Self {
            transactional_id: Some(format!("{group}-{}", uuid::Uuid::new_v4())),
            ..Self::stage(client_id)
        }
    }
}

struct Reports {
    health: Health,
    progress: Arc<Progress>,
    /// True once the broker gave this producer its id: before, a first send takes half a second.
    warm: AtomicBool,
    /// True once this producer may begin transactions.
    may_begin: AtomicBool,
    brokers: Brokers,
}

impl ClientContext for Reports {
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

    fn stats_raw(&self, statistics: &[u8]) {
        self.brokers.note(statistics, Instant::now());
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
            #[expect(
                clippy::cast_precision_loss,
                reason = "a gauge; the queue is bounded far below 2^52"
            )]
            {
                metrics::gauge!(names::PUBLISH_QUEUE).set(stats.msg_cnt as f64);
                metrics::gauge!(names::UNCONFIRMED).set(self.progress.unconfirmed() as f64);
            }
            // Without idempotence there is no id to wait for.
            let has_no_id = faults::planted("acks_of_the_leader");
            if has_no_id || stats.eos.is_some_and(|eos| eos.idemp_state == "Assigned") {
                self.warm.store(true, Ordering::Release);
            }
        }
    }
}

type Client = ThreadedProducer<Reports>;

/// Publishes to Kafka. Clones share one librdkafka producer.
#[derive(Clone)]
pub struct Publisher {
    /// Replaced when it cannot recover.
    client: Arc<RwLock<Arc<Client>>>,
    config: ClientConfig,
    health: Health,
    progress: Arc<Progress>,
    published: metrics::Counter,
    is_transactional: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Makes the producer; it connects in the background, [`warm_up`](Self::warm_up) waits for it.
    ///
    /// # Errors
    /// Settings librdkafka refuses.
    pub fn new(
        kafka: &KafkaArgs,
        settings: &PublisherSettings,
        health: &Health,
    ) -> anyhow::Result<Self> {
        let (idempotent, acks) = match faults::planted("acks_of_the_leader") {
            true => ("false", "1"),
            false => ("true", "all"),
        };
        let mut config = kafka.client_config(&settings.client_id);
        config
            .set("enable.idempotence", idempotent)
            .set("acks", acks)
            .set(
                "message.timeout.ms",
                settings.record_timeout.as_millis().to_string(),
            )
            .set("linger.ms", settings.linger.as_millis().to_string())
            .set(
                "queue.buffering.max.messages",
                settings.queue_records.to_string(),
            )
            .set(
                "queue.buffering.max.kbytes",
                (settings.queue_bytes / 1024).max(1).to_string(),
            )
            .set("compression.type", "lz4")
            // Java's partitioner, so that both agree on the partition of a key.
            .set("partitioner", "murmur2_random")
            .set("statistics.interval.ms", "250")
            // A lost request is retried within the record's own time-out, under the same number: the broker appends it once.
            .set("retry.backoff.ms", "50")
            .set("topic.metadata.refresh.interval.ms", "30000");
        if let Some(id) = &settings.transactional_id {
            config.set("transactional.id", id).set(
                "transaction.timeout.ms",
                transaction::LONGEST.as_millis().to_string(),
            );
        }
        let progress = Arc::new(Progress::new());
        let client = Arc::new(RwLock::new(Arc::new(connect(&config, health, &progress)?)));
        // The recorder first: a handle made before it counts into the void.
        crate::telemetry::metrics_handle();
        let published = metrics::counter!(names::PUBLISHED, "client" => settings.client_id.clone());
        // From the start, at zero: a series that begins with its first failures hides them from `increase`.
        PublishError::CODES.iter().for_each(|code| {
            metrics::counter!(names::PUBLISH_FAILURES, "code" => *code).increment(0);
        });
        Ok(Self {
            client,
            config,
            health: health.clone(),
            progress,
            published,
            is_transactional: settings.transactional_id.is_some(),
        })
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the broker has given this producer its id and the topics' metadata is here, so that the first record
    /// is as quick as the rest. Sets the `kafka` check either way; an unreachable broker is no error, the role comes up unready.
    pub async fn warm_up(&self, topics: &[&str], deadline: Duration) {
        let health = &self.health;
        let until = tokio::time::Instant::now() + deadline;
        for topic in topics {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if let Err(reason) = self.probe(topic, left).await {
                health.fail_if_fine(kafka::CHECK, reason);
                return;
            }
        }
        if self.is_transactional {
            let publisher = self.clone();
            let asked = tokio::task::spawn_blocking(move || publisher.init_transactions());
            if let Ok(Err(error)) = asked.await {
                health.fail_if_fine(kafka::CHECK, reason(&error));
                return;
            }
        }
        while !self.is_warm() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.is_warm() {
            health.set(kafka::CHECK, Ok(()));
        } else {
            health.fail_if_fine(
                kafka::CHECK,
                "the broker has not given this producer an id yet; retrying".to_owned(),
            );
        }
    }

    /// True once the broker gave this producer its id.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.client().context().warm.load(Ordering::Acquire)
    }

    /// Records queued or in flight that nobody waits for any more: they may still be acknowledged.
    #[must_use]
    pub fn unconfirmed(&self) -> u64 {
        self.progress.unconfirmed()
    }

    /// Records queued or in flight.
    fn in_flight(&self) -> usize {
        usize::try_from(self.client().in_flight_count()).unwrap_or(0)
    }

    /// Starts a batch of at most `records` records.
    #[must_use]
    pub fn batch(&self, records: usize) -> Batch {
        Batch::new(self.client(), self.published.clone(), records)
    }

    /// Publishes one record and waits for its acknowledgement.
    ///
    /// # Errors
    /// [`PublishError`]; after `NotAcknowledged` the record may still be in Kafka.
    pub async fn publish(
        &self,
        record: OutRecord<'_>,
        deadline: Duration,
    ) -> Result<(), PublishError> {
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

fn connect(
    config: &ClientConfig,
    health: &Health,
    progress: &Arc<Progress>,
) -> anyhow::Result<Client> {
    let reports = Reports {
        health: health.clone(),
        progress: Arc::clone(progress),
        warm: AtomicBool::new(false),
        may_begin: AtomicBool::new(false),
        brokers: Brokers::default(),
    };
    Ok(ThreadedProducer::from_config_and_context(config, reports)?)
}
