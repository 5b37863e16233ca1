//! A checkpoint on a real broker: it waits for every stage, then accounts for every record.

use crate::timeline::{RAW, World, world};
use crate::{audited, found};
use bytes::Bytes;
use contracts::kafka::topics;
use contracts::{Rejection, RejectionCode};
use recovery::audit::audit_now;
use recovery::model::DeadLetterState;
use runtime::admin::committed;
use runtime::consumer::{
    self, BatchArgs, ConsumerSettings, DeadLetterArgs, Forward, Handler, Outcome, Record,
    StageArgs, StageError, Switch,
};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::wait_for;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

/// A validator that forwards the value `good`, and rejects the rest.
struct Halves;

impl Handler for Halves {
    fn stage(&self) -> &'static str {
        "validator"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let outcome = |record: &Record<'_>| match record.value() {
            b"good" => {
                let value = Bytes::from_static(b"datum");
                Outcome::Forward(vec![Forward::new(&topics::VALIDATED.into(), value)])
            }
            _ => Outcome::Reject(Rejection::new(RejectionCode::NotJson, None, "not good")),
        };
        Ok(batch.iter().map(outcome).collect())
    }
}

async fn publish(publisher: &Publisher, values: &[&'static [u8]]) {
    for value in values {
        let record = OutRecord {
            topic: RAW,
            key: Some(b"k"),
            value: Some(value),
            headers: RecordHeaders::new(0),
        };
        publisher.publish(record, DEADLINE).await.unwrap();
    }
}

/// The audit does not finish, for this reason. A busy machine may need more than one try to come so far.
async fn unfinished(world: &World, reason: &str) {
    wait_for(DEADLINE, async || {
        let late = audit_now(&world.recovery, Duration::from_secs(2)).await;
        let late = late.unwrap_err().to_string();
        if late.contains(reason) {
            Ok(())
        } else {
            Err(late)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_waits_for_every_stage_and_then_accounts_for_every_record() {
    let broker =
        EmbeddedBroker::start(&[(RAW, 2), (topics::VALIDATED, 1), (topics::DLQ, 1)]).unwrap();
    let kafka = broker.kafka();
    let world = world(true, Some(kafka.clone()), &[]).await;
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    publish(&publisher, &[b"good", b"bad", b"good", b"good"]).await;

    // Before the validator committed anything nothing is owed a fate; all is in flight.
    let before = audit_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!((before.records, before.in_flight, before.gaps), (0, 4, 0));

    let (shutdown, health) = (CancellationToken::new(), Health::new());
    let stage = StageArgs {
        batch: BatchArgs {
            batch_records: 100,
            batch_age_ms: 2,
        },
        dead_letters: DeadLetterArgs {
            breaker: Switch::Off,
            max_dead_letter_ratio: 1.0,
            breaker_window: 10,
            breaker_hold_minutes: 1,
            topic_dlq: topics::DLQ.into(),
        },
    };
    let settings = ConsumerSettings {
        raw_topic: Some(RAW.to_owned()),
        ..stage.settings(
            &kafka,
            "eventflow-validator",
            vec![RAW.to_owned()],
            None,
            "test",
        )
    };
    let running = tokio::spawn(consumer::run(
        settings,
        Halves,
        Some(publisher.clone()),
        health,
        shutdown.clone(),
    ));
    wait_for(DEADLINE, async || {
        let kafka = kafka.clone();
        let next =
            tokio::task::spawn_blocking(move || committed(&kafka, "eventflow-validator", RAW))
                .await
                .unwrap()
                .unwrap();
        if next.iter().filter_map(|(_, next)| *next).sum::<i64>() == 4 {
            Ok(())
        } else {
            Err(format!("the raw topic is read: {next:?}"))
        }
    })
    .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();

    // Persistence has not read the validated topic: no verdict, and no false gap.
    unfinished(
        &world,
        "eventflow-persistence has not read events.validated.v1:0 from 0 to 3",
    )
    .await;
    let partition: i32 = audited(&world)
        .await
        .partitions
        .iter()
        .find(|(_, _, _, high)| *high == 4)
        .unwrap()
        .0;
    assert_eq!(
        (audited(&world).await.records, audited(&world).await.gaps),
        (0, 0)
    );

    // Persistence has; the index of dead letters has not.
    world.store(partition, 0..1).await;
    world.store(partition, 2..4).await;
    world
        .run("INSERT INTO persistence.consumer_offsets (consumer_group, topic, partition, next_offset) VALUES ('eventflow-persistence', 'events.validated.v1', 0, 3)")
        .await;
    unfinished(
        &world,
        "the index of dead letters has not read events.dlq.v1:0 from 0 to 1",
    )
    .await;

    // The index says it has read the dead letter, but it is not there: a gap, and Kafka confirms that the record exists.
    world
        .run("INSERT INTO consumer_offsets (consumer_group, topic, partition, next_offset) VALUES ('g', 'events.dlq.v1', 0, 1)")
        .await;
    let lost = audit_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!(found(&lost), [(partition, 1, "gap")]);

    world.letter(partition, 1, "open").await;
    // The role goes on with the checkpoints that were left, and then takes its own.
    let (shutdown, health) = (CancellationToken::new(), Health::new());
    let auditing = tokio::spawn(recovery::audit::run(
        world.recovery.clone(),
        Duration::from_millis(100),
        health.clone(),
        shutdown.clone(),
    ));
    wait_for(DEADLINE, async || {
        let audit = audited(&world).await;
        let ahead = world
            .number("SELECT count(*) FROM audit_checkpoints WHERE reached_at IS NULL")
            .await;
        if audit.gaps == 0 && ahead == 0 {
            Ok(())
        } else {
            Err(format!("{audit:?} {ahead} {:?}", health.reasons()))
        }
    })
    .await;
    shutdown.cancel();
    auditing.await.unwrap();
    let sound = audited(&world).await;
    assert_eq!(
        (
            sound.records,
            sound.stored,
            sound.dead_lettered[&DeadLetterState::Open],
            sound.in_flight
        ),
        (4, 3, 1, 0)
    );
    assert!(sound.checkpoint_age_seconds.is_some_and(|age| age < 60.0));
}
