//! Refused requests, written to a topic for people to look at ([`RefusedRequest`]): as well as it can be done without any cost to a request
//! that is accepted. Bounded by a rate for each source and code, and by a share of the queue for each source, so that strangers who flood one
//! source leave room for what another source's vendor does wrong.

use crate::error::ApiError;
use crate::{Config, metrics};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use contracts::webhook::refused::{
    Captured, QUERY_BYTES, RefusedRequest, SignaturePart, UNKNOWN_SOURCE, USER_AGENT_CHARACTERS,
};
use contracts::webhook::source::Source;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use runtime::best_effort::{BestEffort, BestEffortSettings, Ticket};
use runtime::clock::now_micros;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use time::{Duration, OffsetDateTime};

/// Memory for records that wait for their acknowledgement. Of it, every source has the same share.
const QUEUE_BYTES: usize = 16 << 20;
const QUEUE_RECORDS: usize = 4096;
/// What a record takes beside its value.
const RECORD_BYTES: usize = 256;
/// Bodies captured a second of one source and code: each is as good as the next to explain with.
const CAPTURES_PER_SECOND: NonZeroU32 = NonZeroU32::MIN;

/// Where refused requests go.
pub(crate) struct Rejections {
    topic: String,
    rate: Option<NonZeroU32>,
    client: BestEffort<Place>,
    by_source: Mutex<HashMap<String, OfSource>>,
}

impl std::fmt::Debug for Rejections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rejections")
    }
}

/// One source's, by code. Sources are configured names, and codes are ours: nobody makes this grow.
#[derive(Default)]
struct OfSource {
    waiting: Arc<Waiting>,
    codes: HashMap<&'static str, OfCode>,
}

struct OfCode {
    records: DefaultDirectRateLimiter,
    captures: DefaultDirectRateLimiter,
    left_out: Arc<AtomicU64>,
}

/// What of a source waits for its acknowledgement.
#[derive(Default)]
struct Waiting {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// A record's place in its source's share, given back when the Kafka client is done with it.
struct Place {
    waiting: Arc<Waiting>,
    bytes: usize,
    left_out: Arc<AtomicU64>,
    /// What the record says of those before it
    carried: u64,
}

impl Ticket for Place {
    fn settle(self, is_acknowledged: bool) {
        self.waiting.records.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if is_acknowledged {
            count("published");
        } else {
            count("dropped");
            self.left_out.fetch_add(self.carried + 1, Ordering::Relaxed);
        }
    }
}

fn count(outcome: &'static str) {
    ::metrics::counter!(metrics::REJECTIONS, "outcome" => outcome).increment(1);
}

/// A refused request, as far as it was read.
pub(crate) struct Refused<'r> {
    /// `None` where the path names no source
    pub(crate) source: Option<&'r Source>,
    /// The source's name, or that of what has none
    pub(crate) name: &'r str,
    pub(crate) head: &'r Parts,
    /// Where it was read
    pub(crate) body: Option<&'r [u8]>,
    pub(crate) peer: IpAddr,
}

/// What may be written of a refused request.
struct Admitted {
    waiting: Arc<Waiting>,
    left_out: Arc<AtomicU64>,
    may_capture: bool,
}

impl Rejections {
    /// # Errors
    /// Settings librdkafka refuses.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let settings = BestEffortSettings {
            queue_records: QUEUE_RECORDS,
            queue_bytes: QUEUE_BYTES,
        };
        Ok(Self {
            topic: config.topic_rejections.clone(),
            rate: NonZeroU32::new(config.rejections_per_second),
            client: BestEffort::new(&config.common.kafka, "producer-rejections", settings)?,
            by_source: Mutex::default(),
        })
    }

    /// Writes a refused request, or counts it as left out. Waits for nothing.
    pub(crate) fn note(&self, refused: &Refused<'_>, error: &ApiError, sources: usize) {
        let Some(admitted) = self.admit(refused.name, error.code()) else {
            count("left_out");
            return;
        };
        let Admitted {
            waiting,
            left_out,
            may_capture,
        } = admitted;
        let carried = left_out.swap(0, Ordering::Relaxed);
        let mut record = describe(refused, error, carried);
        if may_capture {
            record.captured = capture(refused, record.time);
        }
        // Those of the file, the one without a signature, and the one of strangers.
        let shares = sources + 2;
        let mut value = to_json(&record);
        if value.len() + RECORD_BYTES > QUEUE_BYTES / shares && record.captured.take().is_some() {
            value = to_json(&record);
        }
        let bytes = value.len() + RECORD_BYTES;
        let records_before = waiting.records.fetch_add(1, Ordering::Relaxed);
        let bytes_before = waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let place = Place {
            waiting,
            bytes,
            left_out,
            carried,
        };
        if records_before >= QUEUE_RECORDS / shares || bytes_before + bytes > QUEUE_BYTES / shares {
            place.settle(false);
            return;
        }
        self.client.offer(&self.topic, refused.name, &value, place);
    }

    /// Within the rate of its source and code, or not.
    fn admit(&self, name: &str, code: &'static str) -> Option<Admitted> {
        let rate = self.rate?;
        let mut by_source = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !by_source.contains_key(name) {
            by_source.insert(name.to_owned(), OfSource::default());
        }
        let of_source = by_source.get_mut(name)?;
        let of_code = of_source.codes.entry(code).or_insert_with(|| OfCode {
            records: RateLimiter::direct(Quota::per_second(rate)),
            captures: RateLimiter::direct(Quota::per_second(CAPTURES_PER_SECOND)),
            left_out: Arc::default(),
        });
        if of_code.records.check().is_err() {
            of_code.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Admitted {
            waiting: Arc::clone(&of_source.waiting),
            left_out: Arc::clone(&of_code.left_out),
            may_capture: of_code.captures.check().is_ok(),
        })
    }
}

fn to_json(record: &RefusedRequest) -> Vec<u8> {
    // Texts and numbers only: it cannot fail.
    serde_json::to_vec(record).unwrap_or_default()
}

/// The facts.
fn describe(refused: &Refused<'_>, error: &ApiError, left_out: u64) -> RefusedRequest {
    let headers = &refused.head.headers;
    let now = now_micros();
    let text = |name| headers.get(name).map(|value| lossy(value.as_bytes()));
    let presented = refused
        .source
        .and_then(|source| source.verifier.precheck(headers).ok());
    let signed_at = presented.and_then(|presented| presented.timestamp());
    let traceparent = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    RefusedRequest {
        time: OffsetDateTime::from_unix_timestamp_nanos(i128::from(now) * 1000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH),
        source: refused.name.to_owned(),
        code: error.code().to_owned(),
        status: error.status().as_u16(),
        detail: error.detail(),
        scheme: refused.source.map(|source| source.scheme_name.clone()),
        peer: refused.peer.to_string(),
        user_agent: text(header::USER_AGENT)
            .map(|agent| agent.chars().take(USER_AGENT_CHARACTERS).collect()),
        skew_seconds: signed_at.map(|at| at.saturating_sub(now / 1_000_000)),
        parts: refused
            .source
            .map(|source| parts(source, headers))
            .unwrap_or_default(),
        body_bytes: refused.body.map(|body| body.len() as u64),
        body_sha256: refused.body.map(|body| hex::encode(Sha256::digest(body))),
        trace_id: traceparent
            .and_then(runtime::traceparent::trace_id)
            .map(str::to_owned),
        left_out,
        captured: None,
    }
}

fn parts(source: &Source, headers: &HeaderMap) -> Vec<SignaturePart> {
    let verifier = &source.verifier;
    let names = verifier
        .signature_headers()
        .chain(verifier.secret_headers());
    let mut parts: Vec<SignaturePart> = Vec::with_capacity(3);
    for name in names {
        if parts.iter().all(|part| part.header != name.as_str()) {
            let times = headers.get_all(name).iter().count();
            parts.push(SignaturePart {
                header: name.as_str().to_owned(),
                times: u32::try_from(times).unwrap_or(u32::MAX),
            });
        }
    }
    parts
}

/// Headers and body, where the source says so. A body that is larger than it says is not there at all.
fn capture(refused: &Refused<'_>, now: OffsetDateTime) -> Option<Captured> {
    let source = refused.source?;
    let capture = source.capture_rejected?;
    let body = refused.body.filter(|body| body.len() <= capture.bytes);
    let headers = kept_headers(source, &refused.head.headers);
    // Whoever signs no query may have a token in it.
    let query = refused
        .head
        .uri
        .query()
        .filter(|_| source.verifier.signs_query());
    Some(Captured {
        until: now + Duration::hours(capture.hours.into()),
        method: refused.head.method.as_str().to_owned(),
        query: query
            .filter(|query| query.len() <= QUERY_BYTES)
            .map(str::to_owned),
        headers,
        body: body.map(<[u8]>::to_vec),
    })
}

/// No credential: neither the usual ones, nor a header that is itself the source's secret.
fn kept_headers(source: &Source, headers: &HeaderMap) -> Vec<(String, String)> {
    const CREDENTIALS: [&str; 5] = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
    ];
    let is_secret = |name: &HeaderName| {
        source
            .verifier
            .secret_headers()
            .any(|secret| secret == name)
    };
    headers
        .iter()
        .filter(|(name, _)| !CREDENTIALS.contains(&name.as_str()) && !is_secret(name))
        .map(|(name, value)| (name.to_string(), lossy(value.as_bytes())))
        .collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|character| {
            if character.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                character
            }
        })
        .collect()
}

/// The name under which a refused request is written: never the path, which is the stranger's text.
pub(crate) fn name_of(source: Option<&Source>) -> &str {
    source.map_or(UNKNOWN_SOURCE, |source| &source.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use axum::http::Request;
    use clap::{Args, FromArgMatches};

    /// Their broker answers nothing: what is offered waits.
    fn rejections(flag: &str) -> Rejections {
        let command = Config::augment_args(clap::Command::new("producer"));
        let flags = ["producer", "--kafka-brokers=127.0.0.1:9", flag];
        let config = Config::from_arg_matches(&command.get_matches_from(flags)).unwrap();
        Rejections::new(&config).unwrap()
    }

    fn note(rejections: &Rejections, name: &str, sources: usize) {
        let (head, ()) = Request::post("/").body(()).unwrap().into_parts();
        let refused = Refused {
            source: None,
            name,
            head: &head,
            body: Some(b"{}"),
            peer: [192, 0, 2, 1].into(),
        };
        rejections.note(&refused, &ApiError::EmptyBody, sources);
    }

    fn waiting(rejections: &Rejections, name: &str) -> (usize, u64) {
        let by_source = rejections.by_source.lock().unwrap();
        let of_source = &by_source[name];
        let left_out = &of_source.codes["empty_body"].left_out;
        (
            of_source.waiting.records.load(Ordering::Relaxed),
            left_out.load(Ordering::Relaxed),
        )
    }

    #[test]
    fn a_source_has_its_share_of_what_waits_and_no_more() {
        let rejections = rejections("--rejections-per-second=1000");
        let (sources, posted) = (98, 200);
        for _ in 0..posted {
            note(&rejections, "flooded", sources);
        }
        note(&rejections, "quiet", sources);
        let share = QUEUE_RECORDS / (sources + 2);
        let (records, left_out) = waiting(&rejections, "flooded");
        assert!(records <= share, "{records} of {share}");
        assert!(left_out >= (posted - share) as u64, "{left_out} left out");
        assert_eq!(waiting(&rejections, "quiet"), (1, 0));
    }

    #[test]
    fn none_are_written_at_a_rate_of_0() {
        let rejections = rejections("--rejections-per-second=0");
        assert!(rejections.admit("acme", "empty_body").is_none());
    }
}
