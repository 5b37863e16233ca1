//! Turns validated events into metrics and per-minute figures.
//!
//! Two kinds of numbers, kept apart:
//! - Counters and histograms count what this process did since it started, as Prometheus expects. A start reads the last hour again; those
//!   events have `phase="catch_up"`, so `phase="live"` is what never counts an event of the log twice across restarts.
//! - The per-minute figures ([`figures`]), at `/api/stats` ([`stats`]) and as `last_minute` gauges, are a function of the log alone: on
//!   start the stage does not continue at its committed offsets but reads the last hour again (`Start::Since`). A restart therefore neither
//!   loses nor doubles a figure. Within a run every offset is counted once, whatever is redelivered, and a raw record that the validator
//!   published twice counts once. A vendor's own further deliveries are separate events here; PostgreSQL recognises the duplicates.
//!
//! The stage decides no record's outcome: it never dead-letters ([`handler`]), and its committed offsets only show its lag.

pub mod figures;
pub mod handler;
pub mod metrics;
pub mod stats;

use axum::Json;
use axum::routing::get;
use contracts::event::Catalog;
use figures::Figures;
use handler::Analytics;
use runtime::config::{Common, ConfigError, ProcessArgs, check_topic};
use runtime::connection::Connection;
use runtime::consumer::{self, BatchArgs};
use runtime::health::Health;
use runtime::registry::{Registry, RegistryArgs};
use runtime::role::{Role, Service};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the gauges of the last full minute are set.
const EXPOSE_EVERY: Duration = Duration::from_secs(1);

/// Settings of the analytics role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub batch: BatchArgs,
    #[command(flatten)]
    former: FormerArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
    /// Topic of validated events
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::kafka::topics::VALIDATED)]
    pub topic_validated: String,
    /// Consumer group
    #[arg(
        long,
        env = "EVENTFLOW_ANALYTICS_GROUP",
        default_value = "eventflow-analytics"
    )]
    pub group: String,
}

/// Flags of 0.1 without a use, since this stage dead-letters nothing. Accepted and ignored for one more release.
#[derive(Debug, Clone, clap::Args)]
struct FormerArgs {
    #[arg(long, hide = true)]
    topic_dlq: Option<String>,
    #[arg(long, hide = true, allow_negative_numbers = true)]
    breaker_share: Option<String>,
    #[arg(long, hide = true)]
    breaker_window: Option<String>,
}

impl Role for Config {
    fn name(&self) -> &'static str {
        "analytics"
    }

    fn process(&self) -> &ProcessArgs {
        &self.common.process
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        self.common.ops.address()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.common.kafka.check()?;
        self.batch.check(&self.group)?;
        check_topic("--topic-validated", &self.topic_validated)?;
        Registry::new(&self.registry).map(drop)
    }

    fn connections(&self) -> Vec<Connection> {
        vec![
            Connection::kafka(&self.common.kafka),
            Connection::registry(&self.registry),
        ]
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        metrics::describe();
        let (config, figures) = (self.clone(), no_figures());
        let routes = routes(Arc::clone(&figures));
        let work = async move { consume(&config, figures, health, shutdown).await };
        Ok(Service::new(work).with_routes(routes))
    }
}

/// Figures shared by the stage, `/api/stats` and the gauges.
pub type Shared = Arc<Mutex<Figures>>;

/// Figures that know the built-in contracts from the start; those of further ones appear with their first event.
#[must_use]
pub fn no_figures() -> Shared {
    Arc::new(Mutex::new(Figures::new(
        Catalog::builtin()
            .iter()
            .map(|contract| contract.label.as_str()),
    )))
}

/// `/api/stats`: the last hour, minute by minute.
pub fn routes(figures: Shared) -> axum::Router {
    let answer = move || async move {
        Json(stats::stats(
            &figures.lock().unwrap_or_else(PoisonError::into_inner),
            now_ms(),
        ))
    };
    axum::Router::new().route("/api/stats", get(answer))
}

/// The stage and the gauges, without their endpoints.
async fn consume(
    config: &Config,
    figures: Shared,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let registry = Registry::new(&config.registry)?;
    tokio::spawn(
        shutdown
            .clone()
            .run_until_cancelled_owned(expose(Arc::clone(&figures))),
    );
    let handler = Analytics::new(registry, figures, tokio::runtime::Handle::current());
    // It rejects nothing, so nothing is replayed to it: what persistence could not store was counted here when it was validated.
    let (kafka, topics) = (&config.common.kafka, vec![config.topic_validated.clone()]);
    let settings = config.batch.settings(kafka, &config.group, topics);
    consumer::run(settings, handler, None, health, shutdown).await?;
    Ok(())
}

/// Keeps the gauges at the last full minute, events or not.
async fn expose(figures: Shared) {
    let mut gauges = metrics::LastMinute::default();
    let mut tick = tokio::time::interval(EXPOSE_EVERY);
    loop {
        tick.tick().await;
        gauges.expose(
            &figures.lock().unwrap_or_else(PoisonError::into_inner),
            now_ms(),
        );
    }
}

/// Milliseconds since the epoch.
fn now_ms() -> i64 {
    runtime::clock::now_micros() / 1000
}
