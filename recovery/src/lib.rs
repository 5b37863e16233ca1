//! What on-call gets: dead letters indexed, grouped, explained, edited, replayed, and the fate of every event accounted for.
//!
//! The way of one dead letter: the dead-letter topic → [`index`] → `dead_letters` → a person (or a policy) selects it ([`query`]) →
//! a job freezes the selection, tries it on today's checks and sends it ([`replay`]) to `events.retry.<group>.v1`
//! → back to the stage that failed → stored, duplicate, or a dead letter again, which the index and the runner see.
//! [`audit`] proves that nothing is missing, [`query`] tells about one event, [`mod@now`] shows the whole pipeline. [`http`] is all of it over HTTP.

pub mod audit;
pub mod audit_log;
mod barrier;
mod config;
mod context;
mod envelope;
pub mod error;
pub mod http;
pub mod index;
mod kafka;
pub mod metrics;
pub mod model;
pub mod now;
mod persistence_views;
pub mod query;
mod raw_topic;
pub mod rejections;
pub mod replay;
mod restored;

pub use config::{Config, PipelineArgs};
pub use context::{Context, SCHEMA, database_person, migrate_if_needed};

use axum::Router;
use index::retention;
use replay::{policy, runner};
use runtime::config::{ConfigError, ProcessArgs, check_range};
use runtime::connection::Connection;
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::role::{Role, Service};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

impl Role for Config {
    fn name(&self) -> &'static str {
        "recovery"
    }

    fn process(&self) -> &ProcessArgs {
        &self.common.process
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        self.common.ops.address()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.common.kafka.check()?;
        self.pipeline.check()?;
        self.retention.check()?;
        self.rejections.check()?;
        check_range("--audit-seconds", self.audit_seconds, 1..=86_400)?;
        self.load_policies()?;
        self.roles.parse(&self.pipeline.pipeline()?)?;
        self.api.check(self.listen).map(drop)
    }

    fn connections(&self) -> Vec<Connection> {
        vec![
            Connection::kafka(&self.common.kafka),
            Connection::registry(&self.pipeline.registry),
            self.pipeline.database.connection(self.name()),
        ]
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        self.start_with(|api, _| api, health, shutdown)
    }
}

impl Config {
    /// As [`Role::start`]; `around` makes of the API's routes, and of who may use them, what is served in their place.
    ///
    /// # Errors
    /// As [`Role::check`].
    pub fn start_with(
        &self,
        around: impl FnOnce(Router, &http::Tokens) -> Router + Send + 'static,
        health: Health,
        shutdown: CancellationToken,
    ) -> Result<Service, ConfigError> {
        let (config, tokens) = (self.clone(), self.api.check(self.listen)?);
        if tokens.is_empty() {
            tracing::warn!(
                event = "no_tokens_configured",
                "the API answers 503 to everybody; give a token with --api-token NAME:ROLE=env:VARIABLE. The index and the audit work without"
            );
        }
        Ok(Service::new(async move {
            let listener = runtime::ops::bind("--listen", config.listen).await?;
            serve(&config, &tokens, around, listener, health, shutdown).await
        }))
    }
}

/// The role without its operations endpoints: the API, and once the database is usable the index, the runner,
/// the audit, the limits and automatic recovery. `around` is as in [`Config::start_with`].
///
/// # Errors
/// Bad configuration ([`ConfigError`]), a database of another Kafka cluster, or a fatal client error.
pub async fn serve(
    config: &Config,
    tokens: &http::Tokens,
    around: impl FnOnce(Router, &http::Tokens) -> Router,
    listener: tokio::net::TcpListener,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    metrics::describe();
    let policies = config.load_policies()?;
    let kafka = Some(config.common.kafka.clone());
    let (recovery, vendors) = Context::watched(config.pipeline.clone(), kafka.clone())?;
    // With connections and a registry of its own: no number of questions keeps the index or a replay waiting.
    let asked = Context {
        vendors: vendors.live(),
        observed: recovery.observed.clone(),
        ..Context::new(config.pipeline.clone(), kafka)?
    };
    let router = around(http::routes(asked, tokens), tokens);
    let roles = config.roles.parse(&recovery.pipeline)?;
    // Also while the database is down: that is when people look.
    tokio::spawn(now::run(
        recovery.clone(),
        roles,
        health.clone(),
        shutdown.clone(),
    ));
    tokio::spawn(vendors.run(health.clone(), shutdown.clone()));
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
        let topic = recovery.pipeline.dead_letters.clone();
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
        beside.spawn(rejections::run(
            config.clone(),
            recovery.clone(),
            shutdown.clone(),
        ));
        beside.spawn(index::lag::run(recovery.clone(), shutdown.clone()));
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
        // Each finishes its work in progress.
        while let Some(ended) = beside.join_next().await {
            ended?;
        }
        publisher.drain(Duration::from_secs(5)).await;
    }
    api.await?
}
