//! The whole path of an event, and what the roles need at rest.

use crate::bench::Bench;
use crate::figures::{Goal, Run, median, number, spent};
use crate::pipeline::{Pipeline, durable_postgres};
use crate::process::Process;
use crate::report::{cpu, print};
use crate::world::{World, load};
use sqlx::PgConnection;
use std::time::{Duration, Instant};

/// CPU microseconds an event may cost on a real broker, all processes together.
const COST: f64 = 24.0;

/// Events a second from webhook to row: from the first request until the last row is committed.
pub(crate) async fn throughput(bench: &Bench) -> anyhow::Result<()> {
    for (what, goal, partitions, flags) in [
        (
            "end to end, one event a POST",
            bench.goal(45_000.0, 28_000.0),
            8,
            ["--batch=1", "--connections=256"],
        ),
        (
            "end to end, 50 events a POST",
            bench.goal(110_000.0, 75_000.0),
            16,
            ["--batch=50", "--connections=24"],
        ),
    ] {
        let (mut stored, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            let mut pipeline = Pipeline::start(bench, partitions).await?;
            let (ours, meanwhile) = once(&mut pipeline, &flags, bench.seconds).await?;
            stored.push(ours);
            accepted.push(meanwhile);
        }
        let (stored, accepted) = (median(stored), median(accepted));
        print(&format!(
            "{what}\n  ours {:>9.0} event/s stored   accepted meanwhile {:>9.0} event/s   ratio {:.2}\n  {}\n",
            stored.rate(),
            accepted.rate(),
            stored.rate() / accepted.rate(),
            cpu(&stored)
        ));
        let at_least = Goal::AtLeast(goal);
        bench
            .goals
            .note(format!("{what}, event/s"), at_least, stored.rate());
        if bench.brokers.real().is_some() && partitions == 16 {
            let cost = format!("{what}, CPU us/event of all processes");
            bench.goals.note(cost, Goal::Below(COST), stored.cost());
        }
    }
    Ok(())
}

/// Load for a while, and the wait for the last row: what was stored in the whole time, and what was accepted while the load lasted.
async fn once(pipeline: &mut Pipeline, flags: &[&str], seconds: u64) -> anyhow::Result<(Run, Run)> {
    let warm = pipeline.warm_up().await?;
    let (before, began) = (pipeline.cpu()?, Instant::now());
    let duration = format!("--duration={seconds}s");
    let report = load(&pipeline.address, &[flags, &["--max", &duration]].concat()).await?;
    let events = pipeline.until_settled().await? - warm;
    let stored = Run {
        events,
        took: began.elapsed(),
        cpu: spent(&before, &pipeline.cpu()?),
    };
    Ok((stored, accepted(&report)))
}

/// What the load generator reports as accepted.
pub(crate) fn accepted(report: &serde_json::Value) -> Run {
    Run {
        events: report["events_accepted"].as_u64().unwrap_or(0),
        took: Duration::from_secs_f64(report["seconds"].as_f64().unwrap_or(0.0)),
        cpu: Vec::new(),
    }
}

/// Webhook to row, in milliseconds, of a source's events received since a moment (microseconds since 1970): p50, p99, p99.9.
pub(crate) async fn to_the_row(
    database: &mut PgConnection,
    source: &str,
    since: i64,
) -> anyhow::Result<(f64, f64, f64)> {
    let quantiles = "SELECT p[1], p[2], p[3] FROM (SELECT percentile_cont(ARRAY[0.5, 0.99, 0.999]) WITHIN GROUP
             (ORDER BY extract(epoch FROM stored_at - received_at)::float8 * 1000) AS p FROM persistence.stored_events
             WHERE source = $1 AND received_at >= to_timestamp($2::float8 / 1e6)) quantiles";
    Ok(sqlx::query_as(quantiles)
        .bind(source)
        .bind(since)
        .fetch_one(database)
        .await?)
}

/// Latency at 1,000 events a second.
pub(crate) async fn latency(bench: &Bench) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(bench, 8).await?;
    pipeline.warm_up().await?;
    let since = runtime::clock::now_micros();
    let duration = format!("--duration={}s", bench.seconds * 2);
    let flags = ["--rate=1000", "--connections=64", &duration];
    let report = load(&pipeline.address, &flags).await?;
    pipeline.until_settled().await?;
    let (p50, p99, p999) = to_the_row(
        &mut pipeline.database.connection,
        "payment-authorized",
        since,
    )
    .await?;
    print(&format!(
        "at 1000 event/s\n  webhook to row p50 {p50:.1} p99 {p99:.1} p99.9 {p999:.1} ms   webhook to answer p50 {} p99 {} p99.9 {} ms\n",
        report["p50_ms"], report["p99_ms"], report["p999_ms"]
    ));
    let below = Goal::Below(bench.goal(40.0, 60.0));
    bench.goals.note(
        "webhook to row at 1000/s, p50 in ms",
        Goal::Below(15.0),
        p50,
    );
    bench
        .goals
        .note("webhook to row at 1000/s, p99 in ms", below, p99);
    Ok(())
}

/// Memory and start of every role, without traffic.
pub(crate) async fn at_rest(bench: &Bench) -> anyhow::Result<()> {
    let world = World::start(bench, 6).await?;
    let cluster = durable_postgres().await?;
    print(
        "at rest (goal: < 40 MB, ready in < 1 s; a consuming role is ready when it has its partitions, and the embedded broker makes a new group wait 3 s)",
    );
    let mut most = 0.0_f64;
    for start in [
        "registry",
        "producer",
        "validator",
        "analytics",
        "persistence",
    ] {
        let began = Instant::now();
        let mut role = match start {
            "registry" => Process::role("registry", &["--listen={address}".to_owned()])?,
            "producer" => world.producer(&[]).await?.0,
            "validator" => world.validator()?,
            "analytics" => world.analytics()?,
            _ => world.persistence(&cluster.url())?,
        };
        role.until_ready().await?;
        let ready = began.elapsed();
        let megabytes = number(role.memory()?) / 1e6;
        most = most.max(megabytes);
        print(&format!(
            "  {start:<12} {megabytes:>5.1} MB   ready after {:.2} s",
            ready.as_secs_f64()
        ));
    }
    print("");
    bench
        .goals
        .note("memory of a role at rest, MB", Goal::Below(40.0), most);
    Ok(())
}
