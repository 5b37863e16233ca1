//! `eventflow recovery`, the role with its console; and `eventflow recovery reindex`: the dead-letter topic read into the index once more.

use console::{Console, ConsoleSettings};
use recovery::Context;
use recovery::index::reindex;
use runtime::config::{ConfigError, ProcessArgs};
use runtime::connection::Connection;
use runtime::health::Health;
use runtime::role::{Role, Service};
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// The role, or its one-off work. Its flags may stand before or after the subcommand.
#[derive(Debug, clap::Args)]
#[command(mut_args(|flag| flag.global(true)))]
pub(crate) struct RecoveryRole {
    #[command(flatten)]
    pub(crate) role: recovery::Config,
    #[command(subcommand)]
    pub(crate) work: Option<Work>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Work {
    /// Rebuild the index from the whole dead-letter topic, after its database was lost or restored; what is indexed already stays
    #[command(
        after_help = "Example: eventflow recovery reindex --database-url postgres://... --kafka-brokers ...\n\nSafe to run \
                            while the role runs, and to run again."
    )]
    Reindex,
}

/// Recovery, with the console around its API.
impl Role for RecoveryRole {
    fn name(&self) -> &'static str {
        self.role.name()
    }

    fn process(&self) -> &ProcessArgs {
        self.role.process()
    }

    fn ops(&self) -> (&'static str, SocketAddr) {
        self.role.ops()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.role.check()
    }

    fn connections(&self) -> Vec<Connection> {
        self.role.connections()
    }

    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError> {
        let settings = ConsoleSettings {
            https: self.role.api.tls_cert.is_some(),
        };
        let end = shutdown.clone();
        let around = move |api, tokens: &_| Console::new(tokens, settings, end).around(api);
        self.role.start_with(around, health, shutdown)
    }
}

/// `reindex`.
pub(crate) async fn reindex(
    role: recovery::Config,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    role.check()?;
    let recovery = Context::new(role.pipeline, Some(role.common.kafka))?;
    let work = async {
        recovery::migrate_if_needed(&recovery).await?;
        let name = std::env::var("USER").ok();
        let who = recovery::database_person(&recovery, name.as_deref()).await?;
        reindex::reindex(&recovery, &who, |found| {
            tracing::info!(event = "reindexing", ?found);
        })
        .await
    };
    let found = shutdown.run_until_cancelled(work).await;
    let found = found.ok_or_else(|| {
        anyhow::anyhow!("stopped; what was read so far is indexed; run it again for the rest")
    })??;
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
