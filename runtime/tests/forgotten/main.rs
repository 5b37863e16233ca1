//! A broker that has just started answers with topics but without brokers, and the Kafka client forgets every broker for good
//! (librdkafka#5301). The client is replaced, so nobody has to restart the process.

#![allow(clippy::unwrap_used, reason = "a test")]

mod broker;

use broker::{FakeBroker, TOPIC};
use runtime::consumer::{self, ConsumerSettings, Handler, Outcome, Record, StageError, Start};
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use sandbox::harness;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);
/// The client's threads race: some outages it survives.
const OUTAGES: usize = 3;
const KAFKA: &str = "kafka";

async fn until(what: &str, condition: impl Fn() -> bool) {
    harness::until(what, DEADLINE, async || condition()).await;
}

fn kafka_is_fine(health: &Health) -> bool {
    health.reasons().iter().all(|(check, _)| *check != KAFKA)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_whose_client_forgot_its_brokers_publishes_again() {
    let broker = FakeBroker::start();
    let (health, stop) = (Health::new(), CancellationToken::new());
    let settings = PublisherSettings::stage("test");
    let publisher = Publisher::new(&broker.kafka(), &settings, &health).unwrap();
    publisher.warm_up(&[TOPIC], DEADLINE).await;
    assert_eq!(health.reasons(), []);
    let watch = tokio::spawn(publisher.clone().watch(TOPIC.to_owned(), stop.clone()));

    for _ in 0..OUTAGES {
        broker.list_itself(false);
        // As after any connection that was lost: the watch asks for the topic.
        health.set(KAFKA, Err("a connection was lost".to_owned()));
        until("the client forgets its brokers", || broker.is_forgotten()).await;
        broker.list_itself(true);
        until("the broker is found again", || kafka_is_fine(&health)).await;
    }
    assert!(publisher.is_warm());

    stop.cancel();
    watch.await.unwrap();
}

struct Nothing;

impl Handler for Nothing {
    fn stage(&self) -> &'static str {
        "nothing"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }

    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, StageError> {
        Ok(partitions.iter().map(|_| Start::Committed).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_whose_client_forgot_its_brokers_connects_again() {
    let broker = FakeBroker::start();
    let mut kafka = broker.kafka();
    kafka.kafka_config = vec!["topic.metadata.refresh.interval.ms=100".to_owned()];
    let (health, stop) = (Health::new(), CancellationToken::new());
    let settings = ConsumerSettings::new(&kafka, "group", vec![TOPIC.to_owned()]);
    let stage = tokio::spawn(consumer::run(
        settings,
        Nothing,
        None,
        health.clone(),
        stop.clone(),
    ));
    until("an answer with brokers", || broker.full_answers() > 0).await;

    for _ in 0..OUTAGES {
        broker.list_itself(false);
        until("the client forgets its brokers", || broker.is_forgotten()).await;
        broker.list_itself(true);
        health.set(KAFKA, Err("no broker can be reached".to_owned()));
        let before = broker.full_answers();
        until("the broker is found again", || {
            broker.full_answers() > before
        })
        .await;
        until("a connection clears the check", || kafka_is_fine(&health)).await;
    }

    stop.cancel();
    stage.await.unwrap().unwrap();
}
