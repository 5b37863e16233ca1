//! What Kafka holds at offsets at which a consumer is given no record: the headers of record batches say.

use super::wire::{Connection, DEADLINE, check};
use crate::kafka::KafkaArgs;
use anyhow::Context;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::ops::Range;

// Versions every Kafka from 2.4 to 4 understands.
const METADATA: i16 = 8;
const FETCH: i16 = 11;
/// Longest the broker waits for the first byte, in milliseconds.
const WAIT_MS: i32 = 1000;
const MOST_BYTES: i32 = 1 << 20;

/// The parts of a range of offsets that batches of transactions cover: their markers, and records of those that were aborted. At any other
/// offset at which a consumer of committed records finds none, there was a record that Kafka removed.
///
/// # Errors
/// When the partition's leader does not answer in time, or may not.
pub async fn of_transactions(
    kafka: &KafkaArgs,
    topic: &str,
    partition: i32,
    range: Range<i64>,
) -> anyhow::Result<Vec<Range<i64>>> {
    let mut connection = leader(kafka, topic, partition).await?;
    let (mut next, mut found) = (range.start, Vec::new());
    while next < range.end {
        let bytes = fetch(&mut connection, topic, partition, next).await?;
        let batches = batches(&bytes);
        let up_to = batches.last().map_or(next, |batch| batch.offsets.end);
        found.extend(
            batches
                .into_iter()
                .filter(|batch| batch.of_transaction)
                .map(|batch| batch.offsets),
        );
        if up_to <= next {
            break;
        }
        next = up_to;
    }
    Ok(found)
}

async fn leader(kafka: &KafkaArgs, topic: &str, partition: i32) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(kafka, DEADLINE).await?;
    let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![wanted]))
        .with_allow_auto_topic_creation(false);
    let answer = connection.ask(&request, METADATA).await?;
    let leader = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .find(|found| found.partition_index == partition)
        .map(|found| found.leader_id);
    let broker = answer
        .brokers
        .iter()
        .find(|broker| Some(broker.node_id) == leader)
        .with_context(|| format!("{topic}:{partition} has no leader"))?;
    let broker = KafkaArgs {
        kafka_brokers: format!("{}:{}", broker.host, broker.port),
        ..kafka.clone()
    };
    Connection::open(&broker, DEADLINE).await
}

/// Batches from the one that holds this offset on; the last may be cut.
async fn fetch(
    connection: &mut Connection,
    topic: &str,
    partition: i32,
    offset: i64,
) -> anyhow::Result<bytes::Bytes> {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(MOST_BYTES);
    let wanted = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![wanted]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(MOST_BYTES)
        .with_session_epoch(-1)
        .with_topics(vec![wanted]);
    let answer = connection.ask(&request, FETCH).await?;
    check(answer.error_code, None)?;
    let partition = answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .next()
        .context("the broker answers without the partition")?;
    check(partition.error_code, None)?;
    Ok(partition.records.unwrap_or_default())
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

#[derive(Debug, PartialEq, Eq)]
struct BatchHeader {
    offsets: Range<i64>,
    of_transaction: bool,
}

/// The headers of whole batches, in order. Of the format of Kafka 0.11 and later; older ones had no transactions.
fn batches(mut bytes: &[u8]) -> Vec<BatchHeader> {
    // base offset 8, length 4, leader epoch 4, magic 1, checksum 4, attributes 2, last offset delta 4
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    let mut found = Vec::new();
    while let Some((header, _)) = bytes.split_at_checked(27) {
        let number = |from: usize| -> [u8; 4] { std::array::from_fn(|index| header[from + index]) };
        let base = i64::from_be_bytes(std::array::from_fn(|index| header[index]));
        let length = i32::from_be_bytes(number(8));
        let attributes = i16::from_be_bytes([header[21], header[22]]);
        let delta = i32::from_be_bytes(number(23));
        found.push(BatchHeader {
            offsets: base..base + i64::from(delta) + 1,
            of_transaction: attributes & (TRANSACTIONAL | CONTROL) != 0,
        });
        let whole = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .saturating_add(12);
        let Some(rest) = bytes.get(whole..) else {
            break;
        };
        bytes = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: i64, delta: i32, attributes: i16, body: usize) -> Vec<u8> {
        let mut bytes = base.to_be_bytes().to_vec();
        let length = i32::try_from(15 + body).unwrap_or_default();
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 2, 1, 2, 3, 4]);
        bytes.extend(attributes.to_be_bytes());
        bytes.extend(delta.to_be_bytes());
        bytes.resize(bytes.len() + body, 0xff);
        bytes
    }

    #[test]
    fn the_headers_say_what_an_offset_is_of() {
        let bytes: Vec<u8> = [
            batch(5, 2, 0, 40),
            batch(8, 0, 0x30, 10),
            batch(11, 3, 0x10, 30),
            batch(20, 0, 0, 30),
        ]
        .concat();
        let header = |offsets, of_transaction| BatchHeader {
            offsets,
            of_transaction,
        };
        let all = [
            header(5..8, false),
            header(8..9, true),
            header(11..15, true),
            header(20..21, false),
        ];
        assert_eq!(batches(&bytes), all);
        // A cut batch has still its header, and less is none.
        assert_eq!(batches(&bytes[..bytes.len() - 1]), all);
        for cut in 0..27 {
            assert_eq!(batches(&bytes[..cut]), [], "{cut}");
        }
    }
}
