//! Formats of dead-letter headers, and what they say: ours, and those of Kafka Connect, Spring, Kafka Streams and share groups.
//!
//! Names and encodings are those of the writers' own sources: Connect's `DeadLetterQueueReporter`, Spring's `DeadLetterRecordManager` and
//! `RetryTopicHeaders` (numbers big-endian), Kafka Streams' KIP-1034, share groups' KIP-1191 (numbers as text). Of a header that is there
//! several times, the first says where the record came from and the last what went wrong last.

use contracts::kafka::headers::{self as h, dlq};
use contracts::pipeline::Pipeline;
use std::borrow::Cow;

/// Name and value of one header; none is Kafka's null.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

const CONNECT: &str = "__connect.errors.";
const SPRING: &str = "kafka_dlt-";
const STREAMS: &str = "__streams.errors.";
const SHARE_GROUP: &str = "__dlq.errors.";
/// The code of a dead letter whose headers name none.
const UNSPECIFIED: &str = "unspecified";

/// A record's position in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPosition<'a> {
    /// Topic
    pub topic: Cow<'a, str>,
    /// Partition
    pub partition: i32,
    /// Offset
    pub offset: i64,
}

/// What the headers of a dead letter say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure<'a> {
    /// Whose format: eventflow, share_group, connect, spring, streams, unknown
    pub family: &'static str,
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
pub fn read<'a>(headers: &[Header<'a>], pipeline: &'a Pipeline) -> Failure<'a> {
    let has = |wanted: fn(&str) -> bool| headers.iter().any(|(name, _)| wanted(name));
    let headers = Headers(headers);
    if has(|name| name == dlq::CODE || name == dlq::STAGE) {
        ours(&headers, pipeline)
    } else if has(|name| name.starts_with(SHARE_GROUP)) {
        share_group(&headers)
    } else if has(|name| name.starts_with(CONNECT)) {
        connect(&headers)
    } else if has(|name| name.starts_with(SPRING)) {
        spring(&headers)
    } else if has(|name| name.starts_with(STREAMS)) {
        streams(&headers)
    } else {
        Failure {
            family: "unknown",
            stage: "unknown".into(),
            code: "unknown".into(),
            detail: "no header says why it is here".into(),
            ..foreign()
        }
    }
}

fn foreign<'a>() -> Failure<'a> {
    Failure {
        disposition: "unknown".into(),
        attempts: 1,
        ..Failure::default()
    }
}

fn ours<'a>(headers: &Headers<'_, 'a>, pipeline: &'a Pipeline) -> Failure<'a> {
    let stage = headers.text(dlq::STAGE).unwrap_or_default();
    let group = headers.text(dlq::GROUP).unwrap_or_default();
    let failed = headers.position(
        [dlq::ERRORS_TOPIC, dlq::ERRORS_PARTITION, dlq::ERRORS_OFFSET],
        text_number,
    );
    let raw = headers.text(h::RAW).and_then(|text| {
        let (partition, offset) = text.split_once(':')?;
        RecordPosition::new(
            pipeline.raw.as_str().into(),
            partition.parse().ok()?,
            offset.parse().ok()?,
        )
    });
    // The stages on the path that every event takes together give it one fate; others have a dead letter of their own of it.
    let on_path = pipeline
        .stage_of(&group, &stage)
        .is_some_and(|stage| stage.on_path);
    let origin = raw.or_else(|| failed.clone());
    Failure {
        family: "eventflow",
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
        attempts: headers.number(dlq::ATTEMPTS, text_number).map_or(1, small),
        replay_count: headers
            .number(h::REPLAY_COUNT, text_number)
            .map_or(0, |count| small(count).max(0)),
        failed: failed.filter(|failed| Some(failed) != origin.as_ref()),
        origin,
        first_failed_micros: headers.number(dlq::FIRST_FAILED_AT, text_number),
        last_failed_micros: headers.number(dlq::LAST_FAILED_AT, text_number),
        service_version: headers.text(dlq::SERVICE_VERSION),
    }
}

fn share_group<'a>(headers: &Headers<'_, 'a>) -> Failure<'a> {
    let group = headers.text(dlq::ERRORS_GROUP).unwrap_or_default();
    Failure {
        family: "share_group",
        stage: group.clone(),
        code: UNSPECIFIED.into(),
        origin_group: group.clone(),
        group,
        detail: headers.text(dlq::ERRORS_MESSAGE).unwrap_or_default(),
        attempts: headers
            .number(dlq::ERRORS_DELIVERY_COUNT, text_number)
            .map_or(1, small),
        origin: headers.position(
            [dlq::ERRORS_TOPIC, dlq::ERRORS_PARTITION, dlq::ERRORS_OFFSET],
            text_number,
        ),
        ..foreign()
    }
}

fn connect<'a>(headers: &Headers<'_, 'a>) -> Failure<'a> {
    let connector = headers
        .text("__connect.errors.connector.name")
        .unwrap_or_default();
    let message = headers
        .text("__connect.errors.exception.message")
        .unwrap_or_default();
    let detail = match headers.text("__connect.errors.stage") {
        Some(stage) => Cow::Owned(format!("{stage}: {message}")),
        None => message,
    };
    Failure {
        family: "connect",
        stage: connector.clone(),
        // Two connectors may read one topic; their consumer groups are not told.
        origin_group: connector,
        code: class_name(headers.text("__connect.errors.exception.class.name")),
        detail,
        origin: headers.position(
            [
                "__connect.errors.topic",
                "__connect.errors.partition",
                "__connect.errors.offset",
            ],
            text_number,
        ),
        ..foreign()
    }
}

fn spring<'a>(headers: &Headers<'_, 'a>) -> Failure<'a> {
    let group = headers
        .text("kafka_dlt-original-consumer-group")
        .unwrap_or_default();
    // The outermost exception only says that a listener failed; its cause says why.
    let of_key = headers.text("kafka_dlt-key-exception-fqcn");
    let class = headers
        .text("kafka_dlt-exception-cause-fqcn")
        .or(of_key)
        .or_else(|| headers.text("kafka_dlt-exception-fqcn"));
    let of_key = headers.text("kafka_dlt-key-exception-message");
    let attempts = headers.last("retry_topic-attempts").and_then(big_endian);
    Failure {
        family: "spring",
        stage: group.clone(),
        origin_group: group.clone(),
        group,
        code: class_name(class),
        detail: headers
            .text("kafka_dlt-exception-message")
            .or(of_key)
            .unwrap_or_default(),
        attempts: attempts.map_or(1, small),
        origin: headers.position(
            [
                "kafka_dlt-original-topic",
                "kafka_dlt-original-partition",
                "kafka_dlt-original-offset",
            ],
            big_endian,
        ),
        ..foreign()
    }
}

fn streams<'a>(headers: &Headers<'_, 'a>) -> Failure<'a> {
    Failure {
        family: "streams",
        stage: "streams".into(),
        code: class_name(headers.text("__streams.errors.exception")),
        detail: headers.text("__streams.errors.message").unwrap_or_default(),
        origin: headers.position(
            [
                "__streams.errors.topic",
                "__streams.errors.partition",
                "__streams.errors.offset",
            ],
            text_number,
        ),
        ..foreign()
    }
}

/// `org.apache.kafka.connect.errors.DataException` is `DataException`, which a person can type. The whole name stays in the headers.
fn class_name(class: Option<Cow<'_, str>>) -> Cow<'_, str> {
    match class {
        Some(Cow::Borrowed(name)) => Cow::Borrowed(
            name.rsplit('.')
                .next()
                .filter(|short| !short.is_empty())
                .unwrap_or(name),
        ),
        Some(Cow::Owned(name)) => Cow::Owned(
            name.rsplit('.')
                .next()
                .filter(|short| !short.is_empty())
                .unwrap_or(&name)
                .to_owned(),
        ),
        None => UNSPECIFIED.into(),
    }
}

fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// Decimal text.
fn text_number(bytes: &[u8]) -> Option<i64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// Big-endian two's complement of one to eight bytes: int32, int64, and what Java's `BigInteger` writes.
fn big_endian(bytes: &[u8]) -> Option<i64> {
    let first = *bytes.first()?;
    let mut wide = [if first & 0x80 == 0 { 0 } else { 0xff }; 8];
    wide.get_mut(8usize.checked_sub(bytes.len())?..)?
        .copy_from_slice(bytes);
    Some(i64::from_be_bytes(wide))
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

struct Headers<'h, 'a>(&'h [Header<'a>]);

impl<'a> Headers<'_, 'a> {
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

    fn number(&self, name: &str, read: fn(&[u8]) -> Option<i64>) -> Option<i64> {
        self.last(name).and_then(read)
    }

    /// Topic, partition and offset; none unless all three are there and make sense.
    fn position(
        &self,
        names: [&str; 3],
        read: fn(&[u8]) -> Option<i64>,
    ) -> Option<RecordPosition<'a>> {
        let [topic, partition, offset] = names.map(|name| self.first(name));
        RecordPosition::new(
            String::from_utf8_lossy(topic?),
            read(partition?)?,
            read(offset?)?,
        )
    }
}
