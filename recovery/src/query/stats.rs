//! Totals of the whole index, and how far it is behind.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::index::lag;
use crate::model::IndexStats;
use sqlx::FromRow;
use std::collections::BTreeMap;

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
    drop(connection);
    let lag = lag::known(&context.observed.lock());
    let mut stats = IndexStats {
        open: 0,
        replaying: 0,
        resolved: 0,
        discarded: 0,
        by_code: BTreeMap::new(),
        by_stage: BTreeMap::new(),
        by_source: BTreeMap::new(),
        oldest_open,
        index_lag: lag.map(|(records, _)| records),
        index_lag_age_seconds: lag.map(|(_, age)| age),
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
