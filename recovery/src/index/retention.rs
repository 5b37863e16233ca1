//! How much the index keeps: by age and by size it drops values and headers of settled dead letters, the oldest first. Never a row, which
//! the audit needs, and never anything of an open one.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::metrics as names;
use contracts::RejectionCode;
use runtime::config::{ConfigError, check_range};
use sqlx::Row as _;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often limits are enforced, and how often metrics are refreshed.
const TRIM_EVERY: u32 = 6;
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Dead letters dropped in one transaction, and transactions in one go.
const BATCH: i64 = 2000;
const MOST_BATCHES: usize = 500;
/// What a row takes without its value and headers, in its indexes too, in bytes.
const ROW_BYTES: i64 = 700;

/// Limits of the index.
#[derive(Debug, Clone, clap::Args)]
pub struct KeepArgs {
    /// Days values and headers of settled (resolved or discarded) dead letters are kept; the rest of them stays
    #[arg(long, env = "EVENTFLOW_KEEP_VALUES_DAYS", default_value_t = 90)]
    pub keep_values_days: u32,
    /// Most mebibytes the index may hold, before values and headers of settled dead letters are dropped, the oldest first
    #[arg(long, env = "EVENTFLOW_KEEP_MEBIBYTES", default_value_t = 20480)]
    pub keep_mebibytes: u64,
}

impl KeepArgs {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_range(
            "--keep-values-days",
            self.keep_values_days.into(),
            0..=36_500,
        )?;
        check_range("--keep-mebibytes", self.keep_mebibytes, 1..=1 << 30)
    }
}

/// What a trim did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Dead letters whose value and headers were dropped
    pub letters: u64,
    /// Earlier verdicts whose value and headers were dropped
    pub failures: u64,
    /// Bytes the index holds now
    pub bytes: i64,
    /// More than may be, and nothing is left to drop: the rest is open
    pub over_limit: bool,
}

/// Keeps the index within its limits, and its metrics up to date, until `shutdown`.
///
/// Over its limit with only open dead letters left, it says so in its log and a metric, and not in `/ready`: taking the role away would
/// not settle a single one of them.
pub async fn run(recovery: Context, limits: KeepArgs, shutdown: CancellationToken) {
    let mut turn = 0;
    loop {
        if let Err(error) = gauges(&recovery).await {
            tracing::warn!(event = "gauges_failed", %error);
        }
        if turn % TRIM_EVERY == 0 {
            match recovery.trim(&limits).await {
                Ok(trimmed) if trimmed.over_limit => tracing::warn!(
                    event = "index_over_limit",
                    bytes = trimmed.bytes,
                    limit_mebibytes = limits.keep_mebibytes,
                    "only open dead letters are left: replay or discard some, or raise --keep-mebibytes"
                ),
                Ok(trimmed) => tracing::debug!(event = "index_trimmed", ?trimmed),
                Err(error) => tracing::warn!(event = "trim_failed", %error),
            }
        }
        turn += 1;
        if shutdown
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_none()
        {
            return;
        }
    }
}

impl Context {
    /// Enforces the limits once.
    ///
    /// # Errors
    /// [`RecoveryError`]; what was dropped before stays dropped.
    pub async fn trim(&self, limits: &KeepArgs) -> Result<Trimmed, RecoveryError> {
        let mut trimmed = Trimmed {
            failures: self.drop_old_failures(limits.keep_values_days).await?,
            ..Trimmed::default()
        };
        for _ in 0..MOST_BATCHES {
            let dropped = self
                .drop_settled(Some(limits.keep_values_days), BATCH)
                .await?;
            trimmed.letters += dropped;
            if dropped == 0 {
                break;
            }
        }
        sqlx::query("DELETE FROM done_once WHERE at <= clock_timestamp() - interval '30 days'")
            .execute(&self.pool)
            .await?;
        let limit =
            i64::try_from(limits.keep_mebibytes.saturating_mul(1 << 20)).unwrap_or(i64::MAX);
        trimmed.bytes = self.bytes_in_use().await?;
        for _ in 0..MOST_BATCHES {
            if trimmed.bytes <= limit {
                break;
            }
            let dropped = self.drop_settled(None, BATCH).await?;
            trimmed.letters += dropped;
            if dropped == 0 {
                trimmed.over_limit = true;
                break;
            }
            trimmed.bytes = self.bytes_in_use().await?;
        }
        metrics::counter!(names::DROPPED).increment(trimmed.letters);
        metrics::gauge!(names::OVER_LIMIT).set(if trimmed.over_limit { 1.0 } else { 0.0 });
        Ok(trimmed)
    }

    /// Bytes in use. Not the files' size: PostgreSQL keeps what was dropped for new rows, and the files never shrink.
    async fn bytes_in_use(&self) -> Result<i64, RecoveryError> {
        let bytes = "SELECT coalesce(sum(bytes + (open + replaying + resolved + discarded) * $1), 0)::bigint FROM groups";
        Ok(sqlx::query_scalar(bytes)
            .bind(ROW_BYTES)
            .fetch_one(&self.pool)
            .await?)
    }

    /// Drops one batch of values, of dead letters settled so many days ago, or of any settled one. With them go their earlier verdicts'.
    async fn drop_settled(&self, days: Option<u32>, batch: i64) -> Result<u64, RecoveryError> {
        let days = i32::try_from(days.unwrap_or(0)).unwrap_or(i32::MAX);
        let mut transaction = self.pool.begin().await?;
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
            let dropped =
                "UPDATE edits SET value = '' WHERE dead_letter_id = ANY($1) AND value <> ''";
            sqlx::query(dropped)
                .bind(&ids)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(ids.len() as u64)
    }

    /// Earlier verdicts age by themselves. A value that differs from that of an open dead letter stays: it may be the original of an edit.
    async fn drop_old_failures(&self, days: u32) -> Result<u64, RecoveryError> {
        let mut all = 0;
        for _ in 0..MOST_BATCHES {
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
            .execute(&self.pool)
            .await?
            .rows_affected();
            all += dropped;
            if dropped == 0 {
                break;
            }
        }
        Ok(all)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges; counts are far below 2^52"
)]
async fn gauges(recovery: &Context) -> Result<(), RecoveryError> {
    let rows = sqlx::query("SELECT code, open, replaying, resolved, discarded FROM groups")
        .fetch_all(&recovery.pool)
        .await?;
    // Every code of ours has its gauge, also at 0: an alert must see it end. Others' are as many as they like, and are one.
    let mut open: BTreeMap<&'static str, i64> = RejectionCode::ALL
        .iter()
        .map(|code| (code.code(), 0))
        .collect();
    let mut by_state = [0_i64; 4];
    for row in &rows {
        let code: &str = row.try_get(0)?;
        let known = RejectionCode::ALL
            .iter()
            .map(|code| code.code())
            .find(|known| *known == code)
            .unwrap_or("other");
        *open.entry(known).or_default() += row.try_get::<i64, _>(1)?;
        for (sum, column) in by_state.iter_mut().zip(1..) {
            *sum += row.try_get::<i64, _>(column)?;
        }
    }
    open.into_iter()
        .for_each(|(code, count)| metrics::gauge!(names::OPEN, "code" => code).set(count as f64));
    for (state, count) in ["open", "replaying", "resolved", "discarded"]
        .into_iter()
        .zip(by_state)
    {
        metrics::gauge!(names::BY_STATE, "state" => state).set(count as f64);
    }
    metrics::gauge!(names::INDEX_BYTES).set(recovery.bytes_in_use().await? as f64);
    Ok(())
}
