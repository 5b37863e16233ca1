//! A raw topic that was deleted and created again, and one that ends before what was accounted for.

use crate::timeline::{RAW, World, world};
use crate::{examine, found};
use contracts::kafka::topics;
use recovery::audit::audit_now;
use runtime::admin::{TopicIdsReader, committed};
use runtime::consumer::{self, ConsumerSettings, Handler, Outcome, Record, StageError};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::wait_for;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);
const OLD: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const GROUP: &str = "eventflow-validator";

/// A validator that steps over everything.
struct StepsOver;

impl Handler for StepsOver {
    fn stage(&self) -> &'static str {
        "validator"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }
}

async fn publish(kafka: &KafkaArgs, records: usize) {
    let publisher =
        Publisher::new(kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    for _ in 0..records {
        let record = OutRecord {
            topic: RAW,
            key: None,
            value: Some(b"{}"),
            headers: RecordHeaders::new(0),
        };
        publisher.publish(record, DEADLINE).await.unwrap();
    }
}

async fn step_over(kafka: &KafkaArgs, records: i64) {
    let stop = CancellationToken::new();
    let settings = ConsumerSettings::new(kafka, GROUP, vec![RAW.to_owned()]);
    let running = tokio::spawn(consumer::run(
        settings,
        StepsOver,
        None,
        Health::new(),
        stop.clone(),
    ));
    wait_for(DEADLINE, async || {
        let kafka = kafka.clone();
        let next = tokio::task::spawn_blocking(move || committed(&kafka, GROUP, RAW)).await;
        match next.unwrap().unwrap() {
            next if next == [(0, Some(records))] => Ok(()),
            next => Err(format!("{next:?}")),
        }
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

async fn start(broker: &EmbeddedBroker) -> World {
    world(true, Some(broker.kafka()), &[]).await
}

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(&[(RAW, 1), (topics::VALIDATED, 1), (topics::DLQ, 1)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_is_audited_from_its_beginning_and_the_old_one_to_its_end() {
    let broker = broker();
    let world = start(&broker).await;
    // The old topic: ten records are stored, eleven were there at the last look.
    world
        .run(format!(
            "INSERT INTO persistence.raw_topic (topic_id) VALUES ('{OLD}')"
        ))
        .await;
    world.store(0, 0..10).await;
    examine(&world, &[(0, 8)]).await;
    // The new one: four records at offsets the old one had, and only one of them came to anything.
    publish(&broker.kafka(), 4).await;
    step_over(&broker.kafka(), 4).await;
    let mut ids = TopicIdsReader::new(&broker.kafka(), [RAW.to_owned()]);
    let id = ids.read(DEADLINE).await.unwrap().remove(RAW).unwrap();
    world
        .run(format!(
            "INSERT INTO persistence.duplicates (raw_partition, raw_offset, raw_epoch, source, event_id) VALUES (0, 1, '@{id}', 's', 'e-0-1')"
        ))
        .await;
    world.letter(0, 2, "open").await;
    let audit = audit_now(&world.recovery, DEADLINE).await.unwrap();
    // An open dead letter of the old topic's record 2, which is stored there: a fault of the old one, and no fate in the new one.
    let expected = [
        (0, 0, "gap"),
        (0, 2, "gap"),
        (0, 3, "gap"),
        (0, 2, "double_fate"),
        (0, 10, "gap"),
    ];
    assert_eq!(found(&audit), expected, "{:?}", audit.findings);
    assert_eq!((audit.stored, audit.duplicate), (9, 1));
    assert_eq!((audit.in_flight, audit.gaps), (0, 4));
    assert_eq!(audit.partitions, [(0, 0, 4, 4)]);
    let of_old = &audit.findings[4].detail;
    assert!(of_old.contains("of the deleted topic"), "{of_old}");
    // Again: nothing changes, and the old one alone can still be asked about.
    let again = audit_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!(found(&again), expected);
    let old = recovery::audit::audit(&world.recovery, Some(RAW), None, None)
        .await
        .unwrap();
    assert_eq!((old.topic.as_str(), old.gaps), (RAW, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_ends_before_what_was_audited_is_a_finding_at_once_and_for_good() {
    let broker = broker();
    let world = start(&broker).await;
    publish(&broker.kafka(), 4).await;
    world.store(0, 0..9).await;
    examine(&world, &[(0, 9)]).await;
    let audit = audit_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!(found(&audit), [(0, 4, "end_behind")]);
    // The topic grows past it: the records that had these offsets stay lost.
    publish(&broker.kafka(), 6).await;
    let audit = audit_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!(found(&audit), [(0, 4, "end_behind")]);
}
