//! A batch's rows in the database: inserted, or classified by what is there.

use crate::copies;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use store::fate::{Fate, RawEvent, RawEvents, Stored, decide};
use store::refused::Refusals;
use store::row::{EventRow, Insert, Outdone, RawPosition, Retype, same_event};

pub(crate) static INSERT: LazyLock<Insert> = LazyLock::new(|| Insert::into_table("events"));

static RETYPE: LazyLock<Retype> = LazyLock::new(|| Retype::in_table("events", "retyped"));

/// Inserts what is new and not refused, and decides the fate of the rest.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
    refusals: &Refusals,
) -> Result<Vec<Fate>, sqlx::Error> {
    let mut fates: Vec<Option<Fate>> = refusals
        .iter()
        .map(|refusal| Some(Fate::Refused(refusal.as_ref()?.to_string())))
        .collect();
    if rows.iter().any(|row| row.replayed) {
        // Replays beside live rows: those whose raw record is another event already are not inserted.
        let mut events = raw_events(connection, rows).await?;
        for (row, fate) in rows.iter().zip(&mut fates) {
            let conflict = match fate {
                Some(_) => events.conflict_of_refused(row),
                None => events.conflict(row),
            };
            *fate = conflict.map(Fate::Conflict).or(fate.take());
        }
    }
    let new: Vec<&EventRow<'_>> = rows
        .iter()
        .zip(&fates)
        .filter(|(_, fate)| fate.is_none())
        .map(|(row, _)| *row)
        .collect();
    let mut inserted = copies::insert(connection, &new).await?.into_iter();
    Ok(fates
        .into_iter()
        .filter_map(|fate| fate.or_else(|| inserted.next()))
        .collect())
}

/// Which events the raw records of these replays are already.
async fn raw_events(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<RawEvents, sqlx::Error> {
    let replayed: Vec<&RawPosition> = rows
        .iter()
        .filter(|row| row.replayed)
        .map(|row| &row.raw)
        .collect();
    let found: Vec<RawEvent> = sqlx::query_as(
        "SELECT f.raw_epoch, f.raw_partition, f.raw_offset, f.source, f.event_id
         FROM UNNEST($1::integer[], $2::bigint[], $3::text[]) AS batch (raw_partition, raw_offset, raw_epoch)
         JOIN event_fates f USING (raw_partition, raw_offset, raw_epoch)",
    )
    .bind(replayed.iter().map(|raw| raw.partition).collect::<Vec<_>>())
    .bind(replayed.iter().map(|raw| raw.offset).collect::<Vec<_>>())
    .bind(replayed.iter().map(|raw| &*raw.epoch).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(RawEvents::known(found))
}

/// One statement inserts, one looks up what was there.
pub(crate) async fn insert_all(
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
    let mut differences = differences(connection, rows, &existing).await?;
    // Asking the insert to return what it inserted would cost every batch what only one with duplicates needs.
    let is_ours = |(row, found): &(&&EventRow<'_>, &Option<Found>)| {
        found
            .as_ref()
            .is_some_and(|found| found.is_new && found.raw == row.raw)
    };
    let ours = rows.iter().zip(&existing).filter(is_ours);
    let mut new: HashSet<&RawPosition> = ours.map(|(row, _)| &row.raw).collect();
    let fates = rows
        .iter()
        .zip(&existing)
        .enumerate()
        .map(|(index, (row, found))| {
            // Not inserted and not there: somebody deleted it between the two statements. Retried, it is inserted.
            let found = found.as_ref().ok_or(sqlx::Error::RowNotFound)?;
            let stored = Stored {
                raw: found.raw.clone(),
                differences: differences.remove(&index),
                contract: found.contract.clone(),
                edited: found.edited,
            };
            // A raw record inserted here is stored once; its second copy in the same batch, like one of an earlier transaction, was before.
            Ok(match decide(row, Some(&stored)) {
                Fate::StoredBefore if new.remove(&row.raw) => Fate::Stored,
                fate => fate,
            })
        })
        .collect::<Result<Vec<Fate>, sqlx::Error>>()?;
    retype(connection, rows, &existing, fates).await
}

/// Types rows by contracts that say more. Of several for one row, the one that says most; what comes too late changes nothing.
async fn retype(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
    existing: &[Option<Found>],
    mut fates: Vec<Fate>,
) -> Result<Vec<Fate>, sqlx::Error> {
    let mut most: HashMap<(String, String), (usize, Outdone<'_>)> = HashMap::new();
    for (index, (row, found)) in rows.iter().zip(existing).enumerate() {
        let stored = found.as_ref().and_then(|found| found.contract.as_deref());
        let (Fate::Retyped, Some(contract)) = (&fates[index], stored) else {
            continue;
        };
        let outdone = Outdone { contract, row };
        match most.get(&row.key()) {
            Some((_, other)) if !row.says_more_than(other.row.contract) => {}
            Some(_) | None => drop(most.insert(row.key(), (index, outdone))),
        }
    }
    if most.is_empty() {
        return Ok(fates);
    }
    let outdone: Vec<Outdone<'_>> = most.values().map(|(_, outdone)| *outdone).collect();
    let changed = RETYPE.run(connection, &outdone).await?;
    let changed: HashSet<usize> = changed
        .iter()
        .filter_map(|event| most.get(event).map(|(index, _)| *index))
        .collect();
    for (index, fate) in fates.iter_mut().enumerate() {
        if *fate == Fate::Retyped && !changed.contains(&index) {
            *fate = Fate::StoredBefore;
        }
    }
    Ok(fates)
}

/// A stored row.
#[derive(FromRow)]
struct Found {
    content_hash: Vec<u8>,
    contract: Option<String>,
    edited: bool,
    #[sqlx(flatten)]
    raw: RawPosition,
    /// This transaction inserted it
    is_new: bool,
    place: i64,
}

static LOOKUP: LazyLock<Arc<str>> = LazyLock::new(|| {
    let same = same_event("e", "b");
    let statement = format!(
        "SELECT e.content_hash, e.contract, e.edited_by IS NOT NULL AS edited, e.raw_epoch, e.raw_partition, e.raw_offset,
                e.xmin = pg_current_xact_id()::xid AS is_new, b.place
         FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS b (source, event_id, place) JOIN events e ON {same}"
    );
    statement.into()
});

/// Of each row, what is stored of its event.
async fn lookup(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<Vec<Option<Found>>, sqlx::Error> {
    let found: Vec<Found> = sqlx::query_as(AssertSqlSafe(Arc::clone(&LOOKUP)))
        .bind(rows.iter().map(|row| row.source).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|row| row.event.event_id)
                .collect::<Vec<_>>(),
        )
        .fetch_all(connection)
        .await?;
    let mut existing: Vec<Option<Found>> = rows.iter().map(|_| None).collect();
    for found in found {
        let place = usize::try_from(found.place - 1).ok();
        if let Some(existing) = place.and_then(|place| existing.get_mut(place)) {
            *existing = Some(found);
        }
    }
    Ok(existing)
}

/// Contents looked at at once: each may be as large as a body.
const CONTENTS_AT_ONCE: usize = 16;

static CONTENTS: LazyLock<Arc<str>> = LazyLock::new(|| {
    let same = same_event("e", "b");
    let statement = format!(
        "SELECT b.place, e.event_type, e.payload::text FROM UNNEST($1::text[], $2::text[], $3::bigint[]) AS b (source, event_id, place) JOIN events e ON {same}"
    );
    statement.into()
});

/// By index, the rows whose content differs from what is stored, and where. Only those with another hash are looked at.
async fn differences(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
    existing: &[Option<Found>],
) -> Result<HashMap<usize, Vec<String>>, sqlx::Error> {
    let is_other = |(_, (row, found)): &(usize, (&&EventRow<'_>, &Option<Found>))| {
        let stored = found.as_ref();
        stored.is_some_and(|stored| stored.content_hash != row.content_hash)
    };
    let suspects: Vec<(usize, &EventRow<'_>)> = rows
        .iter()
        .zip(existing)
        .enumerate()
        .filter(is_other)
        .map(|(index, (row, _))| (index, *row))
        .collect();
    let mut differences = HashMap::new();
    for suspects in suspects.chunks(CONTENTS_AT_ONCE) {
        let places = suspects
            .iter()
            .map(|(index, _)| i64::try_from(*index).unwrap_or(i64::MAX));
        let contents: Vec<(i64, String, String)> =
            sqlx::query_as(AssertSqlSafe(Arc::clone(&CONTENTS)))
                .bind(
                    suspects
                        .iter()
                        .map(|(_, row)| row.source)
                        .collect::<Vec<_>>(),
                )
                .bind(
                    suspects
                        .iter()
                        .map(|(_, row)| row.event.event_id)
                        .collect::<Vec<_>>(),
                )
                .bind(places.collect::<Vec<_>>())
                .fetch_all(&mut *connection)
                .await?;
        for (index, row) in suspects {
            let at = |(place, ..): &&(i64, String, String)| usize::try_from(*place) == Ok(*index);
            let (_, event_type, payload) =
                contents.iter().find(at).ok_or(sqlx::Error::RowNotFound)?;
            if let Some(found) = row.differences(event_type, payload) {
                differences.insert(*index, found);
            }
        }
    }
    Ok(differences)
}

/// Records further deliveries, copies with the id under which their body is stored; returns those that were not recorded before.
pub(crate) async fn record_duplicates(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
    same_body_as: &[Option<&str>],
) -> Result<HashSet<RawPosition>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let recorded: Vec<RawPosition> = sqlx::query_as(
        "INSERT INTO duplicates (raw_partition, raw_offset, raw_epoch, source, event_id, received_at, same_body_as)
         SELECT * FROM UNNEST($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
         ON CONFLICT DO NOTHING
         RETURNING raw_epoch, raw_partition, raw_offset",
    )
    .bind(rows.iter().map(|row| row.raw.partition).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw.offset).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.raw.epoch).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.source).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.event_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.received_at).collect::<Vec<_>>())
    .bind(same_body_as)
    .fetch_all(connection)
    .await?;
    Ok(recorded.into_iter().collect())
}
