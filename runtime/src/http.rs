//! The one HTTP server: a deadline on the headers, a bound on connections, TLS where it is configured, a drain at the end.

mod ambiguous;
mod tls;

pub use ambiguous::AmbiguousLength;
pub use tls::Certificates;

use ambiguous::Inspected;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Longest a client may take over its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the certificate's files are checked for a change.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// Largest head of a request.
const HEAD_BYTES: usize = 64 << 10;

/// What clients may take from a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest a client may take to send its request's headers; a kept connection may be idle that long
    pub header_timeout: Duration,
    /// Connections open at once; more wait to be accepted
    pub connections: usize,
    /// Longest a stop waits for requests in flight; then their connections are cut
    pub drain: Duration,
}

/// Serves until `shutdown`, then stops accepting and lets what is in flight finish. A certificate that changes on disk is in use within
/// half a minute; one that cannot be used leaves the old one in place. Every request carries its connection's [`AmbiguousLength`] as an
/// extension.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut certificates: Option<Certificates>,
    shutdown: CancellationToken,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD_BYTES);
    let connections = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut reload = tokio::time::interval(RELOAD_EVERY);
    while let Some(Ok(permit)) = shutdown
        .run_until_cancelled(Arc::clone(&connections).acquire_owned())
        .await
    {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = reload.tick(), if certificates.is_some() => {
                certificates = certificates.map(Certificates::reloaded);
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
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(event = "nodelay_refused", %error);
        }
        let (http, router, watcher) = (http.clone(), router.clone(), graceful.watcher());
        let acceptor = certificates.as_ref().map(Certificates::acceptor);
        tokio::spawn(async move {
            match acceptor {
                None => serve_connection(&http, stream, router, watcher).await,
                Some(acceptor) => {
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => serve_connection(&http, stream, router, watcher).await,
                        Ok(Err(error)) => tracing::debug!(event = "handshake_failed", %error),
                        Err(_) => tracing::debug!(event = "handshake_timeout"),
                    }
                }
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            event = "drain_deadline",
            "some clients did not finish in time; their connections are cut"
        );
    }
}

async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    http: &hyper::server::conn::http1::Builder,
    stream: S,
    router: Router,
    watcher: Watcher,
) {
    let (stream, ambiguous) = Inspected::new(stream);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ambiguous.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(event = "connection_ended", %error);
    }
}
