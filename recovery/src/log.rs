//! The audit log: who did what, when and why. Written in the transaction that does it; never changed.

use sqlx::PgConnection;

/// One entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry<'a> {
    pub(crate) who: &'a str,
    /// Such as `replay.apply`
    pub(crate) action: &'a str,
    pub(crate) job: Option<&'a str>,
    pub(crate) letter: Option<i64>,
    pub(crate) reason: &'a str,
    pub(crate) counts: serde_json::Value,
}

pub(crate) async fn write(connection: &mut PgConnection, entry: Entry<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit_log (who, action, job_id, dead_letter_id, reason, counts) VALUES ($1, $2, $3, $4, $5, $6::json)",
    )
    .bind(entry.who)
    .bind(entry.action)
    .bind(entry.job)
    .bind(entry.letter)
    .bind(entry.reason)
    .bind(entry.counts.to_string())
    .execute(connection)
    .await
    .map(drop)
}
