//! Dead-letter headers as our stages write them, headers of other writers, and headers nobody should write.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::pipeline::Pipeline;
use proptest::prelude::*;
use recovery::index::dead_letter_headers::{DeadLetterHeaders, Header, RecordPosition, read};
use recovery::model::Format;
use store::raw_topic::RawTopic;

const RAW: &str = "events.raw.v1";

fn position(topic: &'static str, partition: i32, offset: i64) -> Option<RecordPosition<'static>> {
    Some(RecordPosition {
        topic: topic.into(),
        partition,
        offset,
    })
}

fn unknown() -> DeadLetterHeaders<'static> {
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

#[test]
fn our_headers_are_read_and_any_others_are_of_an_unknown_format() {
    type Case = (
        &'static str,
        Vec<Header<'static>>,
        DeadLetterHeaders<'static>,
    );
    let text = |name: &'static str, value: &'static str| -> Header<'static> {
        (name, Some(value.as_bytes()))
    };
    let cases: Vec<Case> = vec![
        (
            "ours, from the validator",
            vec![
                text("ef.raw", "4:77"),
                text("__dlq.errors.topic", RAW),
                text("__dlq.errors.partition", "4"),
                text("__dlq.errors.offset", "77"),
                text("ef.dlq.stage", "validator"),
                text("ef.dlq.group", "eventflow-validator"),
                text("ef.dlq.code", "not_json"),
                text("ef.dlq.detail", "expected value"),
                text("ef.dlq.disposition", "poison"),
                text("ef.dlq.attempts", "2"),
                text("ef.dlq.first_failed_at", "5"),
                text("ef.dlq.last_failed_at", "6"),
                text("ef.dlq.service_version", "0.1.0"),
            ],
            DeadLetterHeaders {
                family: Format::Eventflow,
                stage: "validator".into(),
                code: "not_json".into(),
                group: "eventflow-validator".into(),
                detail: "expected value".into(),
                disposition: "poison".into(),
                attempts: 2,
                origin: position(RAW, 4, 77),
                first_failed_micros: Some(5),
                last_failed_micros: Some(6),
                service_version: Some("0.1.0".into()),
                ..DeadLetterHeaders::default()
            },
        ),
        (
            "ours, from persistence after a replay: the failed record is not the origin",
            vec![
                text("ef.raw", "4:77"),
                text("ef.replay_count", "2"),
                text(
                    "__dlq.errors.topic",
                    "events.retry.eventflow-persistence.v1",
                ),
                text("__dlq.errors.partition", "1"),
                text("__dlq.errors.offset", "9"),
                text("ef.dlq.stage", "persistence"),
                text("ef.dlq.group", "eventflow-persistence"),
                text("ef.dlq.code", "conflict"),
            ],
            DeadLetterHeaders {
                family: Format::Eventflow,
                stage: "persistence".into(),
                code: "conflict".into(),
                group: "eventflow-persistence".into(),
                disposition: "unknown".into(),
                attempts: 1,
                replay_count: 2,
                origin: position(RAW, 4, 77),
                failed: position("events.retry.eventflow-persistence.v1", 1, 9),
                ..DeadLetterHeaders::default()
            },
        ),
        (
            "Kafka Connect's",
            vec![
                text("__connect.errors.topic", "orders"),
                text("__connect.errors.partition", "3"),
                text("__connect.errors.offset", "1234567890123"),
                text("__connect.errors.connector.name", "jdbc-sink"),
            ],
            unknown(),
        ),
        (
            "Spring's",
            vec![
                text("kafka_dlt-original-topic", "orders"),
                ("kafka_dlt-original-partition", Some(&[0, 0, 0, 2])),
                ("kafka_dlt-original-offset", Some(&[0, 0, 0, 1, 0, 0, 0, 7])),
            ],
            unknown(),
        ),
        (
            "a share group's: the same names as part of ours, without a stage or code",
            vec![
                text("__dlq.errors.topic", "jobs"),
                text("__dlq.errors.partition", "1"),
                text("__dlq.errors.offset", "2"),
                text("__dlq.errors.group", "workers"),
            ],
            unknown(),
        ),
        (
            "nobody's",
            vec![text("original_partition", "1"), ("null", None)],
            unknown(),
        ),
    ];
    for (name, headers, expected) in cases {
        assert_eq!(
            read(&headers, &Pipeline::built_in(), &RawTopic::default()),
            expected,
            "{name}"
        );
    }
}

#[test]
fn an_invalid_position_is_no_position() {
    for (partition, offset) in [
        (&b"-1"[..], &b"1"[..]),
        (b"1", b"-1"),
        (b"2147483648", b"1"),
        (b"", b"1"),
        (b"x", b"1"),
        (b"1", b"\xff"),
    ] {
        let headers = [
            ("ef.dlq.code", Some(&b"not_json"[..])),
            ("__dlq.errors.topic", Some(&b"t"[..])),
            ("__dlq.errors.partition", Some(partition)),
            ("__dlq.errors.offset", Some(offset)),
        ];
        assert_eq!(
            read(&headers, &Pipeline::built_in(), &RawTopic::default()).origin,
            None,
            "{partition:?} {offset:?}"
        );
    }
}

const NAMES: &[&str] = &[
    "ef.raw",
    "ef.replay_count",
    "ef.dlq.stage",
    "ef.dlq.code",
    "ef.dlq.group",
    "ef.dlq.detail",
    "ef.dlq.attempts",
    "ef.dlq.first_failed_at",
    "ef.dlq.last_failed_at",
    "__dlq.errors.topic",
    "__dlq.errors.partition",
    "__dlq.errors.offset",
    "__dlq.errors.delivery.count",
    "__connect.errors.topic",
    "kafka_dlt-original-topic",
    "__streams.errors.topic",
];

proptest! {
    #[test]
    fn any_headers_give_a_verdict(
        picked in prop::collection::vec((0..NAMES.len(), prop::option::of(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12),
            "[-0-9:.a-z]{0,12}".prop_map(String::into_bytes),
        ])), 0..20)
    ) {
        let headers: Vec<Header<'_>> = picked.iter().map(|(name, value)| (NAMES[*name], value.as_deref())).collect();
        let pipeline = Pipeline::built_in();
        let failure = read(&headers, &pipeline, &RawTopic::default());
        let ours = headers.iter().any(|(name, _)| ["ef.dlq.stage", "ef.dlq.code"].contains(name));
        prop_assert_eq!(failure.family, if ours { Format::Eventflow } else { Format::Unknown });
        prop_assert!(failure.replay_count >= 0);
        if let Some(origin) = failure.origin {
            prop_assert!(origin.partition >= 0 && origin.offset >= 0 && !origin.topic.is_empty());
        }
    }
}

#[test]
fn only_ef_raw_or_a_failure_in_the_raw_topic_itself_names_a_raw_record() {
    const OURS: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
    let pipeline = Pipeline::built_in();
    let origin = |raw: Option<&str>, failed_in: &str| {
        let headers = [
            ("ef.dlq.code", Some(&b"not_json"[..])),
            ("ef.raw", raw.map(str::as_bytes)),
            ("__dlq.errors.topic", Some(failed_in.as_bytes())),
            ("__dlq.errors.partition", Some(b"1")),
            ("__dlq.errors.offset", Some(b"2")),
        ];
        let read = read(&headers, &pipeline, &RawTopic::known(OURS));
        let origin = read.origin.unwrap();
        format!("{}:{}:{}", origin.topic, origin.partition, origin.offset)
    };
    let raw = &*pipeline.raw;
    for (header, failed_in, expected) in [
        (Some("3:4"), "events.validated.v1", "events.raw.v1:3:4"),
        (
            Some("3:4:AAAAAAAAAAAAAAAAAAAAAQ"),
            "events.validated.v1",
            "events.raw.v1:3:4",
        ),
        (
            Some("3:4:AAAAAAAAAAAAAAAAAAAAAg"),
            raw,
            "events.raw.v1@AAAAAAAAAAAAAAAAAAAAAg:3:4",
        ),
        (None, raw, "events.raw.v1:1:2"),
        (None, "events.validated.v1", "events.validated.v1:1:2"),
        (
            Some("here"),
            "events.validated.v1",
            "events.validated.v1:1:2",
        ),
    ] {
        assert_eq!(
            origin(header, failed_in),
            expected,
            "{header:?} {failed_in}"
        );
    }
}
