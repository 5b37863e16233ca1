//! What every query and every change of on-call works with.

use crate::config::PipelineArgs;
use crate::error::RecoveryError;
use crate::now::Observed;
use contracts::Rejection;
use contracts::event::{Catalog, Envelope, HeaderValues, Mappings, Validated};
use contracts::pipeline::Pipeline;
use contracts::webhook::source::Sources;
use runtime::config::ConfigError;
use runtime::kafka::KafkaArgs;
use runtime::registry::{Framed, Registry, RegistryError};
use runtime::reload::{Live, Reload};
use sqlx::postgres::PgPool;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::connect::Schema;
use tokio::sync::Mutex;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// This role's schema. It writes nowhere else.
pub const SCHEMA: Schema = Schema {
    role: "recovery",
    migrations: &MIGRATIONS,
};

/// What the validator would make of a sound record.
pub(crate) enum Checked<'a> {
    Valid(Box<Validated<'a>>),
    /// It is not wanted, by this rule of its source
    Filtered(&'a str),
}

/// Connections, contracts and settings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) pool: PgPool,
    pub(crate) contracts: Arc<Catalog>,
    pub(crate) registry: Arc<Mutex<Registry>>,
    /// As they are now
    pub(crate) vendors: Live<Vendors>,
    /// The stages, their topics and groups
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) args: Arc<PipelineArgs>,
    /// None for a command line that works straight on the database: what needs Kafka then waits for a running role, or is left out
    pub(crate) kafka: Option<KafkaArgs>,
    /// What the running role has seen of the pipeline
    pub(crate) observed: Observed,
}

/// What is known of the vendors; recreated when their files change.
#[derive(Debug)]
pub(crate) struct Vendors {
    /// None without a file or a secret
    pub(crate) sources: Option<Sources>,
    /// Where the envelope of each source's events is
    pub(crate) mappings: Mappings,
}

impl Context {
    /// Nothing connects yet; the schema is brought up to date by [`Schema::open`] or [`Schema::migrate`] on [`Self::pool`].
    ///
    /// # Errors
    /// As [`PipelineArgs::check`].
    pub fn new(args: PipelineArgs, kafka: Option<KafkaArgs>) -> Result<Self, ConfigError> {
        Self::watched(args, kafka).map(|(context, _)| context)
    }

    /// As [`new`](Self::new), with what reads the sources again when their files change.
    pub(crate) fn watched(
        args: PipelineArgs,
        kafka: Option<KafkaArgs>,
    ) -> Result<(Self, Reload<Vendors>), ConfigError> {
        let of_vendors = args.clone();
        let vendors = Reload::new("sources", move |_, files| of_vendors.load_vendors(files))?;
        let context = Self {
            pool: SCHEMA.pool(&args.database.database_url, 8)?,
            contracts: Arc::new(runtime::files::load_contracts(args.contracts.as_deref())?),
            registry: Arc::new(Mutex::new(Registry::new(&args.registry)?)),
            vendors: vendors.live(),
            pipeline: Arc::new(args.pipeline()?),
            args: Arc::new(args),
            kafka,
            observed: Observed::default(),
        };
        Ok((context, vendors))
    }

    /// A raw record, its value [opened](Mappings::open), as the validator would check it with these mappings.
    ///
    /// # Errors
    /// What the validator would dead-letter it for.
    pub(crate) fn validate<'a>(
        &'a self,
        mappings: &'a Mappings,
        headers: impl HeaderValues<'a>,
        opened: &'a [u8],
    ) -> Result<Checked<'a>, Rejection> {
        let envelope: Envelope<'a> = mappings.find(headers, opened)?;
        match envelope.filtered {
            Some(rule) => Ok(Checked::Filtered(rule)),
            None => {
                let event = self.contracts.validate(envelope)?;
                Ok(Checked::Valid(Box::new(event)))
            }
        }
    }

    /// Reads framed Avro of a dead letter, with a schema of the last minute where another does not fit: it is read again at most so often.
    ///
    /// # Errors
    /// [`RegistryError`]: the value is not at fault.
    pub(crate) async fn decode<'v>(
        &self,
        value: &'v [u8],
    ) -> Result<Result<Framed<'v>, Rejection>, RegistryError> {
        let now = Instant::now();
        let polled = now.checked_sub(Duration::from_secs(60)).unwrap_or(now);
        self.registry.lock().await.decode(value, polled).await
    }

    /// The role's connections.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// Between a database login and the name that a person gives.
const AS: &str = " (as ";

/// Who works straight on the database: its login, which the server knows, and the name given, which nobody has checked.
///
/// # Errors
/// The database does not answer.
pub async fn database_person(
    context: &Context,
    name: Option<&str>,
) -> Result<String, RecoveryError> {
    let login: String = sqlx::query_scalar("SELECT session_user::text")
        .fetch_one(&context.pool)
        .await?;
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    Ok(match name {
        Some(name) if name != login => format!("{login}{AS}{name})"),
        Some(_) | None => login,
    })
}

/// Of somebody in the audit log, the part that was checked: the name of a token, or of a database login.
pub(crate) fn person(who: &str) -> &str {
    who.split_once(AS).map_or(who, |(login, _)| login).trim()
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
