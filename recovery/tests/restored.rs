//! A database that was restored: what the topics prove counts.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "timeline/mod.rs"]
mod timeline;

use contracts::kafka::topics;
use recovery::audit;
use recovery::index::Index;
use runtime::consumer::{Assigned, Handler as _};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::wait_for;
use std::time::Duration;
use timeline::{RAW, World, world};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);
const STATES: &str = "SELECT string_agg(origin_offset || ' ' || state || coalesce(' ' || settled_by, ''), ', ' ORDER BY origin_offset) FROM dead_letters";

async fn states(world: &World) -> String {
    sqlx::query_scalar(STATES)
        .fetch_one(world.recovery.pool())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replayed_before_a_restore_is_resolved_once_all_was_read_again() {
    let retry = ["eventflow-validator", "eventflow-persistence"].map(topics::retry);
    let broker = EmbeddedBroker::start(&[
        (RAW, 1),
        (topics::VALIDATED, 1),
        (topics::DLQ, 1),
        (&retry[0], 1),
        (&retry[1], 1),
    ])
    .unwrap();
    let world = world(true, Some(broker.kafka()), &[]).await;
    let kafka = broker.kafka();
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    // The validator passed a replay of the first: it is in the validated topic, which persistence reads again.
    let record = OutRecord {
        topic: topics::VALIDATED,
        key: None,
        value: Some(b"made of 0:0"),
        headers: RecordHeaders::new(0),
    };
    publisher.publish(record, DEADLINE).await.unwrap();
    world.letter(0, 0, "open").await;
    world.letter(0, 1, "open").await;
    // The index starts on a database that is behind what its group committed.
    let group = "eventflow-recovery";
    let mut index = Index::new(&world.recovery, group, tokio::runtime::Handle::current()).unwrap();
    let place = (topics::DLQ.to_owned(), 0);
    index.assigned(&Assigned {
        committed: [(place.clone(), 2)].into(),
        ..Assigned::default()
    });
    tokio::task::block_in_place(|| index.positions(&[place])).unwrap();

    let stop = CancellationToken::new();
    let auditing = tokio::spawn(audit::run(
        world.recovery.clone(),
        Duration::from_millis(100),
        Health::new(),
        stop.clone(),
    ));
    let looked = async || world.number("SELECT count(*) FROM audit_checkpoints").await;
    let until = async |what: &str, done: &dyn Fn(i64, &str) -> bool| {
        wait_for(DEADLINE, async || {
            let (looked, states) = (looked().await, states(&world).await);
            if done(looked, &states) {
                Ok(())
            } else {
                Err(format!("{what}: {looked} {states}"))
            }
        })
        .await;
    };
    until("it was looked at", &|looked, _| looked > 0).await;
    // Persistence stores the row, and has not come to the end yet.
    world.store(0, 0..1).await;
    assert_eq!(
        states(&world).await,
        "0 open, 1 open",
        "all must be read first"
    );
    world
        .run("INSERT INTO persistence.consumer_offsets (consumer_group, topic, partition, next_offset) VALUES ('eventflow-persistence', 'events.validated.v1', 0, 1)")
        .await;
    until("resolved", &|_, states| {
        states == "0 resolved restore, 1 open"
    })
    .await;
    wait_for(DEADLINE, async || {
        let done = world.number("SELECT count(*) FROM restores").await;
        let logged = world
            .number("SELECT count(*) FROM audit_log WHERE action = 'recovery.restored'")
            .await;
        if (done, logged) == (1, 1) {
            Ok(())
        } else {
            Err(format!("{done} {logged}"))
        }
    })
    .await;
    stop.cancel();
    auditing.await.unwrap();
}
