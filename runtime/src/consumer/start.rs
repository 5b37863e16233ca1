//! Where to start on newly assigned partitions: from a handler's [`Start`]s to offsets.

use super::incarnation::read_commit_note;
use super::membership::GroupConsumer;
use super::{StageError, Start};
use crate::admin::TopicIds;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for one answer of the broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Next offsets, by topic and partition.
type Committed = BTreeMap<(String, i32), i64>;

/// The group's committed offsets, none of a topic that was deleted since and created again; and what members noted with them.
pub(super) fn committed(
    consumer: &GroupConsumer,
    partitions: &[(String, i32)],
    ids: &TopicIds,
) -> Result<(Committed, Vec<String>), StageError> {
    let (mut committed, mut notes) = (Committed::new(), Vec::new());
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    if list.count() == 0 {
        return Ok((committed, notes));
    }
    let list = consumer
        .committed_offsets(list, TIMEOUT)
        .map_err(unavailable)?;
    for element in list.elements() {
        element.error().map_err(unavailable)?;
        let (of, note) = read_commit_note(element.metadata());
        if !note.is_empty() {
            notes.push(note.to_owned());
        }
        let is_of_another = ids
            .get(element.topic())
            .is_some_and(|id| of.is_some_and(|of| of != id));
        if let (Offset::Offset(next), false) = (element.offset(), is_of_another) {
            committed.insert((element.topic().to_owned(), element.partition()), next);
        }
    }
    Ok((committed, notes))
}

/// The offsets to assign to the client, one start for each partition.
pub(super) fn start_offsets(
    consumer: &GroupConsumer,
    partitions: &[(String, i32)],
    starts: &[Start],
    committed: &Committed,
) -> Result<TopicPartitionList, StageError> {
    if starts.len() != partitions.len() {
        return Err(StageError::stop(
            "handler_contract",
            "the handler must answer one start for each partition",
        ));
    }
    let (mut list, mut since) = (TopicPartitionList::new(), TopicPartitionList::new());
    for (place, start) in partitions.iter().zip(starts) {
        let (to, offset) = match start {
            Start::Beginning => (&mut list, Offset::Beginning),
            Start::Offset(offset) => (&mut list, Offset::Offset(*offset)),
            Start::Committed => {
                let next = committed.get(place).copied();
                (&mut list, next.map_or(Offset::Beginning, Offset::Offset))
            }
            Start::Since(time) => (&mut since, Offset::Offset(*time)),
        };
        to.add_partition_offset(&place.0, place.1, offset)
            .map_err(unavailable)?;
    }
    if since.count() > 0 {
        add_since(consumer, since, &mut list)?;
    }
    Ok(list)
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
