//! A small Confluent-compatible schema registry over the contracts, read-mostly.
//!
//! Subjects are `<topic>-<record name>` (TopicRecordName); ids are pinned beside the contracts, so that any number of instances answer
//! alike ([`subjects`](mod@subjects)). Registering a schema that is here answers its id; another one is refused with a sentence, since contracts are
//! data of a release ([`routes`]). Any real registry works in its place, by its URL.

pub mod metrics;
pub mod routes;
pub mod subjects;

pub use routes::app;
pub use subjects::{Subject, subjects};

use runtime::config::ConfigError;
use runtime::health::Health;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Longest a stop waits for requests that are being answered.
const DRAIN: Duration = Duration::from_secs(3);

/// Settings of the registry role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Address clients ask; also serves /health, /ready and /metrics
    #[arg(
        long,
        env = "EVENTFLOW_REGISTRY_LISTEN",
        default_value = "127.0.0.1:8081"
    )]
    pub listen: SocketAddr,
    /// Directory of further event contracts, each with its pinned id in a file `schema-id`
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    pub contracts: Option<PathBuf>,
    /// Topic the records are written to: the first part of every subject
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::kafka::topics::VALIDATED)]
    pub topic_validated: String,
    /// Write logs as JSON
    #[arg(long, env = "EVENTFLOW_LOG_JSON", default_value_t = false)]
    pub log_json: bool,
    /// Check the configuration and exit
    #[arg(long, default_value_t = false)]
    pub check: bool,
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.subjects().map(drop)
    }

    fn subjects(&self) -> Result<Vec<Subject>, ConfigError> {
        let contracts = runtime::config::load_contracts(self.contracts.as_deref())?;
        subjects(&contracts, &self.topic_validated)
    }
}

/// Runs the role until `shutdown`.
///
/// # Errors
/// Bad configuration, or the address is taken.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let subjects = config.subjects()?;
    let listener = runtime::ops::bind("--listen", config.listen).await?;
    serve(listener, subjects, shutdown).await
}

/// The registry on a given listener, for [`run`], the demo and tests. A stop waits at most three seconds for open requests.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    subjects: Vec<Subject>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!(event = "listening", role = "registry", address = %listener.local_addr()?, subjects = subjects.len());
    let operations = runtime::ops::routes(Health::new());
    metrics::describe();
    let stopped = shutdown.clone();
    tokio::select! {
        served = runtime::ops::serve(listener, app(subjects).merge(operations), shutdown) => served,
        () = async { stopped.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!(event = "requests_cut_off", role = "registry");
            Ok(())
        }
    }
}
