//! A broker that is silent, full or refuses: no 200, and accepted again afterwards.

use crate::world::{EVENT, PATH, SECRET, config, now, sign, world};
use runtime::admin::read_all;
use runtime::health::Health;
use sandbox::broker::{BrokerFault, BrokerRequest, EmbeddedBroker};
use sandbox::harness;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_503_within_the_deadline_and_never_200() {
    let world = world(&["--publish-deadline-ms", "300"], 1000).await;
    world.broker.set_round_trip(Duration::from_secs(5));
    let (status, body, retry_after) = world.post(PATH, EVENT).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (503, Some("publish_not_acknowledged")),
        "{body}"
    );
    assert!(retry_after.is_some());
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("within 0.3 s"), "{detail}");
    assert_eq!(world.publisher.unconfirmed(), 1, "it may still arrive");
    world.broker.set_round_trip(Duration::ZERO);
    let mut posts = 1;
    until("accepts again once the broker answers", async || {
        posts += 1;
        world.post(PATH, EVENT).await.0 == 200
    })
    .await;
    until("what was unconfirmed is acknowledged", async || {
        world.publisher.unconfirmed() == 0
    })
    .await;
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    assert_eq!(records.len(), posts, "each post is there once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_whose_publishes_all_fail_is_not_ready_until_one_succeeds() {
    let broker = EmbeddedBroker::start(&[("events.raw.v1", 2)]).unwrap();
    let config = config(&[
        &format!("--kafka-brokers={}", broker.kafka().kafka_brokers),
        "--publish-deadline-ms=300",
    ]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (health, shutdown) = (Health::new(), CancellationToken::new());
    let address = listener.local_addr().unwrap();
    let (serving, checks, stop) = (config.clone(), health.clone(), shutdown.clone());
    let role = tokio::spawn(async move { producer::serve(&serving, listener, checks, stop).await });
    until("ready", async || {
        post(address).await == Some(200) && health.is_ready()
    })
    .await;
    broker.fail(
        BrokerRequest::Produce,
        vec![BrokerFault::NotEnoughReplicas; 10_000],
    );
    // One request is enough: the broker is not asked for its metadata only, which it still has.
    assert_eq!(post(address).await, Some(503));
    let reason = harness::wait_for(Duration::from_secs(60), async || {
        let failing = health.reasons().into_iter().next();
        failing.ok_or_else(|| "still ready".to_owned())
    })
    .await;
    assert_eq!(reason.0, "kafka");
    assert!(reason.1.starts_with("not_acknowledged: "), "{reason:?}");
    // No further request: the record that waits is the probe.
    broker.stop_failing();
    until("ready again", async || health.is_ready()).await;
    assert_eq!(post(address).await, Some(200));
    shutdown.cancel();
    role.await.unwrap().unwrap();
}

/// Events handed to the Kafka client and not answered 200, in all tests of this process.
fn unconfirmed() -> u64 {
    let text = runtime::telemetry::metrics_handle().render();
    let counter = format!(
        "{}{{source=\"payment-authorized\"}} ",
        producer::metrics::UNCONFIRMED
    );
    text.lines()
        .find_map(|line| line.strip_prefix(&counter))
        .map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_503_at_once_and_a_gone_client_harms_nothing_and_is_counted() {
    let before = unconfirmed();
    let world = world(&["--publish-deadline-ms", "20000"], 3).await;
    world.broker.set_round_trip(Duration::from_secs(2));
    // Three clients whose requests are under way give up: their records stay in flight and are freed by the delivery report.
    for _ in 0..3 {
        let post = tokio::time::timeout(Duration::from_millis(100), world.post(PATH, EVENT));
        assert!(post.await.is_err(), "no answer before the acknowledgement");
    }
    assert!(
        unconfirmed() >= before + 3,
        "in the topic or not: nobody was told"
    );
    let (status, body, _) = world.post(PATH, EVENT).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (503, Some("publish_queue_full")),
        "{body}"
    );
    world.broker.set_round_trip(Duration::ZERO);
    assert_eq!(world.publisher.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(world.post(PATH, EVENT).await.0, 200);
    assert_eq!(
        read_all(&world.broker.kafka(), "events.raw.v1")
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_failed_for_good_is_recreated_once_the_right_is_granted() {
    let broker = EmbeddedBroker::start(&[("events.raw.v1", 1)]).unwrap();
    broker.fail(
        BrokerRequest::InitProducerId,
        vec![BrokerFault::ClusterAuthorizationFailed; 100],
    );
    let config = config(&[&format!("--kafka-brokers={}", broker.kafka().kafka_brokers)]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (health, shutdown) = (Health::new(), CancellationToken::new());
    let address = listener.local_addr().unwrap();
    let (serving, checks, stop) = (config.clone(), health.clone(), shutdown.clone());
    let role = tokio::spawn(async move { producer::serve(&serving, listener, checks, stop).await });
    let denied = || {
        health
            .reasons()
            .iter()
            .any(|(_, reason)| reason.contains("ClusterAuthorizationFailed"))
    };
    until("the missing right shows in /ready", async || denied()).await;
    until("no 200 without it", async || {
        post(address).await == Some(503)
    })
    .await;
    broker.stop_failing();
    until("accepted again", async || post(address).await == Some(200)).await;
    until("ready again", async || health.is_ready()).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(30), role)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(read_all(&broker.kafka(), "events.raw.v1").unwrap().len(), 1);
}

async fn until(what: &str, done: impl AsyncFnMut() -> bool) {
    harness::until(what, Duration::from_secs(60), done).await;
}

/// The status of one signed webhook.
async fn post(address: std::net::SocketAddr) -> Option<u16> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let mut head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
        EVENT.len()
    );
    for (name, value) in sign(EVENT.as_bytes(), SECRET, now()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream
        .write_all(format!("{head}\r\n{EVENT}").as_bytes())
        .await
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.get(9..12)?.parse().ok()
}
