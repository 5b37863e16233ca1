//! The whole path of an event, and what the roles need at rest.

use crate::process::{Process, cpu_of_server};
use crate::report::{Run, cpu, median, print};
use crate::world::{World, load};
use contracts::kafka::topics;
use sandbox::postgres::PrivatePostgres;
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};

/// A world with everything on the way from a webhook to its row.
struct Pipeline {
    world: World,
    // Before the database's owner, or its end would wait for their connections.
    roles: [Process; 3],
    database: PgConnection,
    backend: u32,
    address: String,
    _cluster: PrivatePostgres,
}

impl Pipeline {
    async fn start(partitions: i32) -> anyhow::Result<Self> {
        let world = World::start(partitions).await?;
        let cluster = tokio::task::spawn_blocking(|| PrivatePostgres::start(true)).await??;
        let (producer, address) = world.producer(&[]).await?;
        let mut validator = world.validator()?;
        let mut persistence = world.persistence(&cluster.url())?;
        validator.until_ready().await?;
        persistence.until_ready().await?;
        let mut database = PgConnection::connect(&cluster.url()).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut database)
            .await?;
        let roles = [producer, validator, persistence];
        Ok(Self {
            world,
            roles,
            database,
            backend: u32::try_from(backend)?,
            address,
            _cluster: cluster,
        })
    }

    fn cpu(&self) -> anyhow::Result<Vec<(&'static str, Duration)>> {
        let mut cpu: Vec<_> = self
            .roles
            .iter()
            .map(|role| Ok((role.name, role.cpu()?)))
            .collect::<anyhow::Result<_>>()?;
        cpu.push(("broker", self.world.broker.cpu()?));
        cpu.push(("postgresql", cpu_of_server(self.backend)?));
        Ok(cpu)
    }

    /// Waits until every raw record is a row or a dead letter.
    async fn until_stored(&mut self) -> anyhow::Result<u64> {
        let raw = self.world.count(topics::RAW).await?;
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let stored: Option<i64> = sqlx::query_scalar(
                "SELECT (sum(stored) + sum(duplicate))::bigint FROM persistence.consumer_offsets",
            )
            .fetch_one(&mut self.database)
            .await?;
            let settled =
                u64::try_from(stored.unwrap_or(0))? + self.world.count(topics::DLQ).await?;
            if settled >= raw {
                return Ok(settled);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "only {settled} of {raw} events have a fate after 120 s"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Events a second from webhook to row: from the first request until the last row is committed.
pub(crate) async fn throughput(runs: usize, seconds: u64) -> anyhow::Result<()> {
    for (what, partitions, flags) in [
        (
            "end to end, one event a POST (goal 40000 event/s)",
            8,
            ["--batch=1", "--connections=256"],
        ),
        (
            "end to end, 50 events a POST (goal 120000 event/s)",
            16,
            ["--batch=50", "--connections=24"],
        ),
    ] {
        let (mut stored, mut accepted) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let mut pipeline = Pipeline::start(partitions).await?;
            // Connections are made and schemas known before it counts.
            let warm = load(&pipeline.address, &["--rate=1000", "--duration=1s"])?;
            tokio::task::spawn_blocking(move || warm.output()).await??;
            let warm = pipeline.until_stored().await?;
            let (before, began) = (pipeline.cpu()?, Instant::now());
            let load = load(
                &pipeline.address,
                &[&flags[..], &["--max", &format!("--duration={seconds}s")]].concat(),
            )?;
            let report: serde_json::Value =
                serde_json::from_str(&tokio::task::spawn_blocking(move || load.output()).await??)?;
            let events = pipeline.until_stored().await? - warm;
            let took = began.elapsed();
            let used = pipeline
                .cpu()?
                .into_iter()
                .zip(before)
                .map(|((name, after), (_, before))| (name, after - before))
                .collect();
            stored.push(Run {
                events,
                took,
                cpu: used,
            });
            let (events, took) = (
                report["events_accepted"].as_u64().unwrap_or(0),
                report["seconds"].as_f64().unwrap_or(0.0),
            );
            accepted.push(Run {
                events,
                took: Duration::from_secs_f64(took),
                cpu: Vec::new(),
            });
        }
        let (stored, accepted) = (median(stored), median(accepted));
        print(&format!(
            "{what}\n  ours {:>9.0} event/s stored   accepted meanwhile {:>9.0} event/s   ratio {:.2}\n  {}\n",
            stored.rate(),
            accepted.rate(),
            stored.rate() / accepted.rate(),
            cpu(&stored)
        ));
    }
    Ok(())
}

/// Webhook to row at a steady rate.
pub(crate) async fn latency(seconds: u64) -> anyhow::Result<()> {
    let mut pipeline = Pipeline::start(4).await?;
    let warm = load(&pipeline.address, &["--rate=1000", "--duration=1s"])?;
    tokio::task::spawn_blocking(move || warm.output()).await??;
    sqlx::raw_sql("TRUNCATE persistence.events")
        .execute(&mut pipeline.database)
        .await?;
    let load = load(
        &pipeline.address,
        &[
            "--rate=1000",
            "--connections=64",
            &format!("--duration={}s", seconds * 2),
        ],
    )?;
    let report: serde_json::Value =
        serde_json::from_str(&tokio::task::spawn_blocking(move || load.output()).await??)?;
    pipeline.until_stored().await?;
    let row: (f64, f64, f64) = sqlx::query_as(
        "SELECT p[1], p[2], p[3] FROM (SELECT percentile_cont(ARRAY[0.5, 0.99, 0.999]) WITHIN GROUP
             (ORDER BY extract(epoch FROM stored_at - received_at)::float8 * 1000) AS p FROM persistence.events) quantiles",
    )
    .fetch_one(&mut pipeline.database)
    .await?;
    print(&format!(
        "at 1000 event/s (goal: to the row p50 < 15 ms, p99 < 40 ms)\n  webhook to row p50 {:.1} p99 {:.1} p99.9 {:.1} ms   webhook to answer p50 {} p99 {} p99.9 {} ms\n",
        row.0, row.1, row.2, report["p50_ms"], report["p99_ms"], report["p999_ms"]
    ));
    Ok(())
}

/// Memory and start of every role, without traffic.
pub(crate) async fn at_rest() -> anyhow::Result<()> {
    let world = World::start(6).await?;
    let cluster = tokio::task::spawn_blocking(|| PrivatePostgres::start(true)).await??;
    print(
        "at rest (goal: < 40 MB, ready in < 1 s; a consuming role is ready when it has its partitions, and the embedded broker makes a new group wait 3 s)",
    );
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
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let megabytes = role.memory()? as f64 / 1e6;
        print(&format!(
            "  {start:<12} {megabytes:>5.1} MB   ready after {:.2} s",
            ready.as_secs_f64()
        ));
    }
    print("");
    Ok(())
}
