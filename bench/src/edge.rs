//! Signed POST to 200 after the brokers' acknowledgement, against the same server answering at once.

use crate::bench::Bench;
use crate::figures::Goal;
use crate::figures::{Cpu, Run, median, spent};
use crate::process::Process;
use crate::report::{compare, print};
use crate::whole::accepted;
use crate::world::{World, load};

/// One event a request, from as many connections as the goal is about.
pub(crate) const SINGLE: [&str; 2] = ["--batch=1", "--connections=256"];

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    for (what, unit, flags) in [
        ("signed POST -> 200 after acks=all", "POST/s", SINGLE),
        (
            "signed POST of 50 events -> 200 after acks=all",
            "event/s",
            ["--batch=50", "--connections=32"],
        ),
    ] {
        let (mut ours, mut base, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            let (run, latency) = producer(bench, &flags).await?;
            ours.push(run);
            latencies.push(latency);
            let mut server = Process::part("answer-at-once", &["--listen={address}".to_owned()])?;
            server.until_ready().await?;
            let used = || Ok(vec![(server.name, server.cpu()?)]);
            base.push(under_load(bench, &server.address, &flags, used).await?.0);
        }
        let (ours, base) = (median(ours), median(base));
        compare(what, unit, &ours, ("answering at once", &base));
        print(&format!(
            "  latency at full speed, ours: {}\n",
            latencies.join("; ")
        ));
        if flags == SINGLE {
            let at_least = Goal::AtLeast(65_000.0);
            bench.goals.note("edge, POST/s", at_least, ours.rate());
        }
    }
    Ok(())
}

/// The producer as fast as it goes.
pub(crate) async fn producer(bench: &Bench, flags: &[&str]) -> anyhow::Result<(Run, String)> {
    let world = World::start(bench, 4).await?;
    let (producer, address) = world.producer(&[]).await?;
    let used = || {
        let broker = (world.cluster.name(), world.cluster.cpu()?);
        Ok(vec![(producer.name, producer.cpu()?), broker])
    };
    under_load(bench, &address, flags, used).await
}

/// As fast as it goes for a while: what was accepted, what it cost, and the latencies.
pub(crate) async fn under_load(
    bench: &Bench,
    address: &str,
    flags: &[&str],
    used: impl Fn() -> anyhow::Result<Cpu>,
) -> anyhow::Result<(Run, String)> {
    // Connections are made, and the producer knows the brokers, before it counts.
    load(address, &["--rate=1000", "--duration=1s"]).await?;
    let before = used()?;
    let duration = format!("--duration={}s", bench.seconds);
    let report = load(address, &[flags, &["--max", &duration]].concat()).await?;
    let answers = report["answers"]
        .as_object()
        .map_or(0, |answers| answers.len());
    anyhow::ensure!(
        answers == 1 && report["answers"]["200"].is_u64(),
        "not every answer was 200: {report}"
    );
    let run = Run {
        cpu: spent(&before, &used()?),
        ..accepted(&report)
    };
    Ok((
        run,
        format!("p50 {} p99 {} ms", report["p50_ms"], report["p99_ms"]),
    ))
}
