//! Rows into the database: new ones inserted, further failures of known dead letters told from copies. Writing them again changes nothing.

use super::row::DeadLetterRow;
use crate::metrics as names;
use crate::replay::state::FAIL_AGAIN;
use contracts::webhook::unproven::Unproven;
use runtime::consumer::StageError;
use serde_json::Value;
use sqlx::postgres::{PgArguments, PgPool};
use sqlx::query::Query;
use sqlx::{FromRow, PgConnection, Postgres, Transaction};
use std::collections::{HashMap, HashSet};
use store::fault::{classify, is_row_fault, sqlstate};
use store::refused::{self, Cell, Refusal, Refusals};

/// Partition and offset in the dead-letter topic.
pub(crate) type DlqPosition = (i32, i64);

/// What a write changed. What is in none of these was there already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// New dead letters
    pub(crate) new: Vec<DlqPosition>,
    /// Dead letters that failed again
    pub(crate) again: Vec<DlqPosition>,
    /// Further copies, kept as failures
    pub(crate) copies: Vec<DlqPosition>,
    /// Indexed without the texts PostgreSQL refused
    pub(crate) sanitized: u64,
}

impl Written {
    pub(crate) fn count(&self) {
        metrics::counter!(names::INDEXED).increment(self.new.len() as u64);
        metrics::counter!(names::FAILED_AGAIN).increment(self.again.len() as u64);
        metrics::counter!(names::COPIES).increment(self.copies.len() as u64);
        metrics::counter!(names::SANITIZED).increment(self.sanitized);
    }
}

/// Writes rows in a transaction that is left open, for whatever must be committed with them.
///
/// A row PostgreSQL refuses for its content is written without its texts: nothing is too broken to be indexed.
pub(crate) async fn write<'p>(
    pool: &'p PgPool,
    rows: &[DeadLetterRow<'_>],
) -> Result<(Transaction<'p, Postgres>, Written), StageError> {
    if let Some(flood) = write_new(pool, rows).await? {
        return Ok(flood);
    }
    refused::apply(
        pool,
        rows,
        |connection, rows| {
            Box::pin(async move {
                let rows: Vec<Value> = rows.iter().map(document).collect();
                refused::refusals(connection, INSERT_ONE, &rows).await
            })
        },
        |connection, rows, refusals| Box::pin(apply_readable(connection, rows, refusals)),
    )
    .await
}

/// Nearly every batch is new through and through, and costs a third less without the question what of it is there. None when it is not so.
async fn write_new<'p>(
    pool: &'p PgPool,
    rows: &[DeadLetterRow<'_>],
) -> Result<Option<(Transaction<'p, Postgres>, Written)>, StageError> {
    if rows.iter().any(|row| row.replay_count > 0) {
        return Ok(None);
    }
    let mut transaction = pool.begin().await.map_err(classify)?;
    match bind(INSERT_NEW, &rows.iter().collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await
    {
        Ok(_) => Ok(Some((
            transaction,
            Written {
                new: rows.iter().map(|row| row.dlq).collect(),
                ..Written::default()
            },
        ))),
        Err(error) if is_row_fault(&error) || sqlstate(&error).as_deref() == Some("23505") => {
            transaction.rollback().await.map_err(classify)?;
            Ok(None)
        }
        Err(error) => Err(classify(error)),
    }
}

/// Applies rows, those that PostgreSQL refuses without their texts.
async fn apply_readable(
    connection: &mut PgConnection,
    rows: &[DeadLetterRow<'_>],
    refusals: &Refusals,
) -> Result<Written, sqlx::Error> {
    if refusals.iter().all(Option::is_none) {
        return apply(connection, rows).await;
    }
    let (mut readable, mut sanitized) = (Vec::with_capacity(rows.len()), 0);
    for (row, refusal) in rows.iter().zip(refusals) {
        let Some(Refusal { message, .. }) = refusal else {
            readable.push(row.clone());
            continue;
        };
        tracing::warn!(
            event = "row_sanitized",
            partition = row.dlq.0,
            offset = row.dlq.1,
            problem = message
        );
        readable.push(row.plain(message));
        sanitized += 1;
    }
    let written = apply(connection, &readable).await?;
    Ok(Written {
        sanitized,
        ..written
    })
}

/// The columns a batch gives, in order.
macro_rules! columns {
    () => {
        "group_id, origin_topic, origin_partition, origin_offset, origin_group, family, dlq_partition, dlq_offset, consumer_group, \
         failed_topic, failed_partition, failed_offset, detail, disposition, attempts, replay_count, first_failed_at, last_failed_at, \
         received_at, service_version, event_id, entity_key, trace_id, key, value, value_bytes, value_sha256, headers, kept_bytes, unproven"
    };
}

macro_rules! batch {
    () => {
        concat!(
            "UNNEST($1::bigint[], $2::text[], $3::integer[], $4::bigint[], $5::text[], $6::text[], $7::integer[], $8::bigint[], $9::text[], \
             $10::text[], $11::integer[], $12::bigint[], $13::text[], $14::text[], $15::integer[], $16::integer[], $17::timestamptz[], \
             $18::timestamptz[], $19::timestamptz[], $20::text[], $21::text[], $22::text[], $23::text[], $24::bytea[], $25::bytea[], \
             $26::integer[], $27::bytea[], $28::text[], $29::integer[], $30::text[]) AS b (",
            columns!(),
            ")"
        )
    };
}

/// The batch of one row, which is JSON.
macro_rules! one {
    () => {
        "json_to_record($1::json) AS b (group_id bigint, origin_topic text, origin_partition integer, origin_offset bigint, origin_group text, \
         family text, dlq_partition integer, dlq_offset bigint, consumer_group text, failed_topic text, failed_partition integer, \
         failed_offset bigint, detail text, disposition text, attempts integer, replay_count integer, first_failed_at timestamptz, \
         last_failed_at timestamptz, received_at timestamptz, service_version text, event_id text, entity_key text, trace_id text, key bytea, \
         value bytea, value_bytes integer, value_sha256 bytea, headers text, kept_bytes integer, unproven text)"
    };
}

macro_rules! same_origin {
    () => {
        "d.origin_topic = b.origin_topic AND d.origin_partition = b.origin_partition AND d.origin_offset = b.origin_offset \
         AND d.origin_group = b.origin_group"
    };
}

macro_rules! insert_from {
    ($rows:ident) => {
        concat!(
            "INSERT INTO dead_letters (",
            columns!(),
            ") SELECT group_id, origin_topic, origin_partition, origin_offset, origin_group, family, dlq_partition, dlq_offset, \
             consumer_group, failed_topic, failed_partition, failed_offset, detail, disposition, attempts, replay_count, first_failed_at, \
             last_failed_at, received_at, service_version, event_id, entity_key, trace_id, key, value, value_bytes, value_sha256, \
             headers::json, kept_bytes, unproven FROM ",
            $rows!()
        )
    };
}

/// For a batch of which nothing is there: a flood.
const INSERT_NEW: &str = insert_from!(batch);
const INSERT: &str = concat!(
    insert_from!(batch),
    " ON CONFLICT DO NOTHING RETURNING dlq_partition, dlq_offset"
);
const INSERT_ONE: &str = concat!(insert_from!(one), " ON CONFLICT DO NOTHING");

/// Rows that will be changed are locked before groups are, as by everyone else who changes dead letters.
const LOCK: &str = concat!(
    "SELECT d.id FROM dead_letters d JOIN ",
    batch!(),
    " ON ",
    same_origin!(),
    " WHERE d.replay_count < b.replay_count ORDER BY d.id FOR UPDATE OF d"
);

const KEEP_OLD_FAILURE: &str = concat!(
    "INSERT INTO failures (dead_letter_id, dlq_partition, dlq_offset, stage, code, consumer_group, detail, replay_count, failed_at, value, headers)
     SELECT d.id, d.dlq_partition, d.dlq_offset, g.stage, g.code, d.consumer_group, d.detail, d.replay_count, d.last_failed_at,
            CASE WHEN d.value_sha256 IS DISTINCT FROM b.value_sha256 THEN d.value END, d.headers
     FROM dead_letters d JOIN groups g ON g.id = d.group_id JOIN ",
    batch!(),
    " ON ",
    same_origin!(),
    " WHERE d.replay_count < b.replay_count ON CONFLICT DO NOTHING"
);

const REPLACE: &str = concat!(
    "UPDATE dead_letters d
     SET group_id = b.group_id, family = b.family, dlq_partition = b.dlq_partition, dlq_offset = b.dlq_offset,
         consumer_group = b.consumer_group, failed_topic = b.failed_topic, failed_partition = b.failed_partition,
         failed_offset = b.failed_offset, detail = b.detail, disposition = b.disposition, attempts = b.attempts,
         replay_count = b.replay_count, first_failed_at = least(d.first_failed_at, b.first_failed_at),
         last_failed_at = b.last_failed_at, service_version = b.service_version, event_id = coalesce(b.event_id, d.event_id),
         entity_key = coalesce(b.entity_key, d.entity_key), trace_id = coalesce(b.trace_id, d.trace_id), key = b.key, value = b.value,
         value_bytes = b.value_bytes, value_sha256 = b.value_sha256, headers = b.headers::json, kept_bytes = b.kept_bytes,
         unproven = coalesce(b.unproven, d.unproven), dropped_at = NULL, edit_id = NULL,
         state = CASE WHEN d.state IN ('resolved', 'discarded') THEN d.state ELSE 'open' END
     FROM ",
    batch!(),
    " WHERE ",
    same_origin!(),
    " AND d.replay_count < b.replay_count RETURNING d.dlq_partition, d.dlq_offset, d.id, d.replay_count, d.group_id, d.detail"
);

const KEEP_COPIES: &str = concat!(
    "INSERT INTO failures (dead_letter_id, dlq_partition, dlq_offset, stage, code, consumer_group, detail, replay_count, failed_at, value, headers)
     SELECT d.id, b.dlq_partition, b.dlq_offset, g.stage, g.code, b.consumer_group, b.detail, b.replay_count, b.last_failed_at,
            CASE WHEN d.value_sha256 IS DISTINCT FROM b.value_sha256 THEN b.value END, b.headers::json
     FROM dead_letters d JOIN ",
    batch!(),
    " ON ",
    same_origin!(),
    " JOIN groups g ON g.id = b.group_id
     WHERE (d.dlq_partition, d.dlq_offset) <> (b.dlq_partition, b.dlq_offset)
     ON CONFLICT DO NOTHING RETURNING dlq_partition, dlq_offset"
);

type Statement<'q> = Query<'q, Postgres, PgArguments>;

macro_rules! values {
    ($($name:ident: |$row:ident| $value:expr;)+) => {
        fn bind<'q>(statement: &'static str, rows: &[&DeadLetterRow<'_>]) -> Statement<'q> {
            sqlx::query(statement)$(.bind(rows.iter().map(|$row| $value).collect::<Vec<_>>()))+
        }

        /// The row as [`INSERT_ONE`] takes it.
        fn document(row: &DeadLetterRow<'_>) -> Value {
            let fields = [$((stringify!($name).to_owned(), { let $row = row; Cell::json($value) })),+];
            Value::Object(fields.into_iter().collect())
        }
    };
}

values! {
    group_id: |row| row.group_id;
    origin_topic: |row| &*row.origin.topic;
    origin_partition: |row| row.origin.partition;
    origin_offset: |row| row.origin.offset;
    origin_group: |row| &*row.origin_group;
    family: |row| row.family.as_str();
    dlq_partition: |row| row.dlq.0;
    dlq_offset: |row| row.dlq.1;
    consumer_group: |row| &*row.consumer_group;
    failed_topic: |row| row.failed.as_ref().map(|failed| &*failed.topic);
    failed_partition: |row| row.failed.as_ref().map(|failed| failed.partition);
    failed_offset: |row| row.failed.as_ref().map(|failed| failed.offset);
    detail: |row| &*row.detail;
    disposition: |row| &*row.disposition;
    attempts: |row| row.attempts;
    replay_count: |row| row.replay_count;
    first_failed_at: |row| row.first_failed_at;
    last_failed_at: |row| row.last_failed_at;
    received_at: |row| row.received_at;
    service_version: |row| row.service_version.as_deref();
    event_id: |row| row.event_id.as_deref();
    entity_key: |row| row.entity_key.as_deref();
    trace_id: |row| row.trace_id.as_deref();
    key: |row| row.key.as_deref();
    value: |row| row.value.as_deref();
    value_bytes: |row| row.value_bytes;
    value_sha256: |row| row.value_sha256.as_deref();
    headers: |row| row.headers.as_str();
    kept_bytes: |row| row.kept_bytes();
    unproven: |row| row.unproven.map(Unproven::as_str);
}

async fn apply(
    connection: &mut PgConnection,
    rows: &[DeadLetterRow<'_>],
) -> Result<Written, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Written::default());
    }
    let all: Vec<&DeadLetterRow<'_>> = rows.iter().collect();
    let replayed: Vec<&DeadLetterRow<'_>> =
        rows.iter().filter(|row| row.replay_count > 0).collect();
    if !replayed.is_empty() {
        bind(LOCK, &replayed).execute(&mut *connection).await?;
    }
    let new: Vec<DlqPosition> = positions(connection, INSERT, &all).await?;
    if new.len() == rows.len() {
        return Ok(Written {
            new,
            ..Written::default()
        });
    }
    let inserted: HashSet<DlqPosition> = new.iter().copied().collect();
    let known: Vec<&DeadLetterRow<'_>> = rows
        .iter()
        .filter(|row| !inserted.contains(&row.dlq))
        .collect();
    let again = replace(connection, &known).await?;
    // Those that replaced a failure are the current ones now, and no copies of themselves.
    let copies = positions(connection, KEEP_COPIES, &known).await?;
    Ok(Written {
        new,
        again,
        copies,
        sanitized: 0,
    })
}

/// Runs a statement that returns positions in the dead-letter topic.
async fn positions(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: &[&DeadLetterRow<'_>],
) -> Result<Vec<DlqPosition>, sqlx::Error> {
    let returned = bind(statement, rows).fetch_all(connection).await?;
    returned.iter().map(DlqPosition::from_row).collect()
}

#[derive(FromRow)]
struct Replaced {
    dlq_partition: i32,
    dlq_offset: i64,
    id: i64,
    replay_count: i32,
    group_id: i64,
    detail: String,
}

/// Of several failures of one event in a batch, the one after most replays is the current one.
async fn replace(
    connection: &mut PgConnection,
    known: &[&DeadLetterRow<'_>],
) -> Result<Vec<DlqPosition>, sqlx::Error> {
    let mut newest: HashMap<(&str, i32, i64, &str), &DeadLetterRow<'_>> = HashMap::new();
    for &row in known.iter().filter(|row| row.replay_count > 0) {
        let origin = (
            &*row.origin.topic,
            row.origin.partition,
            row.origin.offset,
            &*row.origin_group,
        );
        let newer = newest
            .get(&origin)
            .is_none_or(|other| other.replay_count < row.replay_count);
        if newer {
            newest.insert(origin, row);
        }
    }
    if newest.is_empty() {
        return Ok(Vec::new());
    }
    let newest: Vec<&DeadLetterRow<'_>> = newest.into_values().collect();
    bind(KEEP_OLD_FAILURE, &newest)
        .execute(&mut *connection)
        .await?;
    let again: Vec<Replaced> = bind(REPLACE, &newest)
        .fetch_all(&mut *connection)
        .await?
        .iter()
        .map(Replaced::from_row)
        .collect::<Result<_, _>>()?;
    if !again.is_empty() {
        sqlx::query(FAIL_AGAIN)
            .bind(again.iter().map(|row| row.id).collect::<Vec<_>>())
            .bind(again.iter().map(|row| row.replay_count).collect::<Vec<_>>())
            .bind(again.iter().map(|row| row.group_id).collect::<Vec<_>>())
            .bind(again.iter().map(|row| &*row.detail).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(again
        .iter()
        .map(|row| (row.dlq_partition, row.dlq_offset))
        .collect())
}
