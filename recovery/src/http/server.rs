//! The API's listener: plain HTTP only where it cannot be read on the way.

use super::ApiArgs;
use axum::Router;
use runtime::http::Limits;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// For people and their scripts: more connections than this are a mistake.
const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    connections: 256,
    drain: Duration::from_secs(10),
};

/// Serves until `shutdown`, with TLS where it is configured; then lets what is in flight finish.
///
/// # Errors
/// [`runtime::config::ConfigError`] when the listener's address or the certificate cannot be used.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    args: &ApiArgs,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    args.check_listen(listener.local_addr()?)?;
    runtime::http::serve(listener, router, LIMITS, args.certificates()?, shutdown).await;
    Ok(())
}
