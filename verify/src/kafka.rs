//! Reads topics by a plain consumer: committed records, from the oldest to the end that the topic has at the start.

use crate::piece::{Record, Topic};
use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{Message, Timestamp};
use runtime::kafka::{KafkaArgs, Login};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Longest wait for an answer, and for reading to go on.
const DEADLINE: Duration = Duration::from_secs(60);
const SETTINGS: [(&str, &str); 4] = [
    ("isolation.level", "read_committed"),
    ("enable.partition.eof", "true"),
    // Memory for what is fetched ahead.
    ("queued.max.messages.kbytes", "16384"),
    ("check.crcs", "true"),
];

/// Low and high watermark of each partition.
pub(crate) type Ends = BTreeMap<i32, (i64, i64)>;

/// Reads topics of one cluster.
pub(crate) struct Reader {
    consumer: BaseConsumer<Login>,
}

impl Reader {
    pub(crate) fn new(kafka: &KafkaArgs) -> anyhow::Result<Self> {
        let consumer = runtime::admin::plain_consumer(kafka, &SETTINGS)?;
        Ok(Self { consumer })
    }

    /// Watermarks of a topic; `None` where there is no such topic.
    pub(crate) fn ends(&self, name: &str) -> anyhow::Result<Option<Ends>> {
        let cannot =
            || format!("no answer about topic {name}; check that Kafka is up, and --kafka-brokers");
        let metadata = self
            .consumer
            .fetch_metadata(Some(name), DEADLINE)
            .with_context(cannot)?;
        let topic = metadata.topics().first().with_context(cannot)?;
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            Some(code) => bail!("topic {name}: {code}"),
        }
        let mut ends = Ends::new();
        for partition in topic.partitions() {
            let id = partition.id();
            let marks = self.consumer.fetch_watermarks(name, id, DEADLINE);
            ends.insert(id, marks.with_context(cannot)?);
        }
        Ok(Some(ends))
    }

    /// Calls this with every record between the watermarks.
    pub(crate) fn read(
        &self,
        topic: Topic,
        name: &str,
        ends: &Ends,
        take: &mut dyn FnMut(Record) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        let mut open = BTreeSet::new();
        for (partition, (low, high)) in ends {
            if low < high {
                list.add_partition_offset(name, *partition, Offset::Offset(*low))?;
                open.insert(*partition);
            }
        }
        self.consumer.assign(&list)?;
        let mut deadline = Instant::now() + DEADLINE;
        while !open.is_empty() {
            let Some(polled) = self.consumer.poll(Duration::from_millis(200)) else {
                if Instant::now() > deadline {
                    let problem = "is not read to its end in time; check that Kafka is up, and run verify again";
                    bail!("topic {name} {problem} (partitions {open:?})");
                }
                continue;
            };
            match polled {
                Ok(message) => {
                    deadline = Instant::now() + DEADLINE;
                    let high = ends.get(&message.partition()).map_or(0, |(_, high)| *high);
                    if message.offset() + 1 >= high {
                        open.remove(&message.partition());
                    }
                    if message.offset() < high {
                        take(record(topic, &message))?;
                    }
                }
                // What is before the end, and is no record, is a transaction's.
                Err(KafkaError::PartitionEOF(partition)) => {
                    open.remove(&partition);
                }
                Err(error) => {
                    // Reports of an outage: the deadline decides when it is too long.
                    if Instant::now() > deadline {
                        return Err(error).with_context(|| format!("cannot read topic {name}"));
                    }
                }
            }
        }
        self.consumer.unassign()?;
        Ok(())
    }

    /// One record, to be shown.
    pub(crate) fn one(
        &self,
        topic: Topic,
        name: &str,
        partition: i32,
        offset: i64,
    ) -> anyhow::Result<Option<Record>> {
        let ends = Ends::from([(partition, (offset, offset + 1))]);
        let mut found = None;
        self.read(topic, name, &ends, &mut |record| {
            found = (record.offset == offset).then_some(record);
            Ok(())
        })?;
        Ok(found)
    }
}

fn record(topic: Topic, message: &BorrowedMessage<'_>) -> Record {
    let owned = |bytes: &[u8]| bytes.to_vec().into();
    let headers = message.headers().map(|headers| {
        let all = headers.iter();
        all.map(|header| (header.key.to_owned(), header.value.map(owned)))
            .collect()
    });
    Record {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(owned),
        value: message.payload().map(owned),
        headers: headers.unwrap_or_default(),
        appended_at_millis: match message.timestamp() {
            Timestamp::LogAppendTime(millis) => Some(millis),
            Timestamp::CreateTime(_) | Timestamp::NotAvailable => None,
        },
    }
}
