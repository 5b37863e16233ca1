//! `eventflow demo`: every role in one process, an embedded broker, a private PostgreSQL, simulated vendors with faults, and at the end a
//! table that accounts for every event.

use crate::ledger::{Ledger, Watch};
use clap::{Args, FromArgMatches};
use contracts::{Secret, topics};
use runtime::config::ConfigError;
use runtime::embedded::EmbeddedBroker;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::ops::bind;
use runtime::postgres::PrivatePostgres;
use simulator::delivery::Deliverer;
use simulator::event::{Fault, Rate};
use simulator::stream::{self, StreamSettings};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Settings of the demo.
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Stop after this long, as 30s or 2m; without it, at Ctrl-C
    #[arg(long = "for", value_parser = simulator::load::parse_duration)]
    duration: Option<Duration>,
    /// Events a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Seed of the simulated traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the final table as JSON, and no live table
    #[arg(long, default_value_t = false)]
    json: bool,
    /// No faults in the traffic
    #[arg(long, default_value_t = false)]
    no_faults: bool,
    /// Use these brokers instead of the embedded one
    #[arg(long)]
    kafka: Option<String>,
    /// Use this PostgreSQL instead of a private one
    #[arg(long, hide_env_values = true)]
    database_url: Option<Secret>,
    /// Port of the producer
    #[arg(long, default_value_t = 8000)]
    producer_port: u16,
    /// Port of the validator's operations endpoints
    #[arg(long, default_value_t = 8001)]
    validator_port: u16,
    /// Port of analytics and /api/stats
    #[arg(long, default_value_t = 8002)]
    analytics_port: u16,
    /// Port of persistence's operations endpoints
    #[arg(long, default_value_t = 8003)]
    persistence_port: u16,
    /// Port of the simulator
    #[arg(long, default_value_t = 8080)]
    simulator_port: u16,
    /// Port of the schema registry
    #[arg(long, default_value_t = 8081)]
    registry_port: u16,
}

/// How long the end waits for what is in flight.
const DRAIN: Duration = Duration::from_secs(30);

pub(crate) async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    runtime::telemetry::init_at(false, "error,librdkafka=off");
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // All ports first: a taken one must be known before anything is started.
    let producer_at = bind("--producer-port", local(config.producer_port)).await?;
    let validator_at = bind("--validator-port", local(config.validator_port)).await?;
    let analytics_at = bind("--analytics-port", local(config.analytics_port)).await?;
    let persistence_at = bind("--persistence-port", local(config.persistence_port)).await?;
    let simulator_at = bind("--simulator-port", local(config.simulator_port)).await?;
    let registry_at = bind("--registry-port", local(config.registry_port)).await?;
    let registry_url = format!("http://{}", registry_at.local_addr()?);
    let webhook_url = format!("http://{}/api/webhooks/payment-authorized", producer_at.local_addr()?);
    let addresses = [
        ("producer", producer_at.local_addr()?, "POST /api/webhooks/payment-authorized, /docs, /ready"),
        ("validator", validator_at.local_addr()?, "/ready, /metrics"),
        ("analytics", analytics_at.local_addr()?, "/api/stats, /ready, /metrics"),
        ("persistence", persistence_at.local_addr()?, "/ready, /metrics"),
        ("simulator", simulator_at.local_addr()?, "POST /authorize"),
        ("registry", registry_at.local_addr()?, "/subjects"),
    ];

    let started = Instant::now();
    let wanted = [(topics::RAW, 6), (topics::VALIDATED, 6), (topics::DLQ, 3)];
    let (_embedded, kafka) = match &config.kafka {
        Some(brokers) => {
            let kafka = KafkaArgs::plaintext(brokers);
            runtime::admin::create_topics(&kafka, &wanted, 1).await?;
            (None, kafka)
        }
        None => {
            let broker = EmbeddedBroker::start(&wanted)?;
            let kafka = broker.kafka();
            (Some(broker), kafka)
        }
    };
    let (private, database_url) = match &config.database_url {
        Some(url) => (None, url.clone()),
        None => {
            let cluster = tokio::task::spawn_blocking(|| PrivatePostgres::start(true)).await?;
            let cluster = cluster.map_err(|error| ConfigError::new("--database-url", error.to_string()))?;
            let url = Secret::new(cluster.url());
            (Some(cluster), url)
        }
    };

    let secret = uuid_like(config.seed);
    let common = |listen: &str| -> Vec<String> {
        let mut flags =
            vec!["demo".to_owned(), format!("--kafka-brokers={}", kafka.kafka_brokers), format!("--ops-listen={listen}")];
        flags.extend(kafka.kafka_config.iter().map(|pair| format!("--kafka-config={pair}")));
        flags
    };
    let with = |more: &[String]| [common("127.0.0.1:0"), more.to_vec()].concat();
    let registry_flag = format!("--registry-url={registry_url}");
    let producer: producer::Config =
        parse(&with(&[format!("--webhook-signing-secret={secret}"), "--ingest-api-key=demo".to_owned()]))?;
    let validator: validator::Config = parse(&with(std::slice::from_ref(&registry_flag)))?;
    let analytics: analytics::Config = parse(&with(std::slice::from_ref(&registry_flag)))?;
    let mut persistence: persistence::Config = parse(&with(&[registry_flag]))?;
    persistence.database.database_url = database_url.clone();
    let subjects = registry::subjects(&runtime::config::load_contracts(None)?, topics::VALIDATED)?;

    // The roles outlive the traffic: they stop once everything accepted has its fate.
    let roles = CancellationToken::new();
    let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let (edge, checks, figures, rows) = (Health::new(), Health::new(), Health::new(), Health::new());
    running.spawn(registry::serve(registry_at, subjects, roles.clone()));
    running.spawn(runtime::ops::serve(validator_at, runtime::ops::routes(checks.clone()), roles.clone()));
    running.spawn(runtime::ops::serve(persistence_at, runtime::ops::routes(rows.clone()), roles.clone()));
    let stop = roles.clone();
    let health = edge.clone();
    running.spawn(async move { producer::serve(&producer, producer_at, health, stop).await });
    let (stop, health) = (roles.clone(), checks.clone());
    running.spawn(async move { validator::consume(&validator, health, stop).await });
    // The embedded broker has no time index: analytics must be there before the first event to see the last hour.
    let (stop, health) = (roles.clone(), figures.clone());
    running.spawn(async move { analytics::serve(&analytics, analytics_at, health, stop).await });
    let (stop, health) = (roles.clone(), rows.clone());
    running.spawn(async move { persistence::consume(&persistence, health, stop).await });

    let simulator: simulator::Config = parse(&[
        "demo".to_owned(),
        format!("--webhook-url={webhook_url}"),
        format!("--webhook-signing-secret={secret}"),
        "--duplicate-rate=0".to_owned(),
        "--corruption-rate=0".to_owned(),
    ])?;
    let deliverer = Deliverer::new(&simulator.delivery)?;
    running.spawn(simulator::serve(simulator, simulator_at, roles.clone()));

    let mut watch = Watch::open(kafka.clone(), &database_url, &shutdown).await?;
    let ready = wait_until_ready(&[&edge, &checks, &figures, &rows], &mut running, &shutdown).await;
    if let Err(error) = ready {
        roles.cancel();
        return Err(error);
    }
    if !config.json {
        println!("EventFlow is up after {:.1} s. Look at:", started.elapsed().as_secs_f64());
        for (role, address, what) in addresses {
            println!("  {role:<12} http://{address}  {what}");
        }
        println!();
    }

    let faults = if config.no_faults { Vec::new() } else { demo_faults() };
    let settings = StreamSettings {
        rate: config.rate,
        seed: config.seed,
        faults,
        concurrency: 512,
        amount: None,
        currency: None,
        payment_prefix: "pay".to_owned(),
        order_prefix: "ord".to_owned(),
        journal: None,
    };
    let tally = stream::Shared::default();
    let traffic = CancellationToken::new();
    let (stop, shared) = (traffic.clone(), tally.clone());
    let mut streaming = tokio::spawn(async move { stream::stream(&settings, &deliverer, shared, stop).await });
    let until = config.duration.map(|duration| tokio::time::Instant::now() + duration);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let ended = loop {
        tokio::select! {
            () = shutdown.cancelled() => break Ok(()),
            () = async { match until { Some(until) => tokio::time::sleep_until(until).await, None => std::future::pending().await } } => break Ok(()),
            Some(role) = running.join_next() => break role?.and(Err(anyhow::anyhow!("a role ended by itself"))),
            _ = tick.tick() => {
                let ledger = watch.look(&tally).await?;
                if !config.json {
                    print!("{}", ledger.live());
                }
            }
        }
    };
    traffic.cancel();
    if !config.json {
        println!("\nstopping: waiting for what is in flight");
    }
    (&mut streaming).await??;
    ended?;
    let ledger = settle(&mut watch, &tally).await?;
    roles.cancel();
    while let Some(role) = running.join_next().await {
        role??;
    }
    drop(private);
    if config.json {
        println!("{}", serde_json::to_string_pretty(&ledger)?);
    } else {
        print!("{}", ledger.table());
    }
    let wrong = ledger.faults();
    anyhow::ensure!(wrong.is_empty(), "the books do not balance: {}", wrong.join("; "));
    Ok(())
}

/// What the demo's vendors get wrong.
fn demo_faults() -> Vec<Rate> {
    Fault::ALL.into_iter().map(|fault| Rate { fault, share: if fault == Fault::Burst { 0.002 } else { 0.01 } }).collect()
}

async fn settle(watch: &mut Watch, tally: &stream::Shared) -> anyhow::Result<Ledger> {
    let deadline = Instant::now() + DRAIN;
    loop {
        let ledger = watch.look(tally).await?;
        if ledger.in_flight == 0 || Instant::now() > deadline {
            return watch.finish(ledger).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn wait_until_ready(
    roles: &[&Health],
    running: &mut JoinSet<anyhow::Result<()>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + DRAIN;
    while !roles.iter().all(|health| health.is_ready() && !health.is_empty()) {
        let reasons: Vec<_> = roles.iter().flat_map(|health| health.reasons()).collect();
        anyhow::ensure!(Instant::now() < deadline, "not ready after {} s: {reasons:?}", DRAIN.as_secs());
        anyhow::ensure!(!shutdown.is_cancelled(), "stopped before it was ready");
        tokio::select! {
            Some(role) = running.join_next() => return role?.and(Err(anyhow::anyhow!("a role ended by itself"))),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    Ok(())
}

/// A role's settings, as its own command line would read them.
fn parse<A: Args + FromArgMatches>(flags: &[String]) -> anyhow::Result<A> {
    let matches = A::augment_args(clap::Command::new("demo")).try_get_matches_from(flags)?;
    Ok(A::from_arg_matches(&matches)?)
}

/// The demo's own webhook secret.
fn uuid_like(seed: u64) -> String {
    format!("demo-{seed:016x}")
}
