//! The HTTP server: hyper with a deadline on the headers, a bound on connections, and a drain at the end.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Serves until `shutdown`, then stops accepting and gives what is in flight `drain` to finish.
///
/// # Errors
/// When the listener cannot be used any more.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    header_timeout: Duration,
    max_connections: usize,
    drain: Duration,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(64 << 10);
    let connections = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    while let Some(Ok(permit)) = shutdown
        .run_until_cancelled(Arc::clone(&connections).acquire_owned())
        .await
    {
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else {
            break;
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
        let ambiguous = AmbiguousLength::default();
        let (app, mark) = (app.clone(), ambiguous.clone());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(mark.clone());
            app.clone().oneshot(request.map(Body::new))
        });
        let connection =
            http.serve_connection(TokioIo::new(Watched { stream, ambiguous }), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(event = "connection_ended", %error);
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown())
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

/// Whether this connection sent a request with both `Content-Length` and `Transfer-Encoding`.
///
/// hyper follows RFC 9112 section 6.3: it ignores `Content-Length`, removes it, and closes the connection afterwards, which is safe but
/// leaves nothing for the application to see. Such a request is a smuggling attempt or a broken client; it is refused, not guessed at.
#[derive(Debug, Clone, Default)]
pub struct AmbiguousLength(Arc<AtomicBool>);

impl AmbiguousLength {
    /// True once such a request was seen.
    #[must_use]
    pub fn seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection whose request heads are looked at on their way to hyper.
struct Watched {
    stream: TcpStream,
    ambiguous: AmbiguousLength,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if is_ambiguous(&buffer.filled()[before..]) {
            self.ambiguous.0.store(true, Ordering::Relaxed);
        }
        done
    }
}

/// Looks at what begins like a request and ends its head within one read: every ordinary client's. An exotic one falls to hyper's rule.
fn is_ambiguous(read: &[u8]) -> bool {
    if !read.starts_with(b"POST ") {
        return false;
    }
    let head = memchr::memmem::find(read, b"\r\n\r\n").map_or(read, |end| &read[..end]);
    let has = |name: &[u8]| {
        memchr::memchr_iter(b'\n', head).any(|line| {
            let line = &head[line + 1..];
            line.len() > name.len()
                && line[name.len()] == b':'
                && line[..name.len()].eq_ignore_ascii_case(name)
        })
    };
    // Most requests have no Transfer-Encoding: one pass over a few hundred bytes.
    has(b"transfer-encoding") && has(b"content-length")
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
