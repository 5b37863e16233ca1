//! One-off work on a cluster: topics, its identity, and reading a topic's state from outside.

use crate::kafka::KafkaArgs;
use anyhow::Context;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(15);

/// Creates the topics that are missing. Returns those it created; an existing topic is left as it is.
///
/// # Errors
/// The broker's reason for the first topic it refused.
pub async fn create_topics(kafka: &KafkaArgs, topics: &[(&str, i32)], replication: i32) -> anyhow::Result<Vec<String>> {
    let client = AdminClient::<DefaultClientContext>::from_config(&kafka.client_config("admin"))?;
    let min_isr = if replication >= 3 { "2" } else { "1" };
    let wanted: Vec<_> = topics
        .iter()
        .map(|(name, partitions)| {
            NewTopic::new(name, *partitions, TopicReplication::Fixed(replication)).set("min.insync.replicas", min_isr)
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE)).request_timeout(Some(DEADLINE));
    let mut created = Vec::new();
    for answer in client.create_topics(&wanted, &options).await.context("cannot create topics")? {
        match answer {
            Ok(name) => created.push(name),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => anyhow::bail!("topic {name} cannot be created: {code}"),
        }
    }
    Ok(created)
}

/// The cluster's identity, which never changes. Offsets of one cluster mean nothing on another.
///
/// # Errors
/// When no broker answers in time.
pub async fn cluster_id(kafka: &KafkaArgs, deadline: Duration) -> anyhow::Result<String> {
    let client = AdminClient::<DefaultClientContext>::from_config(&kafka.client_config("admin"))?;
    let asked = tokio::task::spawn_blocking(move || client.inner().fetch_cluster_id(deadline));
    asked.await?.context("no Kafka broker told its cluster id in time; is Kafka up, and is --kafka-brokers right?")
}

/// Low and high watermark of every partition of a topic: what can still be read, and where the next record goes.
///
/// # Errors
/// When the topic is unknown or no broker answers in time.
pub fn watermarks(kafka: &KafkaArgs, topic: &str) -> anyhow::Result<Vec<(i32, i64, i64)>> {
    let consumer = inspector(kafka)?;
    let partitions = partitions(&consumer, topic, DEADLINE)?;
    partitions
        .into_iter()
        .map(|partition| {
            let (low, high) = consumer.fetch_watermarks(topic, partition, DEADLINE)?;
            Ok((partition, low, high))
        })
        .collect()
}

/// Where the next record of every partition goes, those of open transactions included: after an acknowledgement the end is past its
/// record. (Watermarks are what a consumer of committed records may read, and can stay behind for as long as a transaction is open.)
///
/// # Errors
/// When the topic is unknown or no broker answers in time.
pub fn ends(kafka: &KafkaArgs, topic: &str) -> anyhow::Result<Vec<(i32, i64)>> {
    let mut config = inspector_config(kafka);
    config.set("isolation.level", "read_uncommitted");
    let consumer = BaseConsumer::from_config(&config)?;
    let end = |partition| Ok((partition, consumer.fetch_watermarks(topic, partition, DEADLINE)?.1));
    partitions(&consumer, topic, DEADLINE)?.into_iter().map(end).collect()
}

/// A group's committed next offsets on a topic; `None` where it never committed.
///
/// # Errors
/// When the topic is unknown or no broker answers in time.
pub fn committed(kafka: &KafkaArgs, group: &str, topic: &str) -> anyhow::Result<Vec<(i32, Option<i64>)>> {
    let mut config = kafka.client_config("admin");
    config.set("group.id", group);
    let consumer = BaseConsumer::from_config(&config)?;
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, topic, DEADLINE)? {
        list.add_partition(topic, partition);
    }
    let answer = consumer.committed_offsets(list, DEADLINE)?;
    Ok(answer
        .elements()
        .iter()
        .map(|element| {
            let next = match element.offset() {
                Offset::Offset(next) => Some(next),
                Offset::Beginning | Offset::End | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_) => None,
            };
            (element.partition(), next)
        })
        .collect())
}

/// A client that is kept, for what is asked of a cluster again and again. Its calls block; each ends within the deadline it is made with.
pub struct Inspector {
    consumer: BaseConsumer,
    deadline: Duration,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Inspector {
    /// Nothing connects yet.
    ///
    /// # Errors
    /// Settings librdkafka refuses.
    pub fn new(kafka: &KafkaArgs, deadline: Duration) -> anyhow::Result<Self> {
        Ok(Self { consumer: inspector(kafka)?, deadline })
    }

    /// Where the next record of every partition goes.
    ///
    /// # Errors
    /// When the topic is unknown or no broker answers in time.
    pub fn ends(&self, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
        let mut ends = BTreeMap::new();
        for partition in partitions(&self.consumer, topic, self.deadline)? {
            ends.insert(partition, self.consumer.fetch_watermarks(topic, partition, self.deadline)?.1);
        }
        Ok(ends)
    }

    /// Whether a consumer group reads a topic now.
    #[must_use]
    pub fn readers(&self, group: &str, topic: &str) -> Readers {
        let groups = match self.consumer.fetch_group_list(Some(group), self.deadline) {
            Ok(groups) => groups,
            Err(error) => {
                tracing::debug!(event = "group_unknown", group, %error);
                return Readers::Unknown;
            }
        };
        let members = groups.groups().iter().find(|known| known.name() == group).map_or(&[][..], |known| known.members());
        Readers::of(members.iter().map(rdkafka::groups::GroupMemberInfo::assignment), topic)
    }
}

/// Whether a consumer group reads a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// A member has a partition of it
    There,
    /// The group has no members
    Nobody,
    /// It has, and what each is assigned is known: not this topic
    OfOtherTopics,
    /// The brokers do not tell (a missing right, or a broker that cannot), or do not just now: while a group rebalances its members have
    /// no assignment
    Unknown,
}

impl Readers {
    fn of<'a>(assignments: impl Iterator<Item = Option<&'a [u8]>>, topic: &str) -> Self {
        let mut readers = Self::Nobody;
        for assignment in assignments {
            match assignment.and_then(|bytes| assigned(bytes, topic)) {
                Some(true) => return Self::There,
                Some(false) if readers != Self::Unknown => readers = Self::OfOtherTopics,
                Some(false) => {}
                None => readers = Self::Unknown,
            }
        }
        readers
    }
}

/// Whether an assignment of the consumer protocol (a version, then topics, each with its partitions) has a partition of a topic; `None` when
/// it is not one.
fn assigned(mut bytes: &[u8], topic: &str) -> Option<bool> {
    fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(taken)
    }
    let version = i16::from_be_bytes(take(&mut bytes, 2)?.try_into().ok()?);
    if version < 0 {
        return None;
    }
    let topics = i32::from_be_bytes(take(&mut bytes, 4)?.try_into().ok()?);
    let mut found = false;
    for _ in 0..u32::try_from(topics).ok()? {
        let length = i16::from_be_bytes(take(&mut bytes, 2)?.try_into().ok()?);
        let name = take(&mut bytes, usize::try_from(length).ok()?)?;
        let partitions = usize::try_from(i32::from_be_bytes(take(&mut bytes, 4)?.try_into().ok()?)).ok()?;
        take(&mut bytes, partitions.checked_mul(4)?)?;
        found |= name == topic.as_bytes() && partitions > 0;
    }
    Some(found)
}

/// A record read from outside the pipeline, owned.
#[derive(Debug, Clone)]
pub struct OwnedRecord {
    /// Partition
    pub partition: i32,
    /// Offset
    pub offset: i64,
    /// Milliseconds since the epoch
    pub timestamp_ms: i64,
    /// Key
    pub key: Option<Vec<u8>>,
    /// Value
    pub value: Option<Vec<u8>>,
    /// Headers in order
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl OwnedRecord {
    fn of(record: &crate::record::Record<'_>) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.payload.map(<[u8]>::to_vec),
            headers: record.headers().map(|(key, value)| (key.to_owned(), value.map(<[u8]>::to_vec))).collect(),
        }
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
/// When the topic is unknown, or reading stands still for the deadline.
pub fn read_all(kafka: &KafkaArgs, topic: &str) -> anyhow::Result<Vec<OwnedRecord>> {
    Tail::from(kafka, topic, |_, low, _| low)?.read()
}

/// Reads a topic as it grows, outside any group; no record twice.
pub struct Tail {
    consumer: BaseConsumer,
    kafka: KafkaArgs,
    topic: String,
    /// Where each partition is read on
    next: BTreeMap<i32, i64>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("topic", &self.topic).field("next", &self.next).finish_non_exhaustive()
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
    pub fn since(kafka: &KafkaArgs, topic: &str, offsets: &BTreeMap<i32, i64>) -> anyhow::Result<Self> {
        Self::from(kafka, topic, |partition, low, high| offsets.get(&partition).map_or(low, |offset| (*offset).clamp(low, high)))
    }

    fn from(kafka: &KafkaArgs, topic: &str, start: impl Fn(i32, i64, i64) -> i64) -> anyhow::Result<Self> {
        let consumer = inspector(kafka)?;
        let (mut next, mut list) = (BTreeMap::new(), TopicPartitionList::new());
        for partition in partitions(&consumer, topic, DEADLINE)? {
            let (low, high) = consumer.fetch_watermarks(topic, partition, DEADLINE)?;
            next.insert(partition, start(partition, low, high));
            list.add_partition_offset(topic, partition, Offset::Offset(start(partition, low, high)))?;
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, kafka: kafka.clone(), topic: topic.to_owned(), next })
    }

    /// What was published since the last call, up to the present end.
    ///
    /// # Errors
    /// When the broker does not answer, or reading stands still for the deadline.
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
            let (_, high) = self.consumer.fetch_watermarks(&self.topic, *partition, DEADLINE)?;
            if high > *next {
                ends.insert(*partition, high);
            }
        }
        let mut stands_still_at = std::time::Instant::now() + DEADLINE;
        while !ends.is_empty() {
            anyhow::ensure!(std::time::Instant::now() < stands_still_at, "reading {} stands still at {ends:?}", self.topic);
            let Some(message) = self.consumer.poll(Duration::from_millis(500)) else {
                self.skip_markers(&mut ends)?;
                continue;
            };
            let message = match message {
                Ok(message) => message,
                // Notes of an outage, also of one long over: the deadline says when it is too long.
                Err(error) if is_connectivity(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            let record = crate::record::Record::of(&message);
            self.next.insert(record.partition, record.offset + 1);
            if ends.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
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
/// When the topic is unknown, or reading stands still for the deadline.
pub fn read_range(
    kafka: &KafkaArgs,
    topic: &str,
    partition: i32,
    range: std::ops::Range<i64>,
    most: usize,
) -> anyhow::Result<(Vec<OwnedRecord>, i64)> {
    let mut config = inspector_config(kafka);
    config.set("enable.partition.eof", "true");
    let consumer = BaseConsumer::from_config(&config)?;
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
        anyhow::ensure!(std::time::Instant::now() < deadline, "reading {topic}:{partition} from {start} stands still");
        let message = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            Some(Ok(message)) => message,
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok((records, end)),
            Some(Err(error)) if is_connectivity(&error) => continue,
            Some(Err(error)) => return Err(error.into()),
        };
        let record = crate::record::Record::of(&message);
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

fn is_connectivity(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

fn inspector(kafka: &KafkaArgs) -> anyhow::Result<BaseConsumer> {
    Ok(BaseConsumer::from_config(&inspector_config(kafka))?)
}

fn inspector_config(kafka: &KafkaArgs) -> rdkafka::ClientConfig {
    let mut config = kafka.client_config("inspector");
    config.set("group.id", "eventflow-inspector").set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    config
}

fn partitions(consumer: &BaseConsumer, topic: &str, deadline: Duration) -> anyhow::Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), deadline)?;
    let topic_metadata = metadata.topics().first().with_context(|| format!("topic {topic} is unknown"))?;
    if let Some(error) = topic_metadata.error() {
        anyhow::bail!("topic {topic}: {:?}", RDKafkaErrorCode::from(error));
    }
    Ok(topic_metadata.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(topics: &[(&str, i32)]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend(i32::try_from(topics.len()).unwrap_or_default().to_be_bytes());
        for (topic, partitions) in topics {
            bytes.extend(i16::try_from(topic.len()).unwrap_or_default().to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(partitions.to_be_bytes());
            (0..*partitions).for_each(|partition| bytes.extend(partition.to_be_bytes()));
        }
        bytes.extend((-1_i32).to_be_bytes()); // no user data
        bytes
    }

    #[test]
    fn who_reads_a_topic_is_in_the_assignments_of_the_members() {
        let (ours, other, none) = (assignment(&[("raw", 3), ("retry", 2)]), assignment(&[("raw", 3)]), assignment(&[]));
        let readers = |members: &[&[u8]]| Readers::of(members.iter().map(|bytes| Some(*bytes)), "retry");
        assert_eq!(readers(&[]), Readers::Nobody);
        assert_eq!(readers(&[&other, &ours]), Readers::There);
        assert_eq!(readers(&[&other, &none]), Readers::OfOtherTopics);
        assert_eq!(readers(&[&assignment(&[("retry", 0), ("retry2", 1)])]), Readers::OfOtherTopics);
        // While it rebalances, and of a protocol that is not known.
        assert_eq!(readers(&[&[], &other]), Readers::Unknown);
        assert_eq!(readers(&[&[], &ours]), Readers::There);
        assert_eq!(Readers::of([None].into_iter(), "retry"), Readers::Unknown);
        for cut in 0..ours.len() - 4 {
            assert_eq!(readers(&[&ours[..cut]]), Readers::Unknown, "{cut}");
        }
        for broken in [&[0xff; 40][..], &[0, 0, 0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 0, 0, 1, 0, 1, b'x', 0x7f, 0xff, 0xff, 0xff]]
        {
            assert_eq!(readers(&[broken]), Readers::Unknown, "{broken:?}");
        }
    }
}
