//! One-off work on a cluster: topics, its identity, and reading a topic's state from outside.

pub mod batches;
mod inspect;
mod read;
mod topic_ids;
mod topic_setting;
mod transactions;
pub mod wire;

pub use inspect::{Inspector, Readers};
pub use read::{OwnedRecord, Picked, Tail, read_all, read_at, read_range};
pub use topic_ids::{TopicIds, TopicIdsReader};
pub use topic_setting::topic_setting;
pub use transactions::require_transactions;

use crate::consumer::incarnation::read_commit_note;
use crate::kafka::{KafkaArgs, Login};
use anyhow::Context;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{FromClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(15);

/// Creates the topics that are missing, one copy of each partition: for a demo and for tests (`eventflow admin topics` does it for a cluster
/// that is kept). Returns those it created; an existing topic is left as it is.
///
/// # Errors
/// The broker's reason for the first topic it refused.
pub async fn create_topics(
    kafka: &KafkaArgs,
    topics: &[(&str, i32)],
) -> anyhow::Result<Vec<String>> {
    let client = AdminClient::<DefaultClientContext>::from_config(&kafka.client_config("admin"))?;
    // Whatever the cluster's default: one copy cannot be on two brokers, and nothing could be written.
    let new = |name, partitions| {
        NewTopic::new(name, partitions, TopicReplication::Fixed(1)).set("min.insync.replicas", "1")
    };
    let wanted: Vec<_> = topics
        .iter()
        .map(|(name, partitions)| new(name, *partitions))
        .collect();
    let options = AdminOptions::new()
        .operation_timeout(Some(DEADLINE))
        .request_timeout(Some(DEADLINE));
    let mut created = Vec::new();
    for answer in client
        .create_topics(&wanted, &options)
        .await
        .context("cannot create topics")?
    {
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
    let kafka = kafka.clone();
    let query = tokio::task::spawn_blocking(move || {
        inspector(&kafka).map(|client| client.client().fetch_cluster_id(deadline))
    });
    query.await??.context(
        "no Kafka broker reported its cluster id in time; check that Kafka is up, and --kafka-brokers",
    )
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
    let consumer = connect(&config)?;
    let end = |partition| {
        Ok((
            partition,
            consumer.fetch_watermarks(topic, partition, DEADLINE)?.1,
        ))
    };
    partitions(&consumer, topic, DEADLINE)?
        .into_iter()
        .map(end)
        .collect()
}

/// A group's committed next offsets on a topic; `None` where it never committed. Those of a transaction that has not ended yet do not count.
///
/// # Errors
/// When the topic is unknown or no broker answers in time.
pub fn committed(
    kafka: &KafkaArgs,
    group: &str,
    topic: &str,
) -> anyhow::Result<Vec<(i32, Option<i64>)>> {
    committed_in(kafka, group, topic, None)
}

/// As [`committed`], of the topic with this id: `None`, too, where a stage noted with its commit that it was in a topic with another id, which
/// was deleted since and made again under its name.
///
/// # Errors
/// As [`committed`].
pub fn committed_in(
    kafka: &KafkaArgs,
    group: &str,
    topic: &str,
    topic_id: Option<&str>,
) -> anyhow::Result<Vec<(i32, Option<i64>)>> {
    let mut config = kafka.client_config("admin");
    config
        .set("group.id", group)
        // Otherwise the broker answers nothing while a transaction holds them, for as long as one of a killed process does.
        .set("isolation.level", "read_uncommitted");
    let consumer = connect(&config)?;
    let mut list = TopicPartitionList::new();
    for partition in partitions(&consumer, topic, DEADLINE)? {
        list.add_partition(topic, partition);
    }
    let answer = consumer.committed_offsets(list, DEADLINE)?;
    Ok(answer
        .elements()
        .iter()
        .map(|element| {
            let (of, _) = read_commit_note(element.metadata());
            let is_of_another = topic_id.zip(of).is_some_and(|(id, of)| id != of);
            let next = match element.offset() {
                Offset::Offset(_) if is_of_another => None,
                Offset::Offset(next) => Some(next),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            };
            (element.partition(), next)
        })
        .collect())
}

/// A consumer that joins no group: it only queries offsets and metadata.
type AdminConsumer = BaseConsumer<Login>;

/// A consumer of no group, for whoever reads topics by code of its own.
///
/// # Errors
/// A setting that librdkafka refuses.
pub fn plain_consumer(
    kafka: &KafkaArgs,
    settings: &[(&str, &str)],
) -> anyhow::Result<BaseConsumer<Login>> {
    let mut config = inspector_config(kafka);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    connect(&config)
}

fn inspector(kafka: &KafkaArgs) -> anyhow::Result<AdminConsumer> {
    connect(&inspector_config(kafka))
}

/// A client requests its token in `poll`, which these callers may never call, and again before it expires: `serve_token_request`.
fn connect(config: &rdkafka::ClientConfig) -> anyhow::Result<AdminConsumer> {
    let consumer = AdminConsumer::from_config_and_context(config, Login::default())?;
    if config.get("sasl.mechanism") == Some("OAUTHBEARER") {
        let deadline = std::time::Instant::now() + DEADLINE;
        while !consumer.context().answered() && std::time::Instant::now() < deadline {
            serve_token_request(&consumer, Duration::from_millis(100));
        }
    }
    Ok(consumer)
}

/// Answers the client's request for a token, if it has one. Without an assignment, `poll` returns nothing else.
fn serve_token_request(consumer: &AdminConsumer, wait: Duration) {
    if let Some(Err(error)) = consumer.poll(wait) {
        tracing::debug!(event = "kafka_client_notice", %error);
    }
}

fn inspector_config(kafka: &KafkaArgs) -> rdkafka::ClientConfig {
    let mut config = kafka.client_config("inspector");
    config
        .set("group.id", "eventflow-inspector")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error");
    config
}

fn partitions(
    consumer: &AdminConsumer,
    topic: &str,
    deadline: Duration,
) -> anyhow::Result<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), deadline)?;
    let topic_metadata = metadata
        .topics()
        .first()
        .with_context(|| format!("topic {topic} does not exist"))?;
    if let Some(error) = topic_metadata.error() {
        anyhow::bail!("topic {topic}: {:?}", RDKafkaErrorCode::from(error));
    }
    Ok(topic_metadata
        .partitions()
        .iter()
        .map(rdkafka::metadata::MetadataPartition::id)
        .collect())
}
