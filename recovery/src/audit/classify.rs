//! The fate of every offset of a range, in one statement, so in one snapshot of the database.

use super::checkpoint::ask;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::persistence_views;
use sqlx::Row as _;
use sqlx::postgres::{PgPool, PgRow};
use std::collections::HashSet;
use std::ops::Range;

/// Records read from Kafka at once, to see which are there.
const RECORDS_ASKED: usize = 1000;
/// Missing offsets nearer than this are asked for in one reading.
const NEAR: i64 = 1000;

/// The fates of a range of offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) stored: i64,
    pub(super) duplicate: i64,
    pub(super) open: i64,
    pub(super) replaying: i64,
    pub(super) discarded: i64,
    pub(super) absent: i64,
    /// Offset and why
    pub(super) gaps: Vec<(i64, &'static str)>,
    pub(super) doubles: Vec<(i64, &'static str)>,
}

const NO_FATE: &str = "not stored, not dead-lettered";

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

fn because(
    row: &PgRow,
    column: usize,
    why: &'static str,
) -> Result<Vec<(i64, &'static str)>, RecoveryError> {
    let offsets: Vec<i64> = row.try_get::<Option<_>, _>(column)?.unwrap_or_default();
    Ok(offsets.into_iter().map(|offset| (offset, why)).collect())
}

/// The fate of every offset of a range of at most a page.
pub(super) async fn judge(
    recovery: &Context,
    topic: &str,
    partition: i32,
    range: &Range<i64>,
) -> Result<Fates, RecoveryError> {
    let there = persistence_views::is_there(&recovery.pool).await?;
    let mut transaction = large(&recovery.pool).await?;
    let row = sqlx::query(if there {
        persistence_views::FATES_OF_RANGE
    } else {
        persistence_views::FATES_OF_RANGE_WITHOUT
    })
    .bind(topic)
    .bind(partition)
    .bind(range.start)
    .bind(range.end)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let mut fates = Fates {
        stored: row.try_get(0)?,
        duplicate: row.try_get(1)?,
        open: row.try_get(2)?,
        replaying: row.try_get(3)?,
        discarded: row.try_get(4)?,
        absent: row.try_get(5)?,
        gaps: because(&row, 6, NO_FATE)?,
        doubles: because(&row, 8, "stored more than once, from one raw record")?,
    };
    fates.gaps.extend(because(
        &row,
        7,
        "its dead letter is resolved, but it is not stored",
    )?);
    fates.doubles.extend(because(
        &row,
        9,
        "stored, and an open dead letter that nobody replayed",
    )?);
    fates.gaps.sort_unstable();
    fates.doubles.sort_unstable();
    Ok(fates)
}

/// Before an offset is called a gap, Kafka is asked whether it ever was a record, when Kafka is at hand and still knows.
pub(super) async fn judge_and_ask(
    recovery: &Context,
    topic: &str,
    partition: i32,
    range: &Range<i64>,
) -> Result<Fates, RecoveryError> {
    let fates = judge(recovery, topic, partition, range).await?;
    let unknown: Vec<i64> = fates
        .gaps
        .iter()
        .filter(|(_, why)| *why == NO_FATE)
        .map(|(offset, _)| *offset)
        .collect();
    if unknown.is_empty() || recovery.kafka.is_none() {
        return Ok(fates);
    }
    let name = topic.to_owned();
    let absent = ask(recovery, move |kafka| {
        absent_in_kafka(kafka, &name, partition, &unknown)
    })
    .await;
    // An outage does not hide a gap: it is asked again with the next look.
    let Ok(absent) = absent else { return Ok(fates) };
    if absent.is_empty() {
        return Ok(fates);
    }
    sqlx::query("INSERT INTO audit_absent SELECT $1, $2, o FROM UNNEST($3::bigint[]) o ON CONFLICT DO NOTHING")
        .bind(topic)
        .bind(partition)
        .bind(absent)
        .execute(&recovery.pool)
        .await?;
    judge(recovery, topic, partition, range).await
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
    for span in asked.chunk_by(|before, after| after - before < NEAR) {
        let (Some(&first), Some(&last)) = (span.first(), span.last()) else {
            continue;
        };
        let (mut next, end) = (first, last + 1);
        while next < end {
            let (held, up_to) =
                runtime::admin::read_range(kafka, topic, partition, next..end, RECORDS_ASKED)?;
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
