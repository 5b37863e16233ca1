//! What was sent and has no outcome yet: its job says so when nobody reads where it went. A stage may have gone after it was sent to.

use super::Runner;
use super::job::block;
use crate::error::RecoveryError;
use crate::replay::jobs::within;
use crate::replay::revalidation;

/// Jobs of which everything is sent, and the group that the oldest awaited record went to, once an outcome is due.
const STALLED: &str = "SELECT j.id, coalesce(d.consumer_group, $1), j.blocked IS NOT NULL FROM replay_jobs j
     CROSS JOIN LATERAL (SELECT i.dead_letter_id, i.sent_at FROM replay_items i
                         WHERE i.job_id = j.id AND i.state = 'sent' ORDER BY i.position LIMIT 1) oldest
     LEFT JOIN dead_letters d ON d.id = oldest.dead_letter_id
     WHERE j.finished_at IS NULL AND j.state = 'running' AND oldest.sent_at < clock_timestamp() - interval '3 s'
       AND NOT EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state IN ('pending', 'sending'))
     ORDER BY j.started_at LIMIT 100";

pub(super) async fn check(context: &Runner) -> Result<(), RecoveryError> {
    let pool = &context.recovery.pool;
    // An event of a revalidation went to the first stage.
    let first = revalidation::destination(&context.recovery.pipeline);
    let first = first.map_or("", |(stage, _)| stage.group.as_str());
    let stalled: Vec<(String, String, bool)> =
        within(async { Ok(sqlx::query_as(STALLED).bind(first).fetch_all(pool).await?) }).await?;
    for (job, group, blocked) in stalled {
        match context.destinations.open(&[group]).await {
            Ok(_) if !blocked => {}
            Ok(_) => {
                let clear = sqlx::query(
                    "UPDATE replay_jobs SET blocked = NULL WHERE id = $1 AND state = 'running'",
                )
                .bind(job);
                within(async { Ok(clear.execute(pool).await.map(drop)?) }).await?;
            }
            Err(reason) => {
                within(async { block(&mut *pool.acquire().await?, &job, &reason).await }).await?;
            }
        }
    }
    Ok(())
}
