//! Events that are not wanted: known by coordinates, source, id and type, so that every raw record has a fate.

use contracts::kafka::headers;
use contracts::{Rejection, RejectionCode};
use runtime::consumer::Record;
use sqlx::PgConnection;
use std::collections::HashSet;
use store::offsets::BatchRecord;
use store::row::{EventRow, RawPosition, time_of_micros};
use time::OffsetDateTime;

/// An event that a rule of its source filters.
#[derive(Debug)]
pub struct FilteredEvent<'a> {
    pub(crate) raw: RawPosition,
    source: &'a str,
    event_id: &'a str,
    event_type: &'a str,
    rule: &'a str,
    received_at: Option<OffsetDateTime>,
    /// Where its record is in the batch
    pub(crate) record: BatchRecord,
}

impl<'a> FilteredEvent<'a> {
    /// Of a record that says so; `None` of any other.
    ///
    /// # Errors
    /// `bad_datum` where the record does not say which event it is.
    pub(crate) fn of(
        record: &Record<'a>,
        raw: impl FnOnce() -> Option<RawPosition>,
        place: BatchRecord,
    ) -> Option<Result<Self, Rejection>> {
        let rule = record.header_text(headers::FILTERED)?;
        let texts = [
            headers::SOURCE,
            headers::FILTERED_ID,
            headers::FILTERED_TYPE,
        ]
        .map(|name| record.header_text(name));
        let ([Some(source), Some(event_id), Some(event_type)], Some(raw)) = (texts, raw()) else {
            let detail = "it is filtered, and does not say which event it is";
            return Some(Err(Rejection::new(RejectionCode::BadDatum, None, detail)));
        };
        let received_at = record.header_text(headers::RECEIVED_AT);
        Some(Ok(Self {
            raw,
            source,
            event_id,
            event_type,
            rule,
            received_at: received_at
                .and_then(|micros| micros.parse().ok())
                .and_then(time_of_micros),
            record: place,
        }))
    }
}

/// Records filtered events; returns those that had no fate before. What is stored stays stored.
pub(crate) async fn record(
    connection: &mut PgConnection,
    events: &[FilteredEvent<'_>],
) -> Result<HashSet<RawPosition>, sqlx::Error> {
    if events.is_empty() {
        return Ok(HashSet::new());
    }
    macro_rules! column {
        (|$event:ident| $value:expr) => {
            events.iter().map(|$event| $value).collect::<Vec<_>>()
        };
    }
    let recorded: Vec<RawPosition> = sqlx::query_as(
        "INSERT INTO filtered (raw_partition, raw_offset, raw_epoch, source, event_id, event_type, rule, received_at)
         SELECT b.* FROM UNNEST($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
              AS b (raw_partition, raw_offset, raw_epoch, source, event_id, event_type, rule, received_at)
         WHERE NOT EXISTS (SELECT FROM event_fates f WHERE f.raw_partition = b.raw_partition AND f.raw_offset = b.raw_offset
                               AND f.raw_epoch = b.raw_epoch)
         ON CONFLICT DO NOTHING
         RETURNING raw_epoch, raw_partition, raw_offset",
    )
    .bind(column!(|event| event.raw.partition))
    .bind(column!(|event| event.raw.offset))
    .bind(column!(|event| &*event.raw.epoch))
    .bind(column!(|event| event.source))
    .bind(column!(|event| event.event_id))
    .bind(column!(|event| event.event_type))
    .bind(column!(|event| event.rule))
    .bind(column!(|event| event.received_at))
    .fetch_all(connection)
    .await?;
    Ok(recorded.into_iter().collect())
}

/// Replays that are stored now, or duplicates, are filtered no more: their rule was removed.
pub(crate) async fn forget(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<(), sqlx::Error> {
    let replayed: Vec<&RawPosition> = rows
        .iter()
        .filter(|row| row.replayed)
        .map(|row| &row.raw)
        .collect();
    if replayed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM filtered f USING UNNEST($1::integer[], $2::bigint[], $3::text[]) AS b (raw_partition, raw_offset, raw_epoch)
         WHERE f.raw_partition = b.raw_partition AND f.raw_offset = b.raw_offset AND f.raw_epoch = b.raw_epoch",
    )
    .bind(replayed.iter().map(|raw| raw.partition).collect::<Vec<_>>())
    .bind(replayed.iter().map(|raw| raw.offset).collect::<Vec<_>>())
    .bind(replayed.iter().map(|raw| &*raw.epoch).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(drop)
}
