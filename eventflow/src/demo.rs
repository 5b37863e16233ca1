//! `eventflow demo`: every role in one process, an embedded broker, a private PostgreSQL, simulated vendors with faults, and at the end a
//! table that accounts for every event.
//!
//! [`config`] its settings; [`vendors`] who sends what; [`roles`] starts everything; [`observer`] counts from outside what became of every event and makes of it a
//! [`reconciliation`], which [`progress`] shows while it runs; [`walkthrough`] is the on-call session at the end.

mod by_type;
mod config;
mod counters;
mod observer;
mod progress;
mod reconciliation;
mod roles;
mod vendors;
mod walkthrough;

use anyhow::Context;
pub(crate) use config::Config;
use config::{STOPPED, TIMEOUT, TOKEN};
use counters::Counters;
use observer::Observer;
use progress::Progress;
use reconciliation::Reconciliation;
use roles::{Listeners, Roles};
use runtime::config::ConfigError;
use simulator::delivery::Deliverer;
use simulator::event::{Fault, Rate};
use simulator::stream::{self, StreamSettings, StreamTotals};
use simulator::vendor;
use simulator::vendor::stream::{VendorSettings, faults};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vendors::Vendors;

/// Share of most faults.
const FAULT_SHARE: f64 = 0.01;
/// How long the end waits for what is in flight.
const DRAIN: Duration = Duration::from_secs(30);
/// Without `--duration`: longer than anybody watches.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub(crate) async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    runtime::telemetry::init_at(false, "error,librdkafka=off,rdkafka=off");
    // Before the roles count anything.
    runtime::telemetry::metrics_handle();
    config.check()?;
    let started = Instant::now();
    let mut out = std::io::stdout();
    if !config.json {
        writeln!(out, "{}", starting(&config))?;
    }
    let listeners = Listeners::bind(&config.ports).await?;
    let mut vendors = Vendors::new(&config)?;
    let mut roles = Roles::start(
        config.kafka_brokers.as_deref(),
        config.database_url.clone(),
        listeners,
        &vendors,
        &shutdown,
    )
    .await?;
    let observer = Observer::open(
        roles.kafka.clone(),
        &roles.database_url,
        roles.recovery_context.clone(),
        vendors.mappings()?,
        &shutdown,
    )
    .await;
    let mut observer =
        observer.map_err(|error| ConfigError::new("--database-url", format!("{error:#}")))?;
    let ready = shutdown.run_until_cancelled(roles.ready()).await;
    ready.context(STOPPED)??;
    if !config.json {
        write!(out, "{}", welcome(&roles, &vendors, started.elapsed()))?;
    }

    let (traffic, tally) = (CancellationToken::new(), stream::SharedTotals::default());
    let stop_traffic = traffic.clone().drop_guard();
    let streaming = send(&config, &roles, &mut vendors, &tally, &traffic)?;
    let end = tokio::time::sleep(config.duration.unwrap_or(FOREVER));
    tokio::pin!(end);
    observer.first_row_seconds = tokio::select! {
        seconds = first_row(started) => seconds,
        () = shutdown.cancelled() => None,
        why = roles.ended() => return Err(why),
    };
    if let (false, Some(seconds)) = (config.json, observer.first_row_seconds) {
        writeln!(
            out,
            "The first row was stored {seconds:.1} s after the start.\n"
        )?;
    }

    let mut progress = Progress::new(config.json);
    let mut last = Reconciliation::default();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let observe = async |tick: &mut tokio::time::Interval| {
        tick.tick().await;
        observer.observe(&tally).await
    };
    loop {
        let observed = tokio::select! {
            () = shutdown.cancelled() => break,
            () = &mut end => break,
            why = roles.ended() => return Err(why),
            observed = observe(&mut tick) => observed,
        };
        let mut problems = roles.problems();
        match observed {
            Ok(reconciliation) => last = reconciliation,
            // An outage is waited for, by the roles and here.
            Err(error) => problems.push(format!("cannot count what was stored: {error:#}")),
        }
        progress.show(&last, &problems)?;
    }
    drop(stop_traffic);
    if !config.json {
        writeln!(
            out,
            "\nThe traffic has stopped; waiting for what is in flight. Ctrl-C again stops at once."
        )?;
    }
    for stream in streaming {
        stream.await??;
    }
    let reconciliation = settle(&observer, &tally).await?;
    let problems = roles.problems();
    if !config.json {
        write!(out, "{}", reconciliation.table())?;
    }
    let walkthrough = match config.no_recovery {
        true => None,
        false => Some(
            walkthrough::run(roles.recovery_address, config.json)
                .await
                .context("the recovery walkthrough failed")?,
        ),
    };
    roles.stop().await?;
    if config.json {
        let mut all = serde_json::to_value(&reconciliation)?;
        all["recovery"] = serde_json::to_value(&walkthrough)?;
        writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
    }
    let faults = reconciliation.faults();
    anyhow::ensure!(
        faults.is_empty(),
        "reconciliation failed: {}",
        [faults, problems].concat().join("; ")
    );
    Ok(())
}

/// What takes a while.
fn starting(config: &Config) -> String {
    let broker = config
        .kafka_brokers
        .as_ref()
        .map_or("an embedded broker", |_| "the stages on your Kafka");
    let database = config
        .database_url
        .as_ref()
        .map_or("a private PostgreSQL", |_| "your PostgreSQL");
    format!(
        "starting {broker}, {database}, a schema registry, producer, validator, analytics, persistence, recovery and the vendors ..."
    )
}

/// Starts the traffic: payments with every fault, and the other vendors as they sign and send again. Payments are as many as the others together.
fn send(
    config: &Config,
    roles: &Roles,
    vendors: &mut Vendors,
    tally: &stream::SharedTotals,
    traffic: &CancellationToken,
) -> anyhow::Result<Vec<JoinHandle<anyhow::Result<StreamTotals>>>> {
    let played = std::mem::take(&mut vendors.played);
    let both = vendors.payments && !played.is_empty();
    let rate = if both { config.rate / 2.0 } else { config.rate };
    let mut streaming = Vec::new();
    if vendors.payments {
        let settings = StreamSettings {
            rate,
            ..payments(config)
        };
        let (deliverer, tally, traffic) = (
            Deliverer::new(&roles.delivery)?,
            tally.clone(),
            traffic.clone(),
        );
        streaming.push(tokio::spawn(async move {
            stream::stream(&settings, &deliverer, tally, traffic).await
        }));
    }
    if !played.is_empty() {
        let faults = if config.no_faults {
            Vec::new()
        } else {
            faults(FAULT_SHARE)
        };
        let settings = VendorSettings {
            url: roles.edge_url.clone(),
            rate,
            // Not the payments' own sequence.
            seed: !config.seed,
            faults,
            concurrency: 256,
            timeout: TIMEOUT,
            retry_factor: config.retry_factor,
            journal: None,
        };
        let (_, played) = watch::channel(Arc::new(played));
        let (tally, traffic) = (tally.clone(), traffic.clone());
        streaming.push(tokio::spawn(async move {
            vendor::stream::stream(&settings, played, tally, traffic).await
        }));
    }
    anyhow::ensure!(
        !streaming.is_empty(),
        "nobody sends anything: {}",
        vendors.others.join("; ")
    );
    Ok(streaming)
}

/// Where to look and what to try.
fn welcome(roles: &Roles, vendors: &Vendors, took: Duration) -> String {
    let mut text = format!(
        "EventFlow is up after {:.1} s. Its console, by a link that works once (the token is {TOKEN}):\n  {}\nLook at:\n",
        took.as_secs_f64(),
        roles.console_url
    );
    for (role, address, what) in &roles.addresses {
        text.push_str(&format!("  {role:<12} http://{address}  {what}\n"));
    }
    text.push_str(&format!(
        "Vendors that post to it: {}\n",
        vendors.names().join(", ")
    ));
    for other in &vendors.others {
        text.push_str(&format!("  nobody plays {other}\n"));
    }
    text.push_str("Send something yourself; it is accounted for as \"from others\":\n");
    let payment =
        r#"{"payment_id":"pay_me","order_id":"ord_me","amount":"49.90","currency":"EUR"}"#;
    text.push_str(&format!(
        "  curl http://{}/authorize -d '{payment}'\n",
        roles.simulator_address
    ));
    text.push_str(&format!(
        "  eventflow load --url {} --rate 50\n",
        roles.delivery.webhook_url
    ));
    text.push_str("Try on-call's commands, as in docs/ON-CALL.md:\n");
    text.push_str(&format!(
        "  export EVENTFLOW_RECOVERY_URL=http://{} EVENTFLOW_RECOVERY_TOKEN={TOKEN}\n",
        roles.recovery_address
    ));
    text.push_str("  eventflow dlq groups\n");
    text
}

/// The demo's own payments.
fn payments(config: &Config) -> StreamSettings {
    let share = |fault| {
        if fault == Fault::Burst {
            0.002
        } else {
            FAULT_SHARE
        }
    };
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
    let deadline = Instant::now() + TIMEOUT;
    while Counters::now().sum(persistence::metrics::STORED) == 0 {
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(started.elapsed().as_secs_f64())
}

/// The final reconciliation, once everything accepted has its fate or the wait for it is over.
async fn settle(
    observer: &Observer,
    tally: &stream::SharedTotals,
) -> anyhow::Result<Reconciliation> {
    let deadline = Instant::now() + DRAIN;
    loop {
        let reconciliation = async { observer.finish(observer.observe(tally).await?).await }.await;
        let done = reconciliation
            .as_ref()
            .is_ok_and(|reconciliation| reconciliation.in_flight == 0);
        if done || Instant::now() > deadline {
            return reconciliation;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
