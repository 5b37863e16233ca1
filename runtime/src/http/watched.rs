//! A connection on its way to hyper: its requests' heads have a deadline, and the one with both lengths is found, which hyper would not show.

use super::borders::Borders;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Extension of a request that came with both `Content-Length` and `Transfer-Encoding`.
///
/// hyper follows RFC 9112 section 6.3: it ignores `Content-Length`, removes it, and closes the connection afterwards, which is safe but
/// leaves nothing for the application to see. Such a request is a smuggling attempt or a broken client; it is refused, not guessed at.
#[derive(Debug, Clone, Copy)]
pub struct AmbiguousLength;

/// The number, from 0, of a connection's first request with both lengths.
#[derive(Debug, Clone)]
pub(super) struct FirstAmbiguous(Arc<AtomicU64>);

impl FirstAmbiguous {
    /// True for that request, and for any after it: hyper reads none.
    pub(super) fn reached_by(&self, request: u64) -> bool {
        request >= self.0.load(Ordering::Relaxed)
    }
}

/// The stream that hyper reads from.
pub(super) struct Watched<S> {
    stream: S,
    borders: Borders,
    ambiguous: FirstAmbiguous,
    head_timeout: Duration,
    /// Runs while a head is open
    head_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, head_timeout: Duration) -> (Self, FirstAmbiguous) {
        let ambiguous = FirstAmbiguous(Arc::new(AtomicU64::new(u64::MAX)));
        let watched = Self {
            stream,
            borders: Borders::default(),
            ambiguous: ambiguous.clone(),
            head_timeout,
            head_deadline: Some(Box::pin(sleep(head_timeout))),
        };
        (watched, ambiguous)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => {
                let deadline = self.head_deadline.as_mut();
                if deadline.is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                if let Some(request) = self.borders.read(&buffer.filled()[before..])? {
                    self.ambiguous.0.store(request, Ordering::Relaxed);
                }
                if !self.borders.in_head() {
                    self.head_deadline = None;
                } else if self.head_deadline.is_none() {
                    self.head_deadline = Some(Box::pin(sleep(self.head_timeout)));
                }
                Poll::Ready(Ok(()))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use crate::http::borders::tests::{BOTH, PLAIN};
    use crate::http::{Limits, Peer, serve_connection};
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::Extensions;
    use hyper_util::server::graceful::GracefulShutdown;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(600);

    /// Of each request that hyper takes from these bytes, whether it is said to have both lengths.
    async fn taken(parts: Vec<Vec<u8>>) -> Vec<bool> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let marks = Arc::clone(&seen);
        let router = Router::new().fallback(async move |extensions: Extensions, _: Bytes| {
            let both = extensions.get::<AmbiguousLength>().is_some();
            marks.lock().unwrap().push(both);
        });
        let limits = Limits {
            header_timeout: LONG,
            idle_timeout: LONG,
            connections: 1,
            drain: LONG,
        };
        let (client, server) = tokio::io::duplex(64);
        let http = hyper::server::conn::http1::Builder::new();
        let peer = Peer([127, 0, 0, 1].into());
        let graceful = GracefulShutdown::new();
        let watcher = graceful.watcher();
        let serving = serve_connection(&http, server, peer, limits, router, watcher);
        let talking = async {
            let (mut reader, mut writer) = tokio::io::split(client);
            let writing = async {
                for part in parts {
                    // hyper closes after the request with both lengths, and reads no more.
                    if writer.write_all(&part).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                writer.shutdown().await.ok();
            };
            let mut answers = Vec::new();
            tokio::join!(writing, reader.read_to_end(&mut answers))
                .1
                .ok();
        };
        tokio::time::timeout(LONG, async { tokio::join!(serving, talking) })
            .await
            .unwrap();
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    #[tokio::test]
    async fn hyper_takes_the_same_requests_and_only_the_one_with_both_lengths_is_marked() {
        for first in PLAIN {
            for second in PLAIN {
                let all = [first, second, BOTH, PLAIN[0]].concat().into_bytes();
                for size in [all.len(), 7, 1] {
                    let parts = all.chunks(size).map(<[u8]>::to_vec).collect();
                    let expected = vec![false, false, true];
                    assert_eq!(taken(parts).await, expected, "{size}: {first:?} {second:?}");
                }
            }
        }
    }
}
