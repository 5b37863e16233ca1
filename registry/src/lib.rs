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

use runtime::config::{ConfigError, ProcessArgs};
use runtime::health::Health;
use runtime::role::{Role, Service};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// Settings of the registry role.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// Address of the registry; also serves /health, /ready and /metrics
    #[arg(
        long,
        env = "EVENTFLOW_REGISTRY_LISTEN",
        default_value = "127.0.0.1:8081"
    )]
    pub listen: SocketAddr,
    /// Directory of further event contracts, one folder per event type, each with its schema id in a file schema-id
    #[arg(long, env = "EVENTFLOW_CONTRACTS")]
    pub contracts: Option<PathBuf>,
    /// Topic of validated events: the first part of every subject's name
    #[arg(long, env = "EVENTFLOW_TOPIC_VALIDATED", default_value = contracts::kafka::topics::VALIDATED)]
    pub topic_validated: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub process: ProcessArgs,
}

impl Role for Config {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn process(&self) -> &ProcessArgs {
        &self.process
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        ("--listen", self.listen)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.subjects().map(drop)
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        metrics::describe();
        let routes = app(self.subjects()?);
        health.started();
        let work = async move {
            shutdown.cancelled().await;
            Ok(())
        };
        Ok(Service::new(work).with_routes(routes))
    }
}

impl Config {
    fn subjects(&self) -> Result<Vec<Subject>, ConfigError> {
        let contracts = runtime::files::load_contracts(self.contracts.as_deref())?;
        subjects(&contracts, &self.topic_validated)
    }
}
