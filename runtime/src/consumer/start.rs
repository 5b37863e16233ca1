//! Where to start on newly assigned partitions: from a handler's [`Start`]s to offsets.

use super::membership::GroupConsumer;
use super::{StageError, Start};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

/// Longest wait for one answer of the broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The offsets to assign to the client, one start for each partition.
pub(super) fn start_offsets(
    consumer: &GroupConsumer,
    partitions: &[(String, i32)],
    starts: &[Start],
) -> Result<TopicPartitionList, StageError> {
    if starts.len() != partitions.len() {
        return Err(StageError::stop(
            "handler_contract",
            "the handler must answer one start for each partition",
        ));
    }
    let mut list = TopicPartitionList::new();
    let (mut committed, mut since) = (TopicPartitionList::new(), TopicPartitionList::new());
    for ((topic, partition), start) in partitions.iter().zip(starts) {
        let (to, offset) = match start {
            Start::Beginning => (&mut list, Offset::Beginning),
            Start::Offset(offset) => (&mut list, Offset::Offset(*offset)),
            Start::Committed => (&mut committed, Offset::Invalid),
            Start::Since(time) => (&mut since, Offset::Offset(*time)),
        };
        to.add_partition_offset(topic, *partition, offset)
            .map_err(unavailable)?;
    }
    if committed.count() > 0 {
        add_committed(consumer, committed, &mut list)?;
    }
    if since.count() > 0 {
        add_since(consumer, since, &mut list)?;
    }
    Ok(list)
}

/// The group's committed offsets; the beginning where there is none.
fn add_committed(
    consumer: &GroupConsumer,
    committed: TopicPartitionList,
    list: &mut TopicPartitionList,
) -> Result<(), StageError> {
    let committed = consumer
        .committed_offsets(committed, TIMEOUT)
        .map_err(unavailable)?;
    for element in committed.elements() {
        element.error().map_err(unavailable)?;
        let offset = match element.offset() {
            Offset::Invalid => Offset::Beginning,
            known => known,
        };
        list.add_partition_offset(element.topic(), element.partition(), offset)
            .map_err(unavailable)?;
    }
    Ok(())
}

/// The first offsets at or after a time; the end where there is none.
fn add_since(
    consumer: &GroupConsumer,
    since: TopicPartitionList,
    list: &mut TopicPartitionList,
) -> Result<(), StageError> {
    // Queried before the times, so that nothing published in between is beyond both.
    let mut ends = Vec::new();
    for element in since.elements() {
        let (_, end) = consumer
            .fetch_watermarks(element.topic(), element.partition(), TIMEOUT)
            .map_err(unavailable)?;
        ends.push((element.topic().to_owned(), element.partition(), end));
    }
    let found = consumer
        .offsets_for_times(since, TIMEOUT)
        .map_err(unavailable)?;
    for element in found.elements() {
        element.error().map_err(unavailable)?;
        let end = ends
            .iter()
            .find(|end| end.0 == element.topic() && end.1 == element.partition())
            .map_or(0, |end| end.2);
        // The client would resolve the end later and skip what is published meanwhile.
        let offset = match element.offset() {
            Offset::End => Offset::Offset(end),
            known => known,
        };
        list.add_partition_offset(element.topic(), element.partition(), offset)
            .map_err(unavailable)?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "used as a map_err function")]
fn unavailable(error: KafkaError) -> StageError {
    StageError::wait(
        "kafka_unavailable",
        format!("cannot query the offsets to start from: {error}"),
    )
}
