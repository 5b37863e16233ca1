//! Writes validated events to PostgreSQL, one row per source and event id, whatever is retried, replayed, crashed or rebalanced.
//!
//! A batch of `events.validated.v1` is one transaction ([`writer`]): new rows are inserted, further deliveries recorded as duplicates,
//! and the offsets moved by compare-and-set. Only then is the batch committed to Kafka, which is advisory: on assignment the stage
//! continues at the database's offsets ([`handler`]). What PostgreSQL refuses for its content, and the same id with other content, is
//! dead-lettered first; the offsets move past it after the dead letter is acknowledged.
//!
//! [`views`] shows the rows typed, a view for each contract.
//!
//! What a row is and what becomes of it is in [`store::row`] and [`store::fate`]: recovery's dry run asks there too.

mod copies;
pub mod filtered;
pub mod handler;
pub mod metrics;
pub mod report;
mod rows;
pub mod views;
pub mod writer;

use runtime::config::{Common, ConfigError, ProcessArgs, check_topic};
use runtime::connection::Connection;
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
use writer::Writer;

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
        self.stage.check(&self.group)?;
        check_topic("--topic-validated", &self.topic_validated)?;
        let others = [
            ("--topic-validated", &*self.topic_validated),
            ("--topic-dlq", &self.stage.dead_letters.topic_dlq),
        ];
        self.retry.check(&self.group, &others)?;
        self.database.check()?;
        Registry::new(&self.registry).map(drop)
    }

    fn connections(&self) -> Vec<Connection> {
        vec![
            Connection::kafka(&self.common.kafka),
            Connection::registry(&self.registry),
            self.database.connection(self.name()),
        ]
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
    let registry = Registry::new(&config.registry)?;
    let publisher = Publisher::new(kafka, &PublisherSettings::stage("persistence"), &health)?;
    tokio::spawn(publisher.clone().watch(
        config.stage.dead_letters.topic_dlq.clone(),
        shutdown.clone(),
    ));
    let topics = [config.stage.dead_letters.topic_dlq.as_str()];
    let (store, ()) = tokio::join!(
        Writer::open(&config.database.database_url, kafka, &health, &shutdown),
        publisher.warm_up(&topics, Duration::from_secs(5)),
    );
    let Some(store) = store? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Handle::current();
    let handler = handler::Persistence::new(store, registry, &config.group, runtime);
    let (topics, retry) = (
        vec![config.topic_validated.clone()],
        config.retry.of(&config.group),
    );
    let settings = config
        .stage
        .settings(kafka, &config.group, topics, Some(retry), "persistence");
    consumer::run(settings, handler, Some(publisher.clone()), health, shutdown).await?;
    publisher.drain(Duration::from_secs(5)).await;
    Ok(())
}
