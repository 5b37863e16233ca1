//! What the headers of a dead letter say, when they are ours; a record with any others is indexed all the same, as of an unknown format.
//!
//! Of a header that is there several times, the first says where the record came from and the last what went wrong last.

use crate::model::Format;
use contracts::kafka::headers::{self as h, dlq};
use contracts::pipeline::Pipeline;
use std::borrow::Cow;
use store::raw_topic::RawTopic;

/// Name and value of one header; none is Kafka's null.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// The code of a dead letter whose headers name none.
const UNSPECIFIED: &str = "unspecified";

/// Where a record is: topic, partition and offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPosition<'a> {
    /// Not empty
    pub topic: Cow<'a, str>,
    /// Not negative
    pub partition: i32,
    /// Not negative
    pub offset: i64,
}

/// What the headers of a dead letter say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterHeaders<'a> {
    /// Whose headers they are
    pub family: Format,
    /// What failed
    pub stage: Cow<'a, str>,
    /// Why, as a word
    pub code: Cow<'a, str>,
    /// Consumer group that failed; empty when not known
    pub group: Cow<'a, str>,
    /// Why, for people
    pub detail: Cow<'a, str>,
    /// What kind of fault
    pub disposition: Cow<'a, str>,
    /// How often it was tried
    pub attempts: i32,
    /// How often it was replayed
    pub replay_count: i32,
    /// The record it was made from; none when the headers do not say
    pub origin: Option<RecordPosition<'a>>,
    /// What tells two dead letters of one origin apart: empty for the stages on the path, else who failed
    pub origin_group: Cow<'a, str>,
    /// The record that failed, where it is known and another than the origin
    pub failed: Option<RecordPosition<'a>>,
    /// Microseconds since the epoch
    pub first_failed_micros: Option<i64>,
    /// Microseconds since the epoch
    pub last_failed_micros: Option<i64>,
    /// Version of the service that failed
    pub service_version: Option<Cow<'a, str>>,
}

/// Reads headers, whatever they are.
#[must_use]
pub fn read<'a>(
    headers: &[Header<'a>],
    pipeline: &'a Pipeline,
    raw_topic: &RawTopic,
) -> DeadLetterHeaders<'a> {
    let has = |wanted: fn(&str) -> bool| headers.iter().any(|(name, _)| wanted(name));
    let headers = HeaderLookup(headers);
    if has(|name| name == dlq::CODE || name == dlq::STAGE) {
        ours(&headers, pipeline, raw_topic)
    } else {
        DeadLetterHeaders {
            family: Format::Unknown,
            stage: "unknown".into(),
            code: "unknown".into(),
            detail: "no header says why it is here".into(),
            disposition: "unknown".into(),
            attempts: 1,
            ..DeadLetterHeaders::default()
        }
    }
}

fn ours<'a>(
    headers: &HeaderLookup<'_, 'a>,
    pipeline: &'a Pipeline,
    raw_topic: &RawTopic,
) -> DeadLetterHeaders<'a> {
    let stage = headers.text(dlq::STAGE).unwrap_or_default();
    let group = headers.text(dlq::GROUP).unwrap_or_default();
    let failed = headers.position([dlq::ERRORS_TOPIC, dlq::ERRORS_PARTITION, dlq::ERRORS_OFFSET]);
    let raw = headers.last(h::RAW).and_then(|value| {
        let raw = raw_topic.position(h::RawCoordinates::parse(value)?);
        Some(RecordPosition {
            topic: match &*raw.epoch {
                "" => pipeline.raw.as_str().into(),
                epoch => [&pipeline.raw, epoch].concat().into(),
            },
            partition: raw.partition,
            offset: raw.offset,
        })
    });
    // The stages on the path that every event takes together give it one fate; others have a dead letter of their own of it.
    let on_path = pipeline
        .stage_of(&group, &stage)
        .is_some_and(|stage| stage.on_path);
    let origin = raw.or_else(|| failed.clone());
    DeadLetterHeaders {
        family: Format::Eventflow,
        origin_group: if on_path {
            Cow::Borrowed("")
        } else {
            group.clone()
        },
        stage,
        group,
        code: headers.text(dlq::CODE).unwrap_or(UNSPECIFIED.into()),
        detail: headers
            .text(dlq::DETAIL)
            .or_else(|| headers.text(dlq::ERRORS_MESSAGE))
            .unwrap_or_default(),
        disposition: headers.text(dlq::DISPOSITION).unwrap_or("unknown".into()),
        attempts: headers.number(dlq::ATTEMPTS).map_or(1, small),
        replay_count: headers
            .number(h::REPLAY_COUNT)
            .map_or(0, |count| small(count).max(0)),
        failed: failed.filter(|failed| Some(failed) != origin.as_ref()),
        origin,
        first_failed_micros: headers.number(dlq::FIRST_FAILED_AT),
        last_failed_micros: headers.number(dlq::LAST_FAILED_AT),
        service_version: headers.text(dlq::SERVICE_VERSION),
    }
}

fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// Decimal text.
fn number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

impl<'a> RecordPosition<'a> {
    fn new(topic: Cow<'a, str>, partition: i64, offset: i64) -> Option<Self> {
        let partition = i32::try_from(partition)
            .ok()
            .filter(|partition| *partition >= 0)?;
        (offset >= 0 && !topic.is_empty()).then_some(Self {
            topic,
            partition,
            offset,
        })
    }
}

/// Looks headers up by name.
struct HeaderLookup<'h, 'a>(&'h [Header<'a>]);

impl<'a> HeaderLookup<'_, 'a> {
    fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.0
            .iter()
            .find(|(other, _)| *other == name)
            .and_then(|(_, value)| *value)
    }

    fn last(&self, name: &str) -> Option<&'a [u8]> {
        self.0
            .iter()
            .rev()
            .find(|(other, _)| *other == name)
            .and_then(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.last(name).map(String::from_utf8_lossy)
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.last(name).and_then(number)
    }

    /// Topic, partition and offset; none unless all three are there and make sense.
    fn position(&self, names: [&str; 3]) -> Option<RecordPosition<'a>> {
        let [topic, partition, offset] = names.map(|name| self.first(name));
        RecordPosition::new(
            String::from_utf8_lossy(topic?),
            number(partition?)?,
            number(offset?)?,
        )
    }
}
