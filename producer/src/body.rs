//! A request's body, within its limits of size, memory, time and pace.

use crate::budget::{Charge, OPEN_BYTES};
use crate::error::ApiError;
use axum::body::{Body, HttpBody as _};
use axum::http::{Extensions, HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use runtime::http::AmbiguousLength;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a body may stay below the pace: a connection that starts slowly, a packet that is sent again.
const GRACE: Duration = Duration::from_secs(2);

/// How much a body grows by.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// How fast a body must arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// For the whole body
    pub(crate) timeout: Duration,
    /// On average, after the grace period; 0 is no bound
    pub(crate) least_bytes_per_second: u32,
}

impl Pace {
    /// When the next bytes must be here, and the answer if they are not.
    fn next(self, started: Instant, received: usize) -> (Instant, ApiError) {
        let whole = (started + self.timeout, ApiError::BodyTimeout);
        if self.least_bytes_per_second == 0 {
            return whole;
        }
        // Sizes are far below 2^52, where this is exact.
        let due = received as f64 / f64::from(self.least_bytes_per_second);
        let slow = started + GRACE + Duration::from_secs_f64(due);
        if slow < whole.0 {
            (slow, ApiError::BodyTooSlow)
        } else {
            whole
        }
    }
}

/// A body's length is said once, by `Content-Length` or by `Transfer-Encoding: chunked`. Whoever says more is read in two ways by two programs.
///
/// # Errors
/// [`ApiError::AmbiguousLength`].
pub(crate) fn check_length(extensions: &Extensions, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let clear = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !headers.contains_key(header::CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    };
    if clear && extensions.get::<AmbiguousLength>().is_none() {
        Ok(())
    } else {
        Err(ApiError::AmbiguousLength)
    }
}

/// The whole body, or why not. Its memory is charged before it is allocated.
pub(crate) async fn read_body(
    charge: &mut Charge<'_>,
    pace: Pace,
    mut body: Body,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let started = Instant::now();
    let mut received = Received::default();
    loop {
        let (deadline, late) = pace.next(started, received.bytes);
        let data = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(late),
            Ok(None) => return received.whole(charge),
            Ok(Some(Err(_))) => return Err(ApiError::BrokenBody),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        if received.bytes + data.len() > limit {
            return Err(ApiError::BodyTooLarge(limit));
        }
        // The usual body comes in one piece, and its place in the connection's buffer is charged already.
        let only = received.bytes == 0 && body.is_end_stream();
        if only && (1..=OPEN_BYTES).contains(&data.len()) {
            return Ok(data);
        }
        received.append(charge, &data)?;
    }
}

/// The body so far, copied: a piece as it was read holds the whole buffer it was read into, thousands of times its own size if it is one
/// byte. In chunks, so that growing moves nothing.
#[derive(Default)]
struct Received {
    chunks: Vec<Vec<u8>>,
    bytes: usize,
}

impl Received {
    fn append(&mut self, charge: &mut Charge<'_>, mut data: &[u8]) -> Result<(), ApiError> {
        self.bytes += data.len();
        while !data.is_empty() {
            match self.chunks.last_mut() {
                Some(chunk) if chunk.len() < CHUNK_BYTES => {
                    let (now, later) = data.split_at(data.len().min(CHUNK_BYTES - chunk.len()));
                    chunk.extend_from_slice(now);
                    data = later;
                }
                Some(_) | None => {
                    charge.grow(CHUNK_BYTES)?;
                    self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
                }
            }
        }
        Ok(())
    }

    fn whole(self, charge: &mut Charge<'_>) -> Result<Bytes, ApiError> {
        if self.bytes == 0 {
            return Err(ApiError::EmptyBody);
        }
        let held = self.chunks.len() * CHUNK_BYTES;
        charge.grow(self.bytes)?;
        let whole = self.chunks.concat();
        drop(self);
        charge.shrink(held);
        Ok(whole.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn what_arrives_late_is_late_for_its_pace_or_for_the_whole_body() {
        let pace = |least_bytes_per_second| Pace {
            timeout: Duration::from_secs(10),
            least_bytes_per_second,
        };
        let started = Instant::now();
        for (least, received, seconds, code) in [
            (1000, 0, 2, "body_too_slow"),
            (1000, 1000, 3, "body_too_slow"),
            (1000, 7999, 9, "body_too_slow"),
            (1000, 8000, 10, "body_timeout"),
            (1000, 1_000_000, 10, "body_timeout"),
            (0, 0, 10, "body_timeout"),
        ] {
            let (at, late) = pace(least).next(started, received);
            let waited = (at - started).as_secs();
            assert_eq!((waited, late.code()), (seconds, code), "{least} {received}");
        }
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_whole_again_and_holds_its_own_size() {
        let budget = crate::budget::Budget::new(usize::MAX);
        let pace = Pace {
            timeout: Duration::from_secs(60),
            least_bytes_per_second: 0,
        };
        let sent: Vec<u8> = (0..CHUNK_BYTES * 2 + 5).map(|byte| byte as u8).collect();
        for piece in [1, 7, 16 << 10, CHUNK_BYTES, CHUNK_BYTES + 1, sent.len()] {
            let read = async |limit| {
                let pieces = sent.chunks(piece).map(Bytes::copy_from_slice);
                let pieces: Vec<_> = pieces.map(Ok::<_, std::io::Error>).collect();
                let body = Body::from_stream(futures_util::stream::iter(pieces));
                let mut charge = budget.open([10, 0, 0, 1].into()).unwrap();
                let body = read_body(&mut charge, pace, body, limit).await;
                (body, charge.bytes() - OPEN_BYTES)
            };
            let (body, held) = read(sent.len()).await;
            assert_eq!(
                (&body.unwrap()[..], held),
                (&sent[..], sent.len()),
                "{piece}"
            );
            let (refused, held) = read(sent.len() - 1).await;
            assert_eq!(refused.unwrap_err().code(), "body_too_large");
            assert!(held <= sent.len() + CHUNK_BYTES);
        }
    }
}
