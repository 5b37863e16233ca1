//! One stage alone, reading a full topic.

use crate::bench::Bench;
use crate::brokers::COPY;
use crate::figures::{Cpu, Goal, Run, median, spent};
use crate::pipeline::{Database, durable_postgres};
use crate::process::Process;
use crate::report::compare;
use crate::world::{Look, World, until};
use contracts::kafka::topics;
use sqlx::PgConnection;
use std::time::Instant;

/// The validator against a copy that checks nothing.
pub(crate) async fn validator(bench: &Bench) -> anyhow::Result<()> {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let world = World::start(bench, 16).await?;
        let events = world.fill(bench.events).await?;
        let validator = world.validator()?;
        ours.push(drain(&world, topics::VALIDATED, events, &validator).await?);
        drop(validator);
        let arguments = [
            format!("--brokers={}", world.brokers()),
            format!("--from={}", topics::RAW),
            format!("--to={COPY}"),
        ];
        let copy = Process::part("copy", &arguments)?;
        base.push(drain(&world, COPY, events, &copy).await?);
    }
    let (ours, base) = (median(ours), median(base));
    compare(
        "validator, from a full topic",
        "event/s",
        &ours,
        ("bare copy", &base),
    );
    bench.note_ratio("validator, of the bare copy", 0.9, &ours, &base);
    Ok(())
}

/// From the first record in `topic` to the last.
pub(crate) async fn drain(
    world: &World,
    topic: &'static str,
    events: u64,
    stage: &Process,
) -> anyhow::Result<Run> {
    let used = || charged(world, &[stage]);
    let looks = until(events, async || world.count(topic).await, used).await?;
    if world.cluster.is_embedded() {
        world.ensure_kept(topic).await?;
    }
    Ok(between(&looks))
}

/// CPU time of processes, and of the brokers.
pub(crate) fn charged(world: &World, processes: &[&Process]) -> anyhow::Result<Cpu> {
    let mut cpu = Cpu::new();
    for process in processes {
        cpu.push((process.name, process.cpu()?));
    }
    cpu.push((world.cluster.name(), world.cluster.cpu()?));
    Ok(cpu)
}

/// What was done between two looks.
pub(crate) fn between((first, last): &(Look<Cpu>, Look<Cpu>)) -> Run {
    Run {
        events: last.0 - first.0,
        took: last.1 - first.1,
        cpu: spent(&first.2, &last.2),
    }
}

/// Columns of `events` that are given, in order.
const COLUMNS: &str = "source, event_id, event_type, contract, entity_key, occurred_at, received_at, stored_at, amount, currency, \
                       payload, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset";

/// Persistence against one COPY of the same rows into a table with the same indexes and constraints.
pub(crate) async fn persistence(bench: &Bench) -> anyhow::Result<()> {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let world = World::start(bench, 16).await?;
        let events = world.fill(bench.events).await?;
        let validator = world.validator()?;
        drain(&world, topics::VALIDATED, events, &validator).await?;
        drop(validator);
        let cluster = durable_postgres().await?;
        let mut database = Database::connect(&cluster.url()).await?;
        let server = Database::connect(&cluster.url()).await?;
        let stage = world.persistence(&cluster.url())?;
        let used = || {
            Ok(vec![
                (stage.name, stage.cpu()?),
                ("postgresql", server.cpu()?),
            ])
        };
        let looks = until(events, async || database.settled().await, used).await?;
        ours.push(between(&looks));
        drop(stage);
        base.push(copy_in(&mut database.connection, &server).await?);
    }
    let (ours, base) = (median(ours), median(base));
    compare(
        "persistence, from a full topic",
        "row/s",
        &ours,
        ("one COPY of the same rows", &base),
    );
    bench.note_ratio("persistence, of one COPY", 0.8, &ours, &base);
    let postgresql = ours
        .costs()
        .into_iter()
        .find(|(name, _)| *name == "postgresql");
    if let Some((_, cost)) = postgresql {
        bench.goals.note(
            "persistence, PostgreSQL's CPU us/row",
            Goal::Below(8.0),
            cost,
        );
    }
    Ok(())
}

async fn copy_in(database: &mut PgConnection, server: &Database) -> anyhow::Result<Run> {
    sqlx::raw_sql(
        "CREATE TABLE persistence.copied (LIKE persistence.events INCLUDING ALL); CHECKPOINT",
    )
    .execute(&mut *database)
    .await?;
    let mut rows = Vec::new();
    let out = format!("COPY (SELECT {COLUMNS} FROM persistence.events ORDER BY ctid) TO STDOUT");
    {
        use futures_util::TryStreamExt;
        let mut stream = database.copy_out_raw(&out).await?;
        while let Some(chunk) = stream.try_next().await? {
            rows.extend_from_slice(&chunk);
        }
    }
    let before = server.cpu()?;
    let began = Instant::now();
    let mut sink = database
        .copy_in_raw(&format!("COPY persistence.copied ({COLUMNS}) FROM STDIN"))
        .await?;
    for chunk in rows.chunks(1 << 20) {
        sink.send(chunk).await?;
    }
    let events = sink.finish().await?;
    let took = began.elapsed();
    Ok(Run {
        events,
        took,
        cpu: vec![("postgresql", server.cpu()? - before)],
    })
}
