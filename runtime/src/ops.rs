//! The operations endpoints of a role, on their own port: `/health` (alive), `/ready` (can do its job now, with reasons), `/metrics`.

use crate::config_error::ConfigError;
use crate::health::Health;
use crate::http::{self, Limits};
use crate::telemetry;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where the operations endpoints listen.
#[derive(Debug, Clone, clap::Args)]
pub struct OpsArgs {
    /// Address of /health, /ready and /metrics; keep it private
    #[arg(long, env = "EVENTFLOW_OPS_LISTEN", default_value = "127.0.0.1:9100")]
    pub ops_listen: SocketAddr,
}

impl OpsArgs {
    /// The address, and the flag that sets it.
    #[must_use]
    pub fn address(&self) -> (&'static str, SocketAddr) {
        ("--ops-listen", self.ops_listen)
    }
}

/// The routes, for roles that serve them beside their own.
pub fn routes(health: Health) -> Router {
    let handle = telemetry::metrics_handle();
    let ready = health.clone();
    Router::new()
        .route(
            "/health",
            get(|| async { Json(serde_json::json!({"status": "alive"})) }),
        )
        .route(
            "/ready",
            get(move || async move { answer(&ready, &ready.warnings()) }),
        )
        .route(
            "/metrics",
            get(move || async move {
                metrics::gauge!(crate::metrics::READY).set(f64::from(u8::from(health.is_ready())));
                (
                    [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
                    handle.render(),
                )
            }),
        )
}

/// 200 when ready, else 503 with every failing check and its reason. Without the warnings, which name files and are nothing for strangers.
#[must_use]
pub fn ready_answer(health: &Health) -> Response {
    answer(health, &[])
}

/// As [`ready_answer`], with the warnings if there are any.
fn answer(health: &Health, warnings: &[(&'static str, String)]) -> Response {
    let reasons = health.reasons();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let list = |all: &[(&'static str, String)]| -> Vec<_> {
        all.iter()
            .map(|(check, reason)| serde_json::json!({"check": check, "reason": reason}))
            .collect()
    };
    let mut body = serde_json::json!({"ready": reasons.is_empty(), "reasons": list(&reasons)});
    if !warnings.is_empty() {
        body["warnings"] = list(warnings).into();
    }
    (status, Json(body)).into_response()
}

/// Binds the address, or names the setting to change.
///
/// # Errors
/// [`ConfigError`] naming `setting` when the port is taken or the address is not ours.
pub async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(address).await.map_err(|error| {
        ConfigError::new(
            setting,
            format!("cannot listen on {address}: {error}; choose another address"),
        )
    })
}

/// For probes, scrapes and the registry's clients. A kept connection may be idle between two scrapes, a minute apart.
const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    connections: 1024,
    drain: Duration::from_secs(3),
};

/// Serves `routes` until `shutdown`, then waits at most three seconds for open requests. Upkeep of histograms runs beside it.
pub async fn serve(listener: TcpListener, routes: Router, shutdown: CancellationToken) {
    let upkeep = shutdown.clone();
    tokio::spawn(async move {
        let handle = telemetry::metrics_handle();
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        while upkeep.run_until_cancelled(tick.tick()).await.is_some() {
            handle.run_upkeep();
        }
    });
    http::serve(listener, routes, LIMITS, None, shutdown).await;
}
