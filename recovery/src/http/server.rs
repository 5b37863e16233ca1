//! The API's listener: TLS where it is configured, bounds on connections and headers, a drain at the end.

use super::ApiArgs;
use super::tls::{Certificates, HANDSHAKE};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// People and their scripts; more than this is a mistake.
const CONNECTIONS: usize = 256;
/// Longest a client may take over its headers.
const HEADERS: Duration = Duration::from_secs(10);
/// What is in flight at the end may take this long.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until `shutdown`, then stops accepting and lets what is in flight finish. A certificate that changes on disk is taken within
/// half a minute; one that cannot be used leaves the old one in place.
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
    let mut certificates = args.certificates()?;
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut look = tokio::time::interval(Duration::from_secs(30));
    while let Some(Ok(permit)) = shutdown
        .run_until_cancelled(Arc::clone(&connections).acquire_owned())
        .await
    {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = look.tick() => {
                certificates = reload(certificates);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or a client that went away: neither ends the server.
                tracing::warn!(event = "accept_failed", %error);
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (router, watcher) = (router.clone(), graceful.watcher());
        let acceptor = certificates.as_ref().map(Certificates::acceptor);
        tokio::spawn(async move {
            match acceptor {
                None => speak(stream, router, watcher).await,
                Some(acceptor) => {
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => speak(stream, router, watcher).await,
                        Ok(Err(error)) => tracing::debug!(event = "handshake_failed", %error),
                        Err(_) => tracing::debug!(event = "handshake_timeout"),
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            event = "drain_deadline",
            "some clients did not finish in time; their connections are cut"
        );
    }
    Ok(())
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    stream: S,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(64 << 10);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    if let Err(error) = watcher
        .watch(http.serve_connection(TokioIo::new(stream), service))
        .await
    {
        tracing::debug!(event = "connection_ended", %error);
    }
}

fn reload(old: Option<Certificates>) -> Option<Certificates> {
    let old = old?;
    match old.again() {
        Ok(None) => Some(old),
        Ok(Some(new)) => {
            tracing::info!(event = "certificate_reloaded");
            Some(new)
        }
        Err(error) => {
            tracing::warn!(event = "certificate_unusable", %error, "the old one stays in use");
            Some(old)
        }
    }
}
