//! Copies of signed bodies. Where the id of an event is not signed, whoever has one signed body can send it under any other; the body itself is then
//! a second key, for as long as its vendor may send it again ([`SignedBody`]).
//!
//! A body belongs to the first event that was stored of it. Who stores rows claims their bodies in the same transaction, and a dry run asks.

use crate::row::{EventRow, same_event, time_of_micros};
use contracts::kafka::headers::SignedBody;
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use time::OffsetDateTime;

/// A signed body of a source, and which event of it.
pub type BodyKey = (String, [u8; 32], i32);

/// The key of the body that a row came in; none where its id is signed.
#[must_use]
pub fn key_of(row: &EventRow<'_>) -> Option<BodyKey> {
    let SignedBody { digest, item, .. } = row.signed_body?;
    Some((row.source.to_owned(), digest, item))
}

/// Finds copies of what is stored.
#[derive(Debug, Clone)]
pub struct Copies(Arc<str>);

impl Copies {
    /// In the table or view of `bodies` (source, digest, item, event_id, until), beside that of `events`. An event that is stored from this very
    /// raw record is no copy, whoever has its body now.
    #[must_use]
    pub fn among(bodies: &str, events: &str) -> Self {
        let same = same_event("e", "b");
        let statement = format!(
            "SELECT b.place, s.event_id
             FROM UNNEST($1::bigint[], $2::text[], $3::bytea[], $4::integer[], $5::text[], $6::timestamptz[], $7::integer[], $8::bigint[], $9::text[])
                  AS b (place, source, digest, item, event_id, received_at, raw_partition, raw_offset, raw_epoch)
             JOIN {bodies} s ON s.source = b.source AND s.digest = b.digest AND s.item = b.item
             WHERE s.event_id <> b.event_id AND (b.received_at IS NULL OR b.received_at <= s.until)
               AND NOT EXISTS (SELECT FROM {events} e WHERE {same} AND e.raw_partition = b.raw_partition
                                      AND e.raw_offset = b.raw_offset AND e.raw_epoch = b.raw_epoch)"
        );
        Self(statement.into())
    }

    /// By index, the rows that are copies, and the id under which their body is stored. Asks nothing where every id is signed.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn find(
        &self,
        connection: &mut PgConnection,
        rows: &[&EventRow<'_>],
    ) -> Result<HashMap<usize, String>, sqlx::Error> {
        let bodies: Vec<(usize, &EventRow<'_>, SignedBody)> = rows
            .iter()
            .enumerate()
            .filter_map(|(place, row)| Some((place, *row, row.signed_body?)))
            .collect();
        if bodies.is_empty() {
            return Ok(HashMap::new());
        }
        macro_rules! column {
            (|$place:pat_param, $row:pat_param, $body:pat_param| $value:expr) => {
                bodies
                    .iter()
                    .map(|($place, $row, $body)| $value)
                    .collect::<Vec<_>>()
            };
        }
        let found: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(Arc::clone(&self.0)))
            .bind(column!(
                |place, _, _| i64::try_from(*place).unwrap_or(i64::MAX)
            ))
            .bind(column!(|_, row, _| row.source))
            .bind(column!(|_, _, body| body.digest.to_vec()))
            .bind(column!(|_, _, body| body.item))
            .bind(column!(|_, row, _| row.event.event_id))
            .bind(column!(|_, row, _| row.received_at))
            .bind(column!(|_, row, _| row.raw.partition))
            .bind(column!(|_, row, _| row.raw.offset))
            .bind(column!(|_, row, _| &*row.raw.epoch))
            .fetch_all(connection)
            .await?;
        let place = |(place, id)| Some((usize::try_from(place).ok()?, id));
        Ok(found.into_iter().filter_map(place).collect())
    }
}

/// Claims the bodies of these rows, which are stored, in the table `bodies`. A body that another event claimed meanwhile is an error that waits: tried
/// again, its rows are copies.
///
/// # Errors
/// Those of the statement, and that one.
pub async fn claim(
    connection: &mut PgConnection,
    bodies: &'static str,
    rows: &[&EventRow<'_>],
) -> Result<(), sqlx::Error> {
    // In one order, so that two who claim the same wait for each other and never in a circle; and each once.
    let mut claims: BTreeMap<BodyKey, (&str, OffsetDateTime, OffsetDateTime)> = BTreeMap::new();
    for row in rows {
        let until = row
            .signed_body
            .and_then(|body| time_of_micros(body.until_micros));
        if let (Some(key), Some(until)) = (key_of(row), until) {
            let received = row.received_at.unwrap_or_else(OffsetDateTime::now_utc);
            let claim = claims
                .entry(key)
                .or_insert((row.event.event_id, received, until));
            claim.2 = claim.2.max(until);
        }
    }
    if claims.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$key:pat_param, $claim:pat_param| $value:expr) => {
            claims
                .iter()
                .map(|($key, $claim)| $value)
                .collect::<Vec<_>>()
        };
    }
    let statement = format!(
        "INSERT INTO {bodies} AS s (source, digest, item, event_id, received_at, until)
         SELECT * FROM UNNEST($1::text[], $2::bytea[], $3::integer[], $4::text[], $5::timestamptz[], $6::timestamptz[])
         ON CONFLICT (source, digest, item) DO UPDATE SET event_id = excluded.event_id, received_at = excluded.received_at, until = excluded.until
         WHERE s.event_id = excluded.event_id OR s.until < excluded.received_at"
    );
    let claimed = sqlx::query(AssertSqlSafe(statement))
        .bind(column!(|(source, _, _), _| source.as_str()))
        .bind(column!(|(_, digest, _), _| digest.to_vec()))
        .bind(column!(|(_, _, item), _| *item))
        .bind(column!(|_, (event_id, _, _)| *event_id))
        .bind(column!(|_, (_, received, _)| *received))
        .bind(column!(|_, (_, _, until)| *until))
        .execute(connection)
        .await?;
    if claimed.rows_affected() == claims.len() as u64 {
        return Ok(());
    }
    Err(sqlx::Error::Protocol(
        "another instance stored the same signed body under another id meanwhile; retrying"
            .to_owned(),
    ))
}

/// Forgets bodies whose time is over, a bounded number of them.
///
/// # Errors
/// Those of the statement.
pub async fn forget(
    connection: &mut PgConnection,
    bodies: &'static str,
) -> Result<u64, sqlx::Error> {
    // What is behind may still have to be compared: a day more.
    let statement = format!(
        "DELETE FROM {bodies} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {bodies} WHERE until < clock_timestamp() - interval '1 day' LIMIT 10000))"
    );
    let forgotten = sqlx::query(AssertSqlSafe(statement)).execute(connection);
    Ok(forgotten.await?.rows_affected())
}
