//! Signed POST to 200 after the broker's acknowledgement, against the same server answering at once.

use crate::process::Process;
use crate::report::{Run, compare, median, print};
use crate::world::{World, load};
use std::time::Duration;

pub(crate) async fn measure(runs: usize, seconds: u64) -> anyhow::Result<()> {
    for (what, unit, flags) in [
        (
            "signed POST -> 200 after acks=all (goal 65000 POST/s)",
            "POST/s",
            ["--batch=1", "--connections=256"],
        ),
        (
            "signed POST of 50 events -> 200 after acks=all",
            "event/s",
            ["--batch=50", "--connections=32"],
        ),
    ] {
        let (mut ours, mut base, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let world = World::start(4).await?;
            let (producer, address) = world.producer(&[]).await?;
            let (run, latency) =
                under_load(&address, &flags, seconds, &[&producer, &world.broker]).await?;
            ours.push(run);
            latencies.push(latency);
            let mut server = Process::part("answer-at-once", &["--listen={address}".to_owned()])?;
            server.until_ready().await?;
            base.push(
                under_load(&server.address, &flags, seconds, &[&server])
                    .await?
                    .0,
            );
        }
        compare(
            what,
            unit,
            &median(ours),
            ("answering at once", &median(base)),
        );
        print(&format!(
            "  latency at full speed, ours: {}\n",
            latencies.join("; ")
        ));
    }
    Ok(())
}

/// As fast as it goes for a while: what was accepted, what it cost, and the latencies.
async fn under_load(
    address: &str,
    flags: &[&str],
    seconds: u64,
    servers: &[&Process],
) -> anyhow::Result<(Run, String)> {
    let before: Vec<Duration> = servers
        .iter()
        .map(|server| server.cpu())
        .collect::<anyhow::Result<_>>()?;
    let duration = format!("--duration={seconds}s");
    let load = load(address, &[flags, &["--max", &duration]].concat())?;
    let output = tokio::task::spawn_blocking(move || load.output()).await??;
    let report: serde_json::Value = serde_json::from_str(&output)?;
    let answers = report["answers"]
        .as_object()
        .map_or(0, |answers| answers.len());
    anyhow::ensure!(
        answers == 1 && report["answers"]["200"].is_u64(),
        "not every answer was 200: {output}"
    );
    let cpu = servers
        .iter()
        .zip(before)
        .map(|(server, before)| Ok((server.name, server.cpu()? - before)))
        .collect::<anyhow::Result<_>>()?;
    let run = Run {
        events: report["events_accepted"].as_u64().unwrap_or(0),
        took: Duration::from_secs_f64(report["seconds"].as_f64().unwrap_or(0.0)),
        cpu,
    };
    Ok((
        run,
        format!("p50 {} p99 {} ms", report["p50_ms"], report["p99_ms"]),
    ))
}
