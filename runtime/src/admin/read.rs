//! Records read from outside the pipeline: all of a topic, as it grows, or a range.

use super::{AdminConsumer, DEADLINE, connect, inspector, inspector_config, partitions};
use crate::kafka::KafkaArgs;
use crate::record::{Record, headers_of};
use contracts::kafka::headers::{RAW, RawCoordinates};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// A record read from outside the pipeline, owned.
#[derive(Debug, Clone)]
pub struct OwnedRecord {
    /// Partition of the topic that was read
    pub partition: i32,
    /// Offset in that partition
    pub offset: i64,
    /// Milliseconds since the epoch
    pub timestamp_ms: i64,
    /// `None` is Kafka's null
    pub key: Option<Vec<u8>>,
    /// `None` is Kafka's null
    pub value: Option<Vec<u8>>,
    /// Headers in order
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl OwnedRecord {
    fn of(record: &Record<'_>) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.payload.map(<[u8]>::to_vec),
            headers: record
                .headers()
                .map(|(key, value)| (key.to_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    /// Partition and offset of the raw record that its `ef.raw` names.
    #[must_use]
    pub fn raw(&self) -> Option<(i32, i64)> {
        let value = self.header(RAW)?;
        RawCoordinates::parse(value.as_bytes()).map(|raw| (raw.partition, raw.offset))
    }

    /// The first header of that name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
    }
}

/// Reads all of a topic, from its low to its present high watermarks, outside any group.
///
/// # Errors
/// When the topic is unknown, or reading makes no progress for the deadline.
pub fn read_all(kafka: &KafkaArgs, topic: &str) -> anyhow::Result<Vec<OwnedRecord>> {
    Tail::from(kafka, topic, |_, low, _| low)?.read()
}

/// Reads a topic as it grows, outside any group; no record twice.
pub struct Tail {
    consumer: AdminConsumer,
    kafka: KafkaArgs,
    topic: String,
    /// Where each partition is read on
    next: BTreeMap<i32, i64>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("topic", &self.topic)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// Starts at the topic's present end.
    ///
    /// # Errors
    /// When the topic is unknown or no broker answers in time.
    pub fn at_the_end(kafka: &KafkaArgs, topic: &str) -> anyhow::Result<Self> {
        Self::from(kafka, topic, |_, _, high| high)
    }

    /// Starts at these offsets; a partition without one, or whose offset is gone, at its oldest record.
    ///
    /// # Errors
    /// When the topic is unknown or no broker answers in time.
    pub fn since(
        kafka: &KafkaArgs,
        topic: &str,
        offsets: &BTreeMap<i32, i64>,
    ) -> anyhow::Result<Self> {
        Self::from(kafka, topic, |partition, low, high| {
            offsets
                .get(&partition)
                .map_or(low, |offset| (*offset).clamp(low, high))
        })
    }

    fn from(
        kafka: &KafkaArgs,
        topic: &str,
        start: impl Fn(i32, i64, i64) -> i64,
    ) -> anyhow::Result<Self> {
        let consumer = inspector(kafka)?;
        let (mut next, mut list) = (BTreeMap::new(), TopicPartitionList::new());
        for partition in partitions(&consumer, topic, DEADLINE)? {
            let (low, high) = consumer.fetch_watermarks(topic, partition, DEADLINE)?;
            next.insert(partition, start(partition, low, high));
            list.add_partition_offset(
                topic,
                partition,
                Offset::Offset(start(partition, low, high)),
            )?;
        }
        consumer.assign(&list)?;
        Ok(Self {
            consumer,
            kafka: kafka.clone(),
            topic: topic.to_owned(),
            next,
        })
    }

    /// What was published since the last call, up to the present end.
    ///
    /// # Errors
    /// When the broker does not answer, or reading makes no progress for the deadline.
    pub fn read(&mut self) -> anyhow::Result<Vec<OwnedRecord>> {
        let mut records = Vec::new();
        self.visit(|record| records.push(record))?;
        Ok(records)
    }

    /// As [`read`](Self::read), one record at a time: nothing is kept.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn visit(&mut self, mut take: impl FnMut(OwnedRecord)) -> anyhow::Result<()> {
        let mut ends = BTreeMap::new();
        for (partition, next) in &self.next {
            let (_, high) = self
                .consumer
                .fetch_watermarks(&self.topic, *partition, DEADLINE)?;
            if high > *next {
                ends.insert(*partition, high);
            }
        }
        let mut stands_still_at = std::time::Instant::now() + DEADLINE;
        while !ends.is_empty() {
            anyhow::ensure!(
                std::time::Instant::now() < stands_still_at,
                "reading {} makes no progress; not read yet, by partition, up to: {ends:?}",
                self.topic
            );
            let Some(message) = self.consumer.poll(Duration::from_millis(500)) else {
                self.skip_markers(&mut ends)?;
                continue;
            };
            let message = match message {
                Ok(message) => message,
                // Reports of an outage, also of one long over: the deadline decides when it is too long.
                Err(error) if says_nothing(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let headers: Vec<_> = headers_of(&message).collect();
            let record = Record::of(&message, &headers);
            self.next.insert(record.partition, record.offset + 1);
            if ends
                .get(&record.partition)
                .is_some_and(|end| record.offset + 1 >= *end)
            {
                ends.remove(&record.partition);
            }
            take(OwnedRecord::of(&record));
            stands_still_at = std::time::Instant::now() + DEADLINE;
        }
        Ok(())
    }

    /// An end may have no record before it, but a transaction's marker or what was aborted: then it is reached.
    fn skip_markers(&mut self, ends: &mut BTreeMap<i32, i64>) -> anyhow::Result<()> {
        for (partition, end) in std::mem::take(ends) {
            let next = self.next.get(&partition).copied().unwrap_or(0);
            let (records, to) = read_range(&self.kafka, &self.topic, partition, next..end, 1)?;
            if records.is_empty() && to >= end {
                self.next.insert(partition, end);
            } else {
                ends.insert(partition, end);
            }
        }
        Ok(())
    }
}

/// The records a partition holds in a range of offsets, at most `most`, and the offset up to which that is all of them. Fewer records than
/// offsets: the others were deleted, aborted, or are a transaction's markers. The range is read as far as committed records reach.
///
/// # Errors
/// When the topic is unknown, or reading makes no progress for the deadline.
pub fn read_range(
    kafka: &KafkaArgs,
    topic: &str,
    partition: i32,
    range: std::ops::Range<i64>,
    most: usize,
) -> anyhow::Result<(Vec<OwnedRecord>, i64)> {
    let mut config = inspector_config(kafka);
    config.set("enable.partition.eof", "true");
    let consumer = connect(&config)?;
    let (low, high) = consumer.fetch_watermarks(topic, partition, DEADLINE)?;
    let (start, end) = (range.start.max(low), range.end.min(high));
    let mut records = Vec::new();
    if start >= end {
        return Ok((records, range.end.min(high.max(range.start))));
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(start))?;
    consumer.assign(&list)?;
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        anyhow::ensure!(
            std::time::Instant::now() < deadline,
            "reading {topic}:{partition} from {start} makes no progress"
        );
        let message = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok((records, end)),
            Some(Err(error)) if says_nothing(&error) => continue,
            Some(Err(error)) => return Err(error.into()),
        };
        let headers: Vec<_> = headers_of(&message).collect();
        let record = Record::of(&message, &headers);
        if record.offset >= end {
            return Ok((records, end));
        }
        let next = record.offset + 1;
        records.push(OwnedRecord::of(&record));
        if records.len() >= most || next >= end {
            return Ok((records, next));
        }
    }
}

/// Records found at given offsets.
#[derive(Debug, Default)]
pub struct Picked {
    /// In the order of their offsets
    pub records: Vec<OwnedRecord>,
    /// How many of the offsets were looked at: those of them without a record have none any more
    pub looked_at: usize,
}

/// Offsets that are skipped by reading on; over more, the client seeks.
const READ_ON: i64 = 1000;

/// The records that a partition has at these offsets, which ascend. It stops once their values have so many bytes, after at least one.
///
/// # Errors
/// When the topic is unknown, or reading makes no progress for the deadline.
pub fn read_at(
    kafka: &KafkaArgs,
    topic: &str,
    partition: i32,
    offsets: &[i64],
    bytes: usize,
) -> anyhow::Result<Picked> {
    let mut config = inspector_config(kafka);
    config.set("enable.partition.eof", "true");
    let consumer = connect(&config)?;
    let (low, high) = consumer.fetch_watermarks(topic, partition, DEADLINE)?;
    let (mut picked, mut held) = (Picked::default(), 0);
    // Where the consumer reads on, and the last record it gave: it may lie behind the offset that was looked for.
    let (mut next, mut last): (Option<i64>, Option<OwnedRecord>) = (None, None);
    for &offset in offsets {
        if held >= bytes {
            break;
        }
        picked.looked_at += 1;
        if offset < low || offset >= high {
            continue;
        }
        if next.is_none_or(|next| offset.saturating_sub(next) > READ_ON) {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
            consumer.assign(&list)?;
            last = None;
        }
        let deadline = std::time::Instant::now() + DEADLINE;
        while last.as_ref().is_none_or(|last| last.offset < offset) {
            anyhow::ensure!(
                std::time::Instant::now() < deadline,
                "reading {topic}:{partition} at {offset} makes no progress"
            );
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    let headers: Vec<_> = headers_of(&message).collect();
                    let record = Record::of(&message, &headers);
                    next = Some(record.offset + 1);
                    last = Some(OwnedRecord::of(&record));
                }
                // Nothing that can be read lies between: markers of transactions, or what was aborted.
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if says_nothing(&error) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
        if let Some(record) = last.take_if(|last| last.offset == offset) {
            held += record.value.as_ref().map_or(0, Vec::len);
            picked.records.push(record);
        }
    }
    Ok(picked)
}

/// Whether reading goes on all the same: reports of a connection, and that nobody may join the inspector's group, which is only a name that the
/// client demands.
fn says_nothing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::GroupAuthorizationFailed
        )
    )
}
