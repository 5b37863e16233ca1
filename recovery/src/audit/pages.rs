//! Offsets classified by pages: each once when it is settled, and again when something about its page changed.

use super::classify::{Fates, classify, classify_with_kafka, large};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::persistence_views;
use runtime::faults;
use sqlx::PgConnection;
use std::ops::Range;

/// Offsets in a page.
pub const PAGE: i64 = 100_000;
/// Findings of a page that are kept one by one; the page counts all of them.
const FINDINGS: usize = 1000;
/// Most pages examined again at once; the others are examined next time, as those not examined for longest come first.
const PAGES_AGAIN: i64 = 10_000;

/// Up to where a partition of the raw topic is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Of the topic of raw events
    pub partition: i32,
    /// The oldest record there is
    pub low: i64,
    /// Every record before it has its fate in the database
    pub settled: i64,
    /// The topic's end
    pub high: i64,
}

/// Offsets examined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Examined {
    /// For the first time
    pub new: i64,
    /// Once more
    pub again: i64,
}

/// Examines again what changed, and what is new up to the settled offsets. Safe to do twice, and at the same time.
///
/// # Errors
/// [`RecoveryError::Unavailable`]; what was examined until then stays.
pub async fn examine_pages(
    context: &Context,
    topic: &str,
    readings: &[Reading],
) -> Result<Examined, RecoveryError> {
    examine(context, topic, readings, true).await
}

/// Examines raw topics that were deleted, to the end they had when they were last looked at: `now` is the one that Kafka has instead.
///
/// # Errors
/// As [`examine_pages`].
pub(super) async fn examine_ended(context: &Context, now: &str) -> Result<(), RecoveryError> {
    let frontiers: Vec<(String, i32, i64, i64)> = sqlx::query_as(
        "SELECT topic, partition, next_offset, high FROM audit_frontier WHERE of_raw_topic(topic, $1) AND topic <> $2 ORDER BY topic",
    )
    .bind(&context.pipeline.raw)
    .bind(now)
    .fetch_all(&context.pool)
    .await?;
    for of_topic in frontiers.chunk_by(|one, other| one.0 == other.0) {
        let readings: Vec<Reading> = of_topic
            .iter()
            .map(|&(_, partition, next, high)| Reading {
                partition,
                low: next,
                settled: high,
                high,
            })
            .collect();
        examine(context, &of_topic[0].0, &readings, false).await?;
    }
    Ok(())
}

async fn examine(
    context: &Context,
    topic: &str,
    readings: &[Reading],
    in_kafka: bool,
) -> Result<Examined, RecoveryError> {
    let mut examined = Examined::default();
    for (partition, range) in pages_again(context, topic).await? {
        examined.again += range.end - range.start;
        examine_again(context, topic, partition, range, in_kafka).await?;
    }
    for reading in readings {
        examined.new += extend(context, topic, *reading, in_kafka).await?;
    }
    Ok(examined)
}

/// Asks Kafka about what has no fate, where the topic is still there.
async fn fates(
    context: &Context,
    topic: &str,
    partition: i32,
    range: &Range<i64>,
    in_kafka: bool,
) -> Result<Fates, RecoveryError> {
    if in_kafka {
        classify_with_kafka(context, topic, partition, range).await
    } else {
        classify(context, topic, partition, range).await
    }
}

/// From the frontier to the settled offset, page by page.
async fn extend(
    context: &Context,
    topic: &str,
    reading: Reading,
    in_kafka: bool,
) -> Result<i64, RecoveryError> {
    let Reading {
        partition,
        low,
        settled,
        high,
    } = reading;
    // What is first seen begins at the oldest record there is; what was deleted before the first stage had read it is owed a fate too.
    let mut frontier: i64 = sqlx::query_scalar(
        "INSERT INTO audit_frontier (topic, partition, first_offset, next_offset, high) VALUES ($1, $2, $3, $3, $4)
         ON CONFLICT (topic, partition) DO UPDATE SET high = greatest(audit_frontier.high, excluded.high), at = clock_timestamp()
         RETURNING next_offset",
    )
    .bind(topic)
    .bind(partition)
    .bind(low.min(settled))
    .bind(high)
    .fetch_one(&context.pool)
    .await?;
    let from = frontier;
    while frontier < settled {
        let range = frontier..settled.min((frontier / PAGE + 1) * PAGE);
        let fates = fates(context, topic, partition, &range, in_kafka).await?;
        let mut transaction = context.pool.begin().await?;
        let moved =
            sqlx::query("UPDATE audit_frontier SET next_offset = $4 WHERE topic = $1 AND partition = $2 AND next_offset = $3")
                .bind(topic)
                .bind(partition)
                .bind(range.start)
                .bind(range.end)
                .execute(&mut *transaction)
                .await?;
        if moved.rows_affected() == 0 {
            // Another instance was faster.
            return Ok(frontier - from);
        }
        write_page(&mut transaction, topic, partition, &range, &fates, true).await?;
        faults::kill_point("audit_page_in_transaction");
        transaction.commit().await?;
        frontier = range.end;
    }
    Ok(frontier - from)
}

async fn examine_again(
    context: &Context,
    topic: &str,
    partition: i32,
    range: Range<i64>,
    in_kafka: bool,
) -> Result<(), RecoveryError> {
    let fates = fates(context, topic, partition, &range, in_kafka).await?;
    let mut transaction = context.pool.begin().await?;
    write_page(&mut transaction, topic, partition, &range, &fates, false).await?;
    Ok(transaction.commit().await?)
}

/// The counts of a range, added to its page or instead of what the page had; its findings, and those that are no longer.
async fn write_page(
    connection: &mut PgConnection,
    topic: &str,
    partition: i32,
    range: &Range<i64>,
    fates: &Fates,
    new: bool,
) -> Result<(), RecoveryError> {
    let statement = if new {
        "INSERT INTO audit_pages AS p (topic, partition, page, next_offset, stored, duplicate, open, replaying, discarded, absent, gap,
                                       double_fate, filtered)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (topic, partition, page) DO UPDATE
         SET next_offset = excluded.next_offset, stored = p.stored + excluded.stored, duplicate = p.duplicate + excluded.duplicate,
             open = p.open + excluded.open, replaying = p.replaying + excluded.replaying, discarded = p.discarded + excluded.discarded,
             absent = p.absent + excluded.absent, gap = p.gap + excluded.gap, double_fate = p.double_fate + excluded.double_fate,
             filtered = p.filtered + excluded.filtered"
    } else {
        // Grown meanwhile by another instance: that page is examined again next time.
        "UPDATE audit_pages
         SET stored = $5, duplicate = $6, open = $7, replaying = $8, discarded = $9, absent = $10, gap = $11, double_fate = $12,
             filtered = $13, examined_at = clock_timestamp()
         WHERE topic = $1 AND partition = $2 AND page = $3 AND next_offset = $4"
    };
    let count = |found: &[(i64, &str)]| i64::try_from(found.len()).unwrap_or(i64::MAX);
    let written = sqlx::query(statement)
        .bind(topic)
        .bind(partition)
        .bind(range.start / PAGE)
        .bind(range.end)
        .bind(fates.stored)
        .bind(fates.duplicate)
        .bind(fates.open)
        .bind(fates.replaying)
        .bind(fates.discarded)
        .bind(fates.absent)
        .bind(count(&fates.gaps))
        .bind(count(&fates.doubles))
        .bind(fates.filtered)
        .execute(&mut *connection)
        .await?;
    if written.rows_affected() == 0 {
        return Ok(());
    }
    for (kind, found) in [("gap", &fates.gaps), ("double_fate", &fates.doubles)] {
        let offsets: Vec<i64> = found.iter().map(|(offset, _)| *offset).collect();
        sqlx::query(
            "UPDATE audit_findings SET healed_at = clock_timestamp()
             WHERE topic = $1 AND partition = $2 AND \"offset\" >= $3 AND \"offset\" < $4 AND kind = $5 AND healed_at IS NULL
               AND \"offset\" NOT IN (SELECT o FROM UNNEST($6::bigint[]) o)",
        )
        .bind(topic)
        .bind(partition)
        .bind(range.start)
        .bind(range.end)
        .bind(kind)
        .bind(&offsets)
        .execute(&mut *connection)
        .await?;
        let kept = found.len().min(FINDINGS);
        sqlx::query(
            "INSERT INTO audit_findings AS f (topic, partition, \"offset\", kind, detail)
             SELECT $1, $2, o, $3, detail FROM UNNEST($4::bigint[], $5::text[]) AS found (o, detail)
             ON CONFLICT (topic, partition, \"offset\", kind) DO UPDATE
             SET detail = excluded.detail, healed_at = NULL,
                 found_at = CASE WHEN f.healed_at IS NULL THEN f.found_at ELSE clock_timestamp() END",
        )
        .bind(topic)
        .bind(partition)
        .bind(kind)
        .bind(&offsets[..kept])
        .bind(found[..kept].iter().map(|(_, why)| *why).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// The pages in which something changed since they were examined, and the one not examined for longest.
async fn pages_again(
    context: &Context,
    topic: &str,
) -> Result<Vec<(i32, Range<i64>)>, RecoveryError> {
    let there = persistence_views::is_there(&context.pool).await?;
    let mut transaction = large(&context.pool).await?;
    let rows = sqlx::query_as::<_, (i32, i64, i64)>(if there {
        persistence_views::CHANGED_PAGES
    } else {
        persistence_views::CHANGED_PAGES_WITHOUT
    })
    .bind(topic)
    .bind(PAGE)
    .bind(PAGES_AGAIN)
    .bind(&context.pipeline.raw)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(rows
        .into_iter()
        .map(|(partition, from, to)| (partition, from..to))
        .collect())
}
