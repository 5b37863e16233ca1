//! The database: one transaction a batch.

use crate::handler::{End, Positions};
use crate::metrics as names;
use contracts::datum::Event;
use contracts::{Secret, headers};
use runtime::config::ConfigError;
use runtime::consumer::{Record, Transient};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Acquire, PgConnection, Row as _};
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// This role's schema. It writes nowhere else; what others may read are views in it.
pub const SCHEMA: &str = "persistence";

/// A validated event, ready to be a row.
#[derive(Debug)]
pub struct Row<'a> {
    source: String,
    entity_key: Option<&'a str>,
    received_at_micros: Option<i64>,
    secret_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    schema_id: i32,
    content_hash: Vec<u8>,
    raw_partition: i32,
    raw_offset: i64,
    event: Event,
    topic: &'a str,
    partition: i32,
    offset: i64,
}

impl<'a> Row<'a> {
    /// `datum` is the event's Avro, whose SHA-256 tells a duplicate from a conflict.
    #[must_use]
    pub fn new(record: &Record<'a>, schema_id: i32, datum: &[u8], event: Event) -> Self {
        let (raw_partition, raw_offset) = record.raw();
        Self {
            source: record.header_text(headers::SOURCE).unwrap_or(&event.source).to_owned(),
            entity_key: record.key.and_then(|key| std::str::from_utf8(key).ok()),
            received_at_micros: record.header_text(headers::RECEIVED_AT).and_then(|text| text.parse().ok()),
            secret_id: record.header_text(headers::SECRET_ID),
            trace_id: record.header_text(headers::TRACEPARENT).and_then(runtime::traceparent::trace_id),
            schema_id,
            content_hash: Sha256::digest(datum).to_vec(),
            raw_partition,
            raw_offset,
            event,
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
        }
    }
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowFate {
    /// Inserted by this transaction
    Stored,
    /// This very raw record was stored or counted before: a replayed batch
    StoredBefore,
    /// A further delivery, same content
    Duplicate,
    /// Same id, other content
    Conflict(String),
    /// PostgreSQL refuses it for what it is
    Refused(String),
}

/// The fate of one raw record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Raw partition and offset
    pub raw: (i32, i64),
    /// Event id
    pub event_id: String,
    /// `stored` or `duplicate`
    pub fate: String,
}

/// What the database holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Rows
    pub stored: i64,
    /// Further deliveries
    pub duplicates: i64,
    /// Median seconds from receipt to row
    pub p50_seconds: Option<f64>,
    /// 99th percentile
    pub p99_seconds: Option<f64>,
}

/// The database of the persistence role.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
}

/// Parses the URL; nothing connects.
///
/// # Errors
/// [`ConfigError`] without the URL's content, which may hold a password.
pub fn connect_options(url: &Secret) -> Result<PgConnectOptions, ConfigError> {
    let bad = |problem: &str| {
        ConfigError::new("--database-url", format!("{problem}; expected postgres://user:password@host:port/database?sslmode=..."))
    };
    let text = std::str::from_utf8(url.expose()).map_err(|_| bad("not UTF-8"))?;
    let options = PgConnectOptions::from_str(text).map_err(|_| bad("not a PostgreSQL URL"))?;
    Ok(options.application_name("eventflow-persistence").options([
        ("search_path", SCHEMA),
        ("statement_timeout", "20s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]))
}

impl Store {
    /// Connects, migrates and makes sure the database's offsets are of this Kafka cluster. Waits, visibly, while either is down;
    /// `None` when `shutdown` came first.
    ///
    /// # Errors
    /// Bad configuration, a failed migration, or a database that has seen another cluster.
    pub async fn open(
        url: &Secret,
        kafka: &KafkaArgs,
        health: &Health,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let options = connect_options(url)?;
        let pool = PgPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(3)).connect_lazy_with(options);
        let store = Self { pool };
        let mut pause = Duration::from_millis(50);
        loop {
            match store.prepare(kafka).await {
                Ok(()) => {
                    health.set("database", Ok(()));
                    return Ok(Some(store));
                }
                Err(error) if error.fatal => return Err(error.into()),
                Err(error) => health.set("database", Err(error.to_string())),
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(None);
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// The fate of every raw record this database knows, from the view others may read.
    ///
    /// # Errors
    /// [`Transient`]
    pub async fn fates(&self) -> Result<Vec<Fate>, Transient> {
        let rows = sqlx::query("SELECT raw_partition, raw_offset, event_id, fate FROM event_fates")
            .fetch_all(&self.pool)
            .await
            .map_err(classify)?;
        rows.iter()
            .map(|row| {
                Ok(Fate {
                    raw: (row.try_get(0).map_err(classify)?, row.try_get(1).map_err(classify)?),
                    event_id: row.try_get(2).map_err(classify)?,
                    fate: row.try_get(3).map_err(classify)?,
                })
            })
            .collect()
    }

    /// How many events are stored, how many further deliveries are recorded, and the seconds from receipt to row (p50, p99) of the
    /// newest `window` rows.
    ///
    /// # Errors
    /// [`Transient`]
    pub async fn summary(&self, window: i64) -> Result<Summary, Transient> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM duplicates), p[1], p[2] FROM (
                 SELECT percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM stored_at - received_at)::float8) AS p
                 FROM (SELECT stored_at, received_at FROM events ORDER BY seq DESC LIMIT $1) newest) quantiles",
        )
        .bind(window)
        .fetch_one(&self.pool)
        .await
        .map_err(classify)?;
        let get = |index| row.try_get::<i64, _>(index).map_err(classify);
        let quantile = |index| row.try_get::<Option<f64>, _>(index).map_err(classify);
        Ok(Summary { stored: get(0)?, duplicates: get(1)?, p50_seconds: quantile(2)?, p99_seconds: quantile(3)? })
    }

    async fn prepare(&self, kafka: &KafkaArgs) -> Result<(), Transient> {
        let cluster = runtime::admin::cluster_id(kafka, Duration::from_secs(3)).await;
        let cluster = cluster.map_err(|error| Transient::wait("kafka_unavailable", error))?;
        self.migrate().await?;
        let known: String = sqlx::query_scalar(
            "INSERT INTO kafka_cluster (cluster_id) VALUES ($1)
             ON CONFLICT (only_one) DO UPDATE SET seen_at = clock_timestamp() RETURNING cluster_id",
        )
        .bind(&cluster)
        .fetch_one(&self.pool)
        .await
        .map_err(classify)?;
        if known == cluster {
            return Ok(());
        }
        Err(Transient::fatal(
            "other_kafka_cluster",
            format!(
                "this database holds offsets of Kafka cluster {known}, but the brokers are cluster {cluster}: the same offsets mean other \
                 records there. Point --kafka-brokers at the old cluster, or use an empty database, or, if the topics were moved on purpose, \
                 run: DELETE FROM {SCHEMA}.consumer_offsets; DELETE FROM {SCHEMA}.kafka_cluster;"
            ),
        ))
    }

    /// Brings the schema up to date; safe to run from many instances at once.
    ///
    /// # Errors
    /// [`Transient`], fatal when a migration itself fails.
    pub async fn migrate(&self) -> Result<(), Transient> {
        // Two instances creating one schema at once collide in the catalogue in spite of IF NOT EXISTS.
        let created = sqlx::query("CREATE SCHEMA IF NOT EXISTS persistence").execute(&self.pool).await;
        if let Err(error) = created
            && sqlstate(&error).as_deref() != Some("23505")
        {
            return Err(classify(error));
        }
        sqlx::migrate!().run(&self.pool).await.map_err(|error| match error {
            sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => {
                classify(error)
            }
            other => Transient::fatal("migration_failed", other),
        })
    }

    /// The database's next offsets for these partitions.
    ///
    /// # Errors
    /// [`Transient`]
    pub async fn positions(&self, group: &str, partitions: &[(String, i32)]) -> Result<Positions, Transient> {
        let mut connection = self.pool.acquire().await.map_err(classify)?;
        positions(&mut connection, group, partitions).await
    }

    /// Stores a batch in one transaction and tells the fate of every row, in order.
    ///
    /// Offsets move to the end of the batch, except past a record that must be dead-lettered (a conflict, a refused row, or one of
    /// `undecoded`): they stop there until [`move_past_dead_letters`](Self::move_past_dead_letters), so that a crash in between reads it again.
    ///
    /// # Errors
    /// [`Transient`]: nothing of the batch is stored, or (a commit whose answer was lost) all of it; either way the batch may be written again.
    pub async fn write(
        &self,
        group: &str,
        rows: &[Row<'_>],
        undecoded: &[Record<'_>],
        ends: &[End<'_>],
        positions: &mut Positions,
    ) -> Result<Vec<RowFate>, Transient> {
        let started = Instant::now();
        let mut transaction = self.pool.begin().await.map_err(classify)?;
        let fates = match insert(&mut transaction, rows).await {
            Err(error) if is_row_fault(&error) => {
                // The statement has spoilt the transaction; savepoints are paid for only from here on.
                transaction.rollback().await.map_err(classify)?;
                transaction = self.pool.begin().await.map_err(classify)?;
                Box::pin(bisect(&mut transaction, rows)).await.map_err(classify)?
            }
            other => other.map_err(classify)?,
        };
        let duplicates: Vec<&Row<'_>> =
            rows.iter().zip(&fates).filter(|(_, fate)| **fate == RowFate::Duplicate).map(|(row, _)| row).collect();
        let new_duplicates = record_duplicates(&mut transaction, &duplicates).await.map_err(classify)?;
        let held: Vec<(&str, i32, i64)> = rows
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| matches!(fate, RowFate::Conflict(_) | RowFate::Refused(_)))
            .map(|(row, _)| (row.topic, row.partition, row.offset))
            .chain(undecoded.iter().map(|record| (record.topic, record.partition, record.offset)))
            .collect();
        let mut moved = Positions::new();
        for end in ends {
            let place = (end.topic.to_owned(), end.partition);
            let first_held = held
                .iter()
                .filter(|(topic, partition, _)| *topic == end.topic && *partition == end.partition)
                .map(|(_, _, offset)| *offset)
                .min();
            let count = |wanted: &RowFate| {
                let here = |row: &&Row<'_>| row.partition == end.partition && row.topic == end.topic;
                rows.iter().zip(&fates).filter(|(row, fate)| here(row) && *fate == wanted).count()
            };
            let step = Step {
                to: first_held.unwrap_or(end.next),
                stored: as_i64(count(&RowFate::Stored)),
                duplicate: as_i64(count(&RowFate::Duplicate)),
                dead_lettered: 0,
            };
            let from = positions.get(&place).copied().flatten();
            moved.insert(place, Some(move_offset(&mut transaction, group, end, from, &step).await?));
        }
        transaction.commit().await.map_err(classify)?;
        positions.extend(moved);
        metrics::histogram!(names::TRANSACTION_SECONDS).record(started.elapsed());
        let count = |wanted: fn(&RowFate) -> bool| fates.iter().filter(|fate| wanted(fate)).count() as u64;
        metrics::counter!(names::STORED).increment(count(|fate| matches!(fate, RowFate::Stored)));
        metrics::counter!(names::DUPLICATES).increment(new_duplicates);
        metrics::counter!(names::CONFLICTS).increment(count(|fate| matches!(fate, RowFate::Conflict(_))));
        metrics::counter!(names::REFUSED).increment(count(|fate| matches!(fate, RowFate::Refused(_))));
        Ok(fates)
    }

    /// The dead letters of the last batch are acknowledged: move the offsets to its end and count them.
    ///
    /// # Errors
    /// [`Transient`]
    pub async fn move_past_dead_letters(
        &self,
        group: &str,
        ends: &BTreeMap<(String, i32), (i64, i64)>,
        positions: &mut Positions,
    ) -> Result<(), Transient> {
        let mut transaction = self.pool.begin().await.map_err(classify)?;
        let mut moved = Positions::new();
        for ((topic, partition), (next, dead_lettered)) in ends {
            let from = positions.get(&(topic.clone(), *partition)).copied().flatten();
            let end = End { topic, partition: *partition, first: from.unwrap_or(*next), next: *next };
            let step = Step { to: *next, stored: 0, duplicate: 0, dead_lettered: *dead_lettered };
            moved.insert((topic.clone(), *partition), Some(move_offset(&mut transaction, group, &end, from, &step).await?));
        }
        transaction.commit().await.map_err(classify)?;
        positions.extend(moved);
        Ok(())
    }
}

fn as_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How one partition's offset and counters move.
struct Step {
    to: i64,
    stored: i64,
    duplicate: i64,
    dead_lettered: i64,
}

/// Inserts what is new and classifies the rest. One statement inserts, one looks up what was there.
async fn insert(connection: &mut PgConnection, rows: &[Row<'_>]) -> Result<Vec<RowFate>, sqlx::Error> {
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
         SELECT source, event_id, event_type, schema_version, entity_key,
                'epoch'::timestamptz + occurred * interval '1 microsecond', 'epoch'::timestamptz + received * interval '1 microsecond',
                amount::numeric, currency, payload::jsonb, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[],
                     $10::text[], $11::bytea[], $12::integer[], $13::text[], $14::text[], $15::integer[], $16::bigint[])
              AS batch (source, event_id, event_type, schema_version, entity_key, occurred, received, amount, currency,
                        payload, content_hash, schema_id, secret_id, trace_id, raw_partition, raw_offset)
         ON CONFLICT (source, event_id) DO NOTHING
         RETURNING raw_partition, raw_offset",
    )
    .bind(column!(|row| row.source.as_str()))
    .bind(column!(|row| row.event.event_id.as_str()))
    .bind(column!(|row| row.event.event_type.as_str()))
    .bind(column!(|row| row.event.schema_version.as_str()))
    .bind(column!(|row| row.entity_key))
    .bind(column!(|row| row.event.occurred_at_micros))
    .bind(column!(|row| row.received_at_micros))
    .bind(column!(|row| row.event.amount.as_deref()))
    .bind(column!(|row| row.event.currency.as_deref()))
    .bind(column!(|row| row.event.payload_json.as_str()))
    .bind(column!(|row| row.content_hash.as_slice()))
    .bind(column!(|row| row.schema_id))
    .bind(column!(|row| row.secret_id))
    .bind(column!(|row| row.trace_id))
    .bind(column!(|row| row.raw_partition))
    .bind(column!(|row| row.raw_offset))
    .fetch_all(&mut *connection)
    .await?;
    if inserted.len() == rows.len() {
        return Ok(vec![RowFate::Stored; rows.len()]);
    }
    let mut new = std::collections::HashSet::with_capacity(inserted.len());
    for row in &inserted {
        new.insert((row.try_get::<i32, _>(0)?, row.try_get::<i64, _>(1)?));
    }
    let existing = lookup(connection, rows).await?;
    Ok(rows.iter().map(|row| fate_of(row, &mut new, &existing)).collect())
}

/// Stored rows by (source, event id): their content hash and raw coordinates.
type Existing = HashMap<(String, String), (Vec<u8>, i32, i64)>;

async fn lookup(connection: &mut PgConnection, rows: &[Row<'_>]) -> Result<Existing, sqlx::Error> {
    let found = sqlx::query(
        "SELECT e.source, e.event_id, e.content_hash, e.raw_partition, e.raw_offset
         FROM UNNEST($1::text[], $2::text[]) AS batch (source, event_id)
         JOIN events e ON e.source = batch.source AND e.event_id = batch.event_id",
    )
    .bind(rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.event_id.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    found
        .iter()
        .map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?))))
        .collect()
}

/// A raw record inserted here is `Stored` once; its second copy in the same batch, like one from an earlier transaction, is `StoredBefore`.
fn fate_of(row: &Row<'_>, new: &mut std::collections::HashSet<(i32, i64)>, existing: &Existing) -> RowFate {
    let raw = (row.raw_partition, row.raw_offset);
    match existing.get(&(row.source.clone(), row.event.event_id.clone())) {
        Some((_, partition, offset)) if (*partition, *offset) == raw => {
            if new.remove(&raw) {
                RowFate::Stored
            } else {
                RowFate::StoredBefore
            }
        }
        Some((hash, ..)) if *hash == row.content_hash => RowFate::Duplicate,
        Some((_, partition, offset)) => RowFate::Conflict(format!(
            "event {} of source {} is stored with other content, from raw record {partition}:{offset}",
            row.event.event_id, row.source
        )),
        // Inserted and not found: deleted between the two statements by somebody else.
        None => RowFate::Refused("the row vanished while it was stored".to_owned()),
    }
}

/// One row of the batch is at fault: halves it, inside the same transaction, down to that row.
async fn bisect(connection: &mut PgConnection, rows: &[Row<'_>]) -> Result<Vec<RowFate>, sqlx::Error> {
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
        let (code, message) = (sqlstate(&error).unwrap_or_default(), error.as_database_error().map_or("", |e| e.message()));
        return Ok(vec![RowFate::Refused(format!("PostgreSQL refuses the row: {message} (SQLSTATE {code})"))]);
    }
    let (left, right) = rows.split_at(rows.len() / 2);
    let mut fates = Box::pin(bisect(connection, left)).await?;
    fates.extend(Box::pin(bisect(connection, right)).await?);
    Ok(fates)
}

/// Records further deliveries; returns how many were not recorded before.
async fn record_duplicates(connection: &mut PgConnection, rows: &[&Row<'_>]) -> Result<u64, sqlx::Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query(
        "INSERT INTO duplicates (raw_partition, raw_offset, source, event_id, received_at)
         SELECT raw_partition, raw_offset, source, event_id, 'epoch'::timestamptz + received * interval '1 microsecond'
         FROM UNNEST($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::bigint[])
              AS batch (raw_partition, raw_offset, source, event_id, received)
         ON CONFLICT DO NOTHING",
    )
    .bind(rows.iter().map(|row| row.raw_partition).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.raw_offset).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.event.event_id.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.received_at_micros).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

async fn positions(connection: &mut PgConnection, group: &str, partitions: &[(String, i32)]) -> Result<Positions, Transient> {
    let known = sqlx::query("SELECT topic, partition, next_offset FROM consumer_offsets WHERE consumer_group = $1")
        .bind(group)
        .fetch_all(connection)
        .await
        .map_err(classify)?;
    let mut positions: Positions = partitions.iter().map(|place| (place.clone(), None)).collect();
    for row in &known {
        let place = (row.try_get(0).map_err(classify)?, row.try_get(1).map_err(classify)?);
        if let Some(position) = positions.get_mut(&place) {
            *position = Some(row.try_get(2).map_err(classify)?);
        }
    }
    Ok(positions)
}

/// Moves a partition's offset by compare-and-set and returns where it is now.
///
/// When the database is not where we left it, either our own last commit arrived without its answer, or another member has had the
/// partition: then the true offset is taken. Rows are safe either way (one per id); the offset only ever moves forward over what was
/// settled. An offset behind the batch is a gap nobody has read: the process ends and starts again from the database.
async fn move_offset(
    connection: &mut PgConnection,
    group: &str,
    end: &End<'_>,
    from: Option<i64>,
    step: &Step,
) -> Result<i64, Transient> {
    let mut from = from;
    for _ in 0..2 {
        let moved = match from {
            None => sqlx::query(
                "INSERT INTO consumer_offsets (consumer_group, topic, partition, next_offset, stored, duplicate, dead_lettered)
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            ),
            Some(_) => sqlx::query(
                "UPDATE consumer_offsets SET next_offset = $4, stored = stored + $5, duplicate = duplicate + $6,
                        dead_lettered = dead_lettered + $7, moved_at = clock_timestamp()
                 WHERE consumer_group = $1 AND topic = $2 AND partition = $3 AND next_offset = $8",
            ),
        }
        .bind(group)
        .bind(end.topic)
        .bind(end.partition)
        .bind(step.to.max(from.unwrap_or(step.to)))
        .bind(step.stored)
        .bind(step.duplicate)
        .bind(step.dead_lettered);
        let moved = match from {
            None => moved,
            Some(from) => moved.bind(from),
        };
        if moved.execute(&mut *connection).await.map_err(classify)?.rows_affected() == 1 {
            return Ok(step.to.max(from.unwrap_or(step.to)));
        }
        let place = (end.topic.to_owned(), end.partition);
        let now = positions(connection, group, std::slice::from_ref(&place)).await?;
        from = now.get(&place).copied().flatten();
        tracing::warn!(event = "offset_moved_elsewhere", topic = end.topic, partition = end.partition, database = ?from, batch_first = end.first, batch_next = end.next);
        if from.is_none_or(|next| next < end.first) {
            return Err(Transient::fatal(
                "offset_behind",
                format!(
                    "the database's offset of {}:{} was set back to {from:?}; starting again from there",
                    end.topic, end.partition
                ),
            ));
        }
    }
    Err(Transient::wait("offset_contended", "another member is moving the same offset"))
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

/// True when the row's content is refused: data exceptions (22), constraints (23), limits such as an over-long index entry (54).
fn is_row_fault(error: &sqlx::Error) -> bool {
    sqlstate(error).is_some_and(|state| ["22", "23", "54"].contains(&state.get(..2).unwrap_or_default()))
}

/// The world's faults wait; what waiting cannot mend ends the process. Source: PostgreSQL manual, appendix A.
fn classify(error: sqlx::Error) -> Transient {
    let Some(state) = sqlstate(&error) else {
        return match error {
            sqlx::Error::Configuration(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::TypeNotFound { .. } => Transient::fatal("database_error", error),
            _ => Transient::wait("database_unavailable", error),
        };
    };
    match state.get(..2).unwrap_or_default() {
        // Wrong password, no such database, missing rights: an operator mends these while we wait.
        "08" | "53" | "57" | "40" | "55" | "28" | "3D" | "25" | "58" | "XX" => {
            Transient::wait("database_unavailable", format!("{error} (SQLSTATE {state})"))
        }
        "42" => Transient::wait(
            "database_schema",
            format!("{error} (SQLSTATE {state}); was the database migrated by a newer version, or are rights missing?"),
        ),
        _ => Transient::fatal("database_error", format!("{error} (SQLSTATE {state})")),
    }
}
