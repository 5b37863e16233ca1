//! Every statement that reads what persistence offers other roles: the views `event_fates`, `stored_events`, `duplicate_deliveries` and
//! `read_offsets` of its schema, kept stable like a topic. A statement that joins them with recovery's own tables stands here whole.
//!
//! Persistence may never have run in this database: ask [`is_there`] first, or use the statement that does without.

use sqlx::{FromRow, PgConnection, PgExecutor};
use std::collections::HashMap;
use store::fate::{RawEvent, RawEvents, Stored};
use store::row::EventRow;
use time::OffsetDateTime;

/// Whether persistence has ever run in this database, in a version that has the views.
pub(crate) async fn is_there(executor: impl PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('persistence.read_offsets') IS NOT NULL")
        .fetch_one(executor)
        .await
}

/// Its table of events: not ours to read, but PostgreSQL's catalogue says what it is made of.
pub(crate) const EVENTS: &str = "persistence.events";

/// A stored event, as a dry run compares it.
#[derive(Debug, FromRow)]
pub(crate) struct StoredEvent {
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) schema_version: String,
    pub(crate) entity_key: Option<String>,
    pub(crate) occurred_at: OffsetDateTime,
    pub(crate) received_at: Option<OffsetDateTime>,
    pub(crate) amount: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) payload: String,
    content_hash: Vec<u8>,
    pub(crate) raw_partition: i32,
    pub(crate) raw_offset: i64,
}

impl StoredEvent {
    /// What decides the fate of a further row of it.
    pub(crate) fn stored(&self) -> Stored {
        Stored {
            content_hash: self.content_hash.clone(),
            raw: (self.raw_partition, self.raw_offset),
        }
    }
}

/// What is stored of these rows' events, by (source, event id). A text PostgreSQL refuses fails the statement.
pub(crate) async fn stored_events(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<HashMap<(String, String), StoredEvent>, sqlx::Error> {
    let found: Vec<StoredEvent> = sqlx::query_as(
        "SELECT e.source, e.event_id, e.event_type, e.schema_version, e.entity_key, e.occurred_at, e.received_at,
                e.amount::text AS amount, e.currency, e.payload::text AS payload, e.content_hash, e.raw_partition, e.raw_offset
         FROM UNNEST($1::text[], $2::text[]) AS batch (source, event_id)
         JOIN persistence.stored_events e ON e.source = batch.source AND e.event_id = batch.event_id",
    )
    .bind(rows.iter().map(|row| row.source).collect::<Vec<_>>())
    .bind(
        rows.iter()
            .map(|row| row.event.event_id)
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await?;
    let key = |event: &StoredEvent| (event.source.clone(), event.event_id.clone());
    Ok(found
        .into_iter()
        .map(|event| (key(&event), event))
        .collect())
}

/// Which events the raw records of these rows are already.
pub(crate) async fn raw_events(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<RawEvents, sqlx::Error> {
    let found: Vec<RawEvent> = sqlx::query_as(
        "SELECT f.raw_partition, f.raw_offset, f.source, f.event_id
         FROM UNNEST($1::integer[], $2::bigint[]) AS batch (raw_partition, raw_offset)
         JOIN persistence.event_fates f ON f.raw_partition = batch.raw_partition AND f.raw_offset = batch.raw_offset",
    )
    .bind(rows.iter().map(|row| row.raw.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw.1).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(RawEvents::known(found))
}

/// By partition, the next offset of a group ($1) in a topic ($2): every record before it has its row or its acknowledged dead letter.
pub(crate) const NEXT_OFFSETS: &str = "SELECT partition, next_offset FROM persistence.read_offsets WHERE consumer_group = $1 AND topic = $2";

macro_rules! fates_of_range {
    ($fates:literal) => {
        concat!(
            "WITH rows AS (
                 SELECT raw_offset AS o, count(*) FILTER (WHERE fate = 'stored') AS stored, count(*) AS all_rows
                 FROM ",
            $fates,
            "    WHERE raw_partition = $2 AND raw_offset >= $3 AND raw_offset < $4 GROUP BY raw_offset
             ), letters AS (
                 SELECT origin_offset AS o, state FROM dead_letters
                 WHERE origin_topic = $1 AND origin_partition = $2 AND origin_offset >= $3 AND origin_offset < $4 AND origin_group = ''
             ), no_records AS (
                 SELECT \"offset\" AS o FROM audit_absent WHERE topic = $1 AND partition = $2 AND \"offset\" >= $3 AND \"offset\" < $4
             ), classified AS (
                 SELECT o, CASE
                     WHEN r.all_rows > 1 THEN 'two_rows'
                     WHEN r.all_rows = 1 AND l.state = 'open' THEN 'open_and_stored'
                     WHEN r.stored = 1 THEN 'stored'
                     WHEN r.all_rows = 1 THEN 'duplicate'
                     WHEN l.state = 'resolved' THEN 'resolved_without_row'
                     WHEN l.state IS NOT NULL THEN l.state -- open, replaying, discarded
                     WHEN a.o IS NOT NULL THEN 'absent'
                     ELSE 'gap'
                 END AS fate
                 FROM generate_series($3::bigint, $4::bigint - 1) AS o
                 LEFT JOIN rows r USING (o) LEFT JOIN letters l USING (o) LEFT JOIN no_records a USING (o)
             )
             SELECT count(*) FILTER (WHERE fate = 'stored') AS stored, count(*) FILTER (WHERE fate = 'duplicate') AS duplicate,
                    count(*) FILTER (WHERE fate = 'open') AS open, count(*) FILTER (WHERE fate = 'replaying') AS replaying,
                    count(*) FILTER (WHERE fate = 'discarded') AS discarded, count(*) FILTER (WHERE fate = 'absent') AS absent,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'gap'), '{}') AS gap,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'resolved_without_row'), '{}') AS resolved_without_row,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'two_rows'), '{}') AS two_rows,
                    coalesce(array_agg(o) FILTER (WHERE fate = 'open_and_stored'), '{}') AS open_and_stored
             FROM classified"
        )
    };
}

/// The fate of every offset of a range ($3 to $4) of a partition ($2) of the raw topic ($1).
pub(crate) const FATES_OF_RANGE: &str = fates_of_range!("persistence.event_fates");
/// The same where persistence has never run: nothing is stored.
pub(crate) const FATES_OF_RANGE_WITHOUT: &str = fates_of_range!(
    "(SELECT 0 AS raw_partition, 0::bigint AS raw_offset, ''::text AS fate WHERE false) f "
);

macro_rules! changed_pages {
    ($fates:literal) => {
        concat!(
            "WITH since AS (SELECT coalesce(max(reached_at), '-infinity') - interval '5 minutes' AS at FROM audit_checkpoints WHERE topic = $1),
             touched AS (
                 SELECT partition, page FROM audit_pages WHERE topic = $1 AND (replaying > 0 OR gap > 0 OR double_fate > 0)
                 UNION
                 SELECT origin_partition, origin_offset / $2 FROM dead_letters
                 WHERE origin_topic = $1 AND origin_group = '' AND state = 'replaying'
                 UNION
                 SELECT origin_partition, origin_offset / $2 FROM dead_letters
                 WHERE settled_at >= (SELECT at FROM since) AND origin_topic = $1 AND origin_group = ''
                 UNION
                 SELECT d.origin_partition, d.origin_offset / $2 FROM dead_letters d
                 JOIN ",
            $fates,
            "    ON f.raw_partition = d.origin_partition AND f.raw_offset = d.origin_offset
                 WHERE d.origin_topic = $1 AND d.origin_group = '' AND d.state = 'open'
                 UNION
                 (SELECT partition, page FROM audit_pages WHERE topic = $1 ORDER BY examined_at LIMIT 1)
             )
             SELECT p.partition, greatest(p.page * $2, f.first_offset), p.next_offset
             FROM touched JOIN audit_pages p USING (partition, page) JOIN audit_frontier f ON f.topic = p.topic AND f.partition = p.partition
             WHERE p.topic = $1 ORDER BY p.examined_at LIMIT $3"
        )
    };
}
/// The pages ($2 offsets each) of the raw topic ($1) in which something changed since they were classified, and the one not classified for
/// longest; at most $3.
pub(crate) const CHANGED_PAGES: &str = changed_pages!("persistence.event_fates f");
/// The same where persistence has never run.
pub(crate) const CHANGED_PAGES_WITHOUT: &str =
    changed_pages!("(SELECT 0 AS raw_partition, 0::bigint AS raw_offset WHERE false) f ");

/// Replays sent to a group ($1) until then ($2) that are still awaited and whose raw record (of topic $3) has no row; at most $4. Dead letters
/// are locked in order, as by everybody; one that was resolved or discarded meanwhile is another version, and left alone.
pub(crate) const AWAITED_WITHOUT_ROW: &str =
    "SELECT d.id AS letter, i.job_id AS job, j.created_by AS who
         FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id JOIN replay_jobs j ON j.id = i.job_id
         WHERE i.state = 'sent' AND i.sent_at <= $2 AND d.state = 'replaying' AND d.job_id = i.job_id AND d.consumer_group = $1
           AND NOT (d.origin_topic = $3 AND d.origin_group = ''
                    AND EXISTS (SELECT FROM persistence.event_fates f
                                WHERE f.raw_partition = d.origin_partition AND f.raw_offset = d.origin_offset))
         ORDER BY d.id LIMIT $4 FOR UPDATE OF d";

/// Of these dead letters ($2), those that were sent back and whose raw record (of topic $1) has its fate. They are locked in order, as by
/// everybody.
pub(crate) const SETTLED_REPLAYS: &str =
    "SELECT i.job_id AS job, d.id AS letter, f.fate, j.created_by AS who
         FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id JOIN replay_jobs j ON j.id = i.job_id
         JOIN LATERAL (SELECT fate FROM persistence.event_fates f
                       WHERE f.raw_partition = d.origin_partition AND f.raw_offset = d.origin_offset ORDER BY fate DESC LIMIT 1) f ON true
         WHERE i.dead_letter_id = ANY($2) AND i.state = 'sent' AND d.state = 'replaying' AND d.job_id = i.job_id
           AND d.origin_topic = $1 AND d.origin_group = ''
         ORDER BY d.id FOR UPDATE OF d SKIP LOCKED";

/// Marks open dead letters of the raw topic ($3), numbers $1 to $2, resolved whose raw record has its fate.
pub(crate) const RESOLVE_STORED: &str =
    "UPDATE dead_letters d
     SET state = 'resolved', resolution = f.fate, settled_at = f.settled_at, settled_by = 'reindex'
     FROM dead_letters o CROSS JOIN LATERAL (
         SELECT fate, settled_at FROM persistence.event_fates
         WHERE raw_partition = o.origin_partition AND raw_offset = o.origin_offset ORDER BY fate DESC LIMIT 1) f
     WHERE o.id > $1 AND o.id <= $2 AND o.state = 'open' AND o.origin_topic = $3 AND o.origin_group = ''
       AND d.id = o.id AND d.state = 'open'";

/// What is stored of an event ($1, of source $2).
pub(crate) const STORED_CONTENT: &str =
    "SELECT content_hash, raw_partition, raw_offset, stored_at::text AS stored_at, event_type, schema_version, payload::text AS payload,
                (extract(epoch FROM occurred_at) * 1000000)::bigint AS occurred_at_micros
         FROM persistence.stored_events WHERE event_id = $1 AND source = $2";

// Rows and further deliveries of a trace; at most $1.

macro_rules! rows_where {
    ($condition:literal) => {
        concat!(
            "SELECT e.source, e.event_id, e.event_type, e.entity_key, e.trace_id, e.secret_id, e.schema_id, e.received_at, e.stored_at,
                    e.raw_partition, e.raw_offset FROM persistence.stored_events e ",
            $condition,
            " LIMIT $1"
        )
    };
}

macro_rules! deliveries_where {
    ($condition:literal) => {
        concat!(
            "SELECT d.source, d.event_id, d.received_at, d.seen_at, d.raw_partition, d.raw_offset
             FROM persistence.duplicate_deliveries d ",
            $condition,
            " LIMIT $1"
        )
    };
}

pub(crate) const ROWS_BY_EVENT_ID: &str = rows_where!("WHERE e.event_id = $2");
pub(crate) const ROWS_BY_ENTITY_KEY: &str = rows_where!("WHERE e.entity_key = $2");
pub(crate) const ROWS_BY_TRACE_ID: &str = rows_where!("WHERE e.trace_id = $2");
pub(crate) const ROWS_BY_EVENT: &str = rows_where!(
    "JOIN UNNEST($2::text[], $3::text[]) AS asked (source, event_id) ON e.event_id = asked.event_id AND e.source = asked.source"
);
pub(crate) const ROWS_BY_RAW: &str = rows_where!(
    "JOIN UNNEST($2::integer[], $3::bigint[]) AS asked (partition, o) ON e.raw_partition = asked.partition AND e.raw_offset = asked.o"
);
pub(crate) const DELIVERIES_BY_EVENT_ID: &str = deliveries_where!("WHERE d.event_id = $2");
pub(crate) const DELIVERIES_BY_EVENT: &str = deliveries_where!(
    "JOIN UNNEST($2::text[], $3::text[]) AS asked (source, event_id) ON d.event_id = asked.event_id AND d.source = asked.source"
);
pub(crate) const DELIVERIES_BY_RAW: &str = deliveries_where!(
    "JOIN UNNEST($2::integer[], $3::bigint[]) AS asked (partition, o) ON d.raw_partition = asked.partition AND d.raw_offset = asked.o"
);
