//! The database: one transaction a batch.

use crate::metrics as names;
use crate::rows::{self, Row, RowFate};
use contracts::Secret;
use runtime::consumer::StageError;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use sqlx::postgres::PgPool;
use std::time::Instant;
use store::connect::Schema;
use store::fault::{classify, is_row_fault};
use store::offsets::{self, Ends, Place, Positions};
use tokio_util::sync::CancellationToken;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// This role's schema. It writes nowhere else; what others may read are views in it.
pub const SCHEMA: Schema = Schema {
    role: "persistence",
    migrations: &MIGRATIONS,
};

/// What other roles may read of it.
pub const VIEWS: [&str; 4] = [
    "event_fates",
    "stored_events",
    "duplicate_deliveries",
    "read_offsets",
];

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

    /// The database's next offsets for these partitions.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn positions(
        &self,
        group: &str,
        partitions: &[Place],
    ) -> Result<Positions, StageError> {
        let mut connection = self.pool.acquire().await.map_err(classify)?;
        offsets::read(&mut connection, group, partitions).await
    }

    /// Stores a batch in one transaction and tells the fate of every row, in order. `ends` is what the batch covers; records that are to be
    /// dead-lettered are held in it.
    ///
    /// Offsets move to the end of the batch, except past a record that must be dead-lettered (a conflict, a refused row, or one that the
    /// caller holds): they stop there until [`move_past_dead_letters`](Self::move_past_dead_letters), so that a crash in between reads it again.
    ///
    /// # Errors
    /// [`StageError`]: nothing of the batch is stored, or (a commit whose answer was lost) all of it; either way the batch may be written again.
    pub async fn write(
        &self,
        group: &str,
        rows: &[Row<'_>],
        ends: &mut Ends,
        positions: &mut Positions,
    ) -> Result<Vec<RowFate>, StageError> {
        let started = Instant::now();
        let mut transaction = self.pool.begin().await.map_err(classify)?;
        let fates = match rows::insert(&mut transaction, rows).await {
            Err(error) if is_row_fault(&error) => {
                // The statement has spoilt the transaction; savepoints are paid for only from here on.
                transaction.rollback().await.map_err(classify)?;
                transaction = self.pool.begin().await.map_err(classify)?;
                Box::pin(rows::bisect(&mut transaction, rows))
                    .await
                    .map_err(classify)?
            }
            other => other.map_err(classify)?,
        };
        let mut duplicates = Vec::new();
        for (row, fate) in rows.iter().zip(&fates) {
            match fate {
                RowFate::Stored => ends.count_stored(row.end),
                RowFate::StoredBefore => {}
                RowFate::Duplicate => duplicates.push(row),
                RowFate::Conflict(_) | RowFate::Refused(_) => ends.hold(row.end, row.offset),
            }
        }
        let mut new = rows::record_duplicates(&mut transaction, &duplicates)
            .await
            .map_err(classify)?;
        let new_duplicates = new.len();
        duplicates
            .iter()
            .filter(|row| new.remove(&row.raw))
            .for_each(|row| ends.count_duplicate(row.end));
        let moved = offsets::advance(
            &mut transaction,
            group,
            &ends.before_dead_letters(),
            positions,
        )
        .await?;
        transaction.commit().await.map_err(classify)?;
        positions.extend(moved);
        metrics::histogram!(names::TRANSACTION_SECONDS).record(started.elapsed());
        let count =
            |wanted: fn(&RowFate) -> bool| fates.iter().filter(|fate| wanted(fate)).count() as u64;
        metrics::counter!(names::STORED).increment(count(|fate| matches!(fate, RowFate::Stored)));
        metrics::counter!(names::DUPLICATES).increment(new_duplicates as u64);
        metrics::counter!(names::CONFLICTS)
            .increment(count(|fate| matches!(fate, RowFate::Conflict(_))));
        metrics::counter!(names::REFUSED)
            .increment(count(|fate| matches!(fate, RowFate::Refused(_))));
        Ok(fates)
    }

    /// The dead letters of a written batch are acknowledged: moves the offsets to its end and counts them.
    ///
    /// # Errors
    /// [`StageError`]
    pub async fn move_past_dead_letters(
        &self,
        group: &str,
        ends: &Ends,
        positions: &mut Positions,
    ) -> Result<(), StageError> {
        let mut transaction = self.pool.begin().await.map_err(classify)?;
        let moved = offsets::advance(
            &mut transaction,
            group,
            &ends.after_dead_letters(),
            positions,
        )
        .await?;
        transaction.commit().await.map_err(classify)?;
        positions.extend(moved);
        Ok(())
    }
}
