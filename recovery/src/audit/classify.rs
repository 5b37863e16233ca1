//! The fate of every offset of a range, in one statement, so in one snapshot of the database.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::kafka;
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
    pub(super) open: i64,
    pub(super) replaying: i64,
    pub(super) discarded: i64,
    pub(super) absent: i64,
    /// Offset and why
    pub(super) gaps: Vec<(i64, &'static str)>,
    pub(super) doubles: Vec<(i64, &'static str)>,
}

const NO_FATE: &str = "not stored, not dead-lettered";

macro_rules! classify {
    ($fates:literal) => {
        concat!(
            "WITH rows AS (
                 SELECT raw_offset AS o, count(*) FILTER (WHERE fate = 'stored') AS stored, count(*) AS all_rows
                 FROM ",
            $fates,
            "    WHERE raw_partition = $2 AND raw_offset >= $3 AND raw_offset < $4 GROUP BY raw_offset
             ), letters AS (
                 SELECT origin_offset AS o, state FROM dead_letters
                 WHERE origin_topic = $1 AND origin_partition = $2 AND origin_offset >= $3 AND origin_offset < $4 AND origin_group = ''
             ), no_records AS (
                 SELECT \"offset\" AS o FROM audit_absent WHERE topic = $1 AND partition = $2 AND \"offset\" >= $3 AND \"offset\" < $4
             ), classified AS (
                 SELECT o, CASE
                     WHEN r.all_rows > 1 THEN 'two_rows'
                     WHEN r.all_rows = 1 AND l.state = 'open' THEN 'open_and_stored'
                     WHEN r.stored = 1 THEN 'stored'
                     WHEN r.all_rows = 1 THEN 'duplicate'
                     WHEN l.state = 'resolved' THEN 'resolved_without_row'
                     WHEN l.state IS NOT NULL THEN l.state -- open, replaying, discarded
                     WHEN a.o IS NOT NULL THEN 'absent'
                     ELSE 'gap'
                 END AS fate
                 FROM generate_series($3::bigint, $4::bigint - 1) AS o
                 LEFT JOIN rows r USING (o) LEFT JOIN letters l USING (o) LEFT JOIN no_records a USING (o)
             )
             SELECT count(*) FILTER (WHERE fate = 'stored') AS stored, count(*) FILTER (WHERE fate = 'duplicate') AS duplicate,
                    count(*) FILTER (WHERE fate = 'open') AS open, count(*) FILTER (WHERE fate = 'replaying') AS replaying,
                    count(*) FILTER (WHERE fate = 'discarded') AS discarded, count(*) FILTER (WHERE fate = 'absent') AS absent,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'gap'), '{}') AS gap,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'resolved_without_row'), '{}') AS resolved_without_row,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'two_rows'), '{}') AS two_rows,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'open_and_stored'), '{}') AS open_and_stored
             FROM classified"
        )
    };
}

const CLASSIFY: &str = classify!("persistence.event_fates");
/// Persistence may never have run in this database: then nothing is stored.
const CLASSIFY_WITHOUT_PERSISTENCE: &str = classify!(
    "(SELECT 0 AS raw_partition, 0::bigint AS raw_offset, ''::text AS fate WHERE false) f "
);

/// Whether persistence has ever run in this database, in a version that shows what others may read.
pub(crate) async fn persistence_is_there(pool: &PgPool) -> Result<bool, RecoveryError> {
    Ok(
        sqlx::query_scalar("SELECT to_regclass('persistence.read_offsets') IS NOT NULL")
            .fetch_one(pool)
            .await?,
    )
}

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
    let there = persistence_is_there(&context.pool).await?;
    let mut transaction = large(&context.pool).await?;
    let row: Classified = sqlx::query_as(if there {
        CLASSIFY
    } else {
        CLASSIFY_WITHOUT_PERSISTENCE
    })
    .bind(topic)
    .bind(partition)
    .bind(range.start)
    .bind(range.end)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Fates {
        stored: row.stored,
        duplicate: row.duplicate,
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

/// Before an offset is called a gap, Kafka is asked whether it ever was a record, when Kafka is at hand and still knows.
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
    if unknown.is_empty() || context.kafka.is_none() {
        return Ok(fates);
    }
    let name = topic.to_owned();
    let absent = kafka::query(context, move |kafka| {
        absent_in_kafka(kafka, &name, partition, &unknown)
    })
    .await;
    // An outage does not hide a gap: Kafka is queried again next time.
    let Ok(absent) = absent else { return Ok(fates) };
    if absent.is_empty() {
        return Ok(fates);
    }
    sqlx::query("INSERT INTO audit_absent SELECT $1, $2, o FROM UNNEST($3::bigint[]) o ON CONFLICT DO NOTHING")
        .bind(topic)
        .bind(partition)
        .bind(absent)
        .execute(&context.pool)
        .await?;
    classify(context, topic, partition, range).await
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
