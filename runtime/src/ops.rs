//! The operations endpoints of a role, on their own port: `/health` (alive), `/ready` (can do its job now, with reasons), `/metrics`.

use crate::config::ConfigError;
use crate::health::Health;
use crate::telemetry;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where the operations endpoints listen.
#[derive(Debug, Clone, clap::Args)]
pub struct OpsArgs {
    /// Address of /health, /ready and /metrics; not meant for the public
    #[arg(long, env = "EVENTFLOW_OPS_LISTEN", default_value = "127.0.0.1:9100")]
    pub ops_listen: SocketAddr,
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
        .route("/ready", get(move || async move { ready_answer(&ready) }))
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

/// 200 when ready, else 503 with every failing check and its reason.
#[must_use]
pub fn ready_answer(health: &Health) -> Response {
    let reasons = health.reasons();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let reasons: Vec<_> = reasons
        .into_iter()
        .map(|(check, reason)| serde_json::json!({"check": check, "reason": reason}))
        .collect();
    (
        status,
        Json(serde_json::json!({"ready": reasons.is_empty(), "reasons": reasons})),
    )
        .into_response()
}

/// Binds the address, or says which setting to change.
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

/// Serves `routes` until `shutdown`. Upkeep of histograms runs beside it.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let upkeep = shutdown.clone();
    tokio::spawn(async move {
        let handle = telemetry::metrics_handle();
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(5));
        while upkeep.run_until_cancelled(tick.tick()).await.is_some() {
            handle.run_upkeep();
        }
    });
    axum::serve(listener, routes)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await?;
    Ok(())
}
