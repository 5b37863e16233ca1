//! Jobs, items and the audit log, as they are shown.

use super::{ROLE_GONE_SECONDS, unknown};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Item, Job, JobState, LogEntry, Selection};
use crate::replay::state::ItemState;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use std::collections::BTreeMap;

/// Most rows of one answer.
const MOST_ROWS: u32 = 10_000;

pub(super) async fn jobs(
    recovery: &Context,
    id: Option<&str>,
    limit: u32,
) -> Result<Vec<Job>, RecoveryError> {
    if id.is_some_and(|id| id.contains('\0')) {
        return Ok(Vec::new());
    }
    let mut connection = recovery.pool.acquire().await?;
    let rows = sqlx::query(
        "SELECT j.id, j.state, j.selection::text, j.reason, j.created_by, j.created_at, j.policy, j.approved_by, j.needs_confirmation,
                j.rate, j.blocked, j.started_at, j.finished_at, j.items,
                NOT EXISTS (SELECT FROM instances WHERE seen_at > clock_timestamp() - make_interval(secs => $3)) AS no_role
         FROM replay_jobs j WHERE $1::text IS NULL OR j.id = $1 ORDER BY j.created_at DESC, j.id LIMIT $2",
    )
    .bind(id)
    .bind(i64::from(limit))
    .bind(f64::from(ROLE_GONE_SECONDS))
    .fetch_all(&mut *connection)
    .await?;
    let mut jobs = rows
        .iter()
        .map(|row| job_of(row, recovery.args.require_approval))
        .collect::<Result<Vec<_>, _>>()?;
    for job in &mut jobs {
        count(&mut connection, job).await?;
    }
    Ok(jobs)
}

fn job_of(row: &PgRow, require_approval: bool) -> Result<Job, RecoveryError> {
    let (state, selection): (String, String) = (row.try_get(1)?, row.try_get(2)?);
    let state = JobState::from_word(&state)
        .ok_or_else(|| RecoveryError::WrongState(format!("unknown state {state}")))?;
    let selection: Selection = serde_json::from_str(&selection).map_err(|error| {
        RecoveryError::WrongState(format!(
            "this replay's selection is of another version: {error}"
        ))
    })?;
    let (approved_by, needs_confirmation): (Option<String>, bool) =
        (row.try_get(7)?, row.try_get(8)?);
    let over = matches!(state, JobState::Stopped | JobState::Finished);
    Ok(Job {
        id: row.try_get(0)?,
        state,
        selection,
        reason: row.try_get(3)?,
        created_by: row.try_get(4)?,
        created_at: row.try_get(5)?,
        policy: row.try_get(6)?,
        needs_approval: require_approval
            && needs_confirmation
            && approved_by.is_none()
            && state == JobState::Planned,
        approved_by,
        needs_confirmation,
        rate: row.try_get(9)?,
        blocked: row.try_get(10)?,
        started_at: row.try_get(11)?,
        finished_at: row.try_get(12)?,
        items: i64::from(row.try_get::<i32, _>(13)?),
        by_state: BTreeMap::new(),
        by_code: BTreeMap::new(),
        eta_seconds: None,
        no_role: !over && row.try_get::<bool, _>(14)?,
    })
}

/// Adds what became of its items.
async fn count(connection: &mut PgConnection, job: &mut Job) -> Result<(), RecoveryError> {
    let counts = sqlx::query(
        "SELECT state, CASE WHEN state IN ('failed', 'skipped') THEN code END, count(*) FROM replay_items WHERE job_id = $1 GROUP BY 1, 2",
    )
    .bind(&job.id)
    .fetch_all(connection)
    .await?;
    for row in &counts {
        let (state, code, count): (String, Option<String>, i64) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        *job.by_state.entry(state).or_default() += count;
        if let Some(code) = code {
            *job.by_code.entry(code).or_default() += count;
        }
    }
    let pending = job.by_state.get("pending").copied().unwrap_or(0);
    if pending > 0 && !matches!(job.state, JobState::Stopped | JobState::Finished) {
        #[expect(clippy::cast_precision_loss, reason = "at most a million items")]
        let eta = pending as f64 / job.rate;
        job.eta_seconds = Some(eta);
    }
    Ok(())
}

pub(super) async fn items(
    recovery: &Context,
    job: &str,
    states: &[String],
    limit: u32,
) -> Result<Vec<Item>, RecoveryError> {
    if let Some(bad) = states
        .iter()
        .find(|state| !ItemState::ALL.iter().any(|known| known.as_str() == **state))
    {
        let shown: String = bad.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(RecoveryError::Invalid(format!(
            "{shown} is no state of an item; those are {}",
            ItemState::ALL.map(ItemState::as_str).join(", ")
        )));
    }
    let mut connection = recovery.pool.acquire().await?;
    let known: bool = match job.contains('\0') {
        true => false,
        false => {
            let known = sqlx::query_scalar("SELECT EXISTS (SELECT FROM replay_jobs WHERE id = $1)");
            known.bind(job).fetch_one(&mut *connection).await?
        }
    };
    if !known {
        return Err(unknown(job));
    }
    let rows = sqlx::query(
        "SELECT i.dead_letter_id, d.event_id, i.state, i.code, i.detail, i.would, i.would_code, i.would_detail
         FROM replay_items i LEFT JOIN dead_letters d ON d.id = i.dead_letter_id
         WHERE i.job_id = $1 AND (cardinality($2::text[]) = 0 OR i.state = ANY($2)) ORDER BY i.position LIMIT $3",
    )
    .bind(job)
    .bind(states)
    .bind(i64::from(limit.min(MOST_ROWS)))
    .fetch_all(&mut *connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Item {
                letter: row.try_get(0)?,
                event_id: row.try_get(1)?,
                state: row.try_get(2)?,
                code: row.try_get(3)?,
                detail: row.try_get(4)?,
                would: row.try_get(5)?,
                would_code: row.try_get(6)?,
                would_detail: row.try_get(7)?,
            })
        })
        .collect()
}

pub(super) async fn log(
    recovery: &Context,
    job: Option<&str>,
    letter: Option<i64>,
    limit: u32,
) -> Result<Vec<LogEntry>, RecoveryError> {
    if job.is_some_and(|job| job.contains('\0')) {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT at, who, action, job_id, dead_letter_id, reason, counts::text FROM audit_log
         WHERE ($1::text IS NULL OR job_id = $1) AND ($2::bigint IS NULL OR dead_letter_id = $2) ORDER BY seq DESC LIMIT $3",
    )
    .bind(job)
    .bind(letter)
    .bind(i64::from(limit.min(MOST_ROWS)))
    .fetch_all(&recovery.pool)
    .await?;
    rows.iter()
        .map(|row| {
            let counts: String = row.try_get(6)?;
            Ok(LogEntry {
                at: row.try_get(0)?,
                who: row.try_get(1)?,
                action: row.try_get(2)?,
                job: row.try_get(3)?,
                letter: row.try_get(4)?,
                reason: row.try_get(5)?,
                counts: serde_json::from_str(&counts).unwrap_or_default(),
            })
        })
        .collect()
}
