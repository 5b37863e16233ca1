//! The edge: verifies webhooks and publishes them. A 2xx is sent only after the broker acknowledged the record.
//!
//! The path of one request, in order of cost: cheap header checks, the body within its budget and limits, the MAC over the same bytes,
//! freshness, the bound on requests in flight, the source's quota, publish, await the acknowledgement, answer ([`webhook`], [`ingest`],
//! [`error`]). Strangers get as far as the MAC: what they can take until then is in `budget`.
//! Nothing is parsed before it is verified, and what is published are the signed bytes, verbatim.

mod batch;
mod body;
mod budget;
pub mod error;
mod handshake;
mod ingest;
pub mod metrics;
pub mod openapi;
mod peer;
mod proof;
mod publishing;
pub mod quota;
mod reading;
mod records;
mod rejections;
mod repeats;
mod vendors;
mod webhook;

use axum::Router;
use axum::http::{Extensions, HeaderMap};
use axum::routing::{get, post};
use body::Pace;
use budget::{Budget, Charge};
use contracts::Secret;
use contracts::webhook::source::{Source, Sources};
use error::ApiError;
use ipnet::IpNet;
use peer::TrustedProxies;
use rejections::{Refused, Rejections};
use runtime::config::{Common, ConfigError, ProcessArgs, check_range, check_topic};
use runtime::connection::Connection;
use runtime::files::load_sources;
use runtime::health::Health;
use runtime::http::Limits;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::reload::{FilesRead, Live, Reload};
use runtime::role::{Role, Service};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use vendors::Vendors;

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
    /// TOML file of sources (vendors); without it, the only source is the built-in payment-authorized. It and the files of its secrets are read
    /// again when they change, or at once on SIGHUP; what cannot be used changes nothing, and /ready says so
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
    /// Topic of refused requests, which eventflow rejections shows; a sample, for people
    #[arg(long, env = "EVENTFLOW_TOPIC_REJECTIONS", default_value = contracts::kafka::topics::REJECTIONS)]
    pub topic_rejections: String,
    /// Maximum refused requests written to that topic per second, for each source and code; further ones are counted only. 0 writes none
    #[arg(long, env = "EVENTFLOW_REJECTIONS_PER_SECOND", default_value_t = 5)]
    pub rejections_per_second: u32,
    /// Milliseconds to wait for the broker's acknowledgement before answering 503, for sources without an answer_deadline_ms
    #[arg(long, env = "EVENTFLOW_PUBLISH_DEADLINE_MS", default_value_t = 4500)]
    pub publish_deadline_ms: u64,
    /// Maximum verified requests in progress at once; further ones are answered 503
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
    /// Milliseconds a client has to send its request's headers, from their first byte
    #[arg(long, env = "EVENTFLOW_HEADER_TIMEOUT_MS", default_value_t = 5000)]
    pub header_timeout_ms: u64,
    /// Milliseconds that a connection is kept after an answer; more than a load balancer in front keeps it (AWS: 60 s)
    #[arg(long, env = "EVENTFLOW_IDLE_TIMEOUT_MS", default_value_t = 75_000)]
    pub idle_timeout_ms: u64,
    /// Milliseconds a client has to send its request's body
    #[arg(long, env = "EVENTFLOW_BODY_TIMEOUT_MS", default_value_t = 10_000)]
    pub body_timeout_ms: u64,
    /// Minimum bytes per second, on average after two seconds, that a request's body must arrive with; 0 for no minimum
    #[arg(
        long,
        env = "EVENTFLOW_MIN_BODY_BYTES_PER_SECOND",
        default_value_t = 4096
    )]
    pub min_body_bytes_per_second: u32,
    /// Maximum memory, in mebibytes, of request bodies; further requests are answered 503. One client address may hold a quarter of it with
    /// requests that are not verified yet. Without this flag: a quarter of the container's memory limit but at most 1024, 256 where there is
    /// no limit, and never less than the largest body needs
    #[arg(long, env = "EVENTFLOW_BODY_BUDGET_MIB")]
    pub body_budget_mib: Option<usize>,
    /// Networks of proxies whose X-Forwarded-For names the client's address, as 10.0.0.0/8; without it the client is whoever connects
    #[arg(long, env = "EVENTFLOW_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpNet>,
    /// Maximum connections open at once; further ones wait. One address may have half of them; further ones of its own are closed at once
    #[arg(long, env = "EVENTFLOW_MAX_CONNECTIONS", default_value_t = 8000)]
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
        check_topic("--topic-rejections", &self.topic_rejections)?;
        let per_second = u64::from(self.rejections_per_second);
        check_range("--rejections-per-second", per_second, 0..=1000)?;
        for (setting, value, most) in [
            ("--max-in-flight", self.max_in_flight as u64, 1_000_000),
            ("--queue-records", self.queue_records as u64, 10_000_000),
            ("--queue-mebibytes", self.queue_mebibytes as u64, 1 << 20),
            ("--max-connections", self.max_connections as u64, 1_000_000),
            ("--publish-deadline-ms", self.publish_deadline_ms, 60_000),
            ("--header-timeout-ms", self.header_timeout_ms, 600_000),
            ("--body-timeout-ms", self.body_timeout_ms, 600_000),
            ("--idle-timeout-ms", self.idle_timeout_ms, 3_600_000),
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
        let sources = self.load_sources(&mut FilesRead::default())?;
        self.body_budget(&sources).map(drop)
    }

    fn connections(&self) -> Vec<Connection> {
        vec![Connection::kafka(&self.common.kafka)]
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        let (config, sources) = (self.clone(), Vendors::watched(self)?);
        let routes = vendors::routes(sources.live());
        let work = async move {
            let listener = runtime::ops::bind("--listen", config.listen).await?;
            serve_sources(&config, sources, listener, health, shutdown).await
        };
        Ok(Service::new(work).with_routes(routes))
    }
}

impl Config {
    fn load_sources(&self, files: &mut FilesRead) -> Result<Sources, ConfigError> {
        let secret = self.webhook_signing_secret.as_ref();
        load_sources(self.sources.as_deref(), secret, files)?.ok_or_else(|| {
            ConfigError::new(
                "--webhook-signing-secret",
                "the built-in source needs its secret: set EVENTFLOW_WEBHOOK_SIGNING_SECRET, or name your vendors with --sources FILE",
            )
        })
    }
}

/// How long the Kafka client goes on with a record, however soon its vendor is answered: longer than a fail-over, so that what was appended
/// without an acknowledgement is recognized when it is sent again.
const RECORD_TIMEOUT: Duration = Duration::from_secs(60);
/// Body budget where nothing limits this process's memory.
const BODY_BUDGET_BYTES: usize = 256 << 20;
/// Largest body budget that is not asked for.
const LARGEST_BODY_BUDGET_BYTES: usize = 1 << 30;

impl Config {
    /// The memory, in bytes, for request bodies.
    fn body_budget(&self, sources: &Sources) -> Result<usize, ConfigError> {
        let bodies = sources.iter().map(|source| match source.takes_many() {
            true => source.body_limit_bytes.max(source.batch_limit_bytes),
            false => source.body_limit_bytes,
        });
        let largest = bodies.max().unwrap_or_default().max(ingest::LIMIT);
        let least = Budget::least_for(largest);
        let Some(mebibytes) = self.body_budget_mib else {
            let share = |limit: u64| usize::try_from(limit / 4).unwrap_or(usize::MAX);
            let budget = runtime::memory::limit_bytes().map_or(BODY_BUDGET_BYTES, share);
            return Ok(budget.min(LARGEST_BODY_BUDGET_BYTES).max(least));
        };
        check_range("--body-budget-mib", mebibytes as u64, 1..=1 << 20)?;
        if mebibytes << 20 < least {
            return Err(ConfigError::new(
                "--body-budget-mib",
                format!(
                    "must be at least {}, or a body of {largest} bytes, which the sources allow, could never be read",
                    least.div_ceil(1 << 20)
                ),
            ));
        }
        Ok(mebibytes << 20)
    }
}

/// What every request shares.
#[derive(Debug)]
pub struct Edge {
    vendors: Live<Vendors>,
    pub(crate) meters: metrics::Meters,
    pub(crate) rejections: Rejections,
    pub(crate) publisher: Publisher,
    pub(crate) topic: String,
    pub(crate) publish_deadline: Duration,
    pub(crate) pace: Pace,
    pub(crate) bodies: Budget,
    pub(crate) proxies: TrustedProxies,
    pub(crate) batch_max_events: usize,
    pub(crate) ingest_api_key: Option<Secret>,
    pub(crate) in_flight: Semaphore,
    pub(crate) shutdown: CancellationToken,
}

impl Edge {
    /// The shared state for these settings, with the sources as they are now.
    ///
    /// # Errors
    /// As [`Role::check`], or settings librdkafka refuses.
    pub fn new(
        config: &Config,
        publisher: Publisher,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        Self::of(
            config,
            Vendors::watched(config)?.live(),
            publisher,
            shutdown,
        )
    }

    fn of(
        config: &Config,
        vendors: Live<Vendors>,
        publisher: Publisher,
        shutdown: CancellationToken,
    ) -> anyhow::Result<Self> {
        let budget = config.body_budget(&vendors.get().sources)?;
        tracing::info!(event = "body_budget", mebibytes = budget >> 20);
        Ok(Self {
            vendors,
            meters: metrics::Meters::new(),
            rejections: Rejections::new(config)?,
            publisher,
            topic: config.topic_raw.clone(),
            publish_deadline: Duration::from_millis(config.publish_deadline_ms),
            pace: Pace {
                timeout: Duration::from_millis(config.body_timeout_ms),
                least_bytes_per_second: config.min_body_bytes_per_second,
            },
            bodies: Budget::new(budget),
            proxies: TrustedProxies(config.trusted_proxies.clone()),
            batch_max_events: config.batch_max_events,
            ingest_api_key: config.ingest_api_key.clone(),
            in_flight: Semaphore::new(config.max_in_flight),
            shutdown,
        })
    }

    /// The sources as they are now. A request asks once, and ends with what it began with.
    pub(crate) fn vendors(&self) -> Arc<Vendors> {
        self.vendors.get()
    }

    /// How long a request of this source waits for its acknowledgements.
    pub(crate) fn deadline_of(&self, source: &Source) -> Duration {
        source.answer_deadline.unwrap_or(self.publish_deadline)
    }

    /// Counts a refused request, and writes it where people look at it.
    pub(crate) fn refused(&self, refused: &Refused<'_>, error: &ApiError) {
        let source = refused.name.to_owned();
        ::metrics::counter!(metrics::REQUESTS, "source" => source, "code" => error.code())
            .increment(1);
        let sources = self.vendors().sources.iter().count();
        self.rejections.note(refused, error, sources);
    }

    /// The longest of them.
    fn longest_deadline(&self) -> Duration {
        let vendors = self.vendors();
        let sources = vendors.sources.iter();
        sources
            .map(|source| self.deadline_of(source))
            .fold(self.publish_deadline, Duration::max)
    }
}

impl Edge {
    /// The charge of a request whose body is about to be read.
    fn open(&self, extensions: &Extensions, headers: &HeaderMap) -> Result<Charge<'_>, ApiError> {
        self.bodies.open(self.proxies.client(extensions, headers))
    }

    /// A place among the requests that are being published. Only who is verified gets one.
    fn admit(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        let place = self.in_flight.try_acquire();
        place.map_err(|_| ApiError::Overloaded)
    }
}

/// The public routes.
pub fn app(edge: Arc<Edge>, health: Health) -> Router {
    let ready = health;
    Router::new()
        .route(
            "/api/webhooks/{source}",
            post(webhook::receive).fallback(webhook::other_method),
        )
        .route(
            "/api/webhooks/{source}/",
            post(webhook::receive).fallback(webhook::other_method),
        )
        .route("/api/webhooks/{source}/batch", post(webhook::receive_batch))
        .route(
            "/api/webhooks/{source}/batch/",
            post(webhook::receive_batch),
        )
        .route("/api/ingest", post(ingest::receive))
        .route("/api/ingest/", post(ingest::receive))
        .route("/api/ingest/{event_type}", post(ingest::receive))
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
    let sources = Vendors::watched(config)?;
    serve_sources(config, sources, listener, health, shutdown).await
}

async fn serve_sources(
    config: &Config,
    sources: Reload<Vendors>,
    listener: tokio::net::TcpListener,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    metrics::describe();
    let settings = PublisherSettings {
        client_id: "producer".to_owned(),
        record_timeout: RECORD_TIMEOUT,
        queue_records: config.queue_records,
        queue_bytes: config.queue_mebibytes << 20,
        linger: Duration::from_millis(config.linger_ms),
        transactional_id: None,
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
    let vendors = sources.live();
    let edge = Arc::new(Edge::of(
        config,
        vendors,
        publisher.clone(),
        shutdown.clone(),
    )?);
    tokio::spawn(sources.run(health.clone(), shutdown.clone()));
    let longest = edge.longest_deadline();
    tracing::info!(event = "listening", role = "producer", address = %listener.local_addr()?);
    let limits = Limits {
        header_timeout: Duration::from_millis(config.header_timeout_ms),
        idle_timeout: Duration::from_millis(config.idle_timeout_ms),
        connections: config.max_connections,
        drain: longest + Duration::from_secs(3),
    };
    runtime::http::serve(listener, app(edge, health), limits, None, shutdown).await;
    // Those that nobody waits for, too.
    let left = publisher.drain(longest).await;
    tracing::info!(event = "edge_drained", left_unacknowledged = left);
    Ok(())
}
