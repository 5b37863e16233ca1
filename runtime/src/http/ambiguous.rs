//! Requests whose length is given twice, which hyper would not let the application see.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// A connection whose request heads are inspected on their way to hyper.
pub(super) struct Inspected<S> {
    stream: S,
    ambiguous: AmbiguousLength,
}

impl<S> Inspected<S> {
    pub(super) fn new(stream: S) -> (Self, AmbiguousLength) {
        let ambiguous = AmbiguousLength::default();
        let mark = ambiguous.clone();
        (Self { stream, ambiguous }, mark)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inspected<S> {
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

/// Sees a head that begins and ends within one read, as every ordinary client's does. For an exotic one hyper's rule holds.
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Inspected<S> {
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
