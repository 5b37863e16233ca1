//! The map of replays: the states of a job, of its items and of the dead letters they send, and every transition with its statement.
//!
//! A job: `planned` → ([`start`]) `running` ⇄ ([`switch`]) `paused`; from each of them → ([`switch`]) `stopped`; `running` → ([`finish`])
//! `finished`.
//!
//! An item, with its dead letter:
//!
//! | item | its dead letter | when | |
//! |---|---|---|---|
//! | `pending` → `skipped` | stays | it may not be sent | [`skip`] |
//! | `pending` → `sending` | `open` → `replaying` | claimed | [`claim`] |
//! | `sending` → `sent` | | acknowledged | [`sent`] |
//! | `sending` → `pending` | `replaying` → `open` | it is not in the retry topic after all | [`release`] |
//! | `sending` → `failed` | `replaying` → `open` | too large for the broker | [`refuse`] |
//! | `sent` → `stored`, `duplicate` | `replaying` → `resolved` | persistence has it | [`resolve`] |
//! | `sent` → `retyped` | it has none | its row has another contract | [`retyped`] |
//! | `sent` → `failed` | it has none | its stages have read it, and its row is as it was | [`not_retyped`] |
//! | `sent` → `processed` | `replaying` → `resolved` | a stage beside the path read past it | [`resolve`] |
//! | `sent` → `failed` | `replaying` → `open` | it was lost on its way | [`lose`] |
//! | `sending`, `sent` → `failed` | `replaying` → `open` | it is a dead letter again | [`FAIL_AGAIN`], by the index |
//!
//! Dead letters are locked before their items, and in the order of their numbers; a statement changes only what is in the state it expects,
//! so whoever comes second changes nothing. Each runs in its caller's transaction.

use crate::model::{ItemState, JobState, Time};
use crate::persistence_views;
use sqlx::{FromRow, PgConnection};

/// Items that are resolved together, as columns.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    jobs: Vec<String>,
    letters: Vec<i64>,
    outcomes: Vec<ItemState>,
    who: Vec<String>,
}

impl Settled {
    /// Adds an item of a job; `who` planned the job.
    pub(crate) fn add(&mut self, job: String, letter: i64, outcome: ItemState, who: String) {
        self.jobs.push(job);
        self.letters.push(letter);
        self.outcomes.push(outcome);
        self.who.push(who);
    }
}

/// A job is applied, or its rate changed: `rate` in records a second, `None` as it is.
pub(crate) async fn start(
    connection: &mut PgConnection,
    job: &str,
    rate: Option<f64>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE replay_jobs SET state = 'running', rate = coalesce($2, rate), started_at = coalesce(started_at, clock_timestamp())
         WHERE id = $1",
    )
    .bind(job)
    .bind(rate)
    .execute(connection)
    .await
    .map(drop)
}

/// A job is paused, resumed or stopped. One that never started ends with it: nothing of it is to be followed.
pub(crate) async fn switch(
    connection: &mut PgConnection,
    job: &str,
    from: JobState,
    to: JobState,
) -> Result<(), sqlx::Error> {
    let over = from == JobState::Planned && to == JobState::Stopped;
    sqlx::query(
        "UPDATE replay_jobs SET state = $2, blocked = NULL,
                finished_at = CASE WHEN $3 THEN clock_timestamp() ELSE finished_at END
         WHERE id = $1",
    )
    .bind(job)
    .bind(to)
    .bind(over)
    .execute(connection)
    .await
    .map(drop)
}

/// A job that ended.
#[derive(Debug, FromRow)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) state: JobState,
    /// Items by state, as JSON
    pub(crate) counts: Option<String>,
}

/// A running job ends when every item has its outcome; a stopped one when those that were sent have theirs.
pub(crate) async fn finish(connection: &mut PgConnection) -> Result<Vec<Ended>, sqlx::Error> {
    sqlx::query_as(
        "UPDATE replay_jobs j SET state = CASE state WHEN 'running' THEN 'finished' ELSE state END, blocked = NULL,
                finished_at = clock_timestamp()
         WHERE j.finished_at IS NULL AND j.state IN ('running', 'stopped')
           AND NOT EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state IN ('sending', 'sent'))
           AND (j.state = 'stopped' OR NOT EXISTS (SELECT FROM replay_items i WHERE i.job_id = j.id AND i.state = 'pending'))
         RETURNING j.id, j.state, (SELECT json_object_agg(state, n)::text FROM (
             SELECT i.state, count(*) AS n FROM replay_items i WHERE i.job_id = j.id GROUP BY 1) counts) AS counts",
    )
    .fetch_all(connection)
    .await
}

/// Items of a job that may not be sent: dead letter, code, detail.
pub(crate) async fn skip(
    connection: &mut PgConnection,
    job: &str,
    items: &(Vec<i64>, Vec<&str>, Vec<String>),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE replay_items i SET state = 'skipped', code = s.code, detail = s.detail, settled_at = clock_timestamp()
         FROM UNNEST($2::bigint[], $3::text[], $4::text[]) AS s (id, code, detail) WHERE i.job_id = $1 AND i.dead_letter_id = s.id",
    )
    .bind(job)
    .bind(&items.0)
    .bind(&items.1)
    .bind(&items.2)
    .execute(connection)
    .await
    .map(drop)
}

/// Items of a job are sent next, each with the number of replays that it will say it is. Their dead letters are locked and open.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    job: &str,
    letters: &[i64],
    counts: &[i32],
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE dead_letters SET state = 'replaying', job_id = $1 WHERE id = ANY($2)")
        .bind(job)
        .bind(letters)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE replay_items i SET state = 'sending', replay_count = s.count
         FROM UNNEST($2::bigint[], $3::integer[]) AS s (id, count) WHERE i.job_id = $1 AND i.dead_letter_id = s.id",
    )
    .bind(job)
    .bind(letters)
    .bind(counts)
    .execute(connection)
    .await
    .map(drop)
}

/// Records of these items are in their retry topics. Answers how many items changed: what came back, or was stored, has its outcome already.
pub(crate) async fn sent(
    connection: &mut PgConnection,
    job: &str,
    letters: &[i64],
) -> Result<u64, sqlx::Error> {
    let marked = sqlx::query(
        "UPDATE replay_items SET state = 'sent', sent_at = clock_timestamp()
         WHERE job_id = $1 AND dead_letter_id = ANY($2) AND state = 'sending'",
    );
    Ok(marked
        .bind(job)
        .bind(letters)
        .execute(connection)
        .await?
        .rows_affected())
}

/// Items that were claimed and not sent are as if they had not been claimed.
pub(crate) async fn release(
    connection: &mut PgConnection,
    job: &str,
    letters: &[i64],
) -> Result<(), sqlx::Error> {
    reopen_claimed(connection, job, letters).await?;
    sqlx::query(
        "UPDATE replay_items SET state = 'pending', replay_count = NULL WHERE job_id = $1 AND dead_letter_id = ANY($2) AND state = 'sending'",
    )
    .bind(job)
    .bind(letters)
    .execute(connection)
    .await
    .map(drop)
}

/// The broker will never take these items: too large.
pub(crate) async fn refuse(
    connection: &mut PgConnection,
    job: &str,
    letters: &[i64],
) -> Result<(), sqlx::Error> {
    reopen_claimed(connection, job, letters).await?;
    sqlx::query(
        "UPDATE replay_items SET state = 'failed', code = 'record_too_large', settled_at = clock_timestamp(),
                detail = 'the record is larger than the broker accepts; raise max.message.bytes of the retry topic, or discard it'
         WHERE job_id = $1 AND dead_letter_id = ANY($2) AND state = 'sending'",
    )
    .bind(job)
    .bind(letters)
    .execute(connection)
    .await
    .map(drop)
}

/// Dead letters that were claimed and not sent are open again.
async fn reopen_claimed(
    connection: &mut PgConnection,
    job: &str,
    letters: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH mine AS (SELECT d.id FROM dead_letters d JOIN replay_items i ON i.job_id = $1 AND i.dead_letter_id = d.id
                       WHERE d.id = ANY($2) AND d.job_id = $1 AND d.state = 'replaying' AND i.state = 'sending'
                       ORDER BY d.id FOR UPDATE OF d)
         UPDATE dead_letters d SET state = 'open' FROM mine WHERE d.id = mine.id",
    )
    .bind(job)
    .bind(letters)
    .execute(connection)
    .await
    .map(drop)
}

/// What was sent is stored, a duplicate, or processed. The dead letters are locked and replaying.
pub(crate) async fn resolve(
    connection: &mut PgConnection,
    settled: &Settled,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE dead_letters d SET state = 'resolved', resolution = s.outcome, settled_at = clock_timestamp(), settled_by = s.who
         FROM UNNEST($1::bigint[], $2::text[], $3::text[]) AS s (id, outcome, who) WHERE d.id = s.id",
    )
    .bind(&settled.letters)
    .bind(&settled.outcomes)
    .bind(&settled.who)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE replay_items i SET state = s.outcome, settled_at = clock_timestamp()
         FROM UNNEST($1::text[], $2::bigint[], $3::text[]) AS s (job, id, outcome)
         WHERE i.job_id = s.job AND i.dead_letter_id = s.id AND i.state = 'sent'",
    )
    .bind(&settled.jobs)
    .bind(&settled.letters)
    .bind(&settled.outcomes)
    .execute(connection)
    .await
    .map(drop)
}

/// Events of revalidations that were sent, and whose rows have another contract now; at most `most`. Answers how many.
pub(crate) async fn retyped(connection: &mut PgConnection, most: i64) -> Result<u64, sqlx::Error> {
    let settled = sqlx::query(persistence_views::RETYPED_ITEMS).bind(most);
    Ok(settled.execute(connection).await?.rows_affected())
}

/// Code of an event whose row stayed as it was.
const NOT_RETYPED: &str = "not_retyped";
const NOT_RETYPED_DETAIL: &str = "its stages have read it, and its row is as it was: they have other contracts or sources than recovery, or it was lost on its way; give all \
    roles the same, and plan it again";

/// Events of revalidations that were sent until then, and whose rows stayed as they were although everything sent has been read; at most `most`.
/// Answers how many.
pub(crate) async fn not_retyped(
    connection: &mut PgConnection,
    until: Time,
    most: i64,
) -> Result<u64, sqlx::Error> {
    let settled = sqlx::query(persistence_views::NOT_RETYPED_ITEMS)
        .bind(until)
        .bind(most)
        .bind(NOT_RETYPED)
        .bind(NOT_RETYPED_DETAIL);
    Ok(settled.execute(connection).await?.rows_affected())
}

/// Code of an item that was lost.
const LOST: &str = "replay_lost";
const LOST_DETAIL: &str = "it was sent, and its stage has read past it without storing or rejecting it: deleted by retention, the retry topic recreated, or the group set ahead; replay it again";

/// What was sent was lost on its way. The dead letters are locked.
pub(crate) async fn lose(
    connection: &mut PgConnection,
    jobs: &[String],
    letters: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE dead_letters SET state = 'open' WHERE id = ANY($1) AND state = 'replaying'",
    )
    .bind(letters)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE replay_items i SET state = 'failed', code = $3, detail = $4, settled_at = clock_timestamp()
         FROM UNNEST($1::text[], $2::bigint[]) AS s (job, id) WHERE i.job_id = s.job AND i.dead_letter_id = s.id AND i.state = 'sent'",
    )
    .bind(jobs)
    .bind(letters)
    .bind(LOST)
    .bind(LOST_DETAIL)
    .execute(connection)
    .await
    .map(drop)
}

/// What was sent is a dead letter again, which the index has just opened: number, replays, group, detail.
pub(crate) const FAIL_AGAIN: &str = "UPDATE replay_items i
     SET state = 'failed', code = g.code, detail = again.detail, settled_at = clock_timestamp()
     FROM UNNEST($1::bigint[], $2::integer[], $3::bigint[], $4::text[]) AS again (id, replay_count, group_id, detail)
     JOIN groups g ON g.id = again.group_id
     WHERE i.dead_letter_id = again.id AND i.state IN ('sending', 'sent') AND i.replay_count <= again.replay_count";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_knows_the_states_of_an_item() {
        let allowed: Vec<String> = ItemState::ALL
            .iter()
            .map(|state| format!("'{state}'"))
            .collect();
        let check = format!("CHECK (state IN ({}))", allowed.join(", "));
        assert!(include_str!("../../migrations/0027_revalidations.sql").contains(&check));
    }
}
