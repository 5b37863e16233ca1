//! What the brokers do for anyone: Kafka's own performance tools, and a bare loop over the client that EventFlow uses.

use crate::bench::Bench;
use crate::brokers::{COPY, RealBrokers};
use crate::figures::{Run, consumer_performance, median, number, producer_performance};
use crate::report::print;
use crate::shapes;
use crate::world::World;
use anyhow::Context as _;
use std::time::{Duration, Instant};

/// Different payments in the file that Kafka's producer tool picks from.
const DIFFERENT: u64 = 10_000;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let Some(brokers) = bench.brokers.real() else {
        print("client: left out, it is about real brokers: use --kafka\n");
        return Ok(());
    };
    let payments: String = (0..DIFFERENT)
        .map(|number| shapes::payment(number) + "\n")
        .collect();
    let file = std::env::temp_dir().join(format!("eventflow-bench-{}", std::process::id()));
    std::fs::write(&file, payments)?;
    let (mut produced, mut bare, mut consumed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let world = World::start(bench, 16).await?;
        let events = bench.events.to_string();
        let file = file.to_str().context("TMPDIR is not UTF-8")?;
        produced.push(tool(
            brokers,
            &world,
            bench.events,
            &[
                "org.apache.kafka.tools.ProducerPerformance",
                &format!("--bootstrap-server={}", world.brokers()),
                &format!("--topic={COPY}"),
                &format!("--num-records={events}"),
                "--throughput=-1",
                &format!("--payload-file={file}"),
                "--command-property",
                "acks=all",
                "linger.ms=5",
                "batch.size=131072",
                "compression.type=lz4",
            ],
            producer_performance,
        )?);
        consumed.push(tool(
            brokers,
            &world,
            bench.events,
            &[
                "org.apache.kafka.tools.ConsumerPerformance",
                &format!("--bootstrap-server={}", world.brokers()),
                &format!("--topic={COPY}"),
                &format!("--num-records={events}"),
            ],
            consumer_performance,
        )?);
        let (before, began) = (world.cluster.cpu()?, Instant::now());
        tokio::task::block_in_place(|| shapes::publish_payments(world.brokers(), bench.events))?;
        bare.push(Run {
            events: bench.events,
            took: began.elapsed(),
            cpu: vec![(world.cluster.name(), world.cluster.cpu()? - before)],
        });
    }
    std::fs::remove_file(&file)?;
    print(
        "what the brokers do for anyone, with acks=all, idempotent, lz4 (CPU us/record of Kafka)",
    );
    for (what, runs) in [
        ("kafka-producer-perf-test", produced),
        ("rdkafka, a loop that sends", bare),
        ("kafka-consumer-perf-test", consumed),
    ] {
        let run = median(runs);
        print(&format!(
            "  {what:<28} {:>9.0} record/s   {:.2}",
            run.rate(),
            run.cost()
        ));
    }
    print("");
    Ok(())
}

/// One of Kafka's tools; it says its own rate, without the start of its JVM.
fn tool(
    brokers: &RealBrokers,
    world: &World,
    events: u64,
    arguments: &[&str],
    rate: fn(&str) -> anyhow::Result<f64>,
) -> anyhow::Result<Run> {
    let before = world.cluster.cpu()?;
    let output = tokio::task::block_in_place(|| {
        brokers
            .tool(&[&["tool"], arguments].concat())?
            .env("EVENTFLOW_KAFKA_TOOL_JVM", "-Xmx512m")
            .output()
            .context("Kafka's tool does not start")
    })?;
    anyhow::ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rate = rate(&String::from_utf8_lossy(&output.stdout))?;
    Ok(Run {
        events,
        took: Duration::from_secs_f64(number(events) / rate),
        cpu: vec![(world.cluster.name(), world.cluster.cpu()? - before)],
    })
}
