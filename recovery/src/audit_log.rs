//! The audit log: who did what, when and why. Written in the transaction that does it; never changed.
//!
//! Its rows are a chain: the hash of each covers the row before it. The database makes the chain; [`verify`] computes it once more from what is
//! stored. A chain that is rewritten from some row to its end is in itself right: the number and hash of every row are in the log of whoever
//! wrote it, and those do not change with it.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{AuditLogCheck, BrokenEntry};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgConnection};

/// The table, and the functions of its triggers: what the role that writes it must not own.
pub const TABLE: &str = "audit_log";
/// See [`TABLE`].
pub const FUNCTIONS: [&str; 3] = [
    "refuse_change()",
    "chain_audit_log()",
    "audit_log_hash(bytea, recovery.audit_log)",
];
/// Rows verified at once.
const PAGE: i64 = 10_000;

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
    let (seq, hash): (i64, Vec<u8>) = sqlx::query_as(
        "INSERT INTO audit_log (who, action, job_id, dead_letter_id, reason, counts) VALUES ($1, $2, $3, $4, $5, $6::json) RETURNING seq, hash",
    )
    .bind(clean(entry.who))
    .bind(entry.action)
    .bind(entry.job)
    .bind(entry.letter)
    .bind(clean(entry.reason))
    .bind(counts)
    .fetch_one(connection)
    .await?;
    tracing::info!(
        event = "audit_log_entry",
        action = entry.action,
        seq,
        hash = hex::encode(hash)
    );
    Ok(())
}

/// A row, its fields as they are hashed.
#[derive(FromRow)]
struct Row {
    seq: i64,
    micros: i64,
    who: String,
    action: String,
    job_id: Option<String>,
    dead_letter_id: Option<i64>,
    reason: String,
    counts: String,
    hash: Vec<u8>,
}

impl Row {
    fn hash_after(&self, previous: &[u8]) -> Vec<u8> {
        let (seq, micros) = (self.seq.to_string(), self.micros.to_string());
        let letter = self.dead_letter_id.map(|id| id.to_string());
        let fields = [
            Some(&*seq),
            Some(&*micros),
            Some(&*self.who),
            Some(&*self.action),
            self.job_id.as_deref(),
            letter.as_deref(),
            Some(&*self.reason),
            Some(&*self.counts),
        ];
        let fields = fields.map(|field| match field {
            Some(field) => format!("{}:{field}", field.len()),
            None => "-".to_owned(),
        });
        Sha256::new()
            .chain_update(previous)
            .chain_update(fields.join(","))
            .finalize()
            .to_vec()
    }
}

/// Follows the chain from its first row, up to the first that is not as it was written.
///
/// # Errors
/// The database does not answer.
pub async fn verify(context: &Context) -> Result<AuditLogCheck, RecoveryError> {
    let (mut entries, mut last): (i64, Option<(i64, Vec<u8>)>) = (0, None);
    loop {
        let after = last.as_ref().map_or(i64::MIN, |(seq, _)| *seq);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT seq, (extract(epoch FROM at) * 1000000)::bigint AS micros, who, action, job_id, dead_letter_id, reason,
                    counts::text AS counts, hash
             FROM audit_log WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&context.pool)
        .await?;
        let whole = (rows.len() as i64) < PAGE;
        for row in rows {
            let previous = last.as_ref().map_or(&[][..], |(_, hash)| hash);
            if row.hash_after(previous) != row.hash {
                let problem =
                    "it is not as it was written, or a row before it was removed or put in";
                return Ok(AuditLogCheck {
                    entries,
                    seq: last.as_ref().map(|(seq, _)| *seq),
                    hash: last.map(|(_, hash)| hex::encode(hash)),
                    broken: Some(BrokenEntry {
                        seq: row.seq,
                        problem: problem.to_owned(),
                    }),
                });
            }
            entries += 1;
            last = Some((row.seq, row.hash));
        }
        if whole {
            return Ok(AuditLogCheck {
                entries,
                seq: last.as_ref().map(|(seq, _)| *seq),
                hash: last.map(|(_, hash)| hex::encode(hash)),
                broken: None,
            });
        }
    }
}
