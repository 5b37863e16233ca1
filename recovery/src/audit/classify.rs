//! The fate of every offset of a range, in one statement, so in one snapshot of the database.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::persistence_views;
use sqlx::FromRow;
use sqlx::postgres::PgPool;
use std::collections::HashSet;
use std::ops::Range;

/// Records read from Kafka at once, to see which are there.
const RECORDS_READ: usize = 1000;
/// Missing offsets nearer than this are asked for in one reading.
const MAX_DISTANCE: i64 = 1000;

/// The fates of a range of offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) stored: i64,
    pub(super) duplicate: i64,
    pub(super) filtered: i64,
    pub(super) open: i64,
    pub(super) replaying: i64,
    pub(super) discarded: i64,
    pub(super) absent: i64,
    /// Offset and why
    pub(super) gaps: Vec<(i64, &'static str)>,
    pub(super) doubles: Vec<(i64, &'static str)>,
}

const NO_FATE: &str = "not stored, not dead-lettered";
const REMOVED: &str = "not stored, not dead-lettered, and Kafka removed it from the topic, which it does only by compaction: set cleanup.policy=delete";

/// For a statement over many rows: room to hash them, no time lost on compiling it or on starting helpers, and time to end.
pub(super) async fn large(
    pool: &PgPool,
) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, RecoveryError> {
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "SELECT set_config('work_mem', '32MB', true), set_config('jit', 'off', true),
                set_config('max_parallel_workers_per_gather', '0', true), set_config('statement_timeout', '5min', true)",
    )
    .execute(&mut *transaction)
    .await?;
    Ok(transaction)
}

/// What the statement answers: counts, and the offsets of findings.
#[derive(FromRow)]
struct Classified {
    stored: i64,
    duplicate: i64,
    filtered: i64,
    open: i64,
    replaying: i64,
    discarded: i64,
    absent: i64,
    gap: Vec<i64>,
    resolved_without_row: Vec<i64>,
    two_rows: Vec<i64>,
    open_and_stored: Vec<i64>,
}

/// Two kinds of findings as one, by offset.
fn findings(kinds: [(Vec<i64>, &'static str); 2]) -> Vec<(i64, &'static str)> {
    let mut found: Vec<_> = kinds
        .into_iter()
        .flat_map(|(offsets, why)| offsets.into_iter().map(move |offset| (offset, why)))
        .collect();
    found.sort_unstable();
    found
}

/// The fate of every offset of a range of at most a page.
pub(super) async fn classify(
    context: &Context,
    topic: &str,
    partition: i32,
    range: &Range<i64>,
) -> Result<Fates, RecoveryError> {
    let there = persistence_views::is_there(&context.pool).await?;
    let mut transaction = large(&context.pool).await?;
    let row: Classified = sqlx::query_as(if there {
        persistence_views::FATES_OF_RANGE
    } else {
        persistence_views::FATES_OF_RANGE_WITHOUT
    })
    .bind(topic)
    .bind(partition)
    .bind(range.start)
    .bind(range.end)
    .bind(&context.pipeline.raw)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Fates {
        stored: row.stored,
        duplicate: row.duplicate,
        filtered: row.filtered,
        open: row.open,
        replaying: row.replaying,
        discarded: row.discarded,
        absent: row.absent,
        gaps: findings([
            (row.gap, NO_FATE),
            (
                row.resolved_without_row,
                "its dead letter is resolved, but it is not stored",
            ),
        ]),
        doubles: findings([
            (row.two_rows, "stored more than once, from one raw record"),
            (
                row.open_and_stored,
                "stored, and an open dead letter that nobody replayed",
            ),
        ]),
    })
}

/// Before an offset is called a gap, Kafka is asked whether it ever was a record, when this process has Kafka and Kafka still knows.
pub(super) async fn classify_with_kafka(
    context: &Context,
    topic: &str,
    partition: i32,
    range: &Range<i64>,
) -> Result<Fates, RecoveryError> {
    let fates = classify(context, topic, partition, range).await?;
    let unknown: Vec<i64> = fates
        .gaps
        .iter()
        .filter(|(_, why)| *why == NO_FATE)
        .map(|(offset, _)| *offset)
        .collect();
    let (false, Some(kafka)) = (unknown.is_empty(), &context.kafka) else {
        return Ok(fates);
    };
    let name = context.pipeline.raw.clone();
    let absent = crate::kafka::query(context, move |kafka| {
        absent_in_kafka(kafka, &name, partition, &unknown)
    })
    .await;
    // An outage does not hide a gap: Kafka is queried again next time.
    let Ok(absent) = absent else { return Ok(fates) };
    let (Some(&first), Some(&last)) = (absent.first(), absent.last()) else {
        return Ok(fates);
    };
    let Ok(of_transactions) = runtime::admin::batches::of_transactions(
        kafka,
        &context.pipeline.raw,
        partition,
        first..last + 1,
    )
    .await
    else {
        return Ok(fates);
    };
    // No record is owed a fate where a transaction has its marker, or was aborted. The edge has none; any other hole was a record.
    let (absent, removed): (Vec<i64>, Vec<i64>) = absent
        .into_iter()
        .partition(|offset| of_transactions.iter().any(|range| range.contains(offset)));
    sqlx::query("INSERT INTO audit_absent SELECT $1, $2, o FROM UNNEST($3::bigint[]) o ON CONFLICT DO NOTHING")
        .bind(topic)
        .bind(partition)
        .bind(absent)
        .execute(&context.pool)
        .await?;
    let mut fates = classify(context, topic, partition, range).await?;
    for (offset, why) in &mut fates.gaps {
        if removed.contains(offset) {
            *why = REMOVED;
        }
    }
    Ok(fates)
}

/// Those of the offsets at which Kafka, which still has their neighbourhood, holds no record.
fn absent_in_kafka(
    kafka: &runtime::kafka::KafkaArgs,
    topic: &str,
    partition: i32,
    offsets: &[i64],
) -> anyhow::Result<Vec<i64>> {
    let watermarks = runtime::admin::watermarks(kafka, topic)?;
    let low = watermarks
        .iter()
        .find(|(found, ..)| *found == partition)
        .map_or(i64::MAX, |(_, low, _)| *low);
    let asked: Vec<i64> = offsets
        .iter()
        .copied()
        .filter(|offset| *offset >= low)
        .collect();
    let mut absent = Vec::new();
    for span in asked.chunk_by(|before, after| after - before < MAX_DISTANCE) {
        let (Some(&first), Some(&last)) = (span.first(), span.last()) else {
            continue;
        };
        let (mut next, end) = (first, last + 1);
        while next < end {
            let (held, up_to) =
                runtime::admin::read_range(kafka, topic, partition, next..end, RECORDS_READ)?;
            let held: HashSet<i64> = held.iter().map(|record| record.offset).collect();
            absent.extend(
                span.iter()
                    .filter(|offset| (next..up_to).contains(*offset) && !held.contains(offset)),
            );
            if up_to <= next {
                break;
            }
            next = up_to;
        }
    }
    Ok(absent)
}
