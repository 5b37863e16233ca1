//! What became of what was sent: stored or a duplicate, as persistence says; failed again, as the index writes. Needs no lock: two
//! instances that settle at once settle different dead letters.

use super::metrics as names;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::persistence_views;
use crate::replay::jobs::within;
use sqlx::Row;

/// Most items looked at in one transaction.
const PAGE: i64 = 2000;

/// Settles what persistence has stored or found a duplicate since, then ends the jobs of which nothing is awaited any more.
pub(crate) async fn settle(recovery: &Context) -> Result<(), RecoveryError> {
    let there = within(async { Ok(persistence_views::is_there(&recovery.pool).await?) });
    let mut after = if there.await? { Some(i64::MIN) } else { None };
    while let Some(from) = after {
        after = within(settle_page(recovery, from)).await?;
    }
    within(finish(recovery)).await
}

/// Settles the awaited items after a dead letter; answers the last one looked at, or none at the end.
async fn settle_page(recovery: &Context, after: i64) -> Result<Option<i64>, RecoveryError> {
    let mut transaction = recovery.pool.begin().await?;
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT dead_letter_id FROM replay_items WHERE state = 'sent' AND dead_letter_id > $1 ORDER BY dead_letter_id LIMIT $2",
    )
    .bind(after)
    .bind(PAGE)
    .fetch_all(&mut *transaction)
    .await?;
    let next = ids.last().copied();
    // Dead letters are locked first and in order, as everybody does.
    let rows = sqlx::query(persistence_views::SETTLED_REPLAYS)
        .bind(&recovery.pipeline.raw)
        .bind(&ids)
        .fetch_all(&mut *transaction)
        .await?;
    if rows.is_empty() {
        return Ok(next);
    }
    let (mut jobs, mut letters, mut fates, mut who) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        jobs.push(row.try_get::<String, _>(0)?);
        letters.push(row.try_get::<i64, _>(1)?);
        fates.push(row.try_get::<String, _>(2)?);
        who.push(row.try_get::<String, _>(3)?);
    }
    sqlx::query(
        "UPDATE dead_letters d SET state = 'resolved', resolution = s.fate, settled_at = clock_timestamp(), settled_by = s.who
         FROM UNNEST($1::bigint[], $2::text[], $3::text[]) AS s (id, fate, who) WHERE d.id = s.id",
    )
    .bind(&letters)
    .bind(&fates)
    .bind(&who)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "UPDATE replay_items i SET state = s.fate, settled_at = clock_timestamp()
         FROM UNNEST($1::text[], $2::bigint[], $3::text[]) AS s (job, id, fate)
         WHERE i.job_id = s.job AND i.dead_letter_id = s.id AND i.state = 'sent'",
    )
    .bind(&jobs)
    .bind(&letters)
    .bind(&fates)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let stored = fates.iter().filter(|fate| *fate == "stored").count();
    metrics::counter!(names::REPLAYED, "outcome" => "stored").increment(stored as u64);
    metrics::counter!(names::REPLAYED, "outcome" => "duplicate")
        .increment((fates.len() - stored) as u64);
    Ok(next)
}

/// A running job ends when every item is settled; a stopped one when those that were sent are.
async fn finish(recovery: &Context) -> Result<(), RecoveryError> {
    let mut transaction = recovery.pool.begin().await?;
    let ended = sqlx::query(
        "UPDATE replay_jobs j SET state = CASE state WHEN 'running' THEN 'finished' ELSE state END, blocked = NULL,
                finished_at = clock_timestamp()
         WHERE j.finished_at IS NULL AND j.state IN ('running', 'stopped')
           AND NOT EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state IN ('sending', 'sent'))
           AND (j.state = 'stopped' OR NOT EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state = 'pending'))
         RETURNING j.id, j.state, (SELECT json_object_agg(state, n)::text FROM (
             SELECT i.state, count(*) AS n FROM replay_items i WHERE i.job_id = j.id GROUP BY 1) counts)",
    )
    .fetch_all(&mut *transaction)
    .await?;
    for row in &ended {
        let (job, counts): (String, Option<String>) = (row.try_get(0)?, row.try_get(2)?);
        let counts = counts
            .and_then(|counts| serde_json::from_str(&counts).ok())
            .unwrap_or_default();
        tracing::info!(event = "replay_ended", job, state = row.try_get::<String, _>(1)?, %counts);
        let entry = crate::audit_log::Entry {
            who: "recovery",
            action: "replay.end",
            job: Some(&job),
            counts,
            ..Default::default()
        };
        crate::audit_log::write(&mut transaction, entry).await?;
    }
    Ok(transaction.commit().await?)
}
