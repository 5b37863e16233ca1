//! What PostgreSQL would say of the rows: there already, in conflict, refused, or stored. No row is left behind.

use super::rows::Row;
use super::{Checked, Seen, Verdict};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::replay::jobs::within;
use crate::replay::runner::letter::Letter;
use contracts::RejectionCode;
use sqlx::{Acquire, PgConnection, Row as _};
use std::collections::HashMap;
use store::fault::{is_row_fault, sqlstate};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A row persistence has of the same (source, event id).
struct Stored {
    content_hash: Vec<u8>,
    raw: (i32, i64),
    json: serde_json::Value,
}

pub(super) async fn judge(
    recovery: &Context,
    letters: &[Letter],
    checked: Vec<Checked>,
    seen: &mut Seen,
) -> Result<Vec<Verdict>, RecoveryError> {
    let rows: Vec<&Row> = checked
        .iter()
        .filter_map(|checked| {
            if let Checked::Row(row) = checked {
                Some(&**row)
            } else {
                None
            }
        })
        .collect();
    let (refused, stored, events) = within(async {
        let mut transaction = recovery.pool.begin().await?;
        let there = make_table(&mut transaction).await?;
        let mut refused = HashMap::new();
        refusals(&mut transaction, &rows, 0, &mut refused).await?;
        let fine: Vec<&Row> = rows
            .iter()
            .enumerate()
            .filter(|(place, _)| !refused.contains_key(place))
            .map(|(_, row)| *row)
            .collect();
        let (mut stored, mut events) = (HashMap::new(), HashMap::new());
        if there {
            stored = lookup(&mut transaction, &fine).await?;
            events = events_of(&mut transaction, &rows).await?;
        }
        // Every row is rolled back; what stays is the empty table, for this connection's next page.
        transaction.commit().await?;
        Ok((refused, stored, events))
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
                match (under_other_id(&row, &events), refusal) {
                    (Some(detail), _) => {
                        failing(letter, RejectionCode::Conflict.code(), None, detail)
                    }
                    (None, Some(detail)) => failing(
                        letter,
                        RejectionCode::RowRefused.code(),
                        None,
                        detail.clone(),
                    ),
                    (None, None) => fate(letter, &row, stored.get(&row.identity()), seen),
                }
            }
        });
    }
    Ok(verdicts)
}

/// As persistence: a replay whose raw record is another event already is in conflict, before anything else is looked at.
fn under_other_id(row: &Row, events: &Events) -> Option<String> {
    let (source, id) = events.get(&row.raw)?;
    let (partition, offset) = row.raw;
    let other = *source != row.source || *id != row.event_id;
    other.then(|| {
        format!("raw record {partition}:{offset} is event {id} of source {source} already")
    })
}

fn failing(
    letter: &Letter,
    code: &'static str,
    pointer: Option<String>,
    detail: String,
) -> Verdict {
    Verdict {
        letter: letter.id,
        would: "fail",
        code: Some(code),
        pointer,
        detail: Some(detail),
        row: None,
        diff: None,
    }
}

fn fate(letter: &Letter, row: &Row, stored: Option<&Stored>, seen: &mut Seen) -> Verdict {
    let json = row.json();
    let diff = match stored {
        Some(stored) => Some(json_patch::diff(&stored.json, &json)),
        None => letter.edit.as_ref().and_then(|edit| {
            let before: serde_json::Value =
                serde_json::from_slice(letter.value.as_deref()?).ok()?;
            Some(json_patch::diff(
                &before,
                &serde_json::from_slice(&edit.value).ok()?,
            ))
        }),
    };
    let diff = diff.and_then(|patch| serde_json::to_value(patch).ok());
    let conflict = |raw: (i32, i64)| {
        format!(
            "event {} of source {} is stored with other content, from raw record {}:{}",
            row.event_id, row.source, raw.0, raw.1
        )
    };
    let edited = letter.edit.is_some()
        || letter
            .header(contracts::kafka::headers::EDITED_BY)
            .is_some();
    let first = match stored {
        Some(stored) => Some((
            stored.raw,
            stored.content_hash.as_slice() == row.content_hash,
        )),
        None => seen
            .0
            .get(&row.identity())
            .map(|(raw, hash)| (*raw, *hash == row.content_hash)),
    };
    let (would, code, detail) = match first {
        None => {
            seen.0.insert(row.identity(), (row.raw, row.content_hash));
            ("store", None, None)
        }
        // As persistence: an edit of what is stored already changes nothing, and says so.
        Some((raw, false)) if raw == row.raw && edited => (
            "fail",
            Some(RejectionCode::Conflict.code()),
            Some(conflict(raw)),
        ),
        Some((raw, _)) if raw == row.raw => (
            "duplicate",
            None,
            Some("this very raw record is stored already".to_owned()),
        ),
        Some((raw, true)) => (
            "duplicate",
            None,
            Some(format!(
                "the same event came by raw record {}:{}",
                raw.0, raw.1
            )),
        ),
        Some((raw, false)) => (
            "fail",
            Some(RejectionCode::Conflict.code()),
            Some(conflict(raw)),
        ),
    };
    Verdict {
        letter: letter.id,
        would,
        code,
        pointer: None,
        detail,
        row: Some(json),
        diff,
    }
}

/// A table as persistence's, once a connection and always empty: one a page would fill PostgreSQL's catalogue. Without persistence's, one with
/// its columns: what it refuses by its types is found. Answers whether persistence's is there.
async fn make_table(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let ask = "SELECT to_regclass('persistence.stored_events') IS NOT NULL, to_regclass('pg_temp.dry_run_rows') IS NOT NULL";
    let (there, made): (bool, bool) = sqlx::query_as(ask).fetch_one(&mut *connection).await?;
    if made {
        return Ok(there);
    }
    let create = if there {
        "CREATE TEMPORARY TABLE dry_run_rows (LIKE persistence.stored_events) ON COMMIT DELETE ROWS"
    } else {
        "CREATE TEMPORARY TABLE dry_run_rows (source text NOT NULL, event_id text NOT NULL, event_type text NOT NULL,
            schema_version text NOT NULL, entity_key text, occurred_at timestamptz NOT NULL, received_at timestamptz, amount numeric,
            currency text, payload jsonb NOT NULL, content_hash bytea NOT NULL, schema_id integer NOT NULL, secret_id text, trace_id text,
            raw_partition integer NOT NULL, raw_offset bigint NOT NULL) ON COMMIT DELETE ROWS"
    };
    sqlx::query(create).execute(&mut *connection).await?;
    // A text too long for an index of persistence's is refused by it, and so by these.
    for index in [
        "CREATE UNIQUE INDEX ON dry_run_rows (event_id, source)",
        "CREATE INDEX ON dry_run_rows (entity_key)",
        "CREATE INDEX ON dry_run_rows (trace_id)",
    ] {
        sqlx::query(index).execute(&mut *connection).await?;
    }
    Ok(there)
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
        let (code, message) = (
            sqlstate(&error).unwrap_or_default(),
            error.as_database_error().map_or("", |e| e.message()),
        );
        refused.insert(
            first,
            format!("PostgreSQL refuses the row: {message} (SQLSTATE {code})"),
        );
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

/// Which event raw records are, stored or delivered again: its source and id.
type Events = HashMap<(i32, i64), (String, String)>;

async fn events_of(connection: &mut PgConnection, rows: &[&Row]) -> Result<Events, sqlx::Error> {
    let found = sqlx::query(
        "SELECT f.raw_partition, f.raw_offset, f.source, f.event_id
         FROM UNNEST($1::integer[], $2::bigint[]) AS batch (raw_partition, raw_offset)
         JOIN persistence.event_fates f ON f.raw_partition = batch.raw_partition AND f.raw_offset = batch.raw_offset",
    )
    .bind(rows.iter().map(|row| row.raw.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw.1).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    found
        .iter()
        .map(|row| {
            Ok((
                (row.try_get(0)?, row.try_get(1)?),
                (row.try_get(2)?, row.try_get(3)?),
            ))
        })
        .collect()
}

async fn lookup(
    connection: &mut PgConnection,
    rows: &[&Row],
) -> Result<HashMap<[u8; 32], Stored>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT batch.place, e.content_hash, e.raw_partition, e.raw_offset, e.event_type, e.schema_version, e.entity_key, e.occurred_at,
                e.received_at, e.amount::text, e.currency, e.payload::text
         FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS batch (source, event_id, place)
         JOIN persistence.stored_events e ON e.source = batch.source AND e.event_id = batch.event_id",
    )
    .bind(rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event_id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut stored = HashMap::new();
    for row in &found {
        let place = usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or_default();
        let Some(wanted) = rows.get(place) else {
            continue;
        };
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
        stored.insert(
            wanted.identity(),
            Stored {
                content_hash: row.try_get(1)?,
                raw,
                json,
            },
        );
    }
    Ok(stored)
}
