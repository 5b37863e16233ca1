//! Rows: inserted, or told why not.

use crate::replays;
use contracts::avro::datum::Event;
use contracts::kafka::headers;
use runtime::consumer::Record;
use sha2::{Digest, Sha256};
use sqlx::{Acquire, PgConnection, Row as _};
use std::collections::{HashMap, HashSet};
use store::fault::{is_row_fault, sqlstate};
use time::OffsetDateTime;

/// Raw partition and offset.
pub(crate) type Raw = (i32, i64);

/// A validated event, ready to be a row.
#[derive(Debug)]
pub struct Row<'a> {
    pub(crate) source: &'a str,
    entity_key: Option<&'a str>,
    received_at: Option<OffsetDateTime>,
    occurred_at: OffsetDateTime,
    secret_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    schema_id: i32,
    content_hash: [u8; 32],
    pub(crate) raw: Raw,
    /// By whichever stage
    pub(crate) replayed: bool,
    /// Before its replay: its content need not be that of its raw record
    edited: bool,
    pub(crate) event: Event<'a>,
    /// Its partition's place among the batch's ends
    pub(crate) end: usize,
    pub(crate) offset: i64,
}

impl<'a> Row<'a> {
    /// `datum` is the event's Avro, whose SHA-256 tells a duplicate from a conflict; `end` its partition's place among the batch's ends.
    ///
    /// # Errors
    /// What cannot be a row: a raw record that is not named, or a time no calendar has.
    pub fn new(
        record: &Record<'a>,
        end: usize,
        schema_id: i32,
        datum: &[u8],
        event: Event<'a>,
    ) -> Result<Self, &'static str> {
        let (mut source, mut received_at, mut secret_id, mut trace_id) =
            (event.source, None, None, None);
        let (mut replayed, mut edited) = (false, false);
        // One walk: looking a header up by its name walks them all.
        for (name, value) in record.headers() {
            match (
                name,
                value.and_then(|bytes| std::str::from_utf8(bytes).ok()),
            ) {
                (headers::SOURCE, Some(text)) => source = text,
                (headers::RECEIVED_AT, Some(text)) => {
                    received_at = text.parse().ok().and_then(time_of)
                }
                (headers::SECRET_ID, Some(text)) => secret_id = Some(text),
                (headers::TRACEPARENT, Some(text)) => {
                    trace_id = runtime::traceparent::trace_id(text)
                }
                (headers::REPLAY_ID | headers::REPLAY_COUNT, _) => replayed = true,
                (headers::EDITED_BY, _) => (replayed, edited) = (true, true),
                (_, _) => {}
            }
        }
        Ok(Self {
            source,
            entity_key: record.key.and_then(|key| std::str::from_utf8(key).ok()),
            received_at,
            occurred_at: time_of(event.occurred_at_micros)
                .ok_or("its time is beyond the calendar")?,
            secret_id,
            trace_id,
            schema_id,
            content_hash: Sha256::digest(datum).into(),
            raw: record
                .raw()
                .ok_or("its ef.raw header names no raw record")?,
            replayed,
            edited,
            event,
            end,
            offset: record.offset,
        })
    }

    pub(crate) fn key(&self) -> (String, String) {
        (self.source.to_owned(), self.event.event_id.to_owned())
    }

    /// Seconds from the edge's receipt until `now`, when the edge said.
    pub(crate) fn age_seconds(&self, now: OffsetDateTime) -> Option<f64> {
        self.received_at
            .map(|received| (now - received).as_seconds_f64().max(0.0))
    }
}

fn time_of(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowFate {
    /// Inserted by this transaction
    Stored,
    /// This very raw record was stored or counted before: a batch read again, or a replay
    StoredBefore,
    /// A further delivery, same content
    Duplicate,
    /// Same id, other content; or an edit of what is stored
    Conflict(String),
    /// PostgreSQL refuses it for what it is
    Refused(String),
}

/// Inserts what is new and classifies the rest.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
) -> Result<Vec<RowFate>, sqlx::Error> {
    if !rows.iter().any(|row| row.replayed) {
        return insert_all(connection, &rows.iter().collect::<Vec<_>>()).await;
    }
    let elsewhere = replays::under_other_ids(connection, rows).await?;
    let new: Vec<&Row<'_>> = rows
        .iter()
        .zip(&elsewhere)
        .filter(|(_, known)| known.is_none())
        .map(|(row, _)| row)
        .collect();
    let mut fates = insert_all(connection, &new).await?.into_iter();
    Ok(elsewhere
        .into_iter()
        .filter_map(|known| known.map(RowFate::Conflict).or_else(|| fates.next()))
        .collect())
}

/// One statement inserts, one looks up what was there.
async fn insert_all(
    connection: &mut PgConnection,
    rows: &[&Row<'_>],
) -> Result<Vec<RowFate>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    macro_rules! column {
        (|$row:ident| $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let inserted = sqlx::query(
        "INSERT INTO events (source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, amount, currency,
                             payload, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset)
         SELECT source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, amount::numeric, currency,
                payload::jsonb, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[],
                     $9::text[], $10::text[], $11::bytea[], $12::integer[], $13::text[], $14::text[], $15::integer[], $16::bigint[])
              AS batch (source, event_id, event_type, schema_version, entity_key, occurred_at, received_at, amount, currency,
                        payload, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset)
         ON CONFLICT (source, event_id) DO NOTHING",
    )
    .bind(column!(|row| row.source))
    .bind(column!(|row| row.event.event_id))
    .bind(column!(|row| row.event.event_type))
    .bind(column!(|row| &*row.event.schema_version))
    .bind(column!(|row| row.entity_key))
    .bind(column!(|row| row.occurred_at))
    .bind(column!(|row| row.received_at))
    .bind(column!(|row| row.event.amount.as_deref()))
    .bind(column!(|row| row.event.currency.as_deref()))
    .bind(column!(|row| row.event.payload_json.as_str()))
    .bind(column!(|row| row.content_hash.as_slice()))
    .bind(column!(|row| row.schema_id))
    .bind(column!(|row| row.secret_id))
    .bind(column!(|row| row.trace_id))
    .bind(column!(|row| row.raw.0))
    .bind(column!(|row| row.raw.1))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    let inserted = usize::try_from(inserted).unwrap_or(usize::MAX);
    if inserted == rows.len() {
        return Ok(vec![RowFate::Stored; rows.len()]);
    }
    let existing = lookup(connection, rows).await?;
    // Of the rows that are from our own raw records, the youngest are those just inserted. Asking the insert to return them would
    // cost every batch what only one with duplicates needs.
    let mut ours: Vec<(i64, Raw)> = rows
        .iter()
        .filter_map(|row| {
            existing
                .get(&row.key())
                .filter(|stored| stored.raw == row.raw)
                .map(|stored| (stored.seq, row.raw))
        })
        .collect();
    ours.sort_unstable();
    ours.dedup();
    let mut new: HashSet<Raw> = ours
        .into_iter()
        .rev()
        .take(inserted)
        .map(|(_, raw)| raw)
        .collect();
    rows.iter()
        .map(|row| fate_of(row, &mut new, &existing))
        .collect()
}

/// A stored row.
struct Stored {
    content_hash: Vec<u8>,
    raw: Raw,
    seq: i64,
}

/// Stored rows by (source, event id).
type Existing = HashMap<(String, String), Stored>;

async fn lookup(connection: &mut PgConnection, rows: &[&Row<'_>]) -> Result<Existing, sqlx::Error> {
    let found = sqlx::query(
        "SELECT e.source, e.event_id, e.content_hash, e.raw_partition, e.raw_offset, e.seq
         FROM UNNEST($1::text[], $2::text[]) AS batch (source, event_id)
         JOIN events e ON e.source = batch.source AND e.event_id = batch.event_id",
    )
    .bind(rows.iter().map(|row| row.source).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| row.event.event_id)
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await?;
    found
        .iter()
        .map(|row| {
            let raw = (row.try_get(3)?, row.try_get(4)?);
            let stored = Stored {
                content_hash: row.try_get(2)?,
                raw,
                seq: row.try_get(5)?,
            };
            Ok(((row.try_get(0)?, row.try_get(1)?), stored))
        })
        .collect()
}

/// A raw record inserted here is `Stored` once; its second copy in the same batch, like one from an earlier transaction, is `StoredBefore`.
fn fate_of(
    row: &Row<'_>,
    new: &mut HashSet<Raw>,
    existing: &Existing,
) -> Result<RowFate, sqlx::Error> {
    // Not inserted and not there: somebody deleted it between the two statements. Tried again, it is inserted.
    let stored = existing.get(&row.key()).ok_or(sqlx::Error::RowNotFound)?;
    // An edit is a person's: what is stored may be its raw record's own content, or another edit's. Otherwise the same raw record is the
    // same event, though a later contract may write it down differently.
    Ok(
        if stored.raw == row.raw && row.edited && stored.content_hash != row.content_hash {
            RowFate::Conflict(format!(
                "raw record {}:{} is stored with other content than this edit of it",
                row.raw.0, row.raw.1
            ))
        } else if stored.raw == row.raw {
            if new.remove(&stored.raw) {
                RowFate::Stored
            } else {
                RowFate::StoredBefore
            }
        } else if stored.content_hash == row.content_hash {
            RowFate::Duplicate
        } else {
            RowFate::Conflict(format!(
                "event {} of source {} is stored with other content, from raw record {}:{}",
                row.event.event_id, row.source, stored.raw.0, stored.raw.1
            ))
        },
    )
}

/// One row of the batch is at fault: halves it, inside the same transaction, down to that row.
pub(crate) async fn bisect(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
) -> Result<Vec<RowFate>, sqlx::Error> {
    let mut savepoint = connection.begin().await?;
    let error = match insert(&mut savepoint, rows).await {
        Ok(fates) => {
            savepoint.commit().await?;
            return Ok(fates);
        }
        Err(error) if is_row_fault(&error) => error,
        Err(error) => return Err(error),
    };
    savepoint.rollback().await?;
    if rows.len() == 1 {
        let (code, message) = (
            sqlstate(&error).unwrap_or_default(),
            error.as_database_error().map_or("", |e| e.message()),
        );
        return Ok(vec![RowFate::Refused(format!(
            "PostgreSQL refuses the row: {message} (SQLSTATE {code})"
        ))]);
    }
    let (left, right) = rows.split_at(rows.len() / 2);
    let mut fates = Box::pin(bisect(connection, left)).await?;
    fates.extend(Box::pin(bisect(connection, right)).await?);
    Ok(fates)
}

/// Records further deliveries; returns those that were not recorded before.
pub(crate) async fn record_duplicates(
    connection: &mut PgConnection,
    rows: &[&Row<'_>],
) -> Result<HashSet<Raw>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let recorded = sqlx::query(
        "INSERT INTO duplicates (raw_partition, raw_offset, source, event_id, received_at)
         SELECT * FROM UNNEST($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[])
         ON CONFLICT DO NOTHING
         RETURNING raw_partition, raw_offset",
    )
    .bind(rows.iter().map(|row| row.raw.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw.1).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.source).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.event_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.received_at).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    recorded
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}
