//! The life of a role: checked, its operations endpoints up, its work until it is asked to stop, its endpoints down.

use crate::config::{ConfigError, ProcessArgs};
use crate::connection::Connection;
use crate::health::Health;
use crate::{faults, ops, telemetry};
use axum::Router;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A long-running `eventflow <role>`, implemented by its settings. Producer, validator, analytics, persistence and recovery serve their
/// operations endpoints on `--ops-listen`; registry and simulator, which nobody outside reaches, serve them beside their own routes.
pub trait Role: Sync {
    /// As typed on the command line.
    fn name(&self) -> &'static str;

    /// `--log-json`, `--check` and `--connect`.
    fn process(&self) -> &ProcessArgs;

    /// Where `/health`, `/ready` and `/metrics` are served, and the flag that sets it.
    fn ops(&self) -> (&'static str, SocketAddr);

    /// Refuses settings that cannot work, before anything is started.
    ///
    /// # Errors
    /// Names the setting.
    fn check(&self) -> Result<(), ConfigError>;

    /// What it must reach to do its job.
    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }

    /// Prepares the work; it begins when it is polled and ends at `shutdown`, or with what it cannot survive.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    fn start(&self, health: Health, shutdown: CancellationToken) -> Result<Service, ConfigError>;
}

/// A role that was prepared.
pub struct Service {
    routes: Router,
    work: Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>,
}

impl Service {
    /// With no routes of its own on the operations port.
    pub fn new(work: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> Self {
        Self {
            routes: Router::new(),
            work: Box::pin(work),
        }
    }

    /// Serves `routes` beside the operations endpoints, on the same port.
    #[must_use]
    pub fn with_routes(self, routes: Router) -> Self {
        Self { routes, ..self }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// Connects to everything the role uses and says of each whether that worked; false when anything did not.
pub async fn connect(role: &dyn Role) -> bool {
    let mut all = true;
    for connection in role.connections() {
        let (name, place) = (connection.name, connection.place.clone());
        match connection.attempt().await {
            Ok(()) => println!("ok      {name} at {place}"),
            Err(problem) => {
                println!("failed  {name} at {place}: {problem}");
                all = false;
            }
        }
    }
    all
}

/// Runs a role until `shutdown`.
///
/// # Errors
/// Bad configuration ([`ConfigError`]), an address that is taken, or what ended the role's work.
pub async fn run(role: &dyn Role, shutdown: CancellationToken) -> anyhow::Result<()> {
    faults::check();
    role.check()?;
    let (setting, address) = role.ops();
    let listener = ops::bind(setting, address).await?;
    serve(role, listener, Health::starting(), shutdown).await
}

/// As [`run`], with a listener for the operations endpoints that is bound already.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    role: &dyn Role,
    listener: TcpListener,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    // First: descriptions of metrics made before there is a recorder are lost.
    telemetry::metrics_handle();
    tracing::info!(event = "starting", role = role.name(), ops = %listener.local_addr()?);
    let Service { routes, work } = role.start(health.clone(), shutdown.clone())?;
    let routes = ops::routes(health).merge(routes);
    let endpoints = tokio::spawn(ops::serve(listener, routes, shutdown.clone()));
    work.await?;
    shutdown.cancel();
    endpoints.await?;
    Ok(())
}
