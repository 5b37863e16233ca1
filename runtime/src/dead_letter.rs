//! The headers of published records: what a forwarded record keeps, and why, where and when a dead letter failed.
//!
//! The first names follow KIP-1191 (`__dlq.errors.*`), so that tools for share groups read them; the rest are ours.

use crate::faults;
use crate::publisher::RecordHeaders;
use crate::record::Record;
use contracts::Rejection;
use contracts::kafka::headers::{self as h, dlq};

/// Headers that most records carry, at most.
const USUAL: usize = 12;

/// The stage that dead-letters a record, and when.
#[derive(Debug, Clone)]
pub(crate) struct Author<'a> {
    pub(crate) stage: &'a str,
    pub(crate) group: &'a str,
    /// Microseconds since the epoch
    pub(crate) now_micros: i64,
    /// How often this stage has tried the record
    pub(crate) attempts: u32,
}

/// The headers of a dead letter: all of the record's own, in order, unchanged, then ours.
/// A record that was dead-lettered before keeps the time of its first failure and loses the other headers of that failure.
pub(crate) fn headers(
    record: &Record<'_>,
    rejection: &Rejection,
    author: &Author<'_>,
) -> RecordHeaders {
    let mut headers = RecordHeaders::new(24);
    for (key, value) in record.headers() {
        if !dlq::ALL.contains(&key) && !faults::planted("dead_letter_headers_dropped") {
            headers = headers.with(key, value);
        }
    }
    if record.header(h::RAW).is_none()
        && let Some(raw) = record.raw()
    {
        headers = headers.with(h::RAW, Some(&raw.to_string()));
    }
    let now = author.now_micros.to_string();
    let first = record.header_text(dlq::FIRST_FAILED_AT).unwrap_or(&now);
    let detail = match &rejection.pointer {
        Some(pointer) => format!("{pointer}: {}", rejection.detail),
        None => rejection.detail.clone(),
    };
    let texts = [
        (dlq::ERRORS_TOPIC, record.topic.to_owned()),
        (dlq::ERRORS_PARTITION, record.partition.to_string()),
        (dlq::ERRORS_OFFSET, record.offset.to_string()),
        (dlq::ERRORS_GROUP, author.group.to_owned()),
        (dlq::ERRORS_DELIVERY_COUNT, author.attempts.to_string()),
        (dlq::ERRORS_MESSAGE, detail.clone()),
        (dlq::STAGE, author.stage.to_owned()),
        (dlq::GROUP, author.group.to_owned()),
        (dlq::CODE, rejection.code.code().to_owned()),
        (dlq::DETAIL, detail),
        (dlq::DISPOSITION, rejection.code.disposition().to_owned()),
        (dlq::ATTEMPTS, author.attempts.to_string()),
        (dlq::FIRST_FAILED_AT, first.to_owned()),
        (dlq::LAST_FAILED_AT, now.clone()),
        (dlq::SERVICE_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for (key, value) in &texts {
        headers = headers.with(key, Some(value));
    }
    headers
}

/// The headers of a record made from `record`: those that still apply, then `ef.raw`; with room for `more`.
pub(crate) fn forwarded(record: &Record<'_>, more: usize) -> RecordHeaders {
    let mut headers = RecordHeaders::new(USUAL + 1 + more);
    let mut raw = None;
    for (key, value) in record.headers() {
        if h::is_carried(key) {
            headers = headers.with(key, value);
        } else if key == h::RAW {
            raw = value;
        }
    }
    match (raw, record.raw()) {
        (Some(_), Some(own)) if faults::planted("replay_is_a_new_record") => {
            headers.with(h::RAW, Some(&own.to_string()))
        }
        (Some(raw), _) => headers.with(h::RAW, Some(raw)),
        (None, Some(raw)) => headers.with(h::RAW, Some(&raw.to_string())),
        (None, None) => headers,
    }
}
