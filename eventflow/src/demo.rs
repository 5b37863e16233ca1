//! `eventflow demo`: every role in one process, an embedded broker, a private PostgreSQL, simulated vendors with faults, and at the end a
//! table that accounts for every event.

use crate::act;
use crate::counters::Counters;
use crate::ledger::Ledger;
use crate::live::Live;
use crate::pipeline::{PATIENCE, Pipeline, Ports, STOPPED, TOKEN};
use crate::watch::Watch;
use anyhow::Context;
use clap::Args;
use contracts::Secret;
use runtime::config::ConfigError;
use simulator::delivery::Deliverer;
use simulator::event::{Fault, Rate};
use simulator::stream::{self, StreamSettings};
use std::io::Write;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Settings of the demo.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Config {
    /// Stop after this long, as 30s or 2m; without it, at Ctrl-C
    #[arg(long, alias = "for", value_parser = runtime::config::parse_duration)]
    duration: Option<Duration>,
    /// Events a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Seed of the simulated traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print only the final table, as JSON
    #[arg(long, default_value_t = false)]
    json: bool,
    /// No faults in the traffic
    #[arg(long, default_value_t = false)]
    no_faults: bool,
    /// Use these brokers (plaintext) instead of the embedded one; nobody else may publish to the topics meanwhile
    #[arg(long)]
    pub(crate) kafka: Option<String>,
    /// Use this PostgreSQL instead of a private one, which needs the server programs on this machine. A new, empty database, unless
    /// --kafka is the cluster it was used with before
    #[arg(long, hide_env_values = true)]
    pub(crate) database_url: Option<Secret>,
    /// Port of the producer
    #[arg(long, default_value_t = 8000)]
    pub(crate) producer_port: u16,
    /// Port of the validator's operations endpoints
    #[arg(long, default_value_t = 8001)]
    pub(crate) validator_port: u16,
    /// Port of analytics and /api/stats
    #[arg(long, default_value_t = 8002)]
    pub(crate) analytics_port: u16,
    /// Port of persistence's operations endpoints
    #[arg(long, default_value_t = 8003)]
    pub(crate) persistence_port: u16,
    /// Port of the simulator
    #[arg(long, default_value_t = 8080)]
    pub(crate) simulator_port: u16,
    /// Port of the schema registry
    #[arg(long, default_value_t = 8081)]
    pub(crate) registry_port: u16,
    /// Port of recovery's API
    #[arg(long, default_value_t = 8004)]
    pub(crate) recovery_port: u16,
    /// Leave the closing act out: dead letters explained, mended, replayed and accounted for
    #[arg(long, default_value_t = false)]
    pub(crate) no_recovery: bool,
}

const AFTER_HELP: &str = "\
Ctrl-C or --duration stops the traffic, waits up to 30 s for what is in flight and prints the final table. Ctrl-C again stops at once.

Exit codes: 0 every accepted webhook has exactly one fate; 1 one has not, a role failed, or it was stopped before it was up; 2 it could \
not start (a taken port, no PostgreSQL, no disk, an unreachable --kafka or --database-url); 130 stopped at once. Nothing is left running, \
and nothing on disk.";

/// How long the end waits for what is in flight.
const DRAIN: Duration = Duration::from_secs(30);
/// Without `--duration`: longer than anybody watches.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub(crate) async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    runtime::telemetry::init_at(false, "error,librdkafka=off,rdkafka=off");
    // Before the roles count anything.
    runtime::telemetry::metrics_handle();
    if !(0.1..=1e6).contains(&config.rate) {
        return Err(ConfigError::new("--rate", "must be between 0.1 and 1000000").into());
    }
    if let Some(database_url) = &config.database_url {
        store::DatabaseArgs {
            database_url: database_url.clone(),
        }
        .check()?;
    }
    let started = Instant::now();
    let ports = Ports::bind(&config).await?;
    let mut pipeline = Pipeline::start(&config, ports, &shutdown).await?;
    let watch = Watch::open(
        pipeline.kafka.clone(),
        &pipeline.database_url,
        pipeline.oncall.clone(),
        PATIENCE,
        &shutdown,
    )
    .await;
    let mut watch =
        watch.map_err(|error| ConfigError::new("--database-url", format!("{error:#}")))?;
    let ready = shutdown.run_until_cancelled(pipeline.ready()).await;
    ready.context(STOPPED)??;
    let mut out = std::io::stdout();
    if !config.json {
        write!(out, "{}", welcome(&pipeline, started.elapsed()))?;
    }

    let (traffic, tally) = (CancellationToken::new(), stream::SharedTotals::default());
    let stop_traffic = traffic.clone().drop_guard();
    let (settings, shared) = (traffic_of(&config), tally.clone());
    let deliverer = Deliverer::new(&pipeline.delivery)?;
    let streaming =
        tokio::spawn(async move { stream::stream(&settings, &deliverer, shared, traffic).await });
    let end = tokio::time::sleep(config.duration.unwrap_or(FOREVER));
    tokio::pin!(end);
    watch.first_row_seconds = tokio::select! {
        seconds = first_row(started) => seconds,
        () = shutdown.cancelled() => None,
        why = pipeline.ended() => return Err(why),
    };
    if let (false, Some(seconds)) = (config.json, watch.first_row_seconds) {
        writeln!(
            out,
            "The first row was stored {seconds:.1} s after the start.\n"
        )?;
    }

    let mut live = Live::new(config.json);
    let mut last = Ledger::default();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let look = async |tick: &mut tokio::time::Interval| {
        tick.tick().await;
        watch.look(&tally).await
    };
    loop {
        let seen = tokio::select! {
            () = shutdown.cancelled() => break,
            () = &mut end => break,
            why = pipeline.ended() => return Err(why),
            seen = look(&mut tick) => seen,
        };
        let mut problems = pipeline.problems();
        match seen {
            Ok(ledger) => last = ledger,
            // An outage is waited for, by the roles and here.
            Err(error) => problems.push(format!("cannot look at the books: {error:#}")),
        }
        live.show(&last, &problems)?;
    }
    drop(stop_traffic);
    if !config.json {
        writeln!(
            out,
            "\nThe traffic has stopped; waiting for what is in flight. Ctrl-C again stops at once."
        )?;
    }
    streaming.await??;
    let ledger = settle(&watch, &tally).await?;
    let problems = pipeline.problems();
    if !config.json {
        write!(out, "{}", ledger.table())?;
    }
    let act = match config.no_recovery {
        true => None,
        false => Some(
            act::play(&pipeline, config.json)
                .await
                .context("the closing act failed")?,
        ),
    };
    pipeline.stop().await?;
    if config.json {
        let mut all = serde_json::to_value(&ledger)?;
        all["recovery"] = serde_json::to_value(&act)?;
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    }
    let wrong = [ledger.faults(), problems].concat();
    anyhow::ensure!(
        ledger.faults().is_empty(),
        "the books do not balance: {}",
        wrong.join("; ")
    );
    Ok(())
}

/// Where to look and what to try.
fn welcome(pipeline: &Pipeline, took: Duration) -> String {
    let mut text = format!(
        "EventFlow is up after {:.1} s. Look at:\n",
        took.as_secs_f64()
    );
    for (role, address, what) in &pipeline.addresses {
        text.push_str(&format!("  {role:<12} http://{address}  {what}\n"));
    }
    text.push_str("Send something yourself; it is accounted for as \"from others\":\n");
    let payment =
        r#"{"payment_id":"pay_me","order_id":"ord_me","amount":"49.90","currency":"EUR"}"#;
    text.push_str(&format!(
        "  curl http://{}/authorize -d '{payment}'\n",
        pipeline.simulator
    ));
    text.push_str(&format!(
        "  eventflow load --url {} --rate 50\n",
        pipeline.delivery.webhook_url
    ));
    text.push_str("Play on-call, as docs/ON-CALL.md says:\n");
    text.push_str(&format!(
        "  export EVENTFLOW_RECOVERY_URL=http://{} EVENTFLOW_RECOVERY_TOKEN={TOKEN}\n",
        pipeline.recovery
    ));
    text.push_str("  eventflow dlq groups\n");
    text
}

/// The traffic of the demo's own vendors.
fn traffic_of(config: &Config) -> StreamSettings {
    let share = |fault| if fault == Fault::Burst { 0.002 } else { 0.01 };
    let faults = Fault::ALL
        .into_iter()
        .map(|fault| Rate {
            fault,
            share: share(fault),
        })
        .collect();
    StreamSettings {
        rate: config.rate,
        seed: config.seed,
        faults: if config.no_faults { Vec::new() } else { faults },
        concurrency: 512,
        amount: None,
        currency: None,
        payment_prefix: "pay".to_owned(),
        order_prefix: "ord".to_owned(),
        journal: None,
    }
}

/// Seconds from the start to the first stored row; none if there is none for a while.
async fn first_row(started: Instant) -> Option<f64> {
    let deadline = Instant::now() + PATIENCE;
    while Counters::now().sum(persistence::metrics::STORED) == 0 {
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(started.elapsed().as_secs_f64())
}

/// The final books, once everything accepted has its fate or the wait for it is over.
async fn settle(watch: &Watch, tally: &stream::SharedTotals) -> anyhow::Result<Ledger> {
    let deadline = Instant::now() + DRAIN;
    loop {
        let ledger = async { watch.finish(watch.look(tally).await?).await }.await;
        if Instant::now() > deadline || ledger.as_ref().is_ok_and(|ledger| ledger.in_flight == 0) {
            return ledger;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
