//! Every role in this process, for the demo.

use crate::demo::Config;
use anyhow::Context as _;
use clap::{Args, FromArgMatches};
use contracts::Secret;
use recovery::Context;
use recovery::http::{Role, Tokens};
use runtime::config::ConfigError;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::ops::bind;
use runtime::role;
use sandbox::broker::EmbeddedBroker;
use sandbox::postgres::PrivatePostgres;
use simulator::delivery::DeliveryArgs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Signs the demo's webhooks: the simulator's default, so that `eventflow load` just works beside the demo.
pub(crate) const SECRET: &str = "eventflow-local-secret";
/// Opens recovery's API in the demo.
pub(crate) const TOKEN: &str = "eventflow-demo";
/// What is said when a stop was asked for too early.
pub(crate) const STOPPED: &str = "stopped before it was up";
/// How long real brokers and a real database may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long the roles may take to be ready.
const START: Duration = Duration::from_secs(30);

/// All ports of the demo: a taken one must be known before anything is started.
pub(crate) struct Ports {
    producer: TcpListener,
    validator: TcpListener,
    analytics: TcpListener,
    persistence: TcpListener,
    simulator: TcpListener,
    registry: TcpListener,
    recovery: TcpListener,
}

impl Ports {
    pub(crate) async fn bind(config: &Config) -> Result<Self, ConfigError> {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self {
            producer: bind("--producer-port", at(config.producer_port)).await?,
            validator: bind("--validator-port", at(config.validator_port)).await?,
            analytics: bind("--analytics-port", at(config.analytics_port)).await?,
            persistence: bind("--persistence-port", at(config.persistence_port)).await?,
            simulator: bind("--simulator-port", at(config.simulator_port)).await?,
            registry: bind("--registry-port", at(config.registry_port)).await?,
            recovery: bind("--recovery-port", at(config.recovery_port)).await?,
        })
    }
}

/// The roles, and what they stand on. Dropped: the roles are told to stop, then the database and the broker go.
pub(crate) struct Pipeline {
    roles: Roles,
    _stop: DropGuard,
    pub(crate) kafka: KafkaArgs,
    pub(crate) database_url: Secret,
    /// A role, where it is, and what is to be seen there
    pub(crate) addresses: Vec<(&'static str, SocketAddr, &'static str)>,
    pub(crate) simulator: SocketAddr,
    /// Its API
    pub(crate) recovery: SocketAddr,
    /// Its database
    pub(crate) oncall: Context,
    /// How the demo's own vendors deliver
    pub(crate) delivery: DeliveryArgs,
    _postgres: Option<PrivatePostgres>,
    _broker: Option<EmbeddedBroker>,
}

struct Roles {
    running: JoinSet<anyhow::Result<()>>,
    health: Vec<(&'static str, Health)>,
    stop: CancellationToken,
}

impl Roles {
    fn spawn<F>(&mut self, role: &'static str, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.running
            .spawn(async move { work.await.with_context(|| format!("the {role} failed")) });
    }

    fn health(&mut self, role: &'static str) -> Health {
        let health = Health::starting();
        self.health.push((role, health.clone()));
        health
    }
}

impl Pipeline {
    /// Starts everything. Joining a group lasts three seconds on the embedded broker: the stages that need no database join while PostgreSQL
    /// is being made.
    ///
    /// A shutdown does not cut off the database half-made, which would leave it behind: it is waited for, then taken down.
    pub(crate) async fn start(
        config: &Config,
        ports: Ports,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (broker, kafka) = shutdown
            .run_until_cancelled(start_broker(config))
            .await
            .context(STOPPED)??;
        let private = config
            .database_url
            .is_none()
            .then(|| tokio::task::spawn_blocking(|| PrivatePostgres::start(true)));
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let mut roles = Roles {
            running: JoinSet::new(),
            health: Vec::new(),
            stop: stop.clone(),
        };
        let recovery = ports.recovery.local_addr()?;
        let addresses = vec![
            (
                "producer",
                ports.producer.local_addr()?,
                "POST /api/webhooks/payment-authorized, /docs, /ready",
            ),
            (
                "validator",
                ports.validator.local_addr()?,
                "/ready, /metrics",
            ),
            (
                "analytics",
                ports.analytics.local_addr()?,
                "/api/stats, /ready, /metrics",
            ),
            (
                "persistence",
                ports.persistence.local_addr()?,
                "/ready, /metrics",
            ),
            (
                "simulator",
                ports.simulator.local_addr()?,
                "POST /authorize",
            ),
            ("registry", ports.registry.local_addr()?, "/subjects"),
            ("recovery", recovery, "/openapi.json"),
        ];
        let (edge, simulator) = (ports.producer.local_addr()?, ports.simulator.local_addr()?);
        let registry_flag = format!("--registry-url=http://{}", ports.registry.local_addr()?);
        let flags = |more: &[&str]| {
            let brokers = format!("--kafka-brokers={}", kafka.kafka_brokers);
            let settings = kafka
                .kafka_config
                .iter()
                .map(|pair| format!("--kafka-config={pair}"));
            let more = more.iter().map(|flag| (*flag).to_owned());
            ["demo".to_owned(), brokers]
                .into_iter()
                .chain(settings)
                .chain(more)
                .collect::<Vec<_>>()
        };

        let settings: registry::Config = parse(&["demo".to_owned()])?;
        let end = stop.clone();
        roles.spawn("registry", async move {
            role::serve(&settings, ports.registry, Health::starting(), end).await
        });

        let settings: producer::Config = parse(&flags(&[
            &format!("--webhook-signing-secret={SECRET}"),
            "--ingest-api-key=demo",
        ]))?;
        let (health, end) = (roles.health("producer"), stop.clone());
        roles.spawn("producer", async move {
            producer::serve(&settings, ports.producer, health, end).await
        });

        let settings: validator::Config = parse(&flags(&[&registry_flag]))?;
        let (health, end) = (roles.health("validator"), stop.clone());
        roles.spawn("validator", async move {
            role::serve(&settings, ports.validator, health, end).await
        });

        // The embedded broker has no time index: analytics must be there before the first event to see the last hour.
        let settings: analytics::Config = parse(&flags(&[&registry_flag]))?;
        let (health, end) = (roles.health("analytics"), stop.clone());
        roles.spawn("analytics", async move {
            role::serve(&settings, ports.analytics, health, end).await
        });

        let webhook_flag = format!("--webhook-url=http://{edge}/api/webhooks/payment-authorized");
        let secret_flag = format!("--webhook-signing-secret={SECRET}");
        let settings: simulator::Config = parse(
            &[
                "demo",
                &webhook_flag,
                &secret_flag,
                "--duplicate-rate=0",
                "--corruption-rate=0",
            ]
            .map(str::to_owned),
        )?;
        let delivery = settings.delivery.clone();
        let end = stop.clone();
        roles.spawn("simulator", async move {
            role::serve(&settings, ports.simulator, Health::starting(), end).await
        });

        let (postgres, database_url) = match (private, &config.database_url) {
            (Some(starting), _) => {
                let postgres = starting.await?;
                // A Ctrl-C at the terminal reaches PostgreSQL's programs too: then their failure is not the news.
                anyhow::ensure!(!shutdown.is_cancelled(), STOPPED);
                let postgres = postgres
                    .map_err(|error| ConfigError::new("private PostgreSQL", error.to_string()))?;
                let url = Secret::new(postgres.url());
                (Some(postgres), url)
            }
            (None, url) => (None, url.clone().unwrap_or_else(|| Secret::new(""))),
        };
        let url_flag = format!(
            "--database-url={}",
            String::from_utf8_lossy(database_url.expose())
        );
        let settings: persistence::Config = parse(&flags(&[&registry_flag, &url_flag]))?;
        let (health, end) = (roles.health("persistence"), roles.stop.clone());
        roles.spawn("persistence", async move {
            role::serve(&settings, ports.persistence, health, end).await
        });

        let settings: recovery::Config = parse(&flags(&[
            &registry_flag,
            &url_flag,
            &secret_flag,
            "--audit-seconds=2",
        ]))?;
        let oncall = Context::new(settings.pipeline.clone(), None)?;
        let tokens = Tokens::one("demo", Role::Admin, Secret::new(TOKEN));
        let (health, end) = (roles.health("recovery"), roles.stop.clone());
        roles.spawn("recovery", async move {
            recovery::serve(&settings, &tokens, ports.recovery, health, end).await
        });
        Ok(Self {
            roles,
            _stop: guard,
            kafka,
            database_url,
            addresses,
            simulator,
            recovery,
            oncall,
            delivery,
            _postgres: postgres,
            _broker: broker,
        })
    }

    /// Waits until every role an event passes can do its job. Recovery may come a moment later.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while !self
            .roles
            .health
            .iter()
            .all(|(role, health)| *role == "recovery" || health.is_ready())
        {
            anyhow::ensure!(
                Instant::now() < deadline,
                "not ready after {} s: {}",
                START.as_secs(),
                self.problems().join("; ")
            );
            tokio::select! {
                ended = self.ended() => return Err(ended),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        Ok(())
    }

    /// Why roles are not ready now.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (role, health) in &self.roles.health {
            let reasons = health.reasons().into_iter();
            problems.extend(
                reasons.map(|(check, reason)| format!("{role} is not ready: {check}: {reason}")),
            );
        }
        problems
    }

    /// Waits until a role ends by itself, which none should; why.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        match self.roles.running.join_next().await {
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a role ended by itself"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow::anyhow!("a role panicked: {error}"),
        }
    }

    /// Stops the roles, then the database and the broker. Without a broker a Kafka client would take minutes to close: it is left to the
    /// end of the process.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.roles.stop.cancel();
        let all = async {
            while let Some(role) = self.roles.running.join_next().await {
                role??;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap_or(Ok(()))
    }
}

async fn start_broker(config: &Config) -> anyhow::Result<(Option<EmbeddedBroker>, KafkaArgs)> {
    let described = contracts::pipeline::Pipeline::built_in();
    let wanted = described.partitions();
    let Some(brokers) = &config.kafka else {
        let broker = EmbeddedBroker::start(&wanted)?;
        let kafka = broker.kafka();
        return Ok((Some(broker), kafka));
    };
    let bad = |problem: String| ConfigError::new("--kafka", problem);
    let kafka = KafkaArgs::plaintext(brokers);
    kafka.check().map_err(|error| bad(error.problem))?;
    runtime::admin::cluster_id(&kafka, PATIENCE).await.map_err(|_| {
        bad(format!(
            "no Kafka broker answers at {brokers} within {} s; is it running, and its listener plaintext?",
            PATIENCE.as_secs()
        ))
    })?;
    runtime::admin::create_topics(&kafka, &wanted)
        .await
        .map_err(|error| bad(format!("{error:#}")))?;
    Ok((None, kafka))
}

/// A role's settings, as its own command line would read them.
fn parse<A: Args + FromArgMatches>(flags: &[String]) -> anyhow::Result<A> {
    let matches = A::augment_args(clap::Command::new("demo")).try_get_matches_from(flags)?;
    Ok(A::from_arg_matches(&matches)?)
}
