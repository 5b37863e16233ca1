//! The one consumer loop. It never steps over a record.
//!
//! A batch is polled on an OS thread of its own ([`turn`]), handed to the stage's [`Handler`] (in pieces, if the stage publishes much), and
//! every record gets one [`Outcome`]: done, forwarded, or rejected. What is forwarded or dead-lettered is published and acknowledged ([`delivery`]) before any offset of the
//! batch is stored; the client commits stored offsets every [`COMMIT_EVERY`] and when partitions leave. So a committed offset always ends
//! a prefix in which every record has its next home.
//!
//! While the world is down (broker, registry, database) the handler answers [`StageError`]: the loop pauses its partitions and keeps
//! polling with the same batch in hand ([`waiting`]), so it stays in the group and nothing is dead-lettered. Rebalances ([`assignment`])
//! arrive inside `poll`, which is called only between batches or while waiting; a batch held through one is let go uncommitted and read
//! again by the new owner.

mod assignment;
mod delivery;
mod handler;
mod topics;
mod turn;
mod waiting;

pub use crate::record::Record;
pub use handler::{Forward, Handler, Outcome, StageError, Start};

use crate::breaker::BreakerSettings;
use crate::config::ConfigError;
use crate::health::Health;
use crate::kafka::KafkaArgs;
use crate::publisher::Publisher;
use crate::replay::Retry;
use assignment::{GroupConsumer, Member};
use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the client commits what is settled.
pub const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// Longest a settled batch may take: the handler's deadline, the acknowledgements, and a wait in between.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(60);

/// How a stage consumes.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Connection
    pub kafka: KafkaArgs,
    /// Consumer group
    pub group: String,
    /// Topics read
    pub topics: Vec<String>,
    /// Read beside them: where replays for this group alone come
    pub retry: Option<Retry>,
    /// Where rejections go
    pub dead_letter_topic: String,
    /// Most records a batch
    pub batch_records: usize,
    /// Records handed to the handler at once. What comes out of one piece is on its way to the broker while the next is in hand; a stage
    /// that publishes nothing takes the batch whole
    pub piece_records: usize,
    /// Most bytes of values a batch
    pub batch_bytes: usize,
    /// How long a batch waits for more after its first record
    pub batch_age: Duration,
    /// Longest single wait for acknowledgements before they are tried again
    pub publish_deadline: Duration,
    /// When to stop dead-lettering
    pub breaker: BreakerSettings,
}

impl ConsumerSettings {
    /// Every topic read.
    fn read(&self) -> impl Iterator<Item = &str> {
        self.topics
            .iter()
            .map(String::as_str)
            .chain(self.retry.iter().map(|retry| retry.topic.as_str()))
    }
}

/// Tuning of a consuming stage, as flags.
#[derive(Debug, Clone, clap::Args)]
pub struct StageArgs {
    /// Most records a batch
    #[arg(long, env = "EVENTFLOW_BATCH_RECORDS", default_value_t = 4000)]
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
    #[arg(long, env = "EVENTFLOW_TOPIC_DLQ", default_value = contracts::kafka::topics::DLQ)]
    pub topic_dlq: String,
}

impl StageArgs {
    /// Settings of a stage reading `topics` as `group`. A stage that can fail takes its replays from `retry`; one that cannot says
    /// `None`, and sees a replayed record only as often as the stage before it forwards it.
    #[must_use]
    pub fn settings(
        &self,
        kafka: &KafkaArgs,
        group: &str,
        topics: Vec<String>,
        retry: Option<Retry>,
    ) -> ConsumerSettings {
        ConsumerSettings {
            kafka: kafka.clone(),
            group: group.to_owned(),
            topics,
            retry,
            dead_letter_topic: self.topic_dlq.clone(),
            batch_records: self.batch_records.max(1),
            piece_records: usize::MAX,
            batch_bytes: 16 << 20,
            batch_age: Duration::from_millis(self.batch_age_ms),
            publish_deadline: Duration::from_secs(12),
            breaker: BreakerSettings {
                share: self.breaker_share,
                window: self.breaker_window,
            },
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

/// Runs a stage until `shutdown`: drains, commits, and says what was left. A stage that neither forwards nor dead-letters has no
/// `publisher`, and needs no right to write.
///
/// # Errors
/// A fatal client error, settings librdkafka refuses, or a handler that broke its contract. Nothing unsettled is committed.
pub async fn run<H: Handler + 'static>(
    settings: ConsumerSettings,
    handler: H,
    publisher: Option<Publisher>,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<Report> {
    health.set(
        assignment::CHECK,
        Err("the group has not given this instance its partitions yet; that takes a few seconds, or Kafka is not reachable"
            .to_owned()),
    );
    health.started();
    let runtime = tokio::runtime::Handle::current();
    let (done, ended) = tokio::sync::oneshot::channel();
    let stage = handler.stage();
    std::thread::Builder::new()
        .name(stage.to_owned())
        .spawn(move || {
            let result = consume(settings, handler, publisher, health, shutdown, runtime);
            if done.send(result).is_err() {
                tracing::warn!(event = "stage_ended_unobserved", stage);
            }
        })?;
    let report = ended.await.map_err(|_| {
        anyhow::anyhow!("the {stage} thread panicked; its offsets are uncommitted")
    })??;
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

/// The stage's thread, from first poll to last commit: dropping the consumer commits what is settled, also when the loop ended in an error.
fn consume<H: Handler>(
    settings: ConsumerSettings,
    handler: H,
    publisher: Option<Publisher>,
    health: Health,
    shutdown: CancellationToken,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<Report> {
    let member = Member::new(health.clone(), handler.stage());
    let consumer = GroupConsumer::from_config_and_context(&client_config(&settings)?, member)?;
    consumer.subscribe(&settings.read().collect::<Vec<_>>())?;
    turn::Loop::new(
        settings, handler, publisher, health, shutdown, runtime, &consumer,
    )
    .until_shutdown()
}

fn client_config(settings: &ConsumerSettings) -> Result<ClientConfig, ConfigError> {
    let mut config = settings.kafka.client_config(&settings.group);
    let commit_every = COMMIT_EVERY.as_millis().to_string();
    let ours = [
        ("group.id", settings.group.as_str()),
        // The client commits what the loop stored, tries again what failed, and commits before partitions leave.
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", &commit_every),
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
    for (name, value) in [
        ("session.timeout.ms", "10000"),
        ("max.poll.interval.ms", "120000"),
    ] {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    let interval = config
        .get("max.poll.interval.ms")
        .and_then(|value| value.parse().ok())
        .map(Duration::from_millis);
    if interval.is_some_and(|interval| interval < MIN_POLL_INTERVAL) {
        let least = MIN_POLL_INTERVAL.as_millis();
        return Err(ConfigError::new(
            "--kafka-config",
            format!("max.poll.interval.ms must be at least {least}: a batch may take that long"),
        ));
    }
    Ok(config)
}
