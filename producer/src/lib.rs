//! The edge: verifies webhooks and publishes them. A 2xx is sent only after the broker acknowledged the record.
//!
//! The path of one request, in order of cost: cheap header checks, admission (in-flight bound), the body with its limits, the MAC over the
//! same bytes, freshness, the source's quota, publish, await the acknowledgement, answer ([`webhook`], [`ingest`], [`error`]).
//! Nothing is parsed before it is verified, and what is published are the signed bytes, verbatim.

mod body;
pub mod error;
mod ingest;
pub mod metrics;
pub mod openapi;
mod publishing;
pub mod quota;
mod webhook;

use axum::Router;
use axum::routing::{get, post};
use contracts::Secret;
use contracts::webhook::source::Sources;
use quota::Quotas;
use runtime::config::{Common, ConfigError, ProcessArgs, check_range, check_topic};
use runtime::files::load_sources;
use runtime::health::Health;
use runtime::http::Limits;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::role::{Role, Service};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Settings of the producer role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    /// Address that vendors post to
    #[arg(
        long,
        env = "EVENTFLOW_PRODUCER_LISTEN",
        default_value = "127.0.0.1:8000"
    )]
    pub listen: SocketAddr,
    /// TOML file of sources (vendors); without it, the only source is the built-in payment-authorized
    #[arg(long, env = "EVENTFLOW_SOURCES")]
    pub sources: Option<PathBuf>,
    /// Secret of the built-in source payment-authorized
    #[arg(long, env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    pub webhook_signing_secret: Option<Secret>,
    /// API key of /api/ingest; without it the endpoint answers 403
    #[arg(long, env = "EVENTFLOW_INGEST_API_KEY", hide_env_values = true)]
    pub ingest_api_key: Option<Secret>,
    /// Topic of raw records
    #[arg(long, env = "EVENTFLOW_TOPIC_RAW", default_value = contracts::kafka::topics::RAW)]
    pub topic_raw: String,
    /// Milliseconds to wait for the broker's acknowledgement before answering 503
    #[arg(long, env = "EVENTFLOW_PUBLISH_DEADLINE_MS", default_value_t = 1500)]
    pub publish_deadline_ms: u64,
    /// Maximum requests in progress at once; further ones are answered 503
    #[arg(long, env = "EVENTFLOW_MAX_IN_FLIGHT", default_value_t = 4096)]
    pub max_in_flight: usize,
    /// Maximum records waiting for the broker's acknowledgement; further ones are answered 503
    #[arg(long, env = "EVENTFLOW_QUEUE_RECORDS", default_value_t = 100_000)]
    pub queue_records: usize,
    /// Maximum size, in mebibytes, of the records waiting for the broker's acknowledgement; further ones are answered 503
    #[arg(long, env = "EVENTFLOW_QUEUE_MEBIBYTES", default_value_t = 128)]
    pub queue_mebibytes: usize,
    /// Milliseconds a record may wait to be sent together with others
    #[arg(long, env = "EVENTFLOW_LINGER_MS", default_value_t = 1)]
    pub linger_ms: u64,
    /// Maximum events per batch request
    #[arg(long, env = "EVENTFLOW_BATCH_MAX_EVENTS", default_value_t = 1000)]
    pub batch_max_events: usize,
    /// Maximum failed verifications per second and source that are answered with their reason; further ones are answered 429
    #[arg(long, env = "EVENTFLOW_FAILURES_PER_SECOND", default_value_t = 50)]
    pub failures_per_second: u32,
    /// Milliseconds a client has to send its request's headers
    #[arg(long, env = "EVENTFLOW_HEADER_TIMEOUT_MS", default_value_t = 5000)]
    pub header_timeout_ms: u64,
    /// Milliseconds a client has to send its request's body
    #[arg(long, env = "EVENTFLOW_BODY_TIMEOUT_MS", default_value_t = 10_000)]
    pub body_timeout_ms: u64,
    /// Maximum connections open at once; further ones wait
    #[arg(long, env = "EVENTFLOW_MAX_CONNECTIONS", default_value_t = 10_000)]
    pub max_connections: usize,
}

impl Role for Config {
    fn name(&self) -> &'static str {
        "producer"
    }

    fn process(&self) -> &ProcessArgs {
        &self.common.process
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        self.common.ops.address()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.common.kafka.check()?;
        check_topic("--topic-raw", &self.topic_raw)?;
        for (setting, value, most) in [
            ("--max-in-flight", self.max_in_flight as u64, 1_000_000),
            ("--queue-records", self.queue_records as u64, 10_000_000),
            ("--queue-mebibytes", self.queue_mebibytes as u64, 1 << 20),
            ("--max-connections", self.max_connections as u64, 1_000_000),
            // For the Kafka client 0 would mean to retry for ever.
            ("--publish-deadline-ms", self.publish_deadline_ms, 600_000),
            ("--header-timeout-ms", self.header_timeout_ms, 600_000),
            ("--body-timeout-ms", self.body_timeout_ms, 600_000),
        ] {
            check_range(setting, value, 1..=most)?;
        }
        check_range(
            "--batch-max-events",
            self.batch_max_events as u64,
            1..=u64::MAX,
        )?;
        if self.linger_ms >= self.publish_deadline_ms {
            return Err(ConfigError::new(
                "--linger-ms",
                "must be below --publish-deadline-ms",
            ));
        }
        if self.batch_max_events > self.queue_records {
            return Err(ConfigError::new(
                "--batch-max-events",
                "must not be more than --queue-records, or a full batch could never be accepted",
            ));
        }
        self.load_sources().map(drop)
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        let config = self.clone();
        Ok(Service::new(async move {
            let listener = runtime::ops::bind("--listen", config.listen).await?;
            serve(&config, listener, health, shutdown).await
        }))
    }
}

impl Config {
    fn load_sources(&self) -> Result<Sources, ConfigError> {
        load_sources(self.sources.as_deref(), self.webhook_signing_secret.as_ref())?.ok_or_else(|| {
            ConfigError::new(
                "--webhook-signing-secret",
                "the built-in source needs its secret: set EVENTFLOW_WEBHOOK_SIGNING_SECRET, or name your vendors with --sources FILE",
            )
        })
    }
}

/// What every request shares.
#[derive(Debug)]
pub struct Edge {
    pub(crate) sources: Sources,
    pub(crate) meters: metrics::Meters,
    pub(crate) quotas: Quotas,
    pub(crate) publisher: Publisher,
    pub(crate) topic: String,
    pub(crate) publish_deadline: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) batch_max_events: usize,
    pub(crate) ingest_api_key: Option<Secret>,
    pub(crate) in_flight: Semaphore,
    pub(crate) shutdown: CancellationToken,
}

impl Edge {
    /// The shared state for these settings.
    ///
    /// # Errors
    /// As [`Role::check`].
    pub fn new(
        config: &Config,
        publisher: Publisher,
        shutdown: CancellationToken,
    ) -> Result<Self, ConfigError> {
        let sources = config.load_sources()?;
        let names = sources.iter().map(|source| source.name.as_str());
        Ok(Self {
            meters: metrics::Meters::new(names.chain([ingest::SOURCE])),
            quotas: Quotas::new(&sources, config.failures_per_second),
            sources,
            publisher,
            topic: config.topic_raw.clone(),
            publish_deadline: Duration::from_millis(config.publish_deadline_ms),
            body_timeout: Duration::from_millis(config.body_timeout_ms),
            batch_max_events: config.batch_max_events,
            ingest_api_key: config.ingest_api_key.clone(),
            in_flight: Semaphore::new(config.max_in_flight),
            shutdown,
        })
    }
}

/// The public routes.
pub fn app(edge: Arc<Edge>, health: Health) -> Router {
    let ready = health;
    Router::new()
        .route("/api/webhooks/{source}", post(webhook::receive))
        .route("/api/webhooks/{source}/", post(webhook::receive))
        .route("/api/webhooks/{source}/batch", post(webhook::receive_batch))
        .route(
            "/api/webhooks/{source}/batch/",
            post(webhook::receive_batch),
        )
        .route("/api/ingest", post(ingest::receive))
        .route("/api/ingest/", post(ingest::receive))
        .route(
            "/health",
            get(|| async { axum::Json(serde_json::json!({"status": "alive"})) }),
        )
        .route(
            "/ready",
            get(move || async move { runtime::ops::ready_answer(&ready) }),
        )
        .merge(openapi::routes())
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(edge)
}

/// The edge on a given listener until `shutdown`: then it stops accepting, finishes what is in flight, and logs what was left.
///
/// # Errors
/// Bad configuration ([`ConfigError`]) or a fatal client error.
pub async fn serve(
    config: &Config,
    listener: tokio::net::TcpListener,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    metrics::describe();
    let settings = PublisherSettings {
        client_id: "producer".to_owned(),
        record_timeout: Duration::from_millis(config.publish_deadline_ms),
        queue_records: config.queue_records,
        queue_bytes: config.queue_mebibytes << 20,
        linger: Duration::from_millis(config.linger_ms),
    };
    let publisher = Publisher::new(&config.common.kafka, &settings, &health)?;
    publisher
        .warm_up(&[&config.topic_raw], Duration::from_secs(5))
        .await;
    health.started();
    tokio::spawn(
        publisher
            .clone()
            .watch(config.topic_raw.clone(), shutdown.clone()),
    );
    let edge = Arc::new(Edge::new(config, publisher.clone(), shutdown.clone())?);
    tracing::info!(event = "listening", role = "producer", address = %listener.local_addr()?);
    let limits = Limits {
        header_timeout: Duration::from_millis(config.header_timeout_ms),
        connections: config.max_connections,
        drain: Duration::from_millis(config.publish_deadline_ms) + Duration::from_secs(3),
    };
    runtime::http::serve(listener, app(edge, health), limits, None, shutdown).await;
    let left = publisher
        .drain(Duration::from_millis(config.publish_deadline_ms))
        .await;
    tracing::info!(event = "edge_drained", left_unacknowledged = left);
    Ok(())
}
