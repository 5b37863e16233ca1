//! Every role in this process, on an embedded broker and a private PostgreSQL or on those it is given.

use super::config::{PortArgs, STOPPED, TIMEOUT, TOKEN};
use super::vendors::{PAYMENTS, Vendors};
use anyhow::Context as _;
use clap::{Args, FromArgMatches};
use console::{Console, ConsoleSettings};
use contracts::Secret;
use contracts::pipeline::Pipeline;
use recovery::Context;
use recovery::http::{TokenRole, Tokens};
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

/// How long the roles may take to be ready.
const START: Duration = Duration::from_secs(30);

/// The sockets of all roles, bound before anything is started: a port that is taken is then the only error.
pub(super) struct Listeners {
    producer: TcpListener,
    validator: TcpListener,
    analytics: TcpListener,
    persistence: TcpListener,
    simulator: TcpListener,
    registry: TcpListener,
    recovery: TcpListener,
}

impl Listeners {
    /// # Errors
    /// The first port that is taken.
    pub(super) async fn bind(ports: &PortArgs) -> Result<Self, ConfigError> {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self {
            producer: bind("--producer-port", at(ports.producer_port)).await?,
            validator: bind("--validator-port", at(ports.validator_port)).await?,
            analytics: bind("--analytics-port", at(ports.analytics_port)).await?,
            persistence: bind("--persistence-port", at(ports.persistence_port)).await?,
            simulator: bind("--simulator-port", at(ports.simulator_port)).await?,
            registry: bind("--registry-port", at(ports.registry_port)).await?,
            recovery: bind("--recovery-port", at(ports.recovery_port)).await?,
        })
    }
}

/// The running roles with their broker and database. Dropped: the roles stop, then the database and the broker.
pub(super) struct Roles {
    tasks: Tasks,
    _stop: DropGuard,
    pub(super) kafka: KafkaArgs,
    pub(super) database_url: Secret,
    /// Role, address, and what is served there
    pub(super) addresses: Vec<(&'static str, SocketAddr, &'static str)>,
    pub(super) simulator_address: SocketAddr,
    /// Base URL of the producer
    pub(super) edge_url: String,
    pub(super) recovery_address: SocketAddr,
    /// Logs in whoever opens it first
    pub(super) console_url: String,
    /// Recovery's queries, straight on its database
    pub(super) recovery_context: Context,
    /// How the demo's own vendors deliver
    pub(super) delivery: DeliveryArgs,
    _postgres: Option<PrivatePostgres>,
    _broker: Option<EmbeddedBroker>,
}

struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    health: Vec<(&'static str, Health)>,
    stop: CancellationToken,
}

impl Tasks {
    fn spawn<F>(&mut self, role: &'static str, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.running
            .spawn(async move { work.await.with_context(|| format!("{role} failed")) });
    }

    fn health(&mut self, role: &'static str) -> Health {
        let health = Health::starting();
        self.health.push((role, health.clone()));
        health
    }

    fn is_ready(&self, role: &str) -> bool {
        self.health
            .iter()
            .any(|(name, health)| *name == role && health.is_ready())
    }
}

impl Roles {
    /// Starts everything; `brokers` and `database_url` replace the embedded broker and the private PostgreSQL. Joining a group lasts three
    /// seconds on the embedded broker: the stages that need no database join while PostgreSQL is being created.
    ///
    /// A shutdown waits for a PostgreSQL that is being created and then removes it, so that nothing is left behind.
    ///
    /// # Errors
    /// Something cannot be started, or a shutdown came first.
    pub(super) async fn start(
        brokers: Option<&str>,
        database_url: Option<Secret>,
        listeners: Listeners,
        vendors: &Vendors,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (broker, kafka) = shutdown
            .run_until_cancelled(start_broker(brokers))
            .await
            .context(STOPPED)??;
        let private = database_url
            .is_none()
            .then(|| tokio::task::spawn_blocking(|| PrivatePostgres::start(true)));
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let mut tasks = Tasks {
            running: JoinSet::new(),
            health: Vec::new(),
            stop: stop.clone(),
        };
        let recovery_address = listeners.recovery.local_addr()?;
        let addresses = vec![
            (
                "producer",
                listeners.producer.local_addr()?,
                "POST /api/webhooks/SOURCE, /docs, /ready",
            ),
            (
                "validator",
                listeners.validator.local_addr()?,
                "/ready, /metrics",
            ),
            (
                "analytics",
                listeners.analytics.local_addr()?,
                "/api/stats, /ready, /metrics",
            ),
            (
                "persistence",
                listeners.persistence.local_addr()?,
                "/ready, /metrics",
            ),
            (
                "simulator",
                listeners.simulator.local_addr()?,
                "POST /authorize",
            ),
            ("registry", listeners.registry.local_addr()?, "/subjects"),
            ("recovery", recovery_address, "the console, /openapi.json"),
        ];
        let (edge, simulator) = (
            listeners.producer.local_addr()?,
            listeners.simulator.local_addr()?,
        );
        let registry_flag = format!("--registry-url=http://{}", listeners.registry.local_addr()?);
        let payments_secret =
            String::from_utf8_lossy(vendors.payments_secret.expose()).into_owned();
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

        let registry_flags = ["demo".to_owned()]
            .into_iter()
            .chain(vendors.contract_flags());
        let settings: registry::Config = parse(&registry_flags.collect::<Vec<_>>())?;
        let end = stop.clone();
        tasks.spawn("registry", async move {
            role::serve(&settings, listeners.registry, Health::starting(), end).await
        });

        let (sources, with_contracts) = (vendors.flags(false), vendors.flags(true));
        let also = |of_vendors: &[String], more: &[&str]| {
            let mut all = flags(more);
            all.extend_from_slice(of_vendors);
            all
        };
        let settings: producer::Config = parse(&also(&sources, &["--ingest-api-key=demo"]))?;
        let (health, end) = (tasks.health("producer"), stop.clone());
        // Its public port has no /metrics: recovery reads them at another.
        let edge_ops = bind(
            "--producer-port",
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        )
        .await?;
        let edge_ops_address = edge_ops.local_addr()?;
        let ops = runtime::ops::serve(edge_ops, runtime::ops::routes(health.clone()), end.clone());
        tasks.spawn("producer", async move {
            ops.await;
            Ok(())
        });
        tasks.spawn("producer", async move {
            producer::serve(&settings, listeners.producer, health, end).await
        });

        let settings: validator::Config = parse(&also(&with_contracts, &[&registry_flag]))?;
        let (health, end) = (tasks.health("validator"), stop.clone());
        tasks.spawn("validator", async move {
            role::serve(&settings, listeners.validator, health, end).await
        });

        // The embedded broker has no time index: analytics must be there before the first event to see the last hour.
        let settings: analytics::Config = parse(&flags(&[&registry_flag]))?;
        let (health, end) = (tasks.health("analytics"), stop.clone());
        tasks.spawn("analytics", async move {
            role::serve(&settings, listeners.analytics, health, end).await
        });

        let webhook_flag = format!("--webhook-url=http://{edge}/api/webhooks/{PAYMENTS}");
        let secret_flag = format!("--webhook-signing-secret={payments_secret}");
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
        tasks.spawn("simulator", async move {
            role::serve(&settings, listeners.simulator, Health::starting(), end).await
        });

        let (postgres, database_url) = match (private, database_url) {
            (Some(starting), _) => {
                let postgres = starting.await?;
                // A Ctrl-C at the terminal reaches PostgreSQL's programs too: their failure is then not reported.
                anyhow::ensure!(!shutdown.is_cancelled(), STOPPED);
                let postgres = postgres
                    .map_err(|error| ConfigError::new("private PostgreSQL", error.to_string()))?;
                let url = Secret::new(postgres.url());
                (Some(postgres), url)
            }
            (None, url) => (None, url.unwrap_or_else(|| Secret::new(""))),
        };
        let url_flag = format!(
            "--database-url={}",
            String::from_utf8_lossy(database_url.expose())
        );
        let settings: persistence::Config = parse(&flags(&[&registry_flag, &url_flag]))?;
        let (health, end) = (tasks.health("persistence"), tasks.stop.clone());
        tasks.spawn("persistence", async move {
            role::serve(&settings, listeners.persistence, health, end).await
        });

        // Where each of them serves its /ready and /metrics; recovery is asked itself.
        let at = |role: &str, address: SocketAddr| match role {
            "producer" => edge_ops_address,
            _ => address,
        };
        let roles = addresses.iter().filter(|(role, ..)| *role != "recovery");
        let roles =
            roles.map(|(role, address, _)| format!("--role={role}=http://{}", at(role, *address)));
        let with_roles = [&with_contracts[..], &roles.collect::<Vec<_>>()].concat();
        let settings: recovery::Config = parse(&also(
            &with_roles,
            &[&registry_flag, &url_flag, "--audit-seconds=2"],
        ))?;
        let recovery_context = Context::new(settings.pipeline.clone(), None)?;
        let tokens = Tokens::one("demo", TokenRole::Operator, Secret::new(TOKEN));
        let (health, end) = (tasks.health("recovery"), tasks.stop.clone());
        let console = Console::new(&tokens, ConsoleSettings::default(), end.clone());
        let invitation = console.invitation(TOKEN.as_bytes()).unwrap_or_default();
        let around = move |api, _: &_| console.around(api);
        tasks.spawn("recovery", async move {
            recovery::serve(&settings, &tokens, around, listeners.recovery, health, end).await
        });
        for stage in &Pipeline::built_in().stages {
            let name = &stage.name;
            let is_started = tasks.health.iter().any(|(role, _)| role == name);
            anyhow::ensure!(
                is_started,
                "the demo does not start the stage {name}: add it to eventflow/src/demo/roles.rs"
            );
        }
        Ok(Self {
            tasks,
            _stop: guard,
            kafka,
            database_url,
            addresses,
            simulator_address: simulator,
            edge_url: format!("http://{edge}"),
            recovery_address,
            console_url: format!("http://{recovery_address}{invitation}"),
            recovery_context,
            delivery,
            _postgres: postgres,
            _broker: broker,
        })
    }

    /// Waits until the edge and every stage can do their job. Recovery may take a moment longer.
    pub(super) async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        let pipeline = Pipeline::built_in();
        let stages = pipeline.stages.iter().map(|stage| stage.name.as_str());
        let awaited: Vec<&str> = stages.chain(["producer"]).collect();
        while !awaited.iter().all(|role| self.tasks.is_ready(role)) {
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
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (role, health) in &self.tasks.health {
            let reasons = health.reasons().into_iter();
            problems.extend(
                reasons.map(|(check, reason)| format!("{role} is not ready: {check}: {reason}")),
            );
        }
        problems
    }

    /// Waits until a role ends by itself, which none should; why.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self.tasks.running.join_next().await {
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a role ended, though nobody stopped it"),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow::anyhow!("a role panicked: {error}"),
        }
    }

    /// Stops the roles, then the database and the broker. A Kafka client without a broker takes minutes to close: the end of the
    /// process ends it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.tasks.stop.cancel();
        let all = async {
            while let Some(role) = self.tasks.running.join_next().await {
                role??;
            }
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, all).await.unwrap_or(Ok(()))
    }
}

async fn start_broker(
    brokers: Option<&str>,
) -> anyhow::Result<(Option<EmbeddedBroker>, KafkaArgs)> {
    let Some(brokers) = brokers else {
        let broker = EmbeddedBroker::with_pipeline()?;
        let kafka = broker.kafka();
        return Ok((Some(broker), kafka));
    };
    let bad = |problem: String| ConfigError::new("--kafka-brokers", problem);
    let kafka = KafkaArgs::plaintext(brokers);
    kafka.check().map_err(|error| bad(error.problem))?;
    runtime::admin::cluster_id(&kafka, TIMEOUT).await.map_err(|_| {
        bad(format!(
            "no Kafka broker answers at {brokers} within {} s; is it running, and its listener plaintext?",
            TIMEOUT.as_secs()
        ))
    })?;
    runtime::admin::create_topics(&kafka, &Pipeline::built_in().partitions())
        .await
        .map_err(|error| bad(format!("{error:#}")))?;
    Ok((None, kafka))
}

/// A role's settings, as its own command line would read them.
fn parse<A: Args + FromArgMatches>(flags: &[String]) -> anyhow::Result<A> {
    let matches = A::augment_args(clap::Command::new("demo")).try_get_matches_from(flags)?;
    Ok(A::from_arg_matches(&matches)?)
}
