//! From a URL to a usable schema.

use crate::fault::{classify, sqlstate};
use crate::online;
use crate::reach::reach;
use crate::servers::Servers;
use crate::{CHECK, DEADLINE, silent};
use contracts::Secret;
use runtime::backoff::Backoff;
use runtime::config::ConfigError;
use runtime::consumer::StageError;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The name a role logs in by, when it has a login of its own ([`crate::users`]).
#[must_use]
pub fn login(role: &str) -> String {
    ["eventflow", role].join("_")
}

/// Longest a connection is waited for.
pub const ACQUIRE: Duration = Duration::from_secs(3);

/// A role's part of the database: its name is that of its schema, and these are its migrations.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Role and schema
    pub role: &'static str,
    /// Brings the schema up to date
    pub migrations: &'static Migrator,
}

impl Schema {
    /// Connections made when they are needed; nothing connects yet.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn pool(&self, url: &Secret, connections: u32) -> Result<PgPool, ConfigError> {
        Ok(Servers::parse(url, self.role)?.pool(connections, ACQUIRE))
    }

    /// The same, acting as the role's own login, which then owns what is made.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn pool_as_its_user(&self, url: &Secret, connections: u32) -> Result<PgPool, ConfigError> {
        let servers = Servers::parse(url, self.role)?.with(&[("role", &login(self.role))]);
        Ok(servers.pool(connections, ACQUIRE))
    }

    /// Makes the pool usable: migrates, and makes sure the database's offsets are of this Kafka cluster. Waits, visibly, while either is
    /// down; false when `shutdown` came first.
    ///
    /// # Errors
    /// A failed migration, or a database that has seen another cluster.
    pub async fn open(
        &self,
        pool: &PgPool,
        kafka: &KafkaArgs,
        health: &Health,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<bool> {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let mut remind = Backoff::new(Duration::from_secs(10), Duration::from_secs(600));
        let (mut again, mut until) = (Instant::now(), remind.next_delay());
        loop {
            match shutdown
                .run_until_cancelled(self.prepare(pool, kafka))
                .await
            {
                None => return Ok(false),
                Some(Ok(())) => {
                    health.set(CHECK, Ok(()));
                    return Ok(true);
                }
                Some(Err(error)) if error.must_stop() => return Err(error.into()),
                Some(Err(error)) => {
                    health.set(CHECK, Err(error.to_string()));
                    // The health says each reason once; who looks at the log later sees none.
                    if again.elapsed() >= until {
                        tracing::warn!(event = "still_waiting", role = self.role, %error);
                        (again, until) = (Instant::now(), remind.next_delay());
                    }
                }
            }
            if shutdown
                .run_until_cancelled(tokio::time::sleep(backoff.next_delay()))
                .await
                .is_none()
            {
                return Ok(false);
            }
        }
    }

    async fn prepare(&self, pool: &PgPool, kafka: &KafkaArgs) -> Result<(), StageError> {
        reach(&pool.connect_options(), true).await?;
        let cluster = runtime::admin::cluster_id(kafka, Duration::from_secs(3)).await;
        let cluster = cluster.map_err(|error| StageError::wait("kafka_unavailable", error))?;
        self.migrate(pool).await?;
        let known = sqlx::query_scalar(
            "INSERT INTO kafka_cluster (cluster_id) VALUES ($1)
             ON CONFLICT (only_one) DO UPDATE SET seen_at = clock_timestamp() RETURNING cluster_id",
        )
        .bind(&cluster)
        .fetch_one(pool);
        let known: String = tokio::time::timeout(DEADLINE, known)
            .await
            .map_err(|_| silent())?
            .map_err(classify)?;
        if known == cluster {
            return Ok(());
        }
        let schema = self.role;
        Err(StageError::stop(
            "other_kafka_cluster",
            format!(
                "this database holds offsets of Kafka cluster {known}, but the brokers are cluster {cluster}: the same offsets mean other \
                 records there. Point --kafka-brokers at the old cluster, or use an empty database, or, if the topics were moved on purpose, \
                 run: DELETE FROM {schema}.consumer_offsets; DELETE FROM {schema}.kafka_cluster;"
            ),
        ))
    }

    /// Brings the schema up to date; safe to run from many instances at once. A migration may take as long as it takes: the limits on
    /// statements and locks are for the hot path.
    ///
    /// # Errors
    /// [`StageError`], fatal when a migration itself fails.
    pub async fn migrate(&self, pool: &PgPool) -> Result<(), StageError> {
        let options = pool
            .connect_options()
            .as_ref()
            .clone()
            .options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        let one = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(DEADLINE)
            .connect_lazy_with(options);
        // Who owns the schema need not be somebody who may create one.
        let there = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
            .bind(self.role)
            .fetch_one(&one);
        if !there.await.map_err(classify)? {
            self.create(&one).await?;
        }
        let mut connection = one.acquire().await.map_err(classify)?;
        online::migrate(self.migrations, self.role, &mut connection)
            .await
            .map_err(|error| match error {
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                    classify(error)
                }
                other => StageError::stop("migration_failed", other),
            })
    }

    async fn create(&self, one: &PgPool) -> Result<(), StageError> {
        // Two instances creating one schema at once collide in the catalogue in spite of IF NOT EXISTS.
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {}", self.role));
        let created = sqlx::query(create).execute(one).await;
        if let Err(error) = created
            && sqlstate(&error).as_deref() != Some("23505")
        {
            return Err(classify(error));
        }
        Ok(())
    }
}
