//! The audit log: who did what, when and why. Written in the transaction that does it; never changed.

use sqlx::PgConnection;

/// Longest text a person may leave, in characters.
const MOST: usize = 2000;

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

/// A text that PostgreSQL takes and a terminal survives: bounded, without control characters (NUL among them).
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .take(MOST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

pub(crate) async fn write(
    connection: &mut PgConnection,
    entry: Entry<'_>,
) -> Result<(), sqlx::Error> {
    let counts = if entry.counts.is_null() {
        "{}".to_owned()
    } else {
        entry.counts.to_string()
    };
    sqlx::query(
        "INSERT INTO audit_log (who, action, job_id, dead_letter_id, reason, counts) VALUES ($1, $2, $3, $4, $5, $6::json)",
    )
    .bind(clean(entry.who))
    .bind(entry.action)
    .bind(entry.job)
    .bind(entry.letter)
    .bind(clean(entry.reason))
    .bind(counts)
    .execute(connection)
    .await
    .map(drop)
}
