//! What every query and every change of on-call works with.

use crate::config::PipelineArgs;
use crate::error::RecoveryError;
use contracts::event::Catalog;
use contracts::pipeline::Pipeline;
use contracts::webhook::source::Sources;
use runtime::config::ConfigError;
use runtime::kafka::KafkaArgs;
use runtime::registry::Registry;
use sqlx::postgres::PgPool;
use std::sync::Arc;
use store::connect::Schema;
use tokio::sync::Mutex;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// This role's schema. It writes nowhere else.
pub const SCHEMA: Schema = Schema {
    role: "recovery",
    migrations: &MIGRATIONS,
};

/// Connections, contracts and settings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) pool: PgPool,
    pub(crate) contracts: Arc<Catalog>,
    pub(crate) registry: Arc<Mutex<Registry>>,
    pub(crate) sources: Option<Arc<Sources>>,
    /// The stages, their topics and groups
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) args: Arc<PipelineArgs>,
    /// None for a command line that works straight on the database: what needs Kafka then waits for a running role, or is left out
    pub(crate) kafka: Option<KafkaArgs>,
}

impl Context {
    /// Nothing connects yet; the schema is brought up to date by [`Schema::open`] or [`Schema::migrate`] on [`Self::pool`].
    ///
    /// # Errors
    /// As [`PipelineArgs::check`].
    pub fn new(args: PipelineArgs, kafka: Option<KafkaArgs>) -> Result<Self, ConfigError> {
        Ok(Self {
            pool: SCHEMA.pool(&args.database.database_url, 8)?,
            contracts: Arc::new(runtime::files::load_contracts(args.contracts.as_deref())?),
            registry: Arc::new(Mutex::new(Registry::new(&args.registry)?)),
            sources: args.load_sources()?.map(Arc::new),
            pipeline: Arc::new(args.pipeline()?),
            args: Arc::new(args),
            kafka,
        })
    }

    /// The role's connections.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// Brings the schema up to date when a migration this program knows is missing: for a command line without a running role. A person
/// who may only read needs no right to create anything when there is nothing to do.
///
/// # Errors
/// The database does not answer, or a migration fails.
pub async fn migrate_if_needed(context: &Context) -> Result<(), RecoveryError> {
    let table: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('recovery._sqlx_migrations')::text")
            .fetch_one(&context.pool)
            .await?;
    let mut applied: Vec<i64> = Vec::new();
    if table.is_some() {
        let versions =
            sqlx::query_scalar("SELECT version FROM recovery._sqlx_migrations WHERE success");
        applied = versions.fetch_all(&context.pool).await?;
    }
    if SCHEMA
        .migrations
        .iter()
        .all(|migration| applied.contains(&migration.version))
    {
        return Ok(());
    }
    Ok(SCHEMA.migrate(&context.pool).await?)
}
