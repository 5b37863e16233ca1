//! Settings of the role, and of the command line when it works straight on the database.

mod renames;

use crate::context::Vendors;
use crate::http;
use crate::index::retention;
use crate::now::RoleArgs;
use crate::rejections::RejectionLimits;
use crate::replay::policy;
use contracts::Secret;
use contracts::pipeline::Pipeline;
use renames::Renames;
use runtime::config::{Common, ConfigError};
use runtime::files::{load_mappings, load_pipeline, load_sources};
use runtime::registry::{Registry, RegistryArgs};
use runtime::reload::FilesRead;
use std::net::SocketAddr;
use std::path::PathBuf;
use store::DatabaseArgs;

/// What the role and the command line, when it works straight on the database, both need to know of the pipeline.
#[derive(Debug, Clone, clap::Args)]
pub struct PipelineArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
    /// File that describes the pipeline: stages, topics, consumer groups [default: the built-in one, infra/kafka/pipeline.json]
    #[arg(long = "pipeline", env = "EVENTFLOW_PIPELINE", value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    renames: Renames,
    /// Directory of further event contracts, one folder per event type: the same as the validator's
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    pub contracts: Option<PathBuf>,
    /// TOML file of sources (vendors), the same as the producer's: what the validator reads is read with it, and eventflow trace verifies stored signatures; without it, the only
    /// source is the built-in payment-authorized
    #[arg(long, env = "EVENTFLOW_SOURCES")]
    pub sources: Option<PathBuf>,
    /// Secret of the built-in source payment-authorized, the same as the producer's; used as --sources is
    #[arg(long, env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET", hide_env_values = true)]
    pub webhook_signing_secret: Option<Secret>,
    /// A replay, edit or discard of more dead letters than this must be confirmed (--yes)
    #[arg(long, env = "EVENTFLOW_CONFIRM_ABOVE", default_value_t = 100)]
    pub confirm_above: usize,
    /// A replay of more than --confirm-above dead letters, without a filter, or of edited values must be approved by a second person, who neither
    /// planned nor edited it; so must small ones of one person that come to more in 24 hours
    #[arg(long, env = "EVENTFLOW_REQUIRE_APPROVAL", default_value_t = false)]
    pub require_approval: bool,
    /// How often a record may be replayed: the same as the stages' --max-replays, for the dry run
    #[arg(long, env = "EVENTFLOW_MAX_REPLAYS", default_value_t = 5)]
    pub max_replays: u32,
}

impl PipelineArgs {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.database.check()?;
        self.pipeline()?;
        Registry::new(&self.registry)?;
        self.load_vendors(&mut FilesRead::default())?;
        runtime::files::load_contracts(self.contracts.as_deref()).map(drop)
    }

    /// The pipeline described, with what the flags of former versions rename in it.
    ///
    /// # Errors
    /// Names the setting: a file that cannot be read, or that describes what cannot work; a topic twice.
    pub fn pipeline(&self) -> Result<Pipeline, ConfigError> {
        let mut pipeline = load_pipeline(self.file.as_deref())?;
        self.renames.apply(&mut pipeline)?;
        Ok(pipeline)
    }

    pub(crate) fn load_vendors(&self, files: &mut FilesRead) -> Result<Vendors, ConfigError> {
        let (file, secret) = (
            self.sources.as_deref(),
            self.webhook_signing_secret.as_ref(),
        );
        Ok(Vendors {
            sources: load_sources(file, secret, files)?,
            mappings: load_mappings(file, files)?,
        })
    }
}

/// Settings of the recovery role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub pipeline: PipelineArgs,
    /// Address of the HTTP API
    #[arg(
        long,
        env = "EVENTFLOW_RECOVERY_LISTEN",
        default_value = "127.0.0.1:8004"
    )]
    pub listen: SocketAddr,
    /// Consumer group; former versions' spelling of what --pipeline says
    #[arg(long, env = "EVENTFLOW_RECOVERY_GROUP", hide = true)]
    pub group: Option<String>,
    /// Seconds between two checkpoints of the audit
    #[arg(long, env = "EVENTFLOW_AUDIT_SECONDS", default_value_t = 30)]
    pub audit_seconds: u64,
    /// TOML file of policies for automatic replays; without it, only people start replays
    #[arg(long, env = "EVENTFLOW_POLICIES")]
    pub policies: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub api: http::ApiArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub roles: RoleArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub retention: retention::RetentionArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rejections: RejectionLimits,
}

impl Config {
    pub(crate) fn load_policies(&self) -> Result<Option<policy::Policies>, ConfigError> {
        let Some(path) = &self.policies else {
            return Ok(None);
        };
        let bad =
            |problem| ConfigError::new("--policies", format!("{}: {problem}", path.display()));
        policy::Policies::load(path).map(Some).map_err(bad)
    }
}
