//! How much the index keeps: by age and by size it drops values and headers of resolved and discarded dead letters, the oldest first. Never
//! a row, which the audit needs, and never anything of an open one.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::metrics as names;
use crate::model::DeadLetterState;
use contracts::RejectionCode;
use runtime::config::{ConfigError, check_range};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often limits are enforced, and how often metrics are refreshed.
const TRIM_EVERY: u32 = 6;
const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// Dead letters dropped in one transaction, and transactions in one go.
const BATCH: i64 = 2000;
const MAX_BATCHES: usize = 500;
/// What a row takes without its value and headers, in its indexes too, in bytes.
const ROW_BYTES: i64 = 700;

/// Limits of the index.
#[derive(Debug, Clone, clap::Args)]
pub struct RetentionArgs {
    /// Days to keep values and headers of resolved and discarded dead letters; their other fields are kept forever
    #[arg(
        long,
        alias = "keep-values-days",
        env = "EVENTFLOW_PAYLOAD_RETENTION_DAYS",
        default_value_t = renamed("EVENTFLOW_KEEP_VALUES_DAYS", 90)
    )]
    pub payload_retention_days: u32,
    /// Maximum size of the index in mebibytes; above it, values and headers of resolved and discarded dead letters are dropped, oldest first
    #[arg(
        long,
        alias = "keep-mebibytes",
        env = "EVENTFLOW_INDEX_MAX_MIB",
        default_value_t = renamed("EVENTFLOW_KEEP_MEBIBYTES", 20480)
    )]
    pub index_max_mib: u64,
}

/// The value of a variable under its name before 0.2, else the default. Goes with 0.3.
fn renamed<T: std::str::FromStr>(old: &str, default: T) -> T {
    let value = std::env::var(old).ok();
    value.and_then(|text| text.parse().ok()).unwrap_or(default)
}

impl RetentionArgs {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_range(
            "--payload-retention-days",
            self.payload_retention_days.into(),
            0..=36_500,
        )?;
        check_range("--index-max-mib", self.index_max_mib, 1..=1 << 30)
    }
}

/// What a trim did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Dead letters whose value and headers were dropped
    pub letters: u64,
    /// Earlier failures whose value and headers were dropped
    pub failures: u64,
    /// Bytes the index holds now
    pub bytes: i64,
    /// More than may be, and nothing is left to drop: the rest is open
    pub over_limit: bool,
}

/// Keeps the index within its limits, and its metrics up to date, until `shutdown`.
///
/// Over its limit with only open dead letters left, it says so in its log and a metric, and not in `/ready`: taking the role away would
/// not resolve a single one of them.
pub async fn run(context: Context, limits: RetentionArgs, shutdown: CancellationToken) {
    let mut round = 0;
    loop {
        if let Err(error) = gauges(&context).await {
            tracing::warn!(event = "gauges_failed", %error);
        }
        if round % TRIM_EVERY == 0 {
            match trim(&context, &limits).await {
                Ok(trimmed) if trimmed.over_limit => tracing::warn!(
                    event = "index_over_limit",
                    bytes = trimmed.bytes,
                    limit_mib = limits.index_max_mib,
                    "only open dead letters are left: replay or discard some, or raise --index-max-mib"
                ),
                Ok(trimmed) => tracing::debug!(event = "index_trimmed", ?trimmed),
                Err(error) => tracing::warn!(event = "trim_failed", %error),
            }
        }
        round += 1;
        if shutdown
            .run_until_cancelled(tokio::time::sleep(REFRESH_EVERY))
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
/// [`RecoveryError`]; what was dropped before stays dropped.
pub async fn trim(context: &Context, limits: &RetentionArgs) -> Result<Trimmed, RecoveryError> {
    let mut trimmed = Trimmed {
        failures: drop_old_failures(context, limits.payload_retention_days).await?,
        ..Trimmed::default()
    };
    for _ in 0..MAX_BATCHES {
        let dropped = drop_values(context, Some(limits.payload_retention_days), BATCH).await?;
        trimmed.letters += dropped;
        if dropped == 0 {
            break;
        }
    }
    sqlx::query("DELETE FROM done_once WHERE at <= clock_timestamp() - interval '30 days'")
        .execute(&context.pool)
        .await?;
    let limit = i64::try_from(limits.index_max_mib.saturating_mul(1 << 20)).unwrap_or(i64::MAX);
    trimmed.bytes = bytes_in_use(context).await?;
    for _ in 0..MAX_BATCHES {
        if trimmed.bytes <= limit {
            break;
        }
        let dropped = drop_values(context, None, BATCH).await?;
        trimmed.letters += dropped;
        if dropped == 0 {
            trimmed.over_limit = true;
            break;
        }
        trimmed.bytes = bytes_in_use(context).await?;
    }
    metrics::counter!(names::DROPPED).increment(trimmed.letters);
    metrics::gauge!(names::OVER_LIMIT).set(if trimmed.over_limit { 1.0 } else { 0.0 });
    Ok(trimmed)
}

/// Bytes in use. Not the files' size: PostgreSQL keeps what was dropped for new rows, and the files never shrink.
async fn bytes_in_use(context: &Context) -> Result<i64, RecoveryError> {
    let bytes = "SELECT coalesce(sum(bytes + (open + replaying + resolved + discarded) * $1), 0)::bigint FROM groups";
    Ok(sqlx::query_scalar(bytes)
        .bind(ROW_BYTES)
        .fetch_one(&context.pool)
        .await?)
}

/// Drops one batch of values: of dead letters resolved or discarded so many days ago, or at any time. With them go those of their earlier
/// failures.
async fn drop_values(
    context: &Context,
    days: Option<u32>,
    batch: i64,
) -> Result<u64, RecoveryError> {
    let days = i32::try_from(days.unwrap_or(0)).unwrap_or(i32::MAX);
    let mut transaction = context.pool.begin().await?;
    let ids: Vec<i64> = sqlx::query_scalar(
        "UPDATE dead_letters SET value = NULL, headers = '[]', kept_bytes = 0, dropped_at = clock_timestamp()
         WHERE id IN (SELECT id FROM dead_letters
                      WHERE settled_at IS NOT NULL AND dropped_at IS NULL AND state IN ('resolved', 'discarded')
                        AND settled_at <= clock_timestamp() - make_interval(days => $1)
                      ORDER BY settled_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         RETURNING id",
    )
    .bind(days)
    .bind(batch)
    .fetch_all(&mut *transaction)
    .await?;
    if !ids.is_empty() {
        let dropped =
            "UPDATE failures SET value = NULL, headers = '[]', dropped_at = clock_timestamp()
             WHERE dead_letter_id = ANY($1) AND dropped_at IS NULL";
        sqlx::query(dropped)
            .bind(&ids)
            .execute(&mut *transaction)
            .await?;
        let dropped = "UPDATE edits SET value = '' WHERE dead_letter_id = ANY($1) AND value <> ''";
        sqlx::query(dropped)
            .bind(&ids)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(ids.len() as u64)
}

/// Earlier failures age by themselves. A value that differs from that of an open dead letter stays: it may be the original of an edit.
async fn drop_old_failures(context: &Context, days: u32) -> Result<u64, RecoveryError> {
    let mut all = 0;
    for _ in 0..MAX_BATCHES {
        let dropped = sqlx::query(
            "UPDATE failures SET value = NULL, headers = '[]', dropped_at = clock_timestamp()
             WHERE ctid = ANY(ARRAY(SELECT ctid FROM failures f
                                    WHERE dropped_at IS NULL AND failed_at <= clock_timestamp() - make_interval(days => $1)
                                      AND (value IS NULL OR NOT EXISTS (SELECT FROM dead_letters d WHERE d.id = f.dead_letter_id
                                                                        AND d.state IN ('open', 'replaying')))
                                    ORDER BY failed_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        )
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .bind(BATCH)
        .execute(&context.pool)
        .await?
        .rows_affected();
        all += dropped;
        if dropped == 0 {
            break;
        }
    }
    Ok(all)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges; counts are far below 2^52"
)]
async fn gauges(context: &Context) -> Result<(), RecoveryError> {
    let groups: Vec<(String, i64, i64, i64, i64)> =
        sqlx::query_as("SELECT code, open, replaying, resolved, discarded FROM groups")
            .fetch_all(&context.pool)
            .await?;
    // Every code of ours has its gauge, also at 0: an alert must see it end. Others are one gauge together.
    let mut open_by_code: BTreeMap<&'static str, i64> = RejectionCode::ALL
        .iter()
        .map(|code| (code.code(), 0))
        .collect();
    let mut by_state: BTreeMap<DeadLetterState, i64> = BTreeMap::new();
    for (code, open, replaying, resolved, discarded) in groups {
        let known = RejectionCode::ALL
            .iter()
            .map(|known| known.code())
            .find(|known| *known == code)
            .unwrap_or("other");
        *open_by_code.entry(known).or_default() += open;
        let counts = [open, replaying, resolved, discarded];
        for (state, count) in DeadLetterState::ALL.iter().zip(counts) {
            *by_state.entry(*state).or_default() += count;
        }
    }
    for (code, count) in open_by_code {
        metrics::gauge!(names::OPEN, "code" => code).set(count as f64);
    }
    for state in DeadLetterState::ALL {
        let count = by_state.get(state).copied().unwrap_or(0);
        metrics::gauge!(names::BY_STATE, "state" => state.as_str()).set(count as f64);
    }
    metrics::gauge!(names::INDEX_BYTES).set(bytes_in_use(context).await? as f64);
    Ok(())
}
