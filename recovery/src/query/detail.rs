//! Everything about one dead letter.

use super::list::columns;
use super::{no_such_dead_letter, payload};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DeadLetter, DeadLetterDetail, EarlierFailure, Edit, Format, Time};
use sqlx::{FromRow, PgConnection};

/// Most failures and edits shown of one dead letter.
const MAX_HISTORY: i64 = 100;

#[derive(FromRow)]
struct DetailRow {
    #[sqlx(flatten)]
    letter: DeadLetter,
    family: Format,
    trace_id: Option<String>,
    dlq_partition: i32,
    dlq_offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    value_bytes: Option<i32>,
    value_sha256: Option<Vec<u8>>,
    headers: String,
    service_version: Option<String>,
}

/// Everything about one.
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub async fn dead_letter(context: &Context, id: i64) -> Result<DeadLetterDetail, RecoveryError> {
    let mut connection = context.pool.acquire().await?;
    let row: Option<DetailRow> = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        ", CASE d.family WHEN 'eventflow' THEN d.family ELSE 'unknown' END AS family, d.trace_id, d.dlq_partition, d.dlq_offset, d.key, \
         d.value, d.value_bytes, d.value_sha256, d.headers::text AS headers, d.service_version \
         FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.id = $1"
    ))
    .bind(id)
    .fetch_optional(&mut *connection)
    .await?;
    let row = row.ok_or_else(|| no_such_dead_letter(id))?;
    let failures = failures(&mut connection, id).await?;
    let edits = edits(&mut connection, id).await?;
    // The registry may take its time; others use the connection meanwhile.
    drop(connection);
    let headers: Vec<(String, serde_json::Value)> =
        serde_json::from_str(&row.headers).unwrap_or_default();
    Ok(DeadLetterDetail {
        letter: row.letter,
        family: row.family,
        trace_id: row.trace_id,
        dlq: (row.dlq_partition, row.dlq_offset),
        key: row.key.as_deref().map(payload::readable),
        value: payload::payload(context, row.value.as_deref(), row.value_bytes).await,
        value_sha256: row.value_sha256.map(hex::encode),
        headers: headers
            .into_iter()
            .map(|(name, value)| (name, payload::header_text(&value)))
            .collect(),
        service_version: row.service_version,
        failures,
        edits,
    })
}

#[derive(FromRow)]
struct EarlierFailureRow {
    stage: String,
    code: String,
    detail: String,
    replay_count: i32,
    failed_at: Time,
    dlq_partition: i32,
    dlq_offset: i64,
}

async fn failures(
    connection: &mut PgConnection,
    id: i64,
) -> Result<Vec<EarlierFailure>, RecoveryError> {
    let rows: Vec<EarlierFailureRow> = sqlx::query_as(
        "SELECT stage, code, detail, replay_count, failed_at, dlq_partition, dlq_offset FROM failures WHERE dead_letter_id = $1
         ORDER BY replay_count DESC, failed_at DESC, dlq_partition, dlq_offset LIMIT $2",
    )
    .bind(id)
    .bind(MAX_HISTORY)
    .fetch_all(connection)
    .await?;
    let failure = |row: EarlierFailureRow| EarlierFailure {
        stage: row.stage,
        code: row.code,
        detail: row.detail,
        replay_count: row.replay_count,
        failed_at: row.failed_at,
        dlq: (row.dlq_partition, row.dlq_offset),
    };
    Ok(rows.into_iter().map(failure).collect())
}

#[derive(FromRow)]
struct EditRow {
    id: i64,
    edited_by: String,
    edited_at: Time,
    reason: String,
    patch: String,
}

async fn edits(connection: &mut PgConnection, id: i64) -> Result<Vec<Edit>, RecoveryError> {
    let rows: Vec<EditRow> = sqlx::query_as(
        "SELECT id, edited_by, edited_at, reason, patch::text AS patch FROM edits WHERE dead_letter_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(id)
    .bind(MAX_HISTORY)
    .fetch_all(connection)
    .await?;
    let edit = |row: EditRow| Edit {
        id: row.id,
        edited_by: row.edited_by,
        edited_at: row.edited_at,
        reason: row.reason,
        patch: serde_json::from_str(&row.patch).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(edit).collect())
}
