//! Turns validated events into metrics and per-minute figures.
//!
//! Counters count from this process's start, as Prometheus expects. The per-minute figures at `/api/stats` are another thing: on
//! assignment the stage goes back an hour in the log and recomputes them, each raw record once, so a restart neither loses nor doubles
//! one ([`figures`]). While it re-reads, counters count only what it has not passed before: see [`Analytics`].

pub mod figures;
pub mod metrics;

use axum::Json;
use axum::routing::get;
use contracts::framing;
use figures::{Figures, WINDOW_MINUTES};
use runtime::config::{Common, ConfigError};
use runtime::consumer::{self, Handler, Outcome, Record, StageArgs, Start, Transient};
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::registry::{Registry, RegistryArgs, RegistryError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};
use tokio_util::sync::CancellationToken;

/// Settings of the analytics role.
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
    pub registry: RegistryArgs,
    /// Topic of validated events
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::topics::VALIDATED)]
    pub topic_validated: String,
    /// On start read the whole topic instead of the last hour: for brokers without a time index, such as the embedded one
    #[arg(long, env = "EVENTFLOW_ANALYTICS_FROM_BEGINNING", default_value_t = false)]
    pub from_beginning: bool,
    /// Consumer group
    #[arg(long, env = "EVENTFLOW_ANALYTICS_GROUP", default_value = "eventflow-analytics")]
    pub group: String,
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.common.kafka.check()?;
        Registry::new(&self.registry).map(drop)
    }
}

/// Figures shared with `/api/stats`.
pub type Shared = Arc<Mutex<Figures>>;

/// `/api/stats`: the last hour, minute by minute.
pub fn routes(figures: Shared) -> axum::Router {
    axum::Router::new().route(
        "/api/stats",
        get(move || async move {
            let view = figures.lock().unwrap_or_else(PoisonError::into_inner).view();
            Json(serde_json::json!({"minutes": view}))
        }),
    )
}

/// Runs the role until `shutdown`.
///
/// # Errors
/// Bad configuration or a fatal client error.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    config.check()?;
    let health = Health::new();
    let listener = runtime::ops::bind("--ops-listen", config.common.ops.ops_listen).await?;
    serve(&config, listener, health, shutdown).await
}

/// The stage and its endpoints on a given listener, for `run` and for the demo.
///
/// # Errors
/// As [`run`].
pub async fn serve(config: &Config, listener: tokio::net::TcpListener, health: Health, shutdown: CancellationToken) -> anyhow::Result<()> {
    metrics::describe();
    let figures = Shared::default();
    let endpoints = routes(Arc::clone(&figures)).merge(runtime::ops::routes(health.clone()));
    let ops = tokio::spawn(runtime::ops::serve(listener, endpoints, shutdown.clone()));
    let kafka = &config.common.kafka;
    let publisher = Publisher::new(kafka, &PublisherSettings::stage("analytics"), &health)?;
    tokio::spawn(publisher.clone().watch(config.stage.topic_dlq.clone(), health.clone(), shutdown.clone()));
    let handler = Analytics::new(Registry::new(&config.registry)?, figures, config.from_beginning, tokio::runtime::Handle::current());
    let settings = config.stage.settings(kafka, &config.group, vec![config.topic_validated.clone()]);
    consumer::run(settings, handler, publisher, health, shutdown.clone()).await?;
    shutdown.cancel();
    ops.await??;
    Ok(())
}

/// The measuring stage. It never dead-letters: what it cannot read, persistence reads too and dead-letters; here it is an error counted.
#[derive(Debug)]
pub struct Analytics {
    registry: Registry,
    figures: Shared,
    from_beginning: bool,
    runtime: tokio::runtime::Handle,
    /// Next offsets already counted by the counters, so that re-reading the window after a rebalance counts nothing twice
    counted: HashMap<i32, i64>,
}

impl Analytics {
    /// A stage that shares its figures.
    #[must_use]
    pub fn new(registry: Registry, figures: Shared, from_beginning: bool, runtime: tokio::runtime::Handle) -> Self {
        Self { registry, figures, from_beginning, runtime, counted: HashMap::new() }
    }

    fn measure(&mut self, record: &Record<'_>, now_micros: i64) -> Result<(), Transient> {
        let first_time = self.counted.get(&record.partition).is_none_or(|next| record.offset >= *next);
        if first_time {
            self.counted.insert(record.partition, record.offset + 1);
        }
        let error = |code: &'static str| {
            if first_time {
                ::metrics::counter!(metrics::ERRORS, "code" => code).increment(1);
            }
            Ok(())
        };
        let Ok((schema_id, datum)) = framing::unframe(record.value()) else { return error("bad_frame") };
        let decoder = match self.runtime.block_on(self.registry.decoder(schema_id)) {
            Ok(decoder) => decoder,
            Err(unavailable @ RegistryError::Unavailable(_)) => return Err(Transient::wait(unavailable.code(), unavailable)),
            Err(RegistryError::UnknownId(_) | RegistryError::Unusable { .. }) => return error("unknown_schema_id"),
        };
        let Ok(event) = decoder.decode(datum) else { return error("bad_datum") };
        if first_time {
            // Event types are those of registered schemas: a bounded set.
            ::metrics::counter!(metrics::PROCESSED, "event_type" => event.event_type.clone(), "partition" => record.partition.to_string()).increment(1);
            #[expect(clippy::cast_precision_loss, reason = "seconds for a histogram")]
            ::metrics::histogram!(metrics::EVENT_AGE).record((now_micros - event.occurred_at_micros).max(0) as f64 / 1e6);
        }
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).add(
            record.timestamp_ms,
            record.raw(),
            &event.event_type,
            event.currency.as_deref(),
            event.amount.as_deref(),
        );
        Ok(())
    }

    /// Exposes the last full minute.
    fn expose(&self, now_micros: i64) {
        let minute = now_micros.div_euclid(60_000_000) - 1;
        let Some(view) = self.figures.lock().unwrap_or_else(PoisonError::into_inner).minute(minute) else { return };
        ::metrics::gauge!(metrics::REFUND_RATIO).set(view.refund_ratio.unwrap_or(0.0));
        for line in view.lines {
            #[expect(clippy::cast_precision_loss, reason = "a gauge for a graph; exact figures are at /api/stats")]
            ::metrics::gauge!(metrics::LAST_MINUTE_EVENTS, "event_type" => line.event_type.clone()).set(line.events as f64);
            let amount: f64 = line.amount.parse().unwrap_or(0.0);
            ::metrics::gauge!(metrics::LAST_MINUTE_AMOUNT, "event_type" => line.event_type, "currency" => line.currency).set(amount);
        }
    }
}

impl Handler for Analytics {
    fn stage(&self) -> &'static str {
        "analytics"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, Transient> {
        let started = Instant::now();
        let now = now_micros();
        for record in batch {
            self.measure(record, now)?;
        }
        self.expose(now);
        ::metrics::histogram!(metrics::PROCESSING).record(started.elapsed());
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }

    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, Transient> {
        if self.from_beginning {
            return Ok(vec![Start::Beginning; partitions.len()]);
        }
        let since = now_micros() / 1000 - WINDOW_MINUTES * 60_000;
        Ok(vec![Start::Since(since); partitions.len()])
    }
}

fn now_micros() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
