//! One stage alone, reading a full topic.

use crate::process::{Process, cpu_of_server};
use crate::report::{Run, compare, median};
use crate::world::{World, until};
use contracts::kafka::topics;
use sandbox::postgres::PrivatePostgres;
use sqlx::{Connection, PgConnection};
use std::time::Instant;

/// The validator against a copy that checks nothing.
pub(crate) async fn validator(runs: usize, events: u64) -> anyhow::Result<()> {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let world = World::start(16).await?;
        world.fill(events).await?;
        let validator = world.validator()?;
        ours.push(drain(&world, topics::VALIDATED, events, &validator).await?);
        drop(validator);
        let arguments = [
            format!("--brokers={}", world.kafka.kafka_brokers),
            format!("--from={}", topics::RAW),
            "--to=copy".to_owned(),
        ];
        let copy = Process::part("copy", &arguments)?;
        base.push(drain(&world, "copy", events, &copy).await?);
    }
    compare(
        "validator, from a full topic (goal 350000 event/s)",
        "event/s",
        &median(ours),
        ("bare copy", &median(base)),
    );
    Ok(())
}

/// From the first record in `topic` to the last.
pub(crate) async fn drain(
    world: &World,
    topic: &'static str,
    events: u64,
    stage: &Process,
) -> anyhow::Result<Run> {
    let sample = || Ok([stage.cpu()?, world.broker.cpu()?]);
    let ((first, began, before), (last, ended, after)) =
        until(events, async || world.count_kept(topic).await, sample).await?;
    Ok(Run {
        events: last - first,
        took: ended - began,
        cpu: vec![
            (stage.name, after[0] - before[0]),
            (world.broker.name, after[1] - before[1]),
        ],
    })
}

/// Columns of `events` that are given, in order.
const COLUMNS: &str = "source, event_id, event_type, contract, entity_key, occurred_at, received_at, stored_at, amount, currency, \
                       payload, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset";

/// Persistence against one COPY of the same rows into a table with the same indexes and constraints.
pub(crate) async fn persistence(runs: usize, events: u64) -> anyhow::Result<()> {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let world = World::start(16).await?;
        world.fill(events).await?;
        let validator = world.validator()?;
        drain(&world, topics::VALIDATED, events, &validator).await?;
        drop(validator);
        let cluster = tokio::task::spawn_blocking(|| PrivatePostgres::start(true)).await??;
        let mut database = PgConnection::connect(&cluster.url()).await?;
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut database)
            .await?;
        let backend = u32::try_from(backend)?;
        let stage = world.persistence(&cluster.url())?;
        let count = async || {
            let exists: bool = sqlx::query_scalar(
                "SELECT to_regclass('persistence.consumer_offsets') IS NOT NULL",
            )
            .fetch_one(&mut database)
            .await?;
            if !exists {
                return Ok(0);
            }
            let stored = "SELECT coalesce(sum(stored + duplicate), 0)::bigint FROM persistence.consumer_offsets";
            Ok(u64::try_from(
                sqlx::query_scalar::<_, i64>(stored)
                    .fetch_one(&mut database)
                    .await?,
            )?)
        };
        let sample = || Ok([stage.cpu()?, cpu_of_server(backend)?]);
        let ((first, began, before), (last, ended, after)) = until(events, count, sample).await?;
        ours.push(Run {
            events: last - first,
            took: ended - began,
            cpu: vec![
                (stage.name, after[0] - before[0]),
                ("postgresql", after[1] - before[1]),
            ],
        });
        drop(stage);
        base.push(copy_in(&mut database, backend).await?);
    }
    compare(
        "persistence, from a full topic (goal 0.80)",
        "row/s",
        &median(ours),
        ("one COPY of the same rows", &median(base)),
    );
    Ok(())
}

async fn copy_in(database: &mut PgConnection, backend: u32) -> anyhow::Result<Run> {
    sqlx::raw_sql(
        "CREATE TABLE persistence.copied (LIKE persistence.events INCLUDING ALL); CHECKPOINT",
    )
    .execute(&mut *database)
    .await?;
    let mut rows = Vec::new();
    let out = format!("COPY (SELECT {COLUMNS} FROM persistence.events ORDER BY seq) TO STDOUT");
    {
        use futures_util::TryStreamExt;
        let mut stream = database.copy_out_raw(&out).await?;
        while let Some(chunk) = stream.try_next().await? {
            rows.extend_from_slice(&chunk);
        }
    }
    let before = cpu_of_server(backend)?;
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
        cpu: vec![("postgresql", cpu_of_server(backend)? - before)],
    })
}
