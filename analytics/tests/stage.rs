//! The stage on the embedded broker: from a published record to `/api/stats` and `/metrics` over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail here")]

mod common;

use clap::Parser;
use common::{Schemas, framed};
use contracts::{headers, topics};
use runtime::embedded::EmbeddedBroker;
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: analytics::Config,
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Asks until the answer is as wanted.
async fn until(address: SocketAddr, path: &str, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = get(address, path).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path} in the end: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn published_events_show_in_the_stats_and_in_the_metrics_once_their_schemas_are_known() {
    let broker = EmbeddedBroker::start(&[(topics::VALIDATED, 2), (topics::DLQ, 1)]).unwrap();
    let schemas = Schemas::start().await;
    let mut config = Cli::parse_from(["analytics", "--registry-url", &schemas.url]).config;
    config.common.kafka = broker.kafka();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let stop = shutdown.clone();
    let role = tokio::spawn(async move { analytics::serve(&config, listener, Health::new(), stop).await });
    // Its partitions are its own: the embedded broker cannot look up offsets by time, so the stage reads what comes from now on.
    until(address, "/metrics", |answer| answer.contains("eventflow_consumer_partitions_assigned{stage=\"analytics\"} 2")).await;
    until(address, "/ready", |answer| answer.contains("\"ready\":true")).await;

    schemas.down.store(true, Ordering::SeqCst);
    let publisher = Publisher::new(&broker.kafka(), &PublisherSettings::stage("test"), &Health::new()).unwrap();
    let received_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros().to_string();
    for number in 0..30 {
        let event_type = if number % 3 == 0 { "payment.refunded.v1" } else { "payment.authorized.v1" };
        let value = if number == 29 { b"poison".to_vec() } else { framed(event_type, "0.10", "EUR") };
        let raw = format!("0:{number}");
        let headers = [(headers::RAW, raw.as_bytes()), (headers::RECEIVED_AT, received_at.as_bytes())];
        let key = number.to_string();
        let record = OutRecord { topic: topics::VALIDATED, key: Some(key.as_bytes()), value: Some(&value), headers: &headers };
        publisher.publish(record, Duration::from_secs(10)).await.unwrap();
    }
    // A registry that answers 500 is waited for, in the open.
    until(address, "/ready", |answer| answer.contains("registry_unavailable")).await;
    schemas.down.store(false, Ordering::SeqCst);
    let seen = |answer: &str| {
        let stats: Value = serde_json::from_str(answer).unwrap();
        let read = stats["partitions"].as_array().unwrap().iter();
        read.map(|partition| partition["next_offset"].as_i64().unwrap() - partition["first_offset"].as_i64().unwrap())
            .sum::<i64>()
    };
    let stats: Value = serde_json::from_str(&until(address, "/api/stats", |answer| seen(answer) == 30).await).unwrap();
    assert_eq!(stats["total"]["events"], json!(29));
    assert_eq!(stats["total"]["authorized"], json!({"events": 19, "amounts": {"EUR": "1.9"}, "without_amount": 0}));
    assert_eq!(stats["total"]["refunded"], json!({"events": 10, "amounts": {"EUR": "1"}, "without_amount": 0}));
    let metrics =
        until(address, "/metrics", |answer| answer.contains(r#"eventflow_analytics_errors_total{code="bad_frame"} 1"#)).await;
    for expected in ["event_type=\"payment.refunded.v1\"", "phase=\"live\"", "eventflow_analytics_event_age_seconds_bucket"] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
    assert!(!metrics.contains("eventflow_consumer_dead_letters_total{"), "{metrics}");
    shutdown.cancel();
    role.await.unwrap().unwrap();
}
