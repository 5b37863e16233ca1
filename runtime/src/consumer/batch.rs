//! A batch of records in hand.

use super::Record;
use crate::clock::now_micros;
use crate::metrics as names;
use crate::replay::Retry;
use rdkafka::Message;
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

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

    /// The records, those of the retry topic as replays.
    pub(super) fn records(&self, retry: Option<&Retry>) -> Vec<Record<'_>> {
        let record = |message| {
            let record = Record::of(message);
            match retry {
                Some(retry) if retry.topic == record.topic => record.as_replay(retry.max_replays),
                Some(_) | None => record,
            }
        };
        self.messages.iter().map(record).collect()
    }

    pub(super) fn held(&self, records: &[Record<'_>]) -> Held {
        let times = records.iter().map(|record| record.timestamp_ms);
        Held {
            generation: self.generation,
            oldest_ms: times.filter(|&time| time > 0).min(),
        }
    }

    /// The offset after the last record of each partition.
    pub(super) fn next_offsets(&self) -> KafkaResult<TopicPartitionList> {
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
            list.add_partition_offset(topic, partition, Offset::Offset(next))?;
        }
        Ok(list)
    }
}

impl Held {
    /// Sets the time lag to the age of the oldest record in hand.
    pub(super) fn report_lag(self, stage: &'static str) {
        if let Some(oldest_ms) = self.oldest_ms {
            #[expect(clippy::cast_precision_loss, reason = "seconds for a gauge")]
            let lag = (now_micros() / 1000 - oldest_ms).max(0) as f64 / 1000.0;
            metrics::gauge!(names::LAG_SECONDS, "stage" => stage).set(lag);
        }
    }
}
