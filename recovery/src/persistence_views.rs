//! Every statement that reads what persistence offers other roles: the views `event_fates`, `stored_events`, `duplicate_deliveries`,
//! `retyped_events`, `known_bodies`, `read_offsets`, `first_raw_topic` and `set_back` of its schema, kept stable like a topic. A statement that joins them with recovery's own tables stands here whole.
//!
//! Persistence may never have run in this database: ask [`is_there`] first, or use the statement that does without.

pub(crate) mod search;

use sqlx::{FromRow, PgConnection, PgExecutor};
use std::collections::HashMap;
use store::fate::{RawEvent, RawEvents, Stored};
use store::row::{EventRow, RawPosition};
use time::OffsetDateTime;

/// Whether persistence has ever run in this database, in a version that has the views.
pub(crate) async fn is_there(executor: impl PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('persistence.read_offsets') IS NOT NULL")
        .fetch_one(executor)
        .await
}

/// The raw topic its rows began with, once it knows.
pub(crate) const FIRST_RAW_TOPIC: &str = "SELECT topic_id FROM persistence.first_raw_topic";

/// When its offsets were last found set back.
pub(crate) const SET_BACK: &str = "SELECT max(found_at) FROM persistence.set_back";

/// Its table of events: not ours to read, but PostgreSQL's catalogue says what it is made of.
pub(crate) const EVENTS: &str = "persistence.events";

/// Signed bodies, and the events that are stored of them.
pub(crate) const BODIES: &str = "persistence.known_bodies";
/// Its rows.
pub(crate) const STORED_EVENTS: &str = "persistence.stored_events";

/// That two relations, by their aliases, have rows of one event: `store::row::same_event` in the literals of this file.
macro_rules! same_event {
    ($one:literal, $other:literal) => {
        concat!(
            $one,
            ".event_id = ",
            $other,
            ".event_id COLLATE \"C\" AND ",
            $one,
            ".source = ",
            $other,
            ".source COLLATE \"C\""
        )
    };
}

/// A stored event, as a dry run compares it.
#[derive(Debug, FromRow)]
pub(crate) struct StoredEvent {
    pub(crate) source: String,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) contract: Option<String>,
    pub(crate) entity_key: Option<String>,
    pub(crate) occurred_at: OffsetDateTime,
    pub(crate) received_at: Option<OffsetDateTime>,
    pub(crate) amount: Option<String>,
    pub(crate) currency: Option<String>,
    pub(crate) payload: String,
    content_hash: Vec<u8>,
    edited: bool,
    #[sqlx(flatten)]
    pub(crate) raw: RawPosition,
}

impl StoredEvent {
    /// What decides the fate of a further row of it.
    pub(crate) fn beside(&self, row: &EventRow<'_>) -> Stored {
        let differences = if self.content_hash == row.content_hash {
            None
        } else {
            row.differences(&self.event_type, &self.payload)
        };
        Stored {
            raw: self.raw.clone(),
            differences,
            contract: self.contract.clone(),
            edited: self.edited,
        }
    }
}

/// What is stored of these rows' events, by (source, event id). A text PostgreSQL refuses fails the statement.
pub(crate) async fn stored_events(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<HashMap<(String, String), StoredEvent>, sqlx::Error> {
    let found: Vec<StoredEvent> = sqlx::query_as(concat!(
        "SELECT e.source, e.event_id, e.event_type, e.contract, e.entity_key, e.occurred_at, e.received_at,
                e.amount::text AS amount, e.currency, e.payload::text AS payload, e.content_hash, e.edited_by IS NOT NULL AS edited, e.raw_epoch, e.raw_partition, e.raw_offset
         FROM UNNEST($1::text[], $2::text[]) AS batch (source, event_id)
         JOIN persistence.stored_events e ON ",
        same_event!("e", "batch")
    ))
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
        "SELECT f.raw_epoch, f.raw_partition, f.raw_offset, f.source, f.event_id
         FROM UNNEST($1::integer[], $2::bigint[], $3::text[]) AS batch (raw_partition, raw_offset, raw_epoch)
         JOIN persistence.event_fates f USING (raw_partition, raw_offset, raw_epoch)",
    )
    .bind(rows.iter().map(|row| row.raw.partition).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw.offset).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| &*row.raw.epoch).collect::<Vec<_>>())
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
                 SELECT raw_offset AS o, count(*) FILTER (WHERE fate = 'stored') AS stored,
                        count(*) FILTER (WHERE fate = 'filtered') AS filtered, count(*) AS all_rows
                 FROM ",
            $fates,
            "    WHERE $5 || raw_epoch = $1 AND raw_partition = $2 AND raw_offset >= $3 AND raw_offset < $4 GROUP BY raw_offset
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
                     WHEN r.filtered = 1 THEN 'filtered'
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
                    count(*) FILTER (WHERE fate = 'filtered') AS filtered,
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

/// The fate of every offset of a range ($3 to $4) of a partition ($2) of the raw topic (by its name alone: $5, with its epoch: $1).
pub(crate) const FATES_OF_RANGE: &str = fates_of_range!("persistence.event_fates");
/// The same where persistence has never run: nothing is stored.
pub(crate) const FATES_OF_RANGE_WITHOUT: &str = fates_of_range!(
    "(SELECT ''::text AS raw_epoch, 0 AS raw_partition, 0::bigint AS raw_offset, ''::text AS fate WHERE false) f "
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
            "    ON f.raw_partition = d.origin_partition AND f.raw_offset = d.origin_offset AND $4 || f.raw_epoch = d.origin_topic
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
/// The pages ($2 offsets each) of the raw topic (by its name alone: $4, with its epoch: $1) in which something changed since they were classified, and the one not classified for
/// longest; at most $3.
pub(crate) const CHANGED_PAGES: &str = changed_pages!("persistence.event_fates f");
/// The same where persistence has never run.
pub(crate) const CHANGED_PAGES_WITHOUT: &str = changed_pages!(
    "(SELECT ''::text AS raw_epoch, 0 AS raw_partition, 0::bigint AS raw_offset WHERE false) f "
);

/// Replays sent to a group ($1) until then ($2) that are still awaited and whose raw record (of topic $3) has no row; at most $4. Dead letters
/// are locked in order, as by everybody; one that was resolved or discarded meanwhile is another version, and left alone.
pub(crate) const AWAITED_WITHOUT_ROW: &str =
    "SELECT d.id AS letter, i.job_id AS job, j.created_by AS who
         FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id JOIN replay_jobs j ON j.id = i.job_id
         WHERE i.state = 'sent' AND i.sent_at <= $2 AND d.state = 'replaying' AND d.job_id = i.job_id AND d.consumer_group = $1
           AND NOT (d.origin_group = ''
                    AND EXISTS (SELECT FROM persistence.event_fates f
                                WHERE f.raw_partition = d.origin_partition AND f.raw_offset = d.origin_offset
                                  AND $3 || f.raw_epoch = d.origin_topic))
         ORDER BY d.id LIMIT $4 FOR UPDATE OF d";

/// Of these dead letters ($2), those that were sent back and whose raw record (of topic $1) has its fate. They are locked in order, as by
/// everybody.
pub(crate) const SETTLED_REPLAYS: &str =
    "SELECT i.job_id AS job, d.id AS letter, f.fate, j.created_by AS who
         FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id JOIN replay_jobs j ON j.id = i.job_id
         JOIN LATERAL (SELECT fate FROM persistence.event_fates f
                       WHERE f.raw_partition = d.origin_partition AND f.raw_offset = d.origin_offset AND $1 || f.raw_epoch = d.origin_topic
                       ORDER BY fate DESC LIMIT 1) f ON true
         WHERE i.dead_letter_id = ANY($2) AND i.state = 'sent' AND d.state = 'replaying' AND d.job_id = i.job_id
           AND d.origin_group = ''
         ORDER BY d.id FOR UPDATE OF d SKIP LOCKED";

macro_rules! row_of_item {
    ($has:literal) => {
        concat!(
            $has,
            " (SELECT FROM persistence.stored_events e WHERE ",
            same_event!("e", "i"),
            "          AND e.raw_partition = i.raw_partition AND e.raw_offset = i.raw_offset AND e.raw_epoch = i.raw_epoch
                       AND e.contract <> i.contract)"
        )
    };
}

/// Marks events of revalidations that were sent, and whose rows have another contract now; at most $1.
pub(crate) const RETYPED_ITEMS: &str = concat!(
    "WITH done AS (SELECT i.job_id, i.dead_letter_id FROM replay_items i WHERE i.state = 'sent' AND i.dead_letter_id < 0 AND ",
    row_of_item!("EXISTS"),
    " ORDER BY i.job_id, i.dead_letter_id LIMIT $1 FOR UPDATE OF i SKIP LOCKED)
     UPDATE replay_items i SET state = 'retyped', settled_at = clock_timestamp() FROM done
     WHERE i.job_id = done.job_id AND i.dead_letter_id = done.dead_letter_id AND i.state = 'sent'"
);

/// Fails those that were sent until then ($1), and whose rows have the contract they had; at most $2, with this code ($3) and detail ($4).
pub(crate) const NOT_RETYPED_ITEMS: &str = concat!(
    "WITH done AS (SELECT i.job_id, i.dead_letter_id FROM replay_items i WHERE i.state = 'sent' AND i.dead_letter_id < 0 AND i.sent_at <= $1 AND ",
    row_of_item!("NOT EXISTS"),
    " ORDER BY i.job_id, i.dead_letter_id LIMIT $2 FOR UPDATE OF i SKIP LOCKED)
     UPDATE replay_items i SET state = 'failed', code = $3, detail = $4, settled_at = clock_timestamp() FROM done
     WHERE i.job_id = done.job_id AND i.dead_letter_id = done.dead_letter_id AND i.state = 'sent'"
);

/// Freezes into a job ($1) the stored events of these sources ($2) and types ($4, or all) whose contract is one of these ($3), received from
/// then ($5) until then ($6), at most so many ($7), the newest. In the order of the raw topic: what happened to one entity keeps its order.
pub(crate) const FREEZE_ROWS: &str =
    "INSERT INTO replay_items (job_id, dead_letter_id, position, raw_partition, raw_offset, raw_epoch, source, event_id, contract)
     SELECT $1, -n, n, raw_partition, raw_offset, raw_epoch, source, event_id, contract
     FROM (SELECT row_number() OVER (ORDER BY raw_epoch, raw_partition, raw_offset)::integer AS n, c.*
           FROM (SELECT e.raw_partition, e.raw_offset, e.raw_epoch, e.source, e.event_id, e.contract FROM persistence.stored_events e
                 WHERE e.source = ANY($2) AND e.contract = ANY($3) AND (cardinality($4::text[]) = 0 OR e.event_type = ANY($4))
                   AND ($5::timestamptz IS NULL OR e.received_at >= $5) AND ($6::timestamptz IS NULL OR e.received_at < $6)
                 ORDER BY e.stored_at DESC LIMIT $7) c) s";

/// The pending events of a revalidation ($1) after a position ($2), at most $3, each with the contract that its row has now. Of its raw record's (of
/// topic $4) dead letter, if there was one: whether it was edited, which rows of former versions do not say, and who called it genuine.
pub(crate) const PENDING_ROWS: &str = concat!(
    "SELECT i.dead_letter_id AS id, i.position, i.raw_partition, i.raw_offset, i.raw_epoch, i.event_id, i.contract, e.contract AS contract_now,
            e.edited_by IS NOT NULL OR d.edit_id IS NOT NULL AS edited, d.genuine_by
     FROM replay_items i
     LEFT JOIN persistence.stored_events e ON ",
    same_event!("e", "i"),
    "          AND e.raw_partition = i.raw_partition
               AND e.raw_offset = i.raw_offset AND e.raw_epoch = i.raw_epoch
     LEFT JOIN dead_letters d ON d.origin_topic = $4 || i.raw_epoch AND d.origin_partition = i.raw_partition
               AND d.origin_offset = i.raw_offset AND d.origin_group = ''
     WHERE i.job_id = $1 AND i.state = 'pending' AND i.position > $2 ORDER BY i.position LIMIT $3"
);

/// When rows of these raw records ($2 to $4) were typed again; at most $1.
pub(crate) const RETYPED_BY_RAW: &str =
    "SELECT t.contract_before, t.contract, t.retyped_at, t.raw_epoch, t.raw_partition, t.raw_offset FROM persistence.retyped_events t
     JOIN UNNEST($2::integer[], $3::bigint[], $4::text[]) AS asked (raw_partition, raw_offset, raw_epoch)
         USING (raw_partition, raw_offset, raw_epoch) LIMIT $1";

/// Marks open dead letters of the raw topic ($3), numbers $1 to $2, resolved whose raw record has its fate.
pub(crate) const RESOLVE_STORED: &str =
    "UPDATE dead_letters d
     SET state = 'resolved', resolution = f.fate, settled_at = f.settled_at, settled_by = $4
     FROM dead_letters o CROSS JOIN LATERAL (
         SELECT fate, settled_at FROM persistence.event_fates
         WHERE raw_partition = o.origin_partition AND raw_offset = o.origin_offset AND $3 || raw_epoch = o.origin_topic
         ORDER BY fate DESC LIMIT 1) f
     WHERE o.id > $1 AND o.id <= $2 AND o.state = 'open' AND of_raw_topic(o.origin_topic, $3) AND o.origin_group = ''
       AND d.id = o.id AND d.state = 'open'";

/// What is stored of an event ($1, of source $2).
pub(crate) const STORED_CONTENT: &str =
    "SELECT raw_epoch, raw_partition, raw_offset, stored_at::text AS stored_at, event_type, payload::text AS payload
         FROM persistence.stored_events WHERE event_id = $1 COLLATE \"C\" AND source = $2 COLLATE \"C\"";

// Rows and further deliveries of a trace; at most $1.

macro_rules! rows_where {
    ($condition:expr) => {
        concat!(
            "SELECT e.source, e.event_id, e.event_type, e.entity_key, e.trace_id, e.secret_id, e.schema_id, e.received_at, e.stored_at,
                    e.raw_epoch, e.raw_partition, e.raw_offset FROM persistence.stored_events e ",
            $condition,
            " LIMIT $1"
        )
    };
}

macro_rules! deliveries_where {
    ($condition:literal) => {
        concat!(
            "SELECT d.source, d.event_id, d.received_at, d.seen_at, d.rule, d.same_body_as, d.raw_epoch, d.raw_partition, d.raw_offset
             FROM (SELECT source, event_id, received_at, seen_at, NULL::text AS rule, same_body_as, raw_epoch, raw_partition, raw_offset
                   FROM persistence.duplicate_deliveries
                   UNION ALL
                   SELECT source, event_id, received_at, seen_at, rule, NULL::text AS same_body_as, raw_epoch, raw_partition, raw_offset
                   FROM persistence.filtered_events) d ",
            $condition,
            " LIMIT $1"
        )
    };
}

pub(crate) const ROWS_BY_EVENT_ID: &str = rows_where!("WHERE e.event_id = $2 COLLATE \"C\"");
pub(crate) const ROWS_BY_ENTITY_KEY: &str = rows_where!("WHERE e.entity_key = $2");
pub(crate) const ROWS_BY_TRACE_ID: &str = rows_where!("WHERE e.trace_id = $2");
pub(crate) const ROWS_BY_EVENT: &str = rows_where!(concat!(
    "JOIN UNNEST($2::text[], $3::text[]) AS asked (source, event_id) ON ",
    same_event!("e", "asked")
));
pub(crate) const ROWS_BY_RAW: &str = rows_where!(
    "JOIN UNNEST($2::integer[], $3::bigint[], $4::text[]) AS asked (raw_partition, raw_offset, raw_epoch)
         USING (raw_partition, raw_offset, raw_epoch)"
);
pub(crate) const DELIVERIES_BY_EVENT_ID: &str = deliveries_where!("WHERE d.event_id = $2");
pub(crate) const DELIVERIES_BY_EVENT: &str = deliveries_where!(
    "JOIN UNNEST($2::text[], $3::text[]) AS asked (source, event_id) ON d.event_id = asked.event_id AND d.source = asked.source"
);
pub(crate) const DELIVERIES_BY_RAW: &str = deliveries_where!(
    "JOIN UNNEST($2::integer[], $3::bigint[], $4::text[]) AS asked (raw_partition, raw_offset, raw_epoch)
         USING (raw_partition, raw_offset, raw_epoch)"
);
