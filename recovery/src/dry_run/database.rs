//! What PostgreSQL would say of the rows: there already, in conflict, refused, or stored. Nothing is left behind.

use super::rows::Row;
use super::{Checked, Seen, Verdict};
use crate::Recovery;
use crate::error::Refusal;
use crate::jobs::within;
use crate::runner::letter::Letter;
use contracts::RejectionCode;
use database::fault::{is_row_fault, sqlstate};
use sqlx::{Acquire, PgConnection, Row as _};
use std::collections::HashMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A row persistence has of the same (source, event id).
struct Stored {
    content_hash: Vec<u8>,
    raw: (i32, i64),
    json: serde_json::Value,
}

pub(super) async fn judge(
    recovery: &Recovery,
    letters: &[Letter],
    checked: Vec<Checked>,
    seen: &mut Seen,
) -> Result<Vec<Verdict>, Refusal> {
    let rows: Vec<&Row> =
        checked.iter().filter_map(|checked| if let Checked::Row(row) = checked { Some(&**row) } else { None }).collect();
    let (refused, stored) = within(async {
        let mut transaction = recovery.pool.begin().await?;
        let there: bool =
            sqlx::query_scalar("SELECT to_regclass('persistence.events') IS NOT NULL").fetch_one(&mut *transaction).await?;
        make_table(&mut transaction, there).await?;
        let mut refused = HashMap::new();
        refusals(&mut transaction, &rows, 0, &mut refused).await?;
        let fine: Vec<&Row> =
            rows.iter().enumerate().filter(|(place, _)| !refused.contains_key(place)).map(|(_, row)| *row).collect();
        let stored = if there { lookup(&mut transaction, &fine).await? } else { HashMap::new() };
        transaction.rollback().await?;
        Ok((refused, stored))
    })
    .await?;
    let mut place = 0;
    let mut verdicts = Vec::with_capacity(letters.len());
    for (letter, checked) in letters.iter().zip(checked) {
        verdicts.push(match checked {
            Checked::Fails(code, pointer, detail) => failing(letter, code, pointer, detail),
            Checked::Row(row) => {
                let refusal = refused.get(&place);
                place += 1;
                match refusal {
                    Some(detail) => failing(letter, RejectionCode::RowRefused.code(), None, detail.clone()),
                    None => fate(letter, &row, stored.get(&row.identity()), seen),
                }
            }
        });
    }
    Ok(verdicts)
}

fn failing(letter: &Letter, code: &'static str, pointer: Option<String>, detail: String) -> Verdict {
    Verdict { letter: letter.id, would: "fail", code: Some(code), pointer, detail: Some(detail), row: None, diff: None }
}

fn fate(letter: &Letter, row: &Row, stored: Option<&Stored>, seen: &mut Seen) -> Verdict {
    let json = row.json();
    let diff = match stored {
        Some(stored) => Some(json_patch::diff(&stored.json, &json)),
        None => letter.edit.as_ref().and_then(|edit| {
            let before: serde_json::Value = serde_json::from_slice(letter.value.as_deref()?).ok()?;
            Some(json_patch::diff(&before, &serde_json::from_slice(&edit.value).ok()?))
        }),
    };
    let diff = diff.and_then(|patch| serde_json::to_value(patch).ok());
    let conflict = |raw: (i32, i64)| {
        format!(
            "event {} of source {} is stored with other content, from raw record {}:{}",
            row.event_id, row.source, raw.0, raw.1
        )
    };
    let edited = letter.edit.is_some() || letter.header(contracts::headers::EDITED_BY).is_some();
    let first = match stored {
        Some(stored) => Some((stored.raw, stored.content_hash.as_slice() == row.content_hash)),
        None => seen.0.get(&row.identity()).map(|(raw, hash)| (*raw, *hash == row.content_hash)),
    };
    let (would, code, detail) = match first {
        None => {
            seen.0.insert(row.identity(), (row.raw, row.content_hash));
            ("store", None, None)
        }
        // As persistence: an edit of what is stored already changes nothing, and says so.
        Some((raw, false)) if raw == row.raw && edited => ("fail", Some(RejectionCode::Conflict.code()), Some(conflict(raw))),
        Some((raw, _)) if raw == row.raw => ("duplicate", None, Some("this very raw record is stored already".to_owned())),
        Some((raw, true)) => ("duplicate", None, Some(format!("the same event came by raw record {}:{}", raw.0, raw.1))),
        Some((raw, false)) => ("fail", Some(RejectionCode::Conflict.code()), Some(conflict(raw))),
    };
    Verdict { letter: letter.id, would, code, pointer: None, detail, row: Some(json), diff }
}

/// A table as persistence's, gone with the transaction. Without persistence's, one with its columns: what it refuses by its types is found.
async fn make_table(connection: &mut PgConnection, there: bool) -> Result<(), sqlx::Error> {
    let create = if there {
        "CREATE TEMPORARY TABLE dry_run_rows (LIKE persistence.events INCLUDING ALL) ON COMMIT DROP"
    } else {
        "CREATE TEMPORARY TABLE dry_run_rows (source text NOT NULL, event_id text NOT NULL, event_type text NOT NULL,
            schema_version text NOT NULL, entity_key text, occurred_at timestamptz NOT NULL, received_at timestamptz, amount numeric,
            currency text, payload jsonb NOT NULL, content_hash bytea NOT NULL, schema_id integer NOT NULL, secret_id text, trace_id text,
            raw_partition integer NOT NULL, raw_offset bigint NOT NULL, UNIQUE (source, event_id)) ON COMMIT DROP"
    };
    sqlx::query(create).execute(connection).await.map(drop)
}

/// Adds the rows PostgreSQL refuses, by place: halves them, inside the transaction, down to the row at fault.
async fn refusals(
    connection: &mut PgConnection,
    rows: &[&Row],
    first: usize,
    refused: &mut HashMap<usize, String>,
) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut savepoint = connection.begin().await?;
    let error = match insert(&mut savepoint, rows).await {
        Ok(()) => return savepoint.rollback().await,
        Err(error) if is_row_fault(&error) => error,
        Err(error) => return Err(error),
    };
    savepoint.rollback().await?;
    if rows.len() == 1 {
        let (code, message) = (sqlstate(&error).unwrap_or_default(), error.as_database_error().map_or("", |e| e.message()));
        refused.insert(first, format!("PostgreSQL refuses the row: {message} (SQLSTATE {code})"));
        return Ok(());
    }
    let (left, right) = rows.split_at(rows.len() / 2);
    Box::pin(refusals(connection, left, first, refused)).await?;
    Box::pin(refusals(connection, right, first + left.len(), refused)).await
}

async fn insert(connection: &mut PgConnection, rows: &[&Row]) -> Result<(), sqlx::Error> {
    macro_rules! column {
        (|$row:ident| $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    // As persistence's own statement casts.
    sqlx::query(
        "INSERT INTO dry_run_rows (source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, amount, currency,
                                   payload, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset)
         SELECT source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, amount::numeric, currency,
                payload::jsonb, content_hash, 0, secret_id, trace_id, raw_partition, raw_offset
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[],
                     $9::text[], $10::text[], $11::bytea[], $12::text[], $13::text[], $14::integer[], $15::bigint[])
              AS batch (source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, amount, currency,
                        payload, content_hash, secret_id, trace_id, raw_partition, raw_offset)
         ON CONFLICT (source, event_id) DO NOTHING",
    )
    .bind(column!(|row| row.source.as_str()))
    .bind(column!(|row| row.event_id.as_str()))
    .bind(column!(|row| row.event_type.as_str()))
    .bind(column!(|row| row.schema_version.as_str()))
    .bind(column!(|row| row.entity_key.as_deref()))
    .bind(column!(|row| row.occurred_at))
    .bind(column!(|row| row.received_at))
    .bind(column!(|row| row.amount.as_deref()))
    .bind(column!(|row| row.currency.as_deref()))
    .bind(column!(|row| row.payload.as_str()))
    .bind(column!(|row| row.content_hash.as_slice()))
    .bind(column!(|row| row.secret_id.as_deref()))
    .bind(column!(|row| row.trace_id.as_deref()))
    .bind(column!(|row| row.raw.0))
    .bind(column!(|row| row.raw.1))
    .execute(connection)
    .await
    .map(drop)
}

async fn lookup(connection: &mut PgConnection, rows: &[&Row]) -> Result<HashMap<[u8; 32], Stored>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT batch.place, e.content_hash, e.raw_partition, e.raw_offset, e.event_type, e.schema_version, e.entity_key, e.occurred_at,
                e.received_at, e.amount::text, e.currency, e.payload::text
         FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS batch (source, event_id, place)
         JOIN persistence.events e ON e.source = batch.source AND e.event_id = batch.event_id",
    )
    .bind(rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event_id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut stored = HashMap::new();
    for row in &found {
        let place = usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or_default();
        let Some(wanted) = rows.get(place) else { continue };
        let raw: (i32, i64) = (row.try_get(2)?, row.try_get(3)?);
        let time = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        let payload: String = row.try_get(11)?;
        let json = serde_json::json!({
            "source": wanted.source,
            "event_id": wanted.event_id,
            "event_type": row.try_get::<String, _>(4)?,
            "schema_version": row.try_get::<String, _>(5)?,
            "entity_key": row.try_get::<Option<String>, _>(6)?,
            "occurred_at": time(row.try_get(7)?),
            "received_at": row.try_get::<Option<OffsetDateTime>, _>(8)?.map(time),
            "amount": row.try_get::<Option<String>, _>(9)?,
            "currency": row.try_get::<Option<String>, _>(10)?,
            "payload": serde_json::from_str::<serde_json::Value>(&payload).unwrap_or_default(),
            "raw": format!("{}:{}", raw.0, raw.1),
        });
        stored.insert(wanted.identity(), Stored { content_hash: row.try_get(1)?, raw, json });
    }
    Ok(stored)
}
