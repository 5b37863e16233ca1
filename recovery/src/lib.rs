//! What on-call gets: dead letters indexed, grouped, explained, edited, replayed, and the fate of every event accounted for.
//!
//! The way of one dead letter: the dead-letter topic → [`index`] → `dead_letters` → a person (or a policy) selects it ([`query`]) →
//! a job freezes the selection, tries it on today's checks and sends it ([`replay`]) to `events.retry.<group>.v1`
//! → back to the stage that failed → stored, duplicate, or a dead letter again, which the index and the runner see.
//! [`audit`] proves that nothing is missing, [`query`] tells about one event. [`http`] is all of it over HTTP.

pub mod audit;
mod audit_log;
pub(crate) mod envelope;
pub mod error;
pub mod http;
pub mod index;
pub mod metrics;
pub mod model;
pub mod query;
pub mod replay;

use contracts::Secret;
use contracts::event::Catalog;
use contracts::webhook::source::Sources;
use index::retention;
use replay::{policy, runner};
use runtime::config::{Common, ConfigError, check_range, check_topic, load_sources};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::registry::{Registry, RegistryArgs};
use sqlx::postgres::PgPool;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::DatabaseArgs;
use store::connect::Schema;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// This role's schema. It writes nowhere else.
pub const SCHEMA: Schema = Schema {
    role: "recovery",
    migrations: &MIGRATIONS,
};

/// What the role and the command line, when it works straight on the database, both need to know of the pipeline.
#[derive(Debug, Clone, clap::Args)]
pub struct PipelineArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
    /// Directory of further event contracts, one folder an event type: those of the validator
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    pub contracts: Option<PathBuf>,
    /// File of sources (vendors), those of the producer: to verify stored signatures once more; without it they are not verified
    #[arg(long, env = "EVENTFLOW_SOURCES")]
    pub sources: Option<PathBuf>,
    /// Secret of the built-in source payment-authorized, that of the producer: as --sources
    #[arg(long, env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    pub webhook_signing_secret: Option<Secret>,
    /// Topic of raw events
    #[arg(long, env = "EVENTFLOW_TOPIC_RAW", default_value = contracts::kafka::topics::RAW)]
    pub topic_raw: String,
    /// Topic of validated events
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::kafka::topics::VALIDATED)]
    pub topic_validated: String,
    /// Dead-letter topic
    #[arg(long, env = "EVENTFLOW_TOPIC_DLQ", default_value = contracts::kafka::topics::DLQ)]
    pub topic_dlq: String,
    /// Consumer group of the validator
    #[arg(
        long,
        env = "EVENTFLOW_VALIDATOR_GROUP",
        default_value = "eventflow-validator"
    )]
    pub validator_group: String,
    /// Consumer group of persistence
    #[arg(
        long,
        env = "EVENTFLOW_PERSISTENCE_GROUP",
        default_value = "eventflow-persistence"
    )]
    pub persistence_group: String,
    /// Topic of replays to the validator, its --topic-retry [default: events.retry.<group>.v1]
    #[arg(long, env = "EVENTFLOW_VALIDATOR_TOPIC_RETRY")]
    pub validator_topic_retry: Option<String>,
    /// Topic of replays to persistence, its --topic-retry [default: events.retry.<group>.v1]
    #[arg(long, env = "EVENTFLOW_PERSISTENCE_TOPIC_RETRY")]
    pub persistence_topic_retry: Option<String>,
    /// A replay of more dead letters than this must be confirmed (--yes)
    #[arg(long, env = "EVENTFLOW_CONFIRM_ABOVE", default_value_t = 100)]
    pub confirm_above: usize,
    /// A replay that must be confirmed must also be approved by a second person
    #[arg(long, env = "EVENTFLOW_REQUIRE_APPROVAL", default_value_t = false)]
    pub require_approval: bool,
    /// How often a record may be replayed: what the stages are told, so that a dry run knows
    #[arg(long, env = "EVENTFLOW_MAX_REPLAYS", default_value_t = 5)]
    pub max_replays: u32,
}

/// Settings of the recovery role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pipeline: PipelineArgs,
    /// Address of the HTTP API
    #[arg(
        long,
        env = "EVENTFLOW_RECOVERY_LISTEN",
        default_value = "127.0.0.1:8004"
    )]
    pub listen: SocketAddr,
    /// Consumer group
    #[arg(
        long,
        env = "EVENTFLOW_RECOVERY_GROUP",
        default_value = "eventflow-recovery"
    )]
    pub group: String,
    /// Seconds between two looks of the audit
    #[arg(long, env = "EVENTFLOW_AUDIT_SECONDS", default_value_t = 30)]
    pub audit_seconds: u64,
    /// File of policies for automatic recovery; without it nothing is replayed by itself
    #[arg(long, env = "EVENTFLOW_POLICIES")]
    pub policies: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub api: http::ApiArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub retention: retention::RetentionArgs,
}

/// What every question and every change of on-call works on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) pool: PgPool,
    pub(crate) contracts: Arc<Catalog>,
    pub(crate) registry: Arc<Mutex<Registry>>,
    pub(crate) sources: Option<Arc<Sources>>,
    pub(crate) pipeline: Arc<PipelineArgs>,
    /// None for a command line that works straight on the database: what needs Kafka then waits for a running role, or is left out
    pub(crate) kafka: Option<KafkaArgs>,
}

impl PipelineArgs {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.database.check()?;
        check_topic("--topic-raw", &self.topic_raw)?;
        check_topic("--topic-validated", &self.topic_validated)?;
        check_topic("--topic-dlq", &self.topic_dlq)?;
        self.check_retry(
            "--validator-topic-retry",
            self.validator_topic_retry.as_deref(),
        )?;
        self.check_retry(
            "--persistence-topic-retry",
            self.persistence_topic_retry.as_deref(),
        )?;
        if self.validator_topic_retry.is_some()
            && self.validator_topic_retry == self.persistence_topic_retry
        {
            return Err(ConfigError::new(
                "--persistence-topic-retry",
                "it is also --validator-topic-retry: each group has its own",
            ));
        }
        Registry::new(&self.registry)?;
        self.load_sources()?;
        runtime::config::load_contracts(self.contracts.as_deref()).map(drop)
    }

    fn check_retry(&self, setting: &'static str, topic: Option<&str>) -> Result<(), ConfigError> {
        let Some(topic) = topic else { return Ok(()) };
        check_topic(setting, topic)?;
        if [&self.topic_raw, &self.topic_validated, &self.topic_dlq]
            .iter()
            .any(|other| *other == topic)
        {
            return Err(ConfigError::new(
                setting,
                format!("{topic} is another topic of the pipeline; replays need one of their own"),
            ));
        }
        Ok(())
    }

    /// Where each of our groups reads replays: the validator's, then persistence's.
    pub(crate) fn retry_topics(&self) -> [String; 2] {
        let of = |given: &Option<String>, group: &str| {
            given
                .clone()
                .unwrap_or_else(|| contracts::kafka::topics::retry(group))
        };
        [
            of(&self.validator_topic_retry, &self.validator_group),
            of(&self.persistence_topic_retry, &self.persistence_group),
        ]
    }

    fn load_sources(&self) -> Result<Option<Sources>, ConfigError> {
        load_sources(
            self.sources.as_deref(),
            self.webhook_signing_secret.as_ref(),
        )
    }
}

impl Context {
    /// Nothing connects yet; the schema is brought up to date by [`Schema::open`] or [`Schema::migrate`] on [`Self::pool`].
    ///
    /// # Errors
    /// As [`PipelineArgs::check`].
    pub fn new(pipeline: PipelineArgs, kafka: Option<KafkaArgs>) -> Result<Self, ConfigError> {
        Ok(Self {
            pool: SCHEMA.pool(&pipeline.database.database_url, 8)?,
            contracts: Arc::new(runtime::config::load_contracts(
                pipeline.contracts.as_deref(),
            )?),
            registry: Arc::new(Mutex::new(Registry::new(&pipeline.registry)?)),
            sources: pipeline.load_sources()?.map(Arc::new),
            pipeline: Arc::new(pipeline),
            kafka,
        })
    }

    /// Raw records whose dead letter is resolved: their fate is their row's.
    ///
    /// # Errors
    /// [`error::RecoveryError`]
    pub async fn resolved(&self) -> Result<Vec<(i32, i64)>, error::RecoveryError> {
        let resolved = sqlx::query_as(
            "SELECT d.origin_partition, d.origin_offset FROM groups g JOIN dead_letters d ON d.group_id = g.id
             WHERE g.resolved > 0 AND d.state = 'resolved' AND d.origin_topic = $1 AND d.origin_group = ''",
        );
        Ok(resolved
            .bind(&self.pipeline.topic_raw)
            .fetch_all(&self.pool)
            .await?)
    }

    /// The role's connections.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.common.kafka.check()?;
        self.pipeline.check()?;
        self.retention.check()?;
        check_range("--audit-seconds", self.audit_seconds, 1..=86_400)?;
        self.load_policies()?;
        self.api.check(self.listen).map(drop)
    }

    fn load_policies(&self) -> Result<Option<policy::Policies>, ConfigError> {
        let Some(path) = &self.policies else {
            return Ok(None);
        };
        let bad =
            |problem| ConfigError::new("--policies", format!("{}: {problem}", path.display()));
        policy::Policies::load(path).map(Some).map_err(bad)
    }
}

/// Runs the role until `shutdown`.
///
/// # Errors
/// Bad configuration ([`ConfigError`]), a database of another Kafka cluster, or a fatal client error.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    config.check()?;
    let health = Health::starting();
    let ops = runtime::ops::bind("--ops-listen", config.common.ops.ops_listen).await?;
    let ops = tokio::spawn(runtime::ops::serve(
        ops,
        runtime::ops::routes(health.clone()),
        shutdown.clone(),
    ));
    let listener = runtime::ops::bind("--listen", config.listen).await?;
    let tokens = config.api.check(config.listen)?;
    serve(&config, &tokens, listener, health, shutdown.clone()).await?;
    shutdown.cancel();
    ops.await??;
    Ok(())
}

/// The role without its operations endpoints, for `run` and for the demo: the API, and once the database is usable the index, the runner,
/// the audit, the limits and automatic recovery.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    config: &Config,
    tokens: &http::Tokens,
    listener: tokio::net::TcpListener,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    metrics::describe();
    let policies = config.load_policies()?;
    let recovery = Context::new(config.pipeline.clone(), Some(config.common.kafka.clone()))?;
    // With connections and a registry of its own: no number of questions keeps the index or a replay waiting.
    let router = http::routes(
        Context::new(config.pipeline.clone(), Some(config.common.kafka.clone()))?,
        tokens,
    );
    let (args, end) = (config.api.clone(), shutdown.clone());
    // Before the database is there: its answer is then a sentence, not a refused connection.
    let api = tokio::spawn(async move { http::serve(listener, router, &args, end).await });
    if SCHEMA
        .open(&recovery.pool, &config.common.kafka, &health, &shutdown)
        .await?
    {
        let publisher = Publisher::new(
            &config.common.kafka,
            &PublisherSettings::stage("recovery"),
            &health,
        )?;
        let topic = config.pipeline.topic_dlq.clone();
        let mut beside = JoinSet::new();
        beside.spawn(publisher.clone().watch(topic, shutdown.clone()));
        beside.spawn(runner::run(
            recovery.clone(),
            publisher.clone(),
            health.clone(),
            shutdown.clone(),
        ));
        let every = Duration::from_secs(config.audit_seconds);
        beside.spawn(audit::run(
            recovery.clone(),
            every,
            health.clone(),
            shutdown.clone(),
        ));
        beside.spawn(retention::run(
            recovery.clone(),
            config.retention.clone(),
            shutdown.clone(),
        ));
        if let Some(policies) = policies {
            beside.spawn(policy::run(
                recovery.clone(),
                policies,
                health.clone(),
                shutdown.clone(),
            ));
        }
        index::consume(config, &recovery, health, shutdown.clone()).await?;
        shutdown.cancel();
        // They end with what they have in hand.
        while let Some(ended) = beside.join_next().await {
            ended?;
        }
        publisher.drain(Duration::from_secs(5)).await;
    }
    api.await?
}
