//! From a record of a dead-letter topic to a row that PostgreSQL takes, whatever the record is.

use super::dead_letter_headers::{self, DeadLetterHeaders, Header, RecordPosition};
use super::sniff::Sniffed;
use crate::model::{Format, Time, time_of_micros};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::json::push_text;
use contracts::kafka::headers as h;
use contracts::pipeline::Pipeline;
use contracts::webhook::unproven::Unproven;
use runtime::admin::OwnedRecord;
use runtime::consumer::Record;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use store::raw_topic::RawTopic;

/// Longest text in an index, in bytes: PostgreSQL refuses an index entry above a third of a page.
pub(crate) const NAME_BYTES: usize = 500;
/// Longest detail, in bytes. The headers hold all of it.
const DETAIL_BYTES: usize = 4000;
/// Longest part of a group's identity, in bytes.
const LABEL_BYTES: usize = 200;

/// A record of a dead-letter topic.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetterRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Kafka's time of the record, milliseconds since the epoch
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// In their order
    pub(crate) headers: Vec<Header<'a>>,
}

impl<'a> DeadLetterRecord<'a> {
    pub(crate) fn of(record: &Record<'a>) -> Self {
        let Record {
            topic,
            partition,
            offset,
            timestamp_ms,
            key,
            payload,
            ..
        } = *record;
        Self {
            topic,
            partition,
            offset,
            timestamp_ms,
            key,
            value: payload,
            headers: record.headers().collect(),
        }
    }

    /// The raw topic its `ef.raw` names, by its id.
    pub(crate) fn raw_topic_id(&self) -> Option<&'a str> {
        let named = self.headers.iter().filter(|(name, _)| *name == h::RAW);
        named
            .filter_map(|(_, value)| h::RawCoordinates::parse((*value)?))
            .find_map(|raw| raw.topic_id)
    }

    pub(crate) fn owned(topic: &'a str, record: &'a OwnedRecord) -> Self {
        Self {
            topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect(),
        }
    }
}

/// What a group has in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, sqlx::FromRow)]
pub(crate) struct Label {
    pub(crate) stage: String,
    pub(crate) code: String,
    pub(crate) source: String,
    pub(crate) event_type: String,
}

/// A row of `dead_letters`: every text without NUL and within its bounds, every time within the calendar.
#[derive(Debug, Clone)]
pub(crate) struct DeadLetterRow<'a> {
    pub(crate) group_id: i64,
    pub(crate) label: Label,
    pub(crate) origin: RecordPosition<'a>,
    pub(crate) origin_group: Cow<'a, str>,
    pub(crate) family: Format,
    pub(crate) dlq: (i32, i64),
    pub(crate) consumer_group: Cow<'a, str>,
    pub(crate) failed: Option<RecordPosition<'a>>,
    pub(crate) detail: Cow<'a, str>,
    pub(crate) disposition: Cow<'a, str>,
    pub(crate) attempts: i32,
    pub(crate) replay_count: i32,
    pub(crate) first_failed_at: Time,
    pub(crate) last_failed_at: Time,
    pub(crate) received_at: Option<Time>,
    pub(crate) service_version: Option<Cow<'a, str>>,
    pub(crate) event_id: Option<Cow<'a, str>>,
    pub(crate) entity_key: Option<Cow<'a, str>>,
    pub(crate) trace_id: Option<Cow<'a, str>>,
    pub(crate) key: Option<Cow<'a, [u8]>>,
    pub(crate) value: Option<Cow<'a, [u8]>>,
    pub(crate) value_bytes: Option<i32>,
    pub(crate) value_sha256: Option<Vec<u8>>,
    /// JSON: `[[name, text or null or {"base64": ...}], ...]`
    pub(crate) headers: String,
    pub(crate) unproven: Option<Unproven>,
}

impl<'a> DeadLetterRow<'a> {
    pub(crate) fn new(
        dead: &DeadLetterRecord<'a>,
        pipeline: &'a Pipeline,
        raw_topic: &RawTopic,
        sniffed: Sniffed<'a>,
    ) -> Self {
        let headers = dead_letter_headers::read(&dead.headers, pipeline, raw_topic);
        let DeadLetterHeaders {
            family,
            stage,
            code,
            group,
            detail,
            disposition,
            ..
        } = headers;
        let text = |name: &str| {
            let (_, value) = dead.headers.iter().find(|(other, _)| *other == name)?;
            std::str::from_utf8((*value)?).ok()
        };
        let at = dead
            .timestamp_ms
            .checked_mul(1000)
            .filter(|micros| *micros > 0);
        let at = at.and_then(time_of);
        let last_failed_at = headers
            .last_failed_micros
            .and_then(time_of)
            .or(at)
            .unwrap_or_else(Time::now_utc);
        let first_failed_at = headers
            .first_failed_micros
            .and_then(time_of)
            .unwrap_or(last_failed_at);
        let own = || RecordPosition {
            topic: dead.topic.into(),
            partition: dead.partition,
            offset: dead.offset,
        };
        let (origin, origin_group) = match headers.origin {
            Some(origin) => (origin, headers.origin_group),
            None => (own(), Cow::Borrowed("")),
        };
        let bounded = |position: RecordPosition<'a>| RecordPosition {
            topic: name(position.topic, NAME_BYTES),
            ..position
        };
        let label = |text: Cow<'_, str>| name(text, LABEL_BYTES).into_owned();
        Self {
            group_id: 0,
            label: Label {
                stage: label(stage),
                code: label(code),
                source: label(
                    text(h::SOURCE)
                        .map(Cow::Borrowed)
                        .or(sniffed.source)
                        .unwrap_or_default(),
                ),
                event_type: label(sniffed.event_type.unwrap_or_default()),
            },
            origin: bounded(origin),
            origin_group: name(origin_group, NAME_BYTES),
            family,
            dlq: (dead.partition, dead.offset),
            consumer_group: name(group, NAME_BYTES),
            failed: headers.failed.map(bounded),
            detail: cut(clean(detail), DETAIL_BYTES),
            disposition: name(disposition, LABEL_BYTES),
            attempts: headers.attempts,
            replay_count: headers.replay_count,
            first_failed_at: first_failed_at.min(last_failed_at),
            last_failed_at,
            received_at: text(h::RECEIVED_AT)
                .and_then(|micros| micros.parse().ok())
                .and_then(time_of),
            service_version: headers
                .service_version
                .map(|version| name(version, LABEL_BYTES)),
            event_id: text(h::EVENT_ID)
                .map(Cow::Borrowed)
                .or(sniffed.event_id)
                .map(|id| name(id, NAME_BYTES)),
            entity_key: entity_key(dead.key),
            trace_id: text(h::TRACEPARENT)
                .and_then(runtime::traceparent::trace_id)
                .map(Cow::Borrowed),
            key: dead.key.map(Cow::Borrowed),
            value: dead.value.map(Cow::Borrowed),
            value_bytes: dead.value.map(length),
            value_sha256: dead.value.map(|value| Sha256::digest(value).to_vec()),
            headers: json(&dead.headers),
            unproven: Unproven::of(dead.headers.iter().copied()),
        }
    }

    /// Value and headers, in bytes.
    pub(crate) fn kept_bytes(&self) -> i32 {
        self.value
            .as_deref()
            .map_or(0, length)
            .saturating_add(length(self.headers.as_bytes()))
    }

    /// The same dead letter with nothing in its texts that a database could refuse; value and key are bytes and stay, and so do the headers,
    /// as base64.
    pub(crate) fn plain(&self, problem: &str) -> Self {
        let ascii = |text: &str| -> Cow<'a, str> {
            Cow::Owned(
                text.chars()
                    .map(|c| {
                        if c.is_ascii_graphic() || c == ' ' {
                            c
                        } else {
                            '?'
                        }
                    })
                    .collect(),
            )
        };
        let headers = format!(
            "[[\"refused\",{{\"base64\":\"{}\"}}]]",
            STANDARD.encode(&self.headers)
        );
        let micros = self.last_failed_at.unix_timestamp();
        let at = Time::from_unix_timestamp(micros).unwrap_or(Time::UNIX_EPOCH);
        Self {
            consumer_group: ascii(&self.consumer_group),
            failed: None,
            detail: ascii(&format!(
                "indexed without its texts, which PostgreSQL refused: {problem}"
            )),
            disposition: ascii(&self.disposition),
            first_failed_at: at,
            last_failed_at: at,
            received_at: None,
            service_version: None,
            event_id: None,
            entity_key: None,
            trace_id: None,
            headers,
            ..self.clone()
        }
    }
}

/// What a dead letter is found by, of the key of its record.
pub(crate) fn entity_key(key: Option<&[u8]>) -> Option<Cow<'_, str>> {
    let key = std::str::from_utf8(key?).ok()?;
    Some(name(key.into(), NAME_BYTES))
}

fn length(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap_or(i32::MAX)
}

/// A time after the epoch: before it there were no such headers.
fn time_of(micros: i64) -> Option<Time> {
    time_of_micros(micros).filter(|_| micros >= 0)
}

/// PostgreSQL's text cannot hold NUL.
pub(crate) fn clean(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        text
    }
}

fn cut(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    Cow::Owned(text[..end].to_owned())
}

/// A name that fits: what is too long keeps its beginning and a digest of the whole, so that two stay two and the same stays the same.
pub(crate) fn name(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    let text = clean(text);
    if text.len() <= max {
        return text;
    }
    let digest = hex::encode(&Sha256::digest(text.as_bytes())[..8]);
    let beginning = cut(Cow::Borrowed(&text), max.saturating_sub(17));
    Cow::Owned(format!("{beginning}~{digest}"))
}

/// Headers as JSON, in order, verbatim: what is no text, or has a NUL, as base64.
fn json(headers: &[Header<'_>]) -> String {
    let mut out = String::with_capacity(headers.len() * 48);
    out.push('[');
    for (index, (name, value)) in headers.iter().enumerate() {
        out.push_str(if index > 0 { ",[" } else { "[" });
        push_text(&clean((*name).into()), &mut out);
        out.push(',');
        match value.map(|bytes| {
            (
                bytes,
                std::str::from_utf8(bytes)
                    .ok()
                    .filter(|text| !text.contains('\0')),
            )
        }) {
            None => out.push_str("null"),
            Some((_, Some(text))) => push_text(text, &mut out),
            Some((bytes, None)) => {
                out.push_str("{\"base64\":\"");
                STANDARD.encode_string(bytes, &mut out);
                out.push_str("\"}");
            }
        }
        out.push(']');
    }
    out.push(']');
    out
}
