//! What EventFlow is held against: the least that could do the same job.

use crate::brokers::all_topics;
use anyhow::Context;
use axum::body::Bytes;
use axum::routing::post;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::http::Limits;
use sandbox::broker::EmbeddedBroker;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The embedded broker; prints its address, and ends when its standard input does.
pub(crate) fn broker(partitions: i32) -> anyhow::Result<()> {
    let all = all_topics(partitions);
    let topics: Vec<_> = all
        .iter()
        .map(|(name, partitions)| (name.as_str(), *partitions))
        .collect();
    let broker = EmbeddedBroker::start(&topics)?;
    writeln!(std::io::stdout(), "{}", broker.kafka().kafka_brokers)?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The producer's own HTTP server and router, reading the body and answering 200 at once: no signature, no Kafka.
pub(crate) async fn answer_at_once(listen: SocketAddr) -> anyhow::Result<()> {
    let answer = |_: Bytes| async { axum::Json(serde_json::json!({"status": "accepted"})) };
    let app = axum::Router::new()
        .route("/ready", axum::routing::get(|| async { "" }))
        .route("/api/webhooks/{source}", post(answer))
        .route("/api/webhooks/{source}/batch", post(answer));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let timeout = Duration::from_secs(5);
    let limits = Limits {
        header_timeout: timeout,
        idle_timeout: Duration::from_secs(75),
        connections: 10_000,
        drain: timeout,
    };
    runtime::http::serve(listener, app, limits, None, CancellationToken::new()).await;
    Ok(())
}

/// Copies a topic record by record, key, value and headers, with the validator's client settings and no commit.
pub(crate) fn copy(brokers: &str, from: &str, to: &str) -> anyhow::Result<()> {
    let mut common = ClientConfig::new();
    common
        .set("bootstrap.servers", brokers)
        .set("client.id", "copy");
    let consumer: BaseConsumer = common
        .clone()
        .set("group.id", "copy")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "5")
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    let producer: BaseProducer = common
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        .create()?;
    let mut list = TopicPartitionList::new();
    let metadata = consumer.fetch_metadata(Some(from), Duration::from_secs(10))?;
    for partition in metadata
        .topics()
        .first()
        .context("no such topic")?
        .partitions()
    {
        list.add_partition_offset(from, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    loop {
        producer.poll(Duration::ZERO);
        let Some(message) = consumer.poll(Duration::from_millis(20)) else {
            continue;
        };
        let message = message?;
        let mut record = BaseRecord::<[u8], [u8]>::to(to);
        record.key = message.key();
        record.payload = message.payload();
        record.headers = message
            .headers()
            .map(rdkafka::message::BorrowedHeaders::detach);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((error, back))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                {
                    producer.poll(Duration::from_millis(1));
                    record = back;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}
