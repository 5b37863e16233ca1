//! A batch's rows in the database: inserted, or classified by what is there.

use sqlx::{FromRow, PgConnection};
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;
use store::fate::{Fate, RawEvent, RawEvents, Stored, decide};
use store::row::{EventRow, Insert, RawPosition};

static INSERT: LazyLock<Insert> = LazyLock::new(|| Insert::into_table("events"));

/// Inserts what is new and decides the fate of the rest.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<Vec<Fate>, sqlx::Error> {
    if !rows.iter().any(|row| row.replayed) {
        return insert_all(connection, rows).await;
    }
    // Replays beside live rows: those whose raw record is another event already are not inserted.
    let mut events = raw_events(connection, rows).await?;
    let conflicts: Vec<Option<String>> = rows.iter().map(|row| events.conflict(row)).collect();
    let new: Vec<&EventRow<'_>> = rows
        .iter()
        .zip(&conflicts)
        .filter(|(_, conflict)| conflict.is_none())
        .map(|(row, _)| *row)
        .collect();
    let mut fates = insert_all(connection, &new).await?.into_iter();
    Ok(conflicts
        .into_iter()
        .filter_map(|conflict| conflict.map(Fate::Conflict).or_else(|| fates.next()))
        .collect())
}

/// Which events the raw records of these replays are already.
async fn raw_events(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<RawEvents, sqlx::Error> {
    let replayed: Vec<RawPosition> = rows
        .iter()
        .filter(|row| row.replayed)
        .map(|row| row.raw)
        .collect();
    let found: Vec<RawEvent> = sqlx::query_as(
        "SELECT f.raw_partition, f.raw_offset, f.source, f.event_id
         FROM UNNEST($1::integer[], $2::bigint[]) AS batch (raw_partition, raw_offset)
         JOIN event_fates f ON f.raw_partition = batch.raw_partition AND f.raw_offset = batch.raw_offset",
    )
    .bind(replayed.iter().map(|raw| raw.0).collect::<Vec<_>>())
    .bind(replayed.iter().map(|raw| raw.1).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(RawEvents::known(found))
}

/// One statement inserts, one looks up what was there.
async fn insert_all(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<Vec<Fate>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let inserted = INSERT.run(connection, rows).await?;
    if inserted == rows.len() {
        return Ok(vec![Fate::Stored; rows.len()]);
    }
    let existing = lookup(connection, rows).await?;
    // Of the rows that are from our own raw records, the youngest are those just inserted. Asking the insert to return them would
    // cost every batch what only one with duplicates needs.
    let mut ours: Vec<(i64, RawPosition)> = rows
        .iter()
        .filter_map(|row| {
            existing
                .get(&row.key())
                .filter(|(stored, _)| stored.raw == row.raw)
                .map(|(_, seq)| (*seq, row.raw))
        })
        .collect();
    ours.sort_unstable();
    ours.dedup();
    let mut new: HashSet<RawPosition> = ours
        .into_iter()
        .rev()
        .take(inserted)
        .map(|(_, raw)| raw)
        .collect();
    rows.iter()
        .map(|row| {
            // Not inserted and not there: somebody deleted it between the two statements. Retried, it is inserted.
            let (stored, _) = existing.get(&row.key()).ok_or(sqlx::Error::RowNotFound)?;
            // A raw record inserted here is stored once; its second copy in the same batch, like one of an earlier transaction, was before.
            Ok(match decide(row, Some(stored)) {
                Fate::StoredBefore if new.remove(&row.raw) => Fate::Stored,
                fate => fate,
            })
        })
        .collect()
}

/// A stored row.
#[derive(FromRow)]
struct Found {
    source: String,
    event_id: String,
    content_hash: Vec<u8>,
    raw_partition: i32,
    raw_offset: i64,
    seq: i64,
}

/// Stored rows, and their number in the order of insertion, by (source, event id).
type Existing = HashMap<(String, String), (Stored, i64)>;

async fn lookup(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<Existing, sqlx::Error> {
    let found: Vec<Found> = sqlx::query_as(
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
    let entry = |row: Found| {
        let stored = Stored {
            content_hash: row.content_hash,
            raw: (row.raw_partition, row.raw_offset),
        };
        ((row.source, row.event_id), (stored, row.seq))
    };
    Ok(found.into_iter().map(entry).collect())
}

/// Records further deliveries; returns those that were not recorded before.
pub(crate) async fn record_duplicates(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<HashSet<RawPosition>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let recorded: Vec<RawPosition> = sqlx::query_as(
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
    Ok(recorded.into_iter().collect())
}
