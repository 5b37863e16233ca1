//! How a stage consumes: its settings, the flags they come from, and what they mean to the Kafka client.

use crate::breaker::BreakerSettings;
use crate::config::{ConfigError, check_range, check_topic};
use crate::kafka::KafkaArgs;
use crate::publisher::PublisherSettings;
use crate::replay::Retry;
use rdkafka::ClientConfig;
use std::time::Duration;

/// How often the client commits the offsets of settled records.
pub const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// How often the client says what it knows of its brokers, in milliseconds.
const STATISTICS_MS: &str = "1000";
/// Longest a batch may take: the handler's deadline, the acknowledgements, and a wait in between.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// Share of rejected records above which the breaker opens, when no flag says otherwise.
const MAX_DEAD_LETTER_RATIO: f64 = 0.5;

/// How a stage consumes.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Connection
    pub kafka: KafkaArgs,
    /// Consumer group
    pub group: String,
    /// Topics read
    pub topics: Vec<String>,
    /// The one of them that is the raw topic: its records are raw records themselves
    pub raw_topic: Option<String>,
    /// Read beside them: the topic of replays for this group alone
    pub retry: Option<Retry>,
    /// Where rejected records go; `None` for a stage that rejects nothing
    pub dead_letters: Option<DeadLetterSettings>,
    /// Maximum records per batch
    pub batch_records: usize,
    /// Most records handed to the handler at once. The records made from one piece are on their way to the broker while the next piece is
    /// handled; a stage that publishes nothing takes the whole batch
    pub piece_records: usize,
    /// Most bytes of values in a batch
    pub batch_bytes: usize,
    /// How long a batch waits for more records after its first
    pub batch_age: Duration,
    /// Longest wait for acknowledgements before what is missing is sent again
    pub publish_deadline: Duration,
}

/// Where rejected records go, and when to stop sending them there.
#[derive(Debug, Clone)]
pub struct DeadLetterSettings {
    /// The dead-letter topic
    pub topic: String,
    /// When a source is reported, and the stage held
    pub breaker: BreakerSettings,
    /// Names what records are judged by, such as the version and the contracts: another name means that they changed. Without white space
    pub rules: String,
}

impl ConsumerSettings {
    /// Settings of a stage that reads `topics` as `group`, takes no replays and dead-letters nothing.
    #[must_use]
    pub fn new(kafka: &KafkaArgs, group: &str, topics: Vec<String>) -> Self {
        Self {
            kafka: kafka.clone(),
            group: group.to_owned(),
            topics,
            raw_topic: None,
            retry: None,
            dead_letters: None,
            batch_records: 4000,
            piece_records: usize::MAX,
            batch_bytes: 16 << 20,
            batch_age: Duration::from_millis(2),
            publish_deadline: Duration::from_secs(12),
        }
    }

    /// Every topic read.
    pub(super) fn all_topics(&self) -> impl Iterator<Item = &str> {
        self.topics
            .iter()
            .map(String::as_str)
            .chain(self.retry.iter().map(|retry| retry.topic.as_str()))
    }

    /// The Kafka client's own settings.
    pub(super) fn client_config(&self) -> Result<ClientConfig, ConfigError> {
        let mut config = self.kafka.client_config(&self.group);
        let commit_every = COMMIT_EVERY.as_millis().to_string();
        let fixed = [
            ("group.id", self.group.as_str()),
            // The client commits the offsets the loop stored, retries a failed commit, and commits before partitions are revoked.
            ("enable.auto.commit", "true"),
            ("auto.commit.interval.ms", &commit_every),
            ("enable.auto.offset.store", "false"),
            // An offset that is out of range is a loss a person must see, never a silent jump.
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            ("statistics.interval.ms", STATISTICS_MS),
            ("isolation.level", "read_committed"),
            // New partitions of a topic that grew are found within this time. The default is five minutes.
            ("topic.metadata.refresh.interval.ms", "10000"),
            // The default sleeps a second whenever the local queue is full.
            ("fetch.queue.backoff.ms", "10"),
            // A partition whose leader moved is fetched from the new one after this. The default is half a second.
            ("fetch.error.backoff.ms", "100"),
            ("queued.max.messages.kbytes", "32768"),
        ];
        for (name, value) in fixed {
            config.set(name, value);
        }
        // Under the consumer protocol (KIP-848) these are the broker's, and the client refuses them.
        let classic = [
            // Eager: a rebalance revokes everything, so a batch is either wholly ours or released.
            ("partition.assignment.strategy", "range"),
            // The shortest that brokers allow by default: for as long the others wait for a member that was killed.
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "2000"),
        ];
        let is_classic = config.get("group.protocol") != Some("consumer");
        let defaults = classic.into_iter().filter(|_| is_classic);
        for (name, value) in defaults.chain([("max.poll.interval.ms", "120000")]) {
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
                format!(
                    "max.poll.interval.ms must be at least {least}: a batch may take that long"
                ),
            ));
        }
        Ok(config)
    }
}

/// Flags of every consuming stage.
#[derive(Debug, Clone, clap::Args)]
pub struct BatchArgs {
    /// Maximum records per batch
    #[arg(long, env = "EVENTFLOW_BATCH_RECORDS", default_value_t = 4000)]
    pub batch_records: usize,
    /// Maximum milliseconds a batch waits for more records after its first
    #[arg(long, env = "EVENTFLOW_BATCH_AGE_MS", default_value_t = 2)]
    pub batch_age_ms: u64,
}

impl BatchArgs {
    /// Refuses values no stage can work with.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self, group: &str) -> Result<(), ConfigError> {
        check_range("--batch-records", self.batch_records as u64, 1..=1_000_000)?;
        check_range("--batch-age-ms", self.batch_age_ms, 0..=60_000)?;
        if group.trim().is_empty() {
            return Err(ConfigError::new("--group", "name the consumer group"));
        }
        Ok(())
    }

    /// Settings of a stage that reads `topics` as `group`, takes no replays and dead-letters nothing.
    #[must_use]
    pub fn settings(
        &self,
        kafka: &KafkaArgs,
        group: &str,
        topics: Vec<String>,
    ) -> ConsumerSettings {
        ConsumerSettings {
            batch_records: self.batch_records.max(1),
            batch_age: Duration::from_millis(self.batch_age_ms),
            ..ConsumerSettings::new(kafka, group, topics)
        }
    }
}

/// What a crash, a lost answer or a rebalance may leave in the topics a stage writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Guarantee {
    /// A record may be there more than once: whoever reads it drops duplicates, as persistence does by the event's id
    AtLeastOnce,
    /// Every batch is a Kafka transaction: for each record read, what was made of it is there exactly once for readers of committed records
    ExactlyOnce,
}

/// Flags of a stage that can deliver exactly once.
#[derive(Debug, Clone, clap::Args)]
pub struct DeliveryArgs {
    /// Whether a crash may leave a record more than once in the topics this stage writes. Exactly-once needs Apache Kafka 3.0 or later; its
    /// records are read once their transaction is committed
    #[arg(long, env = "EVENTFLOW_DELIVERY", value_enum, default_value_t = Guarantee::AtLeastOnce)]
    pub delivery: Guarantee,
    /// Maximum milliseconds a transaction waits for more records after its first (exactly-once). It ends earlier at --batch-records or 16 MiB
    #[arg(long, env = "EVENTFLOW_TRANSACTION_MS", default_value_t = 100)]
    pub transaction_ms: u64,
}

impl DeliveryArgs {
    /// Refuses values no stage can work with.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_range("--transaction-ms", self.transaction_ms, 0..=5_000)
    }

    /// Whether batches are transactions.
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.delivery == Guarantee::ExactlyOnce
    }

    /// A publisher for a stage of this group.
    #[must_use]
    pub fn publisher(&self, client_id: &str, group: &str) -> PublisherSettings {
        match self.delivery {
            Guarantee::AtLeastOnce => PublisherSettings::stage(client_id),
            Guarantee::ExactlyOnce => PublisherSettings::transactional_stage(client_id, group),
        }
    }

    /// A batch is a transaction: it gathers records for as long as one may.
    #[must_use]
    pub fn apply(&self, settings: ConsumerSettings) -> ConsumerSettings {
        match self.delivery {
            Guarantee::AtLeastOnce => settings,
            Guarantee::ExactlyOnce => ConsumerSettings {
                batch_age: Duration::from_millis(self.transaction_ms),
                ..settings
            },
        }
    }
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// On
    On,
    /// Off
    Off,
}

/// Flags of a stage that rejects records.
#[derive(Debug, Clone, clap::Args)]
pub struct DeadLetterArgs {
    /// Hold the stage, which then dead-letters nothing, while the fault is likely ours: most sources went over --max-dead-letter-ratio at about
    /// the same time, or all that were fine before a deploy. One source never holds it
    #[arg(long, env = "EVENTFLOW_BREAKER", value_enum, default_value_t = Switch::On)]
    pub breaker: Switch,
    /// Highest share of a source's latest records that may be dead-lettered (0 to 1); a source over it is reported
    #[arg(
        long,
        alias = "breaker-share",
        env = "EVENTFLOW_MAX_DEAD_LETTER_RATIO",
        default_value_t = ratio_by_its_former_name(),
    )]
    pub max_dead_letter_ratio: f64,
    /// How many of a source's latest records are counted; it is judged once a tenth of them are there
    #[arg(long, env = "EVENTFLOW_BREAKER_WINDOW", default_value_t = 200)]
    pub breaker_window: usize,
    /// Longest time, in minutes, that the breaker holds the stage; then its records are dead-lettered. Records older than a day are not held
    #[arg(long, env = "EVENTFLOW_BREAKER_HOLD_MINUTES", default_value_t = 60)]
    pub breaker_hold_minutes: u64,
    /// Dead-letter topic
    #[arg(long, env = "EVENTFLOW_TOPIC_DLQ", default_value = contracts::kafka::topics::DLQ)]
    pub topic_dlq: String,
}

/// The variable of 0.1, for one more release. What is no number is refused by [`DeadLetterArgs::check`].
fn ratio_by_its_former_name() -> f64 {
    match std::env::var("EVENTFLOW_BREAKER_SHARE") {
        Ok(text) => text.parse().unwrap_or(f64::NAN),
        Err(_) => MAX_DEAD_LETTER_RATIO,
    }
}

impl DeadLetterArgs {
    fn check(&self) -> Result<(), ConfigError> {
        check_range(
            "--breaker-window",
            self.breaker_window as u64,
            1..=1_000_000,
        )?;
        check_range(
            "--breaker-hold-minutes",
            self.breaker_hold_minutes,
            1..=1440,
        )?;
        if self.max_dead_letter_ratio.is_nan() || self.max_dead_letter_ratio < 0.0 {
            return Err(ConfigError::new(
                "--max-dead-letter-ratio",
                "must be a number between 0 and 1",
            ));
        }
        check_topic("--topic-dlq", &self.topic_dlq)
    }

    /// A ratio above 1 turns the breaker off, as `--breaker-share 2` did.
    fn settings(&self, rules: &str) -> DeadLetterSettings {
        DeadLetterSettings {
            topic: self.topic_dlq.clone(),
            breaker: BreakerSettings {
                may_hold: self.breaker == Switch::On && self.max_dead_letter_ratio <= 1.0,
                max_ratio: self.max_dead_letter_ratio,
                window: self.breaker_window,
                longest_hold: Duration::from_secs(self.breaker_hold_minutes * 60),
            },
            rules: format!("{}-{rules}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// Flags of a stage that rejects records and takes their replays.
#[derive(Debug, Clone, clap::Args)]
pub struct StageArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub batch: BatchArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub dead_letters: DeadLetterArgs,
}

impl StageArgs {
    /// Refuses values no stage can work with.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self, group: &str) -> Result<(), ConfigError> {
        self.batch.check(group)?;
        self.dead_letters.check()
    }

    /// Settings of a stage that reads `topics` as `group`, and its replays from `retry`. `rules` names what it judges records by, beside this
    /// version of the program.
    #[must_use]
    pub fn settings(
        &self,
        kafka: &KafkaArgs,
        group: &str,
        topics: Vec<String>,
        retry: Option<Retry>,
        rules: &str,
    ) -> ConsumerSettings {
        ConsumerSettings {
            retry,
            dead_letters: Some(self.dead_letters.settings(rules)),
            ..self.batch.settings(kafka, group, topics)
        }
    }
}
