//! A batch of records in hand.

use super::Record;
use super::incarnation::commit_note;
use crate::admin::TopicIds;
use crate::clock::now_micros;
use crate::metrics as names;
use crate::record::MessageHeaders;
use crate::replay::Retry;
use rdkafka::Message;
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

/// Polled records, in the order of each partition.
pub(super) struct Batch<'c> {
    messages: Vec<BorrowedMessage<'c>>,
    generation: u64,
}

/// What a wait must know of the records in hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Of the assignment they came with: after another they are no longer ours
    pub(super) generation: u64,
    /// Time of the oldest; `None` without records, or when none has a time
    pub(super) oldest_ms: Option<i64>,
}

impl<'c> Batch<'c> {
    pub(super) fn new(messages: Vec<BorrowedMessage<'c>>, generation: u64) -> Self {
        Self {
            messages,
            generation,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn messages(&self) -> &[BorrowedMessage<'c>] {
        &self.messages
    }

    /// Their headers, for [`records`](Self::records).
    pub(super) fn headers(&self) -> MessageHeaders<'_> {
        MessageHeaders::of(&self.messages)
    }

    /// The records, those of the retry topic as replays, those of the raw topic as raw records.
    pub(super) fn records<'b>(
        &'b self,
        headers: &'b MessageHeaders<'b>,
        retry: Option<&Retry>,
        raw_topic: Option<&str>,
        ids: &'b TopicIds,
    ) -> Vec<Record<'b>> {
        let raw_id = raw_topic
            .and_then(|topic| ids.get(topic))
            .map(String::as_str);
        let record = |(message, headers)| {
            let record = Record::of(message, headers);
            match retry {
                Some(retry) if retry.topic == record.topic => record.as_replay(retry.max_replays),
                Some(_) | None if raw_topic == Some(record.topic) => record.as_raw(raw_id),
                Some(_) | None => record,
            }
        };
        self.messages
            .iter()
            .zip(headers.each())
            .map(record)
            .collect()
    }

    pub(super) fn held(&self, records: &[Record<'_>]) -> Held {
        let times = records.iter().map(|record| record.timestamp_ms);
        Held {
            generation: self.generation,
            oldest_ms: times.filter(|&time| time > 0).min(),
        }
    }

    /// The offset after the last record of each partition, each with this note, and which topic of that name it belongs to.
    pub(super) fn next_offsets(
        &self,
        ids: &TopicIds,
        note: &str,
    ) -> KafkaResult<TopicPartitionList> {
        let mut ends: Vec<(&str, i32, i64)> = Vec::new();
        for message in &self.messages {
            let next = message.offset() + 1;
            match ends.iter_mut().find(|(topic, partition, _)| {
                *partition == message.partition() && *topic == message.topic()
            }) {
                Some(end) => end.2 = next,
                None => ends.push((message.topic(), message.partition(), next)),
            }
        }
        let mut list = TopicPartitionList::with_capacity(ends.len());
        for (topic, partition, next) in ends {
            let mut element = list.add_partition(topic, partition);
            element.set_offset(Offset::Offset(next))?;
            element.set_metadata(commit_note(ids.get(topic), note));
        }
        Ok(list)
    }
}

impl Held {
    /// How old the oldest record in hand is; zero without a time.
    pub(super) fn age(self) -> Duration {
        let age_ms = self
            .oldest_ms
            .map_or(0, |oldest| now_micros() / 1000 - oldest);
        Duration::from_millis(age_ms.try_into().unwrap_or(0))
    }

    /// Sets the time lag to the age of the oldest record in hand.
    pub(super) fn report_lag(self, stage: &'static str) {
        if self.oldest_ms.is_some() {
            metrics::gauge!(names::LAG_SECONDS, "stage" => stage).set(self.age().as_secs_f64());
        }
    }
}
