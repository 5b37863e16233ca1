//! The edge while Kafka acknowledges late or not at all, on a real Apache Kafka: who is refused, what is in the raw topic, and what
//! `/ready` says.

use crate::post::{authorized, client, post};
use crate::secure::until_reason;
use crate::world::{DEADLINE, RealKafka, Role, SECRET, World, program};
use contracts::kafka::{headers, topics};
use load::{LoadArgs, run};
use runtime::admin::read_all;
use runtime::kafka::KafkaArgs;
use sandbox::harness::{RealCluster, until};
use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn brokers(bootstrap: &str) -> Vec<String> {
    vec![format!("--kafka-brokers={bootstrap}")]
}

fn args(edge: &str, duration: Duration) -> LoadArgs {
    LoadArgs {
        url: format!("http://{edge}/api/webhooks/payment-authorized"),
        secret: contracts::Secret::new(SECRET),
        played: simulator::vendor::Played::default(),
        rate: 150.0,
        max: false,
        batch: 1,
        duration,
        requests: None,
        connections: 1000,
        journal: None,
        json: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_of_the_broker_refuse_nobody_and_put_nothing_into_the_topic_twice() {
    let Some(kafka) = RealKafka::start("pauses_of_the_broker", false) else {
        return;
    };
    let world = World::new(kafka.plain(), brokers(kafka.get("BOOTSTRAP"))).await;
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    let (edge, stop) = (world.edge.clone(), CancellationToken::new());
    let stopping = stop.clone();
    let load = tokio::spawn(async move { run(&args(&edge, DEADLINE), stopping).await });
    let accepted = async || {
        let (_, metrics) = producer.ask("/metrics").await.unwrap();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("eventflow_producer_events_accepted_total"));
        line.map_or(0, |line| {
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        })
    };
    for pause in [2000, 3000, 3000].map(Duration::from_millis) {
        let before = accepted().await;
        until("events are accepted", DEADLINE, async || {
            accepted().await > before + 200
        })
        .await;
        kafka.pause();
        tokio::time::sleep(pause).await;
        kafka.resume();
    }
    let before = accepted().await;
    until("events are accepted", DEADLINE, async || {
        accepted().await > before + 200
    })
    .await;
    stop.cancel();
    let report = load.await.unwrap().unwrap();
    let records = read_all(&world.admin, topics::RAW).unwrap();
    let mut copies: HashMap<String, u32> = HashMap::new();
    for record in &records {
        *copies
            .entry(record.header(headers::EVENT_ID).unwrap())
            .or_default() += 1;
    }
    let twice = copies.values().filter(|copies| **copies > 1).count();
    assert_eq!(twice, 0, "no post is there twice");
    assert!(copies.len() as u64 >= report.events_accepted, "{report}");
    let log = producer.log();
    if report.answers.keys().eq(["200"]) {
        assert!(!log.contains("check_failing"), "ready all the time: {log}");
    } else {
        // A machine so busy that the broker was silent for longer than it was paused: nobody is refused before the deadline.
        assert!(report.max_ms >= 4400.0, "{report}\n{log}");
    }
}

/// The answer to one webhook.
async fn one(world: &World, id: &str) -> (u16, serde_json::Value) {
    post(&client(), &world.edge, authorized(id), SECRET)
        .await
        .unwrap()
}

/// Waits until the edge has noticed by itself that it can publish again.
async fn until_accepted(world: &World, producer: &Role) {
    producer.until_ready().await;
    until("accepted again", DEADLINE, async || {
        one(world, "after").await.0 == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_whose_topic_is_missing_says_so_and_goes_on_when_it_is_there() {
    let Some(kafka) = RealKafka::start("an_edge_whose_topic_is_missing", false) else {
        return;
    };
    let world = World::new(kafka.plain(), brokers(kafka.get("BOOTSTRAP"))).await;
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    assert_eq!(one(&world, "before").await.0, 200);
    kafka.tool(
        "org.apache.kafka.tools.TopicCommand",
        &["--delete", "--topic", topics::RAW],
    );
    let mut answers = Vec::new();
    until("an answer other than 200", DEADLINE, async || {
        let answer = one(&world, "meanwhile").await;
        answers.push(answer.clone());
        answer.0 != 200
    })
    .await;
    until_reason(&producer, "topic_missing: ").await;
    let (status, answer) = one(&world, "meanwhile").await;
    let detail = answer["detail"].as_str().unwrap();
    assert_eq!(status, 503, "{answer}");
    assert!(!detail.contains("within 0.0 s"), "{answer}");
    crate::world::create_topics(&world.admin, &[(topics::RAW, 6)]).await;
    until_accepted(&world, &producer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_of_a_cluster_that_lost_two_of_three_brokers_is_not_ready_until_they_are_back() {
    let Some(cluster) = RealCluster::start("an_edge_of_a_cluster").await else {
        return;
    };
    let flags = brokers(cluster.bootstrap());
    let applied = Command::new(program())
        .args(["admin", "topics", "apply", "--replication=3"])
        .args(&flags)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success(), "{said}");
    let world = World::on(KafkaArgs::plaintext(cluster.bootstrap()), flags);
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    assert_eq!(one(&world, "before").await.0, 200);
    // One of them hangs: until Kafka gives it up, every acknowledgement waits for it.
    let paused = &cluster.brokers[2];
    paused.pause();
    assert_eq!(one(&world, "late").await.0, 503);
    until("the log says so", DEADLINE, async || {
        producer.log().contains("check_failing")
    })
    .await;
    paused.resume();
    until_accepted(&world, &producer).await;
    for broker in &cluster.brokers[1..] {
        broker.stop(true);
    }
    // While the last one answers nothing either, the cause is not known; with no further webhook, it is named once that one answers.
    let last = &cluster.brokers[0];
    last.pause();
    assert_eq!(one(&world, "meanwhile").await.0, 503);
    until("/ready says that no broker answers", DEADLINE, async || {
        let (status, answer) = producer.ask("/ready").await.unwrap();
        status == 503 && answer.contains("kafka_unavailable: ")
    })
    .await;
    last.resume();
    // What is left of the cluster still describes the brokers that are gone; which of them leads what is up to Kafka.
    until("/ready names the cause", DEADLINE, async || {
        let (status, answer) = producer.ask("/ready").await.unwrap();
        let named = ["no_leader: ", "not_enough_in_sync_replicas: "];
        status == 503 && named.iter().any(|code| answer.contains(code))
    })
    .await;
    assert_eq!(one(&world, "meanwhile").await.0, 503);
    for broker in &cluster.brokers[1..] {
        broker.restart();
    }
    until_accepted(&world, &producer).await;
    let log = producer.log();
    let failing = log.matches("check_failing").count();
    assert!(failing <= 10, "a line a change of state: {log}");
}
