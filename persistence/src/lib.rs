//! Writes validated events to PostgreSQL, one row per source and event id, whatever is retried, replayed, crashed or rebalanced.
//!
//! A batch of `events.validated.v1` is one transaction ([`store`]): new rows are inserted, further deliveries recorded as duplicates,
//! and the offsets moved by compare-and-set. Only then is the batch committed to Kafka, which is advisory: on assignment the stage goes
//! on at the database's offsets ([`handler`]). What PostgreSQL refuses for its content, and the same id with other content, is
//! dead-lettered first; the offsets move past it after the dead letter is acknowledged.

pub mod handler;
pub mod metrics;
mod replays;
pub mod report;
pub mod rows;
pub mod writer;

use contracts::Secret;
use runtime::config::{Common, ConfigError, ProcessArgs, check_retry, check_stage, check_topic};
use runtime::consumer::{self, StageArgs};
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::registry::{Registry, RegistryArgs};
use runtime::replay::RetryArgs;
use runtime::role::{Role, Service};
use std::net::SocketAddr;
use std::time::Duration;
use store::DatabaseArgs;
use tokio_util::sync::CancellationToken;

/// Default consumer group.
pub const GROUP: &str = "eventflow-persistence";

/// Settings of the persistence role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub stage: StageArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub retry: RetryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: DatabaseArgs,
    /// Topic of validated events
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::kafka::topics::VALIDATED)]
    pub topic_validated: String,
    /// Consumer group
    #[arg(long, env = "EVENTFLOW_PERSISTENCE_GROUP", default_value = GROUP)]
    pub group: String,
}

impl Role for Config {
    fn name(&self) -> &'static str {
        "persistence"
    }

    fn process(&self) -> &ProcessArgs {
        &self.common.process
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        self.common.ops.address()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.common.kafka.check()?;
        check_stage(&self.stage, &self.group)?;
        check_topic("--topic-validated", &self.topic_validated)?;
        let others = [
            ("--topic-validated", &*self.topic_validated),
            ("--topic-dlq", &self.stage.topic_dlq),
        ];
        check_retry(&self.retry, &self.group, &others)?;
        self.database.check()?;
        Registry::new(&self.registry).map(drop)
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        metrics::describe();
        let config = self.clone();
        Ok(Service::new(async move {
            consume(&config, health, shutdown).await
        }))
    }
}

/// The stage without its operations endpoints. It joins its group once the database is usable: an instance that cannot reach it must
/// not take partitions from those that can.
///
/// # Errors
/// Bad configuration ([`ConfigError`]), a database of another Kafka cluster, or a fatal client error.
pub async fn consume(
    config: &Config,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let kafka = &config.common.kafka;
    let publisher = Publisher::new(kafka, &PublisherSettings::stage("persistence"), &health)?;
    tokio::spawn(
        publisher
            .clone()
            .watch(config.stage.topic_dlq.clone(), shutdown.clone()),
    );
    let topics = [config.stage.topic_dlq.as_str()];
    let (handler, ()) = tokio::join!(
        open(config, &config.database.database_url, &health, &shutdown),
        publisher.warm_up(&topics, Duration::from_secs(5)),
    );
    let Some(handler) = handler? else {
        return Ok(());
    };
    settle(config, handler, publisher, health, shutdown).await
}

/// As [`consume`], for the demo: its database is still being made when the stage joins its group, which nobody else is in.
///
/// # Errors
/// As [`consume`], and when the database does not come up.
pub async fn consume_early(
    config: &Config,
    database_url: impl Future<Output = anyhow::Result<Secret>>,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let publisher = Publisher::new(
        &config.common.kafka,
        &PublisherSettings::stage("persistence"),
        &health,
    )?;
    tokio::spawn(
        publisher
            .clone()
            .watch(config.stage.topic_dlq.clone(), shutdown.clone()),
    );
    let (ready, opening) = tokio::sync::oneshot::channel();
    let opened = async {
        if let Some(handler) = open(config, &database_url.await?, &health, &shutdown).await? {
            drop(ready.send(handler));
        }
        anyhow::Ok(())
    };
    let handler = handler::Early::new(opening);
    tokio::try_join!(
        opened,
        settle(config, handler, publisher, health.clone(), shutdown.clone())
    )
    .map(drop)
}

async fn open(
    config: &Config,
    database_url: &Secret,
    health: &Health,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<handler::Persistence>> {
    let registry = Registry::new(&config.registry)?;
    let store = writer::Writer::open(database_url, &config.common.kafka, health, shutdown).await?;
    Ok(store.map(|store| {
        handler::Persistence::new(
            store,
            registry,
            &config.group,
            tokio::runtime::Handle::current(),
        )
    }))
}

async fn settle<H: consumer::Handler + 'static>(
    config: &Config,
    handler: H,
    publisher: Publisher,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (topics, retry) = (
        vec![config.topic_validated.clone()],
        config.retry.of(&config.group),
    );
    let settings = config
        .stage
        .settings(&config.common.kafka, &config.group, topics, Some(retry));
    consumer::run(settings, handler, Some(publisher.clone()), health, shutdown).await?;
    publisher.drain(Duration::from_secs(5)).await;
    Ok(())
}
