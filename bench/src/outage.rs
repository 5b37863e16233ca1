//! Memory of the roles while PostgreSQL is gone and webhooks come as fast as they are accepted, and the way back.

use crate::bench::Bench;
use crate::edge::SINGLE;
use crate::figures::{Goal, Run, growth, number};
use crate::pipeline::{Database, Pipeline};
use crate::report::print;
use crate::whole::accepted;
use crate::world::generator;
use std::time::{Duration, Instant};

/// Full load before the outage, and after it while the rows are caught up with.
const CALM: Duration = Duration::from_secs(5);
/// How much a role's memory may grow from where it settles.
const GROWN: f64 = 1.10;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    if bench.brokers.real().is_none() {
        print("outage: left out, the embedded broker keeps 5 MiB a partition: use --kafka\n");
        return Ok(());
    }
    let mut pipeline = Pipeline::start(bench, 16).await?;
    pipeline.warm_up().await?;
    let began = Instant::now();
    let duration = format!("--duration={}s", (CALM + bench.outage).as_secs());
    let load = generator(
        &pipeline.address,
        &[&SINGLE[..], &["--max", &duration]].concat(),
    )?;
    tokio::time::sleep_until((began + CALM).into()).await;
    tokio::task::block_in_place(|| pipeline.postgres.stop_server())?;
    let mut samples: Vec<Vec<u64>> = vec![Vec::new(); pipeline.roles.len()];
    let mut second = tokio::time::interval(Duration::from_secs(1));
    while began.elapsed() < CALM + bench.outage {
        second.tick().await;
        for (samples, role) in samples.iter_mut().zip(&pipeline.roles) {
            samples.push(role.memory()?);
        }
    }
    let report = tokio::task::spawn_blocking(move || load.output()).await??;
    let report: serde_json::Value = serde_json::from_str(&report)?;
    tokio::task::block_in_place(|| pipeline.postgres.start_server())?;
    pipeline.database = Database::connect(&pipeline.postgres.url()).await?;
    let (stored, back) = (pipeline.database.settled().await?, Instant::now());
    let all = pipeline.until_settled().await?;
    let answered = accepted(&report);
    anyhow::ensure!(
        all >= answered.events,
        "only {all} of {} accepted events have a fate",
        answered.events
    );
    let caught_up = Run {
        events: all - stored,
        took: back.elapsed(),
        cpu: Vec::new(),
    };
    print(&format!(
        "PostgreSQL gone for {} s at full load, one event a POST\n  accepted {:.0} event/s; afterwards caught up with {} rows at {:.0} row/s; none lost\n  answers {}",
        bench.outage.as_secs(),
        answered.rate(),
        caught_up.events,
        caught_up.rate(),
        report["answers"],
    ));
    for (role, samples) in pipeline.roles.iter().zip(&samples) {
        let grown = growth(samples).unwrap_or(f64::NAN);
        let most = samples.iter().max().copied().unwrap_or(0);
        print(&format!(
            "  {:<12} at most {:>6.1} MB, {grown:.2} of where it settled",
            role.name,
            number(most) / 1e6
        ));
        let what = format!("memory of {} through the outage, growth", role.name);
        bench.goals.note(what, Goal::Below(GROWN), grown);
    }
    print("");
    Ok(())
}
