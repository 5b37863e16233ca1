//! Totals of the whole index, and how far it is behind.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::IndexStats;
use sqlx::FromRow;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for the brokers' offsets.
const LAG_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(FromRow)]
struct GroupCounts {
    stage: String,
    code: String,
    source: String,
    open: i64,
    replaying: i64,
    resolved: i64,
    discarded: i64,
}

/// Sums; by code, stage and source those that are open.
///
/// # Errors
/// [`RecoveryError`]
pub async fn stats(context: &Context) -> Result<IndexStats, RecoveryError> {
    let mut connection = context.pool.acquire().await?;
    let groups: Vec<GroupCounts> = sqlx::query_as(
        "SELECT stage, code, source, open, replaying, resolved, discarded FROM groups",
    )
    .fetch_all(&mut *connection)
    .await?;
    // The oldest of a group is, but for a few that came late, the one with its lowest number.
    let oldest_open = sqlx::query_scalar(
        "SELECT min(d.first_failed_at) FROM groups g CROSS JOIN LATERAL (
             SELECT first_failed_at FROM dead_letters d
             WHERE (d.group_id, d.state, d.id) > (g.id, 'open', 0) AND (d.group_id, d.state, d.id) < (g.id, 'open', $1)
             ORDER BY d.group_id, d.state, d.id LIMIT 1) d WHERE g.open > 0",
    )
    .bind(i64::MAX)
    .fetch_one(&mut *connection)
    .await?;
    let index_bytes = sqlx::query_scalar(
        "SELECT (pg_total_relation_size('dead_letters') + pg_total_relation_size('failures') + pg_total_relation_size('edits'))::bigint",
    )
    .fetch_one(&mut *connection)
    .await?;
    let next: Vec<(i32, i64)> = sqlx::query_as(
        "SELECT partition, max(next_offset) FROM consumer_offsets WHERE topic = $1 GROUP BY partition",
    )
    .bind(&context.pipeline.dead_letters)
    .fetch_all(&mut *connection)
    .await?;
    drop(connection);
    let mut stats = IndexStats {
        open: 0,
        replaying: 0,
        resolved: 0,
        discarded: 0,
        by_code: BTreeMap::new(),
        by_stage: BTreeMap::new(),
        by_source: BTreeMap::new(),
        oldest_open,
        index_lag: lag(context, &next.into_iter().collect()).await,
        index_bytes,
    };
    for group in groups {
        stats.open += group.open;
        stats.replaying += group.replaying;
        stats.resolved += group.resolved;
        stats.discarded += group.discarded;
        if group.open > 0 {
            *stats.by_code.entry(group.code).or_default() += group.open;
            *stats.by_stage.entry(group.stage).or_default() += group.open;
            *stats.by_source.entry(group.source).or_default() += group.open;
        }
    }
    Ok(stats)
}

/// Records of the dead-letter topic that are not indexed yet; none when the brokers do not answer in time.
async fn lag(context: &Context, next: &BTreeMap<i32, i64>) -> Option<i64> {
    let (kafka, topic) = (
        context.kafka.clone()?,
        context.pipeline.dead_letters.clone(),
    );
    let next = next.clone();
    let query = tokio::task::spawn_blocking(move || {
        let mut behind = 0;
        for (partition, low, high) in runtime::admin::watermarks(&kafka, &topic)? {
            let next = next.get(&partition).copied().unwrap_or(low).max(low);
            // The marker that ends a transaction takes an offset, and is no record.
            if next < high
                && !runtime::admin::read_range(&kafka, &topic, partition, next..high, 1)?
                    .0
                    .is_empty()
            {
                behind += high - next;
            }
        }
        anyhow::Ok(behind)
    });
    tokio::time::timeout(LAG_TIMEOUT, query)
        .await
        .ok()?
        .ok()?
        .ok()
}
