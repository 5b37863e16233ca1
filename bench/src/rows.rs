//! Validators and persistences work off a full raw topic, down to rows: alone, as the backlog grows, and as several instances.

use crate::bench::Bench;
use crate::figures::{Goal, Run, median};
use crate::pipeline::{Database, durable_postgres};
use crate::process::Process;
use crate::report::{cpu, print};
use crate::stages::{between, charged};
use crate::world::{World, at_least};
use contracts::kafka::topics;

/// Partitions of the topics; as many instances could share them.
pub(crate) const PARTITIONS: i32 = 16;
/// How much more the largest backlog has, and how much dearer an event of it may be.
const LARGEST: u64 = 50;
const DEARER: f64 = 1.15;

/// A raw topic of so many events, and one new database for its rows. Each role runs in so many instances. Persistence has its partitions before
/// the validator starts. Counted from the first validated record (where there are several validators, from when each has its partitions) to
/// the last row, so that neither stage has done work that is not counted.
pub(crate) async fn drain(bench: &Bench, events: u64, instances: usize) -> anyhow::Result<Run> {
    let world = World::start(bench, PARTITIONS).await?;
    let events = world.fill(events).await?;
    let postgres = durable_postgres().await?;
    let mut stages = Vec::new();
    for _ in 0..instances {
        stages.push(world.persistence(&postgres.url())?);
    }
    for stage in &mut stages {
        stage.until_ready().await?;
    }
    let mut database = Database::connect(&postgres.url()).await?;
    let server = Database::connect(&postgres.url()).await?;
    for _ in 0..instances {
        stages.push(world.validator()?);
    }
    if instances > 1 {
        for validator in &mut stages[instances..] {
            validator.until_ready().await?;
        }
    }
    let stages: Vec<&Process> = stages.iter().collect();
    let used = || {
        let mut cpu = charged(&world, &stages)?;
        cpu.push(("postgresql", server.cpu()?));
        Ok(cpu)
    };
    let validated = async || world.count(topics::VALIDATED).await;
    let first = at_least(1, events, validated, &used).await?;
    anyhow::ensure!(
        first.0 < events / 2,
        "{} of {events} were validated before it counted: use more --events or a larger --backlog",
        first.0
    );
    let last = at_least(events, events, async || database.settled().await, &used).await?;
    Ok(between(&(first, last)))
}

/// What an event costs while a backlog of 1x, 5x and 50x is worked off.
pub(crate) async fn backlog(bench: &Bench) -> anyhow::Result<()> {
    if bench.brokers.real().is_none() {
        print("backlog: left out, the embedded broker keeps 5 MiB a partition: use --kafka\n");
        return Ok(());
    }
    print("a backlog worked off to rows: the cost of an event as it grows");
    let mut base = None;
    for times in [1, 5, LARGEST] {
        let mut runs = Vec::new();
        for _ in 0..bench.runs {
            runs.push(drain(bench, bench.backlog * times, 1).await?);
        }
        let run = median(runs);
        let one: &Run = base.get_or_insert_with(|| run.clone());
        let dearer = run.cost() / one.cost();
        print(&format!(
            "  {times:>2}x = {:>9} events {:>9.0} event/s   cost {dearer:.2} of 1x   {}",
            bench.backlog * times,
            run.rate(),
            cpu(&run)
        ));
        if times == LARGEST {
            let what = format!("cost of an event in a backlog of {LARGEST}x, of 1x");
            bench.goals.note(what, Goal::Below(DEARER), dearer);
        }
    }
    print("");
    Ok(())
}

/// One, two and three instances of both roles.
pub(crate) async fn instances(bench: &Bench) -> anyhow::Result<()> {
    if bench.brokers.real().is_none() {
        print(
            "instances: left out, groups of the embedded broker take 3 s to share partitions: use --kafka\n",
        );
        return Ok(());
    }
    print(
        "a full topic to rows, by so many instances of the validator and of persistence each, on the same cores",
    );
    let mut base = None;
    for instances in 1..=3 {
        let mut runs = Vec::new();
        for _ in 0..bench.runs {
            runs.push(drain(bench, bench.events, instances).await?);
        }
        let run = median(runs);
        let one: &Run = base.get_or_insert_with(|| run.clone());
        print(&format!(
            "  {instances} {:>9.0} event/s   {:.2} of one   {}",
            run.rate(),
            run.rate() / one.rate(),
            cpu(&run)
        ));
    }
    print("");
    Ok(())
}
