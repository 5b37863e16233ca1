//! What a partition holds in a range of offsets, and where it ends: what an audit asks before it calls an offset a gap.

#![allow(clippy::unwrap_used, reason = "a test")]

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use runtime::admin::batches::of_transactions;
use runtime::admin::{ends, read_range, watermarks};
use runtime::kafka::KafkaArgs;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::RealKafka;
use std::time::Duration;

const TOPIC: &str = "ranges";
const DEADLINE: Duration = Duration::from_secs(30);

fn producer(brokers: &str, transactional_id: Option<&str>) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
    }
    let producer: BaseProducer = config.create().unwrap();
    if transactional_id.is_some() {
        producer.init_transactions(DEADLINE).unwrap();
    }
    producer
}

fn send(producer: &BaseProducer, value: &str) {
    producer
        .send(
            BaseRecord::<str, str>::to(TOPIC)
                .partition(0)
                .key("k")
                .payload(value),
        )
        .unwrap();
    producer.flush(DEADLINE).unwrap();
}

fn held(kafka: &KafkaArgs, range: std::ops::Range<i64>, most: usize) -> (Vec<(i64, String)>, i64) {
    let (records, up_to) = read_range(kafka, TOPIC, 0, range, most).unwrap();
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
    (
        records
            .into_iter()
            .map(|record| (record.offset, text(record.value)))
            .collect(),
        up_to,
    )
}

#[test]
fn a_range_is_read_to_its_end_or_to_the_topics() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let kafka = broker.kafka();
    assert_eq!(
        held(&kafka, 0..5, 10),
        (vec![], 0),
        "an empty topic says nothing about offsets to come"
    );
    let producer = producer(&kafka.kafka_brokers, None);
    for value in ["a", "b", "c", "d"] {
        send(&producer, value);
    }
    let of = |range: std::ops::Range<usize>| {
        range
            .map(|o| (o as i64, ["a", "b", "c", "d"][o].to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(held(&kafka, 1..3, 10), (of(1..3), 3));
    assert_eq!(
        held(&kafka, 0..4, 2),
        (of(0..2), 2),
        "no more than asked for, and where it goes on"
    );
    assert_eq!(
        held(&kafka, 2..9, 10),
        (of(2..4), 4),
        "as far as there are records"
    );
    assert_eq!(held(&kafka, 7..9, 10), (vec![], 7));
    assert_eq!(ends(&kafka, TOPIC).unwrap(), [(0, 4)]);
}

/// Markers and aborted records take offsets and are no records; an open transaction hides what follows it. The embedded broker knows
/// neither.
#[test]
fn markers_are_no_records_and_an_open_transaction_hides_no_end() {
    let Some(real) = RealKafka::start("markers_are_no_records", false) else {
        return;
    };
    let (brokers, kafka) = (real.get("BOOTSTRAP"), real.plain());
    let creating = runtime::admin::create_topics(&kafka, &[(TOPIC, 1)]);
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(creating)
        .unwrap();

    let (first, second) = (
        producer(brokers, Some("first")),
        producer(brokers, Some("second")),
    );
    first.begin_transaction().unwrap();
    send(&first, "a");
    send(&first, "b");
    first.commit_transaction(DEADLINE).unwrap();
    first.begin_transaction().unwrap();
    send(&first, "aborted");
    first.abort_transaction(DEADLINE).unwrap();
    send(&producer(brokers, None), "c");
    let expected: Vec<(i64, String)> = [(0, "a"), (1, "b"), (5, "c")]
        .map(|(offset, text)| (offset, text.to_owned()))
        .into();
    assert_eq!(
        held(&kafka, 0..6, 10),
        (expected.clone(), 6),
        "2 and 4 are markers, 3 was aborted"
    );
    assert_eq!(
        held(&kafka, 2..5, 10),
        (vec![], 5),
        "nothing is there, and that is certain"
    );
    let covered = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(of_transactions(&kafka, TOPIC, 0, 2..6))
        .unwrap();
    assert_eq!(covered, [2..3, 3..4, 4..5], "5 is a record like any other");

    second.begin_transaction().unwrap();
    send(&second, "open");
    first.begin_transaction().unwrap();
    send(&first, "committed behind it");
    first.commit_transaction(DEADLINE).unwrap();
    assert_eq!(
        watermarks(&kafka, TOPIC).unwrap(),
        [(0, 0, 6)],
        "as far as committed records can be read"
    );
    assert_eq!(
        ends(&kafka, TOPIC).unwrap(),
        [(0, 9)],
        "as far as records were acknowledged"
    );
    assert_eq!(
        held(&kafka, 0..9, 10),
        (expected, 6),
        "what is behind the open transaction is not known yet"
    );
    second.commit_transaction(DEADLINE).unwrap();
    // The last offset is a marker: who reads to the end is not kept waiting for a record that will never come.
    assert_eq!(runtime::admin::read_all(&kafka, TOPIC).unwrap().len(), 5);
}
