//! The database: one transaction a batch.

use crate::copies::BODIES;
use crate::filtered::{self, FilteredEvent};
use crate::metrics as names;
use crate::rows;
use contracts::Secret;
use runtime::consumer::StageError;
use runtime::faults;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use sqlx::postgres::PgPool;
use std::time::Instant;
use store::connect::Schema;
use store::copies;
use store::fate::Fate;
use store::fault::classify;
use store::offsets::{self, BatchOffsets, BatchRecord, Positions};
use store::refused;
use store::row::EventRow;
use tokio_util::sync::CancellationToken;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// This role's schema. It writes nowhere else; what others may read are views in it.
pub const SCHEMA: Schema = Schema {
    role: "persistence",
    migrations: &MIGRATIONS,
};

/// What other roles may read of it.
pub const VIEWS: [&str; 9] = [
    "event_fates",
    "stored_events",
    "duplicate_deliveries",
    "filtered_events",
    "retyped_events",
    "known_bodies",
    "read_offsets",
    "first_raw_topic",
    "set_back",
];

/// A row, and where its record is in the batch.
#[derive(Debug)]
pub struct BatchRow<'a> {
    /// What is inserted
    pub event: EventRow<'a>,
    /// Where its record is
    pub record: BatchRecord,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Written {
    /// The fate of every row, in order
    pub fates: Vec<Fate>,
    /// What the batch covers, blocked where a record must be dead-lettered
    pub offsets: BatchOffsets,
    /// Where the database's offsets are now
    pub moved: Positions,
}

/// The database of the persistence role.
#[derive(Debug, Clone)]
pub struct Writer {
    pub(crate) pool: PgPool,
}

impl Writer {
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
        let pool = SCHEMA.pool(url, 4)?;
        Ok(SCHEMA
            .open(&pool, kafka, health, shutdown)
            .await?
            .then_some(Self { pool }))
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`StageError`], fatal when a migration itself fails.
    pub async fn migrate(&self) -> Result<(), StageError> {
        SCHEMA.migrate(&self.pool).await
    }

    /// Stores a batch in one transaction. `offsets` is what the batch covers, blocked where the caller rejects a record.
    ///
    /// Offsets move to the end of the batch, except past a record that must be dead-lettered (a conflict, a refused row, or one the caller
    /// rejects): they stop there until [`move_past_dead_letters`](Self::move_past_dead_letters), so that a crash in between reads it again.
    ///
    /// # Errors
    /// [`StageError`]: nothing of the batch is stored, or (a commit whose answer was lost) all of it; either way the batch may be written again.
    pub async fn write(
        &self,
        group: &str,
        rows: &[BatchRow<'_>],
        unwanted: &[FilteredEvent<'_>],
        mut offsets: BatchOffsets,
        positions: &Positions,
    ) -> Result<Written, StageError> {
        let started = Instant::now();
        if faults::planted("dedupe_removed") {
            self.drop_unique_index().await?;
        }
        if faults::planted("commit_before_insert") {
            let mut first = self.pool.begin().await.map_err(classify)?;
            let moves = offsets.before_dead_letters();
            offsets::advance(&mut first, group, &moves, positions).await?;
            first.commit().await.map_err(classify)?;
        }
        let events: Vec<&EventRow<'_>> = rows.iter().map(|row| &row.event).collect();
        let (mut transaction, fates) = refused::apply(
            &self.pool,
            &events,
            |connection, rows| Box::pin(rows::INSERT.refusals(connection, rows)),
            |connection, rows, refusals| Box::pin(rows::insert(connection, rows, refusals)),
        )
        .await?;
        let mut duplicates = Vec::new();
        for (row, fate) in rows.iter().zip(&fates) {
            match fate {
                Fate::Stored => offsets.count_stored(row.record),
                Fate::StoredBefore | Fate::Retyped => {}
                Fate::Duplicate => duplicates.push((row, None)),
                Fate::Copy(first) => duplicates.push((row, Some(first.as_str()))),
                Fate::Conflict(_) | Fate::Refused(_) => offsets.block_at(row.record),
            }
        }
        let settled = rows.iter().zip(&fates).filter(|(_, fate)| match fate {
            Fate::Stored | Fate::Duplicate | Fate::Copy(_) => true,
            Fate::StoredBefore | Fate::Retyped | Fate::Conflict(_) | Fate::Refused(_) => false,
        });
        let settled: Vec<&EventRow<'_>> = settled.map(|(row, _)| &row.event).collect();
        filtered::forget(&mut transaction, &settled)
            .await
            .map_err(classify)?;
        let events: Vec<&EventRow<'_>> = duplicates.iter().map(|(row, _)| &row.event).collect();
        let same_body_as: Vec<Option<&str>> = duplicates.iter().map(|(_, id)| *id).collect();
        let mut new = rows::record_duplicates(&mut transaction, &events, &same_body_as)
            .await
            .map_err(classify)?;
        let (mut new_duplicates, mut new_copies) = (0, 0);
        for (row, same_body_as) in &duplicates {
            if new.remove(&row.event.raw) {
                offsets.count_duplicate(row.record);
                match same_body_as {
                    None => new_duplicates += 1,
                    Some(_) => new_copies += 1,
                }
            }
        }
        let mut first = filtered::record(&mut transaction, unwanted)
            .await
            .map_err(classify)?;
        let filtered = first.len();
        unwanted
            .iter()
            .filter(|event| first.remove(&event.raw))
            .for_each(|event| offsets.count_filtered(event.record));
        let moves = offsets.before_dead_letters();
        let moved = offsets::advance(&mut transaction, group, &moves, positions).await?;
        faults::kill_point("rows_in_transaction");
        transaction.commit().await.map_err(classify)?;
        faults::kill_point("rows_committed");
        metrics::histogram!(names::TRANSACTION_SECONDS).record(started.elapsed());
        let count =
            |wanted: fn(&Fate) -> bool| fates.iter().filter(|fate| wanted(fate)).count() as u64;
        metrics::counter!(names::STORED).increment(count(|fate| matches!(fate, Fate::Stored)));
        metrics::counter!(names::DUPLICATES).increment(new_duplicates + new_copies);
        metrics::counter!(names::COPIES).increment(new_copies);
        metrics::counter!(names::FILTERED).increment(filtered as u64);
        metrics::counter!(names::RETYPED).increment(count(|fate| matches!(fate, Fate::Retyped)));
        metrics::counter!(names::CONFLICTS)
            .increment(count(|fate| matches!(fate, Fate::Conflict(_))));
        metrics::counter!(names::REFUSED).increment(count(|fate| matches!(fate, Fate::Refused(_))));
        Ok(Written {
            fates,
            offsets,
            moved,
        })
    }

    /// What somebody did for the sake of fast inserts: the bug `dedupe_removed`.
    async fn drop_unique_index(&self) -> Result<(), StageError> {
        let dropped = sqlx::query("DROP INDEX IF EXISTS events_key").execute(&self.pool);
        dropped.await.map(drop).map_err(classify)
    }

    /// Forgets signed bodies that no vendor sends again.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn forget_bodies(&self) -> Result<(), StageError> {
        let mut connection = self.pool.acquire().await.map_err(classify)?;
        let forgotten = copies::forget(&mut connection, BODIES).await;
        forgotten.map(drop).map_err(classify)
    }

    /// The dead letters of a written batch are acknowledged: moves the offsets to its end, counts them, and returns where they are now.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn move_past_dead_letters(
        &self,
        group: &str,
        offsets: &BatchOffsets,
        positions: &Positions,
    ) -> Result<Positions, StageError> {
        let mut transaction = self.pool.begin().await.map_err(classify)?;
        let moves = offsets.after_dead_letters();
        let moved = offsets::advance(&mut transaction, group, &moves, positions).await?;
        transaction.commit().await.map_err(classify)?;
        Ok(moved)
    }
}
