//! What exactly once costs the validator: the same topic, with a transaction and without.

use crate::bench::Bench;
use crate::figures::{Run, median};
use crate::process::Process;
use crate::report::{compare, print};
use crate::stages::{between, charged};
use crate::world::{World, until};

const FLAG: &str = "--delivery";

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    if bench.brokers.real().is_none() {
        print(
            "delivery: left out, the embedded broker only pretends to have transactions: use --kafka\n",
        );
        return Ok(());
    }
    let help = Process::role("validator", &["--help".to_owned()])?;
    if !tokio::task::spawn_blocking(move || help.output())
        .await??
        .contains(FLAG)
    {
        print("delivery: left out, this validator has no --delivery\n");
        return Ok(());
    }
    let (mut exactly, mut at_least) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        exactly.push(drain(bench, "exactly-once").await?);
        at_least.push(drain(bench, "at-least-once").await?);
    }
    compare(
        "validator, exactly once",
        "event/s",
        &median(exactly),
        ("at least once", &median(at_least)),
    );
    Ok(())
}

/// By what is committed of the raw topic: transactions leave marks in the topics that are written, which would be counted as records there.
async fn drain(bench: &Bench, delivery: &str) -> anyhow::Result<Run> {
    let world = World::start(bench, 16).await?;
    let events = world.fill(bench.events).await?;
    let read = world.read_by_validators()?;
    let validator = world.validator_with(&[format!("{FLAG}={delivery}")])?;
    let used = || charged(&world, &[&validator]);
    let looks = until(events, async || read.count().await, used).await?;
    Ok(between(&looks))
}
