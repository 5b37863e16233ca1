//! Headers of a record of the dead-letter topic, whoever wrote it.

use super::request;
use contracts::pipeline::Pipeline;
use recovery::index::dead_letter_headers::{Header, read};
use std::sync::LazyLock;
use store::raw_topic::RawTopic;

static PIPELINE: LazyLock<Pipeline> = LazyLock::new(Pipeline::built_in);

pub(super) fn run(data: &[u8]) {
    let (pairs, _) = request(data);
    let headers: Vec<Header<'_>> = pairs
        .iter()
        .map(|(name, value)| {
            (
                name.as_str(),
                (!value.is_empty()).then_some(value.as_slice()),
            )
        })
        .collect();
    let read = read(&headers, &PIPELINE, &RawTopic::known("first"));
    for position in read.origin.iter().chain(&read.failed) {
        assert!(
            position.partition >= 0 && position.offset >= 0,
            "{position:?}"
        );
        assert!(!position.topic.is_empty(), "{position:?}");
    }
    assert!(read.replay_count >= 0);
}

pub(super) fn examples() -> Vec<Vec<u8>> {
    let ours = "ef.raw: 4:77\n__dlq.errors.topic: events.raw.v1\n__dlq.errors.partition: 4\n__dlq.errors.offset: 77\nef.dlq.stage: validator\n\
        ef.dlq.group: eventflow-validator\nef.dlq.code: not_json\nef.dlq.detail: expected value\nef.dlq.disposition: poison\nef.dlq.attempts: 2\n\
        ef.dlq.first_failed_at: 5\nef.dlq.last_failed_at: 6\nef.dlq.service_version: 0.1.0\nef.replay_count: 3\n";
    let of_another_topic = ours.replace("4:77", "4:77:pWt5kqO-QF6tq_Yk0xyzAA");
    let others = "__dlq.errors.topic: orders\n__dlq.errors.partition: -1\n__dlq.errors.offset: 99999999999999999999\nef.dlq.code: x\n";
    [
        ours,
        &of_another_topic,
        others,
        "kafka_dlt-original-topic: t\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
