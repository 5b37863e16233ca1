//! How much is kept of refused requests: by age, by number of each source and code, and what was captured as long as its source says. Deleted
//! in small pieces, so that nothing waits for it.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::metrics as names;
use runtime::config::{ConfigError, check_range};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often limits are enforced.
const EVERY: Duration = Duration::from_secs(60);
/// Rows of one statement, and statements of one go.
const PIECE: i64 = 1000;
const MAX_PIECES: usize = 200;
/// How many of a source and code keep what was captured: the latest.
const CAPTURED: i64 = 100;

/// Limits of what is kept.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct RejectionLimits {
    /// Days to keep refused requests
    #[arg(long, env = "EVENTFLOW_REJECTIONS_DAYS", default_value_t = 7)]
    pub rejections_days: u32,
    /// Maximum refused requests to keep of each source and code, the latest
    #[arg(long, env = "EVENTFLOW_REJECTIONS_PER_GROUP", default_value_t = 2000)]
    pub rejections_per_group: u32,
}

impl RejectionLimits {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_range("--rejections-days", self.rejections_days.into(), 1..=365)?;
        check_range(
            "--rejections-per-group",
            self.rejections_per_group.into(),
            1..=1_000_000,
        )
    }
}

/// What a trim did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrimmedRejections {
    /// Rows deleted
    pub rows: u64,
    /// Rows whose headers and body were dropped
    pub captured: u64,
}

/// Enforces the limits until `shutdown`.
pub(super) async fn run(context: Context, limits: RejectionLimits, shutdown: CancellationToken) {
    loop {
        match trim(&context, limits).await {
            Ok(trimmed) => tracing::debug!(event = "rejections_trimmed", ?trimmed),
            Err(error) => tracing::warn!(event = "rejections_not_trimmed", %error),
        }
        if shutdown
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Enforces the limits once.
///
/// # Errors
/// [`RecoveryError`]; what was deleted before stays deleted.
pub async fn trim(
    context: &Context,
    limits: RejectionLimits,
) -> Result<TrimmedRejections, RecoveryError> {
    let days = i32::try_from(limits.rejections_days).unwrap_or(i32::MAX);
    let mut trimmed = TrimmedRejections::default();
    let by_age = "DELETE FROM rejections WHERE id IN
         (SELECT id FROM rejections WHERE at <= clock_timestamp() - make_interval(days => $1) ORDER BY at LIMIT $2)";
    for _ in 0..MAX_PIECES {
        let deleted = sqlx::query(by_age).bind(days).bind(PIECE);
        let deleted = deleted.execute(&context.pool).await?.rows_affected();
        trimmed.rows += deleted;
        if deleted == 0 {
            break;
        }
    }
    let expired =
        "UPDATE rejections SET captured = NULL, body = NULL, captured_until = NULL WHERE id IN
         (SELECT id FROM rejections WHERE captured_until <= clock_timestamp() LIMIT $1)";
    for _ in 0..MAX_PIECES {
        let dropped = sqlx::query(expired).bind(PIECE).execute(&context.pool);
        let dropped = dropped.await?.rows_affected();
        trimmed.captured += dropped;
        if dropped == 0 {
            break;
        }
    }
    for (source, code) in groups(context).await? {
        let most = i64::from(limits.rejections_per_group);
        trimmed.rows += of_group(
            context,
            (&source, &code),
            most,
            "DELETE FROM rejections WHERE id IN
                 (SELECT id FROM rejections WHERE source = $1 AND code = $2 AND id <= $3 ORDER BY id LIMIT $4)",
        )
        .await?;
        trimmed.captured += of_group(
            context,
            (&source, &code),
            CAPTURED,
            "UPDATE rejections SET captured = NULL, body = NULL, captured_until = NULL WHERE id IN
                 (SELECT id FROM rejections WHERE source = $1 AND code = $2 AND id <= $3 AND captured_until IS NOT NULL ORDER BY id LIMIT $4)",
        )
        .await?;
    }
    metrics::counter!(names::REJECTIONS_TRIMMED).increment(trimmed.rows);
    Ok(trimmed)
}

/// Sources and codes there are, found by walking the index from each to the next.
async fn groups(context: &Context) -> Result<Vec<(String, String)>, RecoveryError> {
    let groups = "WITH RECURSIVE g AS (
             (SELECT source, code FROM rejections ORDER BY source, code LIMIT 1)
             UNION ALL
             SELECT next.source, next.code FROM g, LATERAL (SELECT r.source, r.code FROM rejections r
                 WHERE (r.source, r.code) > (g.source, g.code) ORDER BY r.source, r.code LIMIT 1) next
         ) SELECT source, code FROM g";
    Ok(sqlx::query_as(groups).fetch_all(&context.pool).await?)
}

/// Runs a statement on what is older than the latest `most` of a group, piece by piece.
async fn of_group(
    context: &Context,
    (source, code): (&str, &str),
    most: i64,
    statement: &'static str,
) -> Result<u64, RecoveryError> {
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM rejections WHERE source = $1 AND code = $2 ORDER BY id DESC OFFSET $3 LIMIT 1",
    )
    .bind(source)
    .bind(code)
    .bind(most)
    .fetch_optional(&context.pool)
    .await?;
    let Some(last) = last else { return Ok(0) };
    let mut all = 0;
    for _ in 0..MAX_PIECES {
        let changed = sqlx::query(statement).bind(source).bind(code).bind(last);
        let changed = changed.bind(PIECE).execute(&context.pool).await?;
        all += changed.rows_affected();
        if changed.rows_affected() == 0 {
            break;
        }
    }
    Ok(all)
}
