//! The one HTTP server: a deadline on the headers, a bound on connections, TLS where it is configured, a drain at the end.

mod borders;
mod places;
mod tls;
mod watched;

pub use places::network_of;
pub use tls::Certificates;
pub use watched::AmbiguousLength;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use places::Places;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use watched::Watched;

/// Longest a client may take over its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the certificate's files are checked for a change.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// Largest head of a request, and the most of a body that is read at once. A connection's read buffer is never larger, so this is what a
/// stranger's open connection may cost.
pub const READ_BUFFER_BYTES: usize = 16 << 10;

/// The address at the other end of the connection. Every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// What clients may take from a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest a client may take to send its request's headers, from their first byte; for a new connection's first request, from the connection
    pub header_timeout: Duration,
    /// A kept connection may be idle that long. Longer than proxies in front keep theirs, or they send into one that is being closed
    pub idle_timeout: Duration,
    /// Connections open at once; more wait to be accepted. One client network may have half of them; more of its own are closed at once
    pub connections: usize,
    /// Longest a stop waits for requests in flight; then their connections are cut
    pub drain: Duration,
}

/// Serves until `shutdown`, then stops accepting and lets what is in flight finish. A certificate that changes on disk is in use within
/// half a minute; one that cannot be used leaves the old one in place. Every request carries its [`Peer`] as an extension,
/// and [`AmbiguousLength`] if it has both lengths.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    mut certificates: Option<Certificates>,
    shutdown: CancellationToken,
) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        // hyper counts from the end of an answer to the end of the next head, which has its own deadline from its first byte.
        .header_read_timeout(limits.idle_timeout + limits.header_timeout)
        .max_buf_size(READ_BUFFER_BYTES);
    let places = Places::new(limits.connections);
    let refused = metrics::counter!(crate::metrics::CONNECTIONS_REFUSED);
    let graceful = GracefulShutdown::new();
    let mut reload = tokio::time::interval(RELOAD_EVERY);
    while let Some(free) = shutdown.run_until_cancelled(places.free()).await {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            _ = reload.tick(), if certificates.is_some() => {
                certificates = certificates.map(Certificates::reloaded);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            // An IPv4 client of a socket for both is the same client.
            Ok((stream, address)) => (stream, Peer(address.ip().to_canonical())),
            Err(error) => {
                // Out of file descriptors, or a client that went away: neither ends the server.
                tracing::warn!(event = "accept_failed", %error);
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Some(place) = places.take(free, peer.0) else {
            refused.increment(1);
            tracing::debug!(event = "connection_refused", peer = %peer.0);
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(event = "nodelay_refused", %error);
        }
        let (http, router, watcher) = (http.clone(), router.clone(), graceful.watcher());
        let acceptor = certificates.as_ref().map(Certificates::acceptor);
        tokio::spawn(async move {
            match acceptor {
                None => {
                    serve_connection(&http, stream, peer, limits, router, watcher).await;
                }
                Some(acceptor) => {
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            serve_connection(&http, stream, peer, limits, router, watcher).await;
                        }
                        Ok(Err(error)) => tracing::debug!(event = "handshake_failed", %error),
                        Err(_) => tracing::debug!(event = "handshake_timeout"),
                    }
                }
            }
            drop(place);
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
    peer: Peer,
    limits: Limits,
    router: Router,
    watcher: Watcher,
) {
    let (stream, ambiguous) = Watched::new(stream, limits.header_timeout);
    let served = AtomicU64::new(0);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        if ambiguous.reached_by(served.fetch_add(1, Ordering::Relaxed)) {
            request.extensions_mut().insert(AmbiguousLength);
        }
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(event = "connection_ended", %error);
    }
}
