//! What was lost on its way fails, once everyone it would have passed has read on.

use crate::all_sent;
use crate::replay::{
    self, DEADLINE, Dead, PERSISTENCE, RETRY_PERSISTENCE, RETRY_VALIDATOR, VALIDATOR, World, count,
};
use contracts::kafka::topics;
use recovery::model::{ItemState, JobState};
use recovery::replay::jobs;
use runtime::admin::committed;
use runtime::consumer::{
    self, BatchArgs, DeadLetterArgs, Handler, Outcome, Record, StageArgs, StageError, Switch,
};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{database, wait_for};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// As [`replay::world`], with all topics a replay passes.
async fn world_of_all_topics() -> World {
    let topics = [
        (RETRY_VALIDATOR, 1),
        (RETRY_PERSISTENCE, 1),
        (topics::VALIDATED, 1),
        (topics::DLQ, 1),
        (topics::RAW, 1),
    ];
    let broker = EmbeddedBroker::start(&topics).unwrap();
    let url = database().await;
    let recovery =
        recovery::Context::new(replay::pipeline(&url, &[]), Some(broker.kafka())).unwrap();
    recovery::SCHEMA.migrate(recovery.pool()).await.unwrap();
    let pool = recovery.pool().clone();
    World {
        broker,
        recovery,
        pool,
        url,
    }
    .with_persistence()
    .await
}

async fn change(world: &World, query: &'static str) {
    sqlx::query(query).execute(&world.pool).await.unwrap();
}

async fn publish(world: &World, topic: &str) {
    let publisher = Publisher::new(
        &world.broker.kafka(),
        &PublisherSettings::stage("test"),
        &Health::new(),
    )
    .unwrap();
    let record = OutRecord {
        topic,
        key: None,
        value: Some(b"another"),
        headers: RecordHeaders::new(0),
    };
    publisher.publish(record, DEADLINE).await.unwrap();
}

/// A validator that forwards nothing.
struct Silent;

impl Handler for Silent {
    fn stage(&self) -> &'static str {
        "validator"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }
}

/// The validator reads its retry topic, which has one record, and forwards nothing.
async fn read_by_a_silent_validator(world: &World) {
    let (shutdown, kafka) = (CancellationToken::new(), world.broker.kafka());
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
    let settings = stage.settings(
        &kafka,
        VALIDATOR,
        vec![RETRY_VALIDATOR.to_owned()],
        None,
        "test",
    );
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    let running = tokio::spawn(consumer::run(
        settings,
        Silent,
        Some(publisher),
        Health::new(),
        shutdown.clone(),
    ));
    wait_for(DEADLINE, async || {
        let kafka = kafka.clone();
        let next =
            tokio::task::spawn_blocking(move || committed(&kafka, VALIDATOR, RETRY_VALIDATOR))
                .await
                .unwrap()
                .unwrap();
        if next == [(0, Some(1))] {
            Ok(())
        } else {
            Err(format!("the retry topic is read: {next:?}"))
        }
    })
    .await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

const SENT_LONG_AGO: &str =
    "UPDATE replay_items SET sent_at = now() - interval '2 minutes' WHERE state = 'sent'";
const PERSISTENCE_READ: &str = "INSERT INTO persistence.consumer_offsets (consumer_group, topic, partition, next_offset)
    VALUES ('eventflow-persistence', 'events.retry.eventflow-persistence.v1', 0, 3), ('eventflow-persistence', 'events.validated.v1', 0, 1)";
const INDEX_READ: &str = "INSERT INTO consumer_offsets (consumer_group, topic, partition, next_offset) VALUES ('g', 'events.dlq.v1', 0, 1)";

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_was_lost_on_its_way_fails_and_its_dead_letter_is_open_again() {
    let world = world_of_all_topics().await;
    let mut ids = Vec::new();
    for offset in 0..3 {
        ids.push(
            world
                .dead(&Dead {
                    group: PERSISTENCE,
                    raw: (0, offset),
                    ..Dead::default()
                })
                .await,
        );
    }
    publish(&world, topics::DLQ).await;
    let runner = world.start_runner();
    let job = world.applied(&ids, 1000.0).await;
    world.job_when(&job.id, all_sent(3)).await;
    // The index has read all; nobody has read the retry topic: however long ago they were sent, they are on their way.
    change(&world, INDEX_READ).await;
    change(&world, SENT_LONG_AGO).await;
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert_eq!(
            count(&jobs::get(&world.recovery, &job.id).await.unwrap(), "sent"),
            3
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Persistence is past them; one is stored, one failed again as the index writes it, one is nowhere.
    world.stored(&[(0, 0)], false).await;
    change(
        &world,
        "WITH d AS (UPDATE dead_letters SET state = 'open', replay_count = 1 WHERE origin_offset = 1 RETURNING id)
         UPDATE replay_items i SET state = 'failed', code = 'conflict', settled_at = now() FROM d WHERE d.id = i.dead_letter_id",
    )
    .await;
    change(&world, PERSISTENCE_READ).await;
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(
        (count(&job, "stored"), count(&job, "failed")),
        (1, 2),
        "{job:?}"
    );
    assert_eq!(
        (job.by_code["conflict"], job.by_code["replay_lost"]),
        (1, 1)
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state = 'open'")
            .await,
        2
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM audit_log WHERE action = 'replay.lost'")
            .await,
        1
    );
    let lost = jobs::items(&world.recovery, &job.id, &[ItemState::Failed], 10)
        .await
        .unwrap();
    assert!(
        lost.iter().any(|item| item
            .detail
            .as_deref()
            .is_some_and(|detail| detail.contains("replay it again"))),
        "{lost:?}"
    );
    // It can be replayed again.
    let again = world.applied(&ids[2..], 1000.0).await;
    world.job_when(&again.id, all_sent(1)).await;
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_to_the_validator_is_lost_only_when_persistence_and_the_index_have_read_what_the_validator_made()
 {
    let world = world_of_all_topics().await;
    let ids = world.many(1).await;
    publish(&world, topics::DLQ).await;
    publish(&world, topics::VALIDATED).await;
    let runner = world.start_runner();
    let job = world.applied(&ids, 1000.0).await;
    world.job_when(&job.id, all_sent(1)).await;
    change(&world, SENT_LONG_AGO).await;
    read_by_a_silent_validator(&world).await;
    for read in [PERSISTENCE_READ, INDEX_READ] {
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            assert_eq!(
                count(&jobs::get(&world.recovery, &job.id).await.unwrap(), "sent"),
                1,
                "before {read}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        change(&world, read).await;
    }
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(job.by_code["replay_lost"], 1);
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_row_stays_as_it_was_although_its_stages_have_read_it_is_not_retyped() {
    let world = world_of_all_topics().await;
    for topic in [topics::DLQ, topics::VALIDATED] {
        publish(&world, topic).await;
    }
    let settings = PublisherSettings::stage("test");
    let publisher = Publisher::new(&world.broker.kafka(), &settings, &Health::new()).unwrap();
    let body = replay::body("e0", "1");
    let record = OutRecord {
        topic: topics::RAW,
        key: None,
        value: Some(body.as_bytes()),
        headers: RecordHeaders::new(1).with(
            contracts::kafka::headers::SOURCE,
            Some("payment-authorized"),
        ),
    };
    publisher.publish(record, DEADLINE).await.unwrap();
    change(
        &world,
        "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         VALUES ('payment-authorized', 'e0', 'payment.authorized.v1', 'any.v1', now(), '{}', 'h', 1, 0, 0)",
    )
    .await;
    let runner = world.start_runner();
    let selection = recovery::model::Selection {
        source: vec!["payment-authorized".to_owned()],
        ..Default::default()
    };
    let plan = recovery::replay::revalidation::plan;
    let job = plan(&world.recovery, "ann", &selection, "", "key")
        .await
        .unwrap();
    jobs::apply(&world.recovery, "ann", &job.id, Some(100.0), true)
        .await
        .unwrap();
    world.job_when(&job.id, all_sent(1)).await;
    change(&world, SENT_LONG_AGO).await;
    read_by_a_silent_validator(&world).await;
    for read in [PERSISTENCE_READ, INDEX_READ] {
        let now = jobs::get(&world.recovery, &job.id).await.unwrap();
        assert_eq!(count(&now, "sent"), 1, "before {read}");
        change(&world, read).await;
    }
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(job.by_code["not_retyped"], 1, "{job:?}");
    // Planned again, it is sent again.
    let job = plan(&world.recovery, "ann", &selection, "", "again")
        .await
        .unwrap();
    assert_eq!(job.items, 1);
    runner.end().await;
}
