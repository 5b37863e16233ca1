//! The role as a process has it: settings by flags, endpoints over HTTP, events by way of Kafka.

use clap::Parser;
use contracts::kafka::headers;
use contracts::kafka::topics;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings};
use sandbox::harness::wait_for;
use serde_json::Value;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: analytics::Config,
}

pub(crate) struct Role {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Role {
    pub(crate) async fn start(kafka: KafkaArgs, registry_url: &str) -> Self {
        let mut config = Cli::parse_from(["analytics", "--registry-url", registry_url]).config;
        config.common.kafka = kafka;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let stop = shutdown.clone();
        let task = tokio::spawn(async move {
            runtime::role::serve(&config, listener, Health::new(), stop).await
        });
        Self {
            address,
            shutdown,
            task,
        }
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_for(Duration::from_secs(30), async || {
            let answer = self.get(path).await;
            if wanted(&answer) {
                Ok(answer)
            } else {
                Err(format!("{path} in the end: {answer}"))
            }
        })
        .await
    }

    /// The stats once that many records are read.
    pub(crate) async fn stats_of(&self, records: i64) -> Value {
        let read = |answer: &str| {
            let stats: Value = serde_json::from_str(answer).unwrap();
            let partitions = stats["partitions"].as_array().unwrap().iter();
            partitions
                .map(|read| {
                    read["next_offset"].as_i64().unwrap() - read["first_offset"].as_i64().unwrap()
                })
                .sum::<i64>()
        };
        serde_json::from_str(
            &self
                .until("/api/stats", |answer| read(answer) == records)
                .await,
        )
        .unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Publishes records made from raw offsets of this range, all received at one time.
pub(crate) async fn publish(
    kafka: &KafkaArgs,
    raw_offsets: Range<i64>,
    received_at_ms: i64,
    value: impl Fn(i64) -> Vec<u8>,
) {
    let publisher =
        Publisher::new(kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    let received_at = (received_at_ms * 1000).to_string();
    for offset in raw_offsets {
        let (raw, key, value) = (format!("0:{offset}"), offset.to_string(), value(offset));
        let headers = [
            (headers::RAW, raw.as_bytes()),
            (headers::RECEIVED_AT, received_at.as_bytes()),
        ];
        let record = OutRecord {
            topic: topics::VALIDATED,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: headers.into_iter().collect(),
        };
        publisher
            .publish(record, Duration::from_secs(10))
            .await
            .unwrap();
    }
}
