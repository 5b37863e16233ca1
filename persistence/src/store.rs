//! The database: one transaction a batch.

use crate::fault::{classify, is_row_fault, sqlstate};
use crate::metrics as names;
use crate::offsets::{self, Ends, Place, Positions};
use crate::rows::{self, Row, RowFate};
use contracts::Secret;
use runtime::config::ConfigError;
use runtime::consumer::Transient;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use std::str::FromStr;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// This role's schema. It writes nowhere else; what others may read are views in it.
pub const SCHEMA: &str = "persistence";
/// Health check of the database.
const CHECK: &str = "database";
/// Longest one unit of work may take: below the group's `max.poll.interval.ms`. The server's own time limits end statements, but say
/// nothing when the server itself is silent.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The database of the persistence role.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: PgPool,
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
            match shutdown.run_until_cancelled(store.prepare(kafka)).await {
                None => return Ok(None),
                Some(Ok(())) => {
                    health.set(CHECK, Ok(()));
                    return Ok(Some(store));
                }
                Some(Err(error)) if error.fatal => return Err(error.into()),
                Some(Err(error)) => health.set(CHECK, Err(error.to_string())),
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(None);
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    async fn prepare(&self, kafka: &KafkaArgs) -> Result<(), Transient> {
        let cluster = runtime::admin::cluster_id(kafka, Duration::from_secs(3)).await;
        let cluster = cluster.map_err(|error| Transient::wait("kafka_unavailable", error))?;
        self.migrate().await?;
        let known = sqlx::query_scalar(
            "INSERT INTO kafka_cluster (cluster_id) VALUES ($1)
             ON CONFLICT (only_one) DO UPDATE SET seen_at = clock_timestamp() RETURNING cluster_id",
        )
        .bind(&cluster)
        .fetch_one(&self.pool);
        let known: String = tokio::time::timeout(DEADLINE, known).await.map_err(|_| silent())?.map_err(classify)?;
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

    /// Brings the schema up to date; safe to run from many instances at once. A migration may take as long as it takes: the limits on
    /// statements and locks are for the hot path.
    ///
    /// # Errors
    /// [`Transient`], fatal when a migration itself fails.
    pub async fn migrate(&self) -> Result<(), Transient> {
        let options = self.pool.connect_options().as_ref().clone().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        let one = PgPoolOptions::new().max_connections(1).acquire_timeout(DEADLINE).connect_lazy_with(options);
        // Two instances creating one schema at once collide in the catalogue in spite of IF NOT EXISTS.
        let created = sqlx::query("CREATE SCHEMA IF NOT EXISTS persistence").execute(&one).await;
        if let Err(error) = created
            && sqlstate(&error).as_deref() != Some("23505")
        {
            return Err(classify(error));
        }
        sqlx::migrate!().run(&one).await.map_err(|error| match error {
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
    pub async fn positions(&self, group: &str, partitions: &[Place]) -> Result<Positions, Transient> {
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
    /// [`Transient`]: nothing of the batch is stored, or (a commit whose answer was lost) all of it; either way the batch may be written again.
    pub async fn write(
        &self,
        group: &str,
        rows: &[Row<'_>],
        ends: &mut Ends,
        positions: &mut Positions,
    ) -> Result<Vec<RowFate>, Transient> {
        let started = Instant::now();
        let mut transaction = self.pool.begin().await.map_err(classify)?;
        let fates = match rows::insert(&mut transaction, rows).await {
            Err(error) if is_row_fault(&error) => {
                // The statement has spoilt the transaction; savepoints are paid for only from here on.
                transaction.rollback().await.map_err(classify)?;
                transaction = self.pool.begin().await.map_err(classify)?;
                Box::pin(rows::bisect(&mut transaction, rows)).await.map_err(classify)?
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
        let mut new = rows::record_duplicates(&mut transaction, &duplicates).await.map_err(classify)?;
        let new_duplicates = new.len();
        duplicates.iter().filter(|row| new.remove(&row.raw)).for_each(|row| ends.count_duplicate(row.end));
        let moved = offsets::advance(&mut transaction, group, &ends.before_dead_letters(), positions).await?;
        transaction.commit().await.map_err(classify)?;
        positions.extend(moved);
        metrics::histogram!(names::TRANSACTION_SECONDS).record(started.elapsed());
        let count = |wanted: fn(&RowFate) -> bool| fates.iter().filter(|fate| wanted(fate)).count() as u64;
        metrics::counter!(names::STORED).increment(count(|fate| matches!(fate, RowFate::Stored)));
        metrics::counter!(names::DUPLICATES).increment(new_duplicates as u64);
        metrics::counter!(names::CONFLICTS).increment(count(|fate| matches!(fate, RowFate::Conflict(_))));
        metrics::counter!(names::REFUSED).increment(count(|fate| matches!(fate, RowFate::Refused(_))));
        Ok(fates)
    }

    /// The dead letters of a written batch are acknowledged: moves the offsets to its end and counts them.
    ///
    /// # Errors
    /// [`Transient`]
    pub async fn move_past_dead_letters(&self, group: &str, ends: &Ends, positions: &mut Positions) -> Result<(), Transient> {
        let mut transaction = self.pool.begin().await.map_err(classify)?;
        let moved = offsets::advance(&mut transaction, group, &ends.after_dead_letters(), positions).await?;
        transaction.commit().await.map_err(classify)?;
        positions.extend(moved);
        Ok(())
    }
}

/// The database does not answer at all.
pub(crate) fn silent() -> Transient {
    Transient::wait("database_timeout", format!("no answer within {} s", DEADLINE.as_secs()))
}
