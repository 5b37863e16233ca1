//! Headers as other people's dead-letter writers make them, byte for byte, and headers nobody should make.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::pipeline::Pipeline;
use proptest::prelude::*;
use recovery::index::formats::{Failure, Header, RecordPosition, read};

const RAW: &str = "events.raw.v1";

fn place(topic: &'static str, partition: i32, offset: i64) -> Option<RecordPosition<'static>> {
    Some(RecordPosition {
        topic: topic.into(),
        partition,
        offset,
    })
}

fn foreign(family: &'static str) -> Failure<'static> {
    Failure {
        family,
        disposition: "unknown".into(),
        attempts: 1,
        ..Failure::default()
    }
}

#[test]
fn every_family_is_read_in_its_own_encoding() {
    type Case = (&'static str, Vec<Header<'static>>, Failure<'static>);
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
            Failure {
                family: "eventflow",
                stage: "validator".into(),
                code: "not_json".into(),
                group: "eventflow-validator".into(),
                detail: "expected value".into(),
                disposition: "poison".into(),
                attempts: 2,
                origin: place(RAW, 4, 77),
                first_failed_micros: Some(5),
                last_failed_micros: Some(6),
                service_version: Some("0.1.0".into()),
                ..Failure::default()
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
            Failure {
                family: "eventflow",
                stage: "persistence".into(),
                code: "conflict".into(),
                group: "eventflow-persistence".into(),
                disposition: "unknown".into(),
                attempts: 1,
                replay_count: 2,
                origin: place(RAW, 4, 77),
                failed: place("events.retry.eventflow-persistence.v1", 1, 9),
                ..Failure::default()
            },
        ),
        (
            "Kafka Connect: text",
            vec![
                text("__connect.errors.topic", "orders"),
                text("__connect.errors.partition", "3"),
                text("__connect.errors.offset", "1234567890123"),
                text("__connect.errors.connector.name", "jdbc-sink"),
                text("__connect.errors.task.id", "0"),
                text("__connect.errors.stage", "VALUE_CONVERTER"),
                text(
                    "__connect.errors.class.name",
                    "org.apache.kafka.connect.json.JsonConverter",
                ),
                text(
                    "__connect.errors.exception.class.name",
                    "org.apache.kafka.connect.errors.DataException",
                ),
                text(
                    "__connect.errors.exception.message",
                    "Converting byte[] failed",
                ),
                text("__connect.errors.exception.stacktrace", "at ..."),
            ],
            Failure {
                stage: "jdbc-sink".into(),
                code: "DataException".into(),
                detail: "VALUE_CONVERTER: Converting byte[] failed".into(),
                origin: place("orders", 3, 1_234_567_890_123),
                origin_group: "jdbc-sink".into(),
                ..foreign("connect")
            },
        ),
        (
            "Spring: int32 and int64, big-endian; the first original and the last exception count",
            vec![
                text("kafka_dlt-original-topic", "orders"),
                ("kafka_dlt-original-partition", Some(&[0, 0, 0, 2])),
                ("kafka_dlt-original-offset", Some(&[0, 0, 0, 1, 0, 0, 0, 7])),
                (
                    "kafka_dlt-original-timestamp",
                    Some(&[0, 0, 1, 0x9a, 0, 0, 0, 0]),
                ),
                text("kafka_dlt-original-consumer-group", "billing"),
                text("kafka_dlt-exception-message", "older"),
                text(
                    "kafka_dlt-exception-fqcn",
                    "org.springframework.kafka.listener.ListenerExecutionFailedException",
                ),
                text(
                    "kafka_dlt-exception-cause-fqcn",
                    "java.lang.IllegalStateException",
                ),
                text("kafka_dlt-original-topic", "orders-retry-1000"),
                ("kafka_dlt-original-offset", Some(&[0, 0, 0, 0, 0, 0, 0, 1])),
                text("kafka_dlt-exception-message", "Listener failed"),
                ("retry_topic-attempts", Some(&[0, 0, 0, 4])),
                (
                    "retry_topic-original-timestamp",
                    Some(&[1, 0x9a, 0, 0, 0, 0]),
                ),
            ],
            Failure {
                stage: "billing".into(),
                code: "IllegalStateException".into(),
                group: "billing".into(),
                detail: "Listener failed".into(),
                attempts: 4,
                origin: place("orders", 2, (1 << 32) + 7),
                origin_group: "billing".into(),
                ..foreign("spring")
            },
        ),
        (
            "Spring: a key that cannot be deserialized",
            vec![
                text(
                    "kafka_dlt-key-exception-fqcn",
                    "org.apache.kafka.common.errors.SerializationException",
                ),
                text("kafka_dlt-key-exception-message", "no magic byte"),
            ],
            Failure {
                code: "SerializationException".into(),
                detail: "no magic byte".into(),
                ..foreign("spring")
            },
        ),
        (
            "Kafka Streams: text",
            vec![
                text(
                    "__streams.errors.exception",
                    "org.apache.kafka.streams.errors.StreamsException",
                ),
                text("__streams.errors.message", "boom"),
                text("__streams.errors.topic", "clicks"),
                text("__streams.errors.partition", "0"),
                text("__streams.errors.offset", "12"),
            ],
            Failure {
                stage: "streams".into(),
                code: "StreamsException".into(),
                detail: "boom".into(),
                origin: place("clicks", 0, 12),
                ..foreign("streams")
            },
        ),
        (
            "share groups: text",
            vec![
                text("__dlq.errors.topic", "jobs"),
                text("__dlq.errors.partition", "1"),
                text("__dlq.errors.offset", "2"),
                text("__dlq.errors.group", "workers"),
                text("__dlq.errors.delivery.count", "5"),
                text("__dlq.errors.message", "acquired too often"),
            ],
            Failure {
                stage: "workers".into(),
                code: "unspecified".into(),
                group: "workers".into(),
                detail: "acquired too often".into(),
                attempts: 5,
                origin: place("jobs", 1, 2),
                origin_group: "workers".into(),
                ..foreign("share_group")
            },
        ),
        (
            "nobody's",
            vec![text("original_partition", "1"), ("null", None)],
            Failure {
                stage: "unknown".into(),
                code: "unknown".into(),
                detail: "no header says why it is here".into(),
                ..foreign("unknown")
            },
        ),
    ];
    for (name, headers, expected) in cases {
        assert_eq!(read(&headers, &Pipeline::built_in()), expected, "{name}");
    }
}

#[test]
fn a_place_that_makes_no_sense_is_no_place() {
    for (partition, offset) in [
        (&b"-1"[..], &b"1"[..]),
        (b"1", b"-1"),
        (b"2147483648", b"1"),
        (b"", b"1"),
        (b"x", b"1"),
        (b"1", b"\xff"),
    ] {
        let headers = [
            ("__streams.errors.topic", Some(&b"t"[..])),
            ("__streams.errors.partition", Some(partition)),
            ("__streams.errors.offset", Some(offset)),
        ];
        assert_eq!(
            read(&headers, &Pipeline::built_in()).origin,
            None,
            "{partition:?} {offset:?}"
        );
    }
    let short: [Header<'_>; 3] = [
        ("kafka_dlt-original-topic", Some(b"t")),
        (
            "kafka_dlt-original-partition",
            Some(&[0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ),
        ("kafka_dlt-original-offset", Some(&[])),
    ];
    assert_eq!(read(&short, &Pipeline::built_in()).origin, None);
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
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.exception.class.name",
    "kafka_dlt-original-topic",
    "kafka_dlt-original-partition",
    "kafka_dlt-original-offset",
    "kafka_dlt-exception-fqcn",
    "retry_topic-attempts",
    "__streams.errors.topic",
    "__streams.errors.partition",
    "__streams.errors.offset",
    "__streams.errors.exception",
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
        let failure = read(&headers, &pipeline);
        prop_assert!(["eventflow", "share_group", "connect", "spring", "streams", "unknown"].contains(&failure.family));
        prop_assert!(failure.replay_count >= 0);
        if let Some(origin) = failure.origin {
            prop_assert!(origin.partition >= 0 && origin.offset >= 0 && !origin.topic.is_empty());
        }
    }
}
