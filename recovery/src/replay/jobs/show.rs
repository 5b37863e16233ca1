//! Jobs, items and the audit log, as they are shown.

use super::{ROLE_GONE_SECONDS, unknown};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{AuditLogEntry, ItemState, Job, JobItem, JobKind, JobState, Selection, Time};
use crate::replay::approval;
use sqlx::{FromRow, PgConnection};
use std::collections::BTreeMap;

/// Most rows of one answer.
const MAX_ROWS: u32 = 10_000;
pub(super) async fn jobs(
    context: &Context,
    id: Option<&str>,
    states: &[JobState],
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Job>, RecoveryError> {
    if id.is_some_and(|id| id.contains('\0')) {
        return Ok(Vec::new());
    }
    let mut connection = context.pool.acquire().await?;
    if let Some(before) = before {
        check_known(&mut connection, before).await?;
    }
    let rows: Vec<JobRow> = sqlx::query_as(
        "SELECT j.id, j.kind, j.state, j.selection::text AS selection, j.reason, j.created_by, j.created_at, j.policy, j.approved_by,
                j.needs_confirmation, j.rate, j.blocked, j.started_at, j.finished_at, j.items,
                NOT EXISTS (SELECT FROM instances WHERE seen_at > clock_timestamp() - make_interval(secs => $3)) AS no_role
         FROM replay_jobs j WHERE ($1::text IS NULL OR j.id = $1) AND (cardinality($4::text[]) = 0 OR j.state = ANY($4))
           AND ($5::text IS NULL OR (j.created_at, j.id) < (SELECT created_at, id FROM replay_jobs WHERE id = $5))
         ORDER BY j.created_at DESC, j.id DESC LIMIT $2",
    )
    .bind(id)
    .bind(i64::from(limit))
    .bind(f64::from(ROLE_GONE_SECONDS))
    .bind(states)
    .bind(before)
    .fetch_all(&mut *connection)
    .await?;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let mut job = row.into_job()?;
        if job.state == JobState::Planned {
            let missing = approval::missing(&mut connection, &job.id, &context.args).await?;
            job.needs_approval = missing.is_some();
        }
        count(&mut connection, &mut job).await?;
        jobs.push(job);
    }
    Ok(jobs)
}

#[derive(FromRow)]
struct JobRow {
    id: String,
    kind: JobKind,
    state: JobState,
    selection: String,
    reason: String,
    created_by: String,
    created_at: Time,
    policy: Option<String>,
    approved_by: Option<String>,
    needs_confirmation: bool,
    rate: f64,
    blocked: Option<String>,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    items: i32,
    no_role: bool,
}

impl JobRow {
    fn into_job(self) -> Result<Job, RecoveryError> {
        let selection: Selection = serde_json::from_str(&self.selection).map_err(|error| {
            RecoveryError::WrongState(format!(
                "this replay was planned by another version of EventFlow: {error}; plan it again"
            ))
        })?;
        Ok(Job {
            needs_approval: false,
            no_role: !is_over(self.state) && self.no_role,
            id: self.id,
            kind: self.kind,
            state: self.state,
            selection,
            reason: self.reason,
            created_by: self.created_by,
            created_at: self.created_at,
            policy: self.policy,
            approved_by: self.approved_by,
            needs_confirmation: self.needs_confirmation,
            rate: self.rate,
            blocked: self.blocked,
            started_at: self.started_at,
            finished_at: self.finished_at,
            items: i64::from(self.items),
            by_state: BTreeMap::new(),
            by_code: BTreeMap::new(),
            eta_seconds: None,
        })
    }
}

fn is_over(state: JobState) -> bool {
    match state {
        JobState::Stopped | JobState::Finished => true,
        JobState::Planned | JobState::Running | JobState::Paused => false,
    }
}

/// Adds what became of its items.
async fn count(connection: &mut PgConnection, job: &mut Job) -> Result<(), RecoveryError> {
    let counts: Vec<(ItemState, Option<String>, i64)> = sqlx::query_as(
        "SELECT state, CASE WHEN state IN ('failed', 'skipped') THEN code END, count(*) FROM replay_items WHERE job_id = $1 GROUP BY 1, 2",
    )
    .bind(&job.id)
    .fetch_all(connection)
    .await?;
    for (state, code, count) in counts {
        *job.by_state.entry(state).or_default() += count;
        if let Some(code) = code {
            *job.by_code.entry(code).or_default() += count;
        }
    }
    let pending = job.by_state.get(&ItemState::Pending).copied().unwrap_or(0);
    if pending > 0 && !is_over(job.state) {
        #[expect(clippy::cast_precision_loss, reason = "at most a million items")]
        let eta = pending as f64 / job.rate;
        job.eta_seconds = Some(eta);
    }
    Ok(())
}

async fn check_known(connection: &mut PgConnection, job: &str) -> Result<(), RecoveryError> {
    let known: bool = match job.contains('\0') {
        true => false,
        false => {
            let known = sqlx::query_scalar("SELECT EXISTS (SELECT FROM replay_jobs WHERE id = $1)");
            known.bind(job).fetch_one(connection).await?
        }
    };
    known.then_some(()).ok_or_else(|| unknown(job))
}

pub(super) async fn items(
    context: &Context,
    job: &str,
    states: &[ItemState],
    limit: u32,
) -> Result<Vec<JobItem>, RecoveryError> {
    let mut connection = context.pool.acquire().await?;
    check_known(&mut connection, job).await?;
    let items = sqlx::query_as(
        "SELECT CASE WHEN i.dead_letter_id > 0 THEN i.dead_letter_id END AS letter, i.raw_partition || ':' || i.raw_offset AS raw,
                coalesce(i.event_id, d.event_id) AS event_id, i.state, i.code, i.detail, i.would, i.would_code, i.would_detail
         FROM replay_items i LEFT JOIN dead_letters d ON d.id = i.dead_letter_id
         WHERE i.job_id = $1 AND (cardinality($2::text[]) = 0 OR i.state = ANY($2)) ORDER BY i.position LIMIT $3",
    )
    .bind(job)
    .bind(states)
    .bind(i64::from(limit.min(MAX_ROWS)));
    Ok(items.fetch_all(&mut *connection).await?)
}

#[derive(FromRow)]
struct AuditLogRow {
    seq: i64,
    hash: Vec<u8>,
    at: Time,
    who: String,
    action: String,
    job_id: Option<String>,
    dead_letter_id: Option<i64>,
    reason: String,
    counts: String,
}

pub(super) async fn audit_log(
    context: &Context,
    job: Option<&str>,
    letter: Option<i64>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditLogEntry>, RecoveryError> {
    if job.is_some_and(|job| job.contains('\0')) {
        return Ok(Vec::new());
    }
    let rows: Vec<AuditLogRow> = sqlx::query_as(
        "SELECT seq, hash, at, who, action, job_id, dead_letter_id, reason, counts::text AS counts FROM audit_log
         WHERE ($1::text IS NULL OR job_id = $1) AND ($2::bigint IS NULL OR dead_letter_id = $2) AND ($4::bigint IS NULL OR seq < $4)
         ORDER BY seq DESC LIMIT $3",
    )
    .bind(job)
    .bind(letter)
    .bind(i64::from(limit.min(MAX_ROWS)))
    .bind(before)
    .fetch_all(&context.pool)
    .await?;
    let entry = |row: AuditLogRow| AuditLogEntry {
        seq: row.seq,
        hash: hex::encode(row.hash),
        at: row.at,
        who: row.who,
        action: row.action,
        job: row.job_id,
        letter: row.dead_letter_id,
        reason: row.reason,
        counts: serde_json::from_str(&row.counts).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(entry).collect())
}
