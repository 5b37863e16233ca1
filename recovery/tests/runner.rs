//! The runner: each dead letter sent once, whoever starts it, whatever breaks in between.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use contracts::kafka::topics;
use recovery::model::{ItemState, JobState};
use recovery::replay::edit;
use recovery::replay::jobs;
use replay::{
    DEADLINE, Dead, PERSISTENCE, RETRY_PERSISTENCE, RETRY_VALIDATOR, VALIDATOR, World, count,
    start_runner, world,
};
use runtime::admin::committed;
use runtime::consumer::{
    self, BatchArgs, DeadLetterArgs, Handler, Outcome, Record, StageArgs, StageError, Switch,
};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::{EmbeddedBroker, Fault, Request};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often each raw record is in the retry topic.
fn copies(world: &World) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for record in world.retried() {
        *copies.entry(record.header("ef.raw").unwrap()).or_default() += 1;
    }
    copies
}

fn once_each(raws: std::ops::Range<i64>) -> BTreeMap<String, usize> {
    raws.map(|offset| (format!("0:{offset}"), 1)).collect()
}

fn all_sent(items: i64) -> impl Fn(&recovery::model::Job) -> bool {
    move |job| count(job, "sent") == items
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_sent_followed_and_resolved_and_says_so() {
    let world = world(&[]).await.with_persistence().await;
    let ids = world.many(5).await;
    let job = world.applied(&ids, 1000.0).await;
    assert!(job.no_role, "no runner yet, and it says so");
    let runner = world.start_runner();
    let job = world.job_when(&job.id, all_sent(5)).await;
    assert_eq!((job.state, job.no_role), (JobState::Running, false));
    assert_eq!(world.number("SELECT replaying FROM groups").await, 5);
    world.stored(&[(0, 0), (0, 1), (0, 2), (0, 3)], false).await;
    world.stored(&[(0, 4)], true).await;
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!((count(&job, "stored"), count(&job, "duplicate")), (4, 1));
    assert!(job.finished_at.is_some());
    assert_eq!(
        world
            .number(
                "SELECT count(*) FROM dead_letters WHERE state = 'resolved' AND settled_by = 'ann'"
            )
            .await,
        5
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE resolution = 'duplicate'")
            .await,
        1
    );
    assert_eq!(world.number("SELECT open + replaying FROM groups").await, 0);
    let actions: Vec<String> = jobs::audit_log(&world.recovery, Some(&job.id), None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(actions, ["replay.end", "replay.apply", "replay.plan"]);
    // Applied again: nothing happens.
    assert_eq!(
        jobs::apply(&world.recovery, "bob", &job.id, None, true)
            .await
            .unwrap()
            .state,
        JobState::Finished
    );
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_record_is_the_dead_letter_without_its_verdict_and_says_which_replay_it_is_of() {
    let world = world(&[]).await;
    let headers = serde_json::json!([
        ["ef.source", "acme"], ["ef.dlq.code", "invalid_amount"], ["__dlq.errors.topic", "t"], ["ef.dlq.first_failed_at", "12"],
        ["x-null", null], ["x-bytes", {"base64": "/wA="}], ["ef.replay_id", "older"], ["ef.replay_count", "2"], ["x-bytes", "again"]
    ]);
    let value = b"{\"amount\":\xff\x00}";
    let plain = world
        .dead(&Dead {
            raw: (3, 77),
            value: Some(value),
            headers: headers.clone(),
            replay_count: 2,
            ..Dead::default()
        })
        .await;
    let edited = world
        .dead(&Dead {
            raw: (1, 5),
            value: Some(value),
            headers,
            ..Dead::default()
        })
        .await;
    let null = world
        .dead(&Dead {
            raw: (1, 6),
            value: None,
            headers: serde_json::json!([["ef.raw", "4:44"]]),
            ..Dead::default()
        })
        .await;
    sqlx::query(
        "WITH e AS (INSERT INTO edits (dead_letter_id, edited_by, value, patch) VALUES ($1, 'eve', 'better', '[]') RETURNING id)
         UPDATE dead_letters SET edit_id = e.id FROM e WHERE dead_letters.id = $1",
    )
    .bind(edited)
    .execute(&world.pool)
    .await
    .unwrap();
    let runner = world.start_runner();
    let job = world.applied(&[plain, edited, null], 1000.0).await;
    world.job_when(&job.id, all_sent(3)).await;
    runner.end().await;
    let records: BTreeMap<String, _> = world
        .retried()
        .into_iter()
        .map(|record| (record.header("ef.raw").unwrap(), record))
        .collect();
    assert_eq!(
        records.keys().map(String::as_str).collect::<Vec<_>>(),
        ["1:5", "3:77", "4:44"]
    );
    let some = |text: &str| Some(text.as_bytes().to_vec());
    let kept = |tail: Vec<(&str, Option<Vec<u8>>)>| {
        let mut all = vec![
            ("ef.source", some("acme")),
            ("ef.dlq.first_failed_at", some("12")),
            ("x-null", None),
            ("x-bytes", Some(vec![0xff, 0])),
            ("x-bytes", some("again")),
        ];
        all.extend(tail);
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Vec<_>>()
    };
    let record = &records["3:77"];
    assert_eq!(
        (record.key.as_deref(), record.value.as_deref()),
        (Some(&b"k"[..]), Some(&value[..]))
    );
    let tail = vec![
        ("ef.raw", some("3:77")),
        ("ef.replay_id", some(&job.id)),
        ("ef.replay_count", some("3")),
    ];
    assert_eq!(record.headers, kept(tail));
    let record = &records["1:5"];
    assert_eq!(record.value.as_deref(), Some(&b"better"[..]));
    let hash = format!("sha256:{}", hex::encode(Sha256::digest(value)));
    let tail = vec![
        ("ef.raw", some("1:5")),
        ("ef.replay_id", some(&job.id)),
        ("ef.replay_count", some("1")),
        ("ef.edited_by", some("eve")),
        ("ef.original_hash", some(&hash)),
    ];
    assert_eq!(record.headers, kept(tail));
    let record = &records["4:44"];
    assert_eq!(record.value, None, "Kafka's null stays null");
    let names: Vec<&str> = record
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["ef.raw", "ef.replay_id", "ef.replay_count"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_who_start_the_same_selection_at_once_send_each_dead_letter_once() {
    let world = world(&[]).await;
    let ids = world.many(60).await;
    let (first, second) = tokio::join!(world.applied(&ids, 5000.0), world.applied(&ids, 5000.0));
    assert_ne!(first.id, second.id);
    let other = recovery::Context::new(
        replay::pipeline(&world.url, &[]),
        Some(world.broker.kafka()),
    )
    .unwrap();
    let runners = [
        world.start_runner(),
        start_runner(&other, &world.broker, Duration::from_millis(300)),
    ];
    let over = |job: &recovery::model::Job| count(job, "sent") + count(job, "skipped") == 60;
    let (first, second) = tokio::join!(
        world.job_when(&first.id, over),
        world.job_when(&second.id, over)
    );
    assert_eq!(count(&first, "sent") + count(&second, "sent"), 60);
    let refused = first.by_code.get("being_replayed").unwrap_or(&0)
        + second.by_code.get("being_replayed").unwrap_or(&0);
    assert_eq!(refused, 60);
    for runner in runners {
        runner.end().await;
    }
    assert_eq!(copies(&world), once_each(0..60));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_it_was_planned_is_not_sent() {
    let world = world(&[]).await;
    let ids = world.many(5).await;
    let foreign = world
        .dead(&Dead {
            group: "billing",
            raw: (9, 9),
            ..Dead::default()
        })
        .await;
    let all: Vec<i64> = ids.iter().copied().chain([foreign]).collect();
    let job = world.planned(&all, "k").await;
    // Discarded, edited, replaced, dropped by the limits in between.
    let changes = [
        "UPDATE dead_letters SET state = 'discarded', reason = 'no' WHERE origin_offset = 0 AND origin_partition = 0",
        "UPDATE dead_letters SET edit_id = 77 WHERE origin_offset = 1 AND origin_partition = 0",
        "UPDATE dead_letters SET value = 'x', value_sha256 = 'y' WHERE origin_offset = 2 AND origin_partition = 0",
        "UPDATE dead_letters SET value = NULL WHERE origin_offset = 3 AND origin_partition = 0",
    ];
    sqlx::query(
        "INSERT INTO edits (id, dead_letter_id, edited_by, value, patch) OVERRIDING SYSTEM VALUE VALUES (77, 1, 'e', 'v', '[]')",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for change in changes {
        assert_eq!(
            sqlx::query(change)
                .execute(&world.pool)
                .await
                .unwrap()
                .rows_affected(),
            1
        );
    }
    jobs::apply(&world.recovery, "ann", &job.id, None, true)
        .await
        .unwrap();
    let runner = world.start_runner();
    let job = world
        .job_when(&job.id, |job| {
            count(job, "skipped") == 5 && count(job, "sent") == 1
        })
        .await;
    let codes: Vec<_> = job
        .by_code
        .iter()
        .map(|(code, count)| (code.as_str(), *count))
        .collect();
    assert_eq!(
        codes,
        [
            ("changed_since_planned", 2),
            ("destination_unknown", 1),
            ("not_open", 1),
            ("value_dropped", 1)
        ]
    );
    runner.end().await;
    assert_eq!(copies(&world), once_each(4..5));
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state = 'open'")
            .await,
        4,
        "the skipped are where they were"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_a_rate_and_a_stop_take_effect_within_a_chunk_and_what_was_not_sent_stays_open() {
    let world = world(&[]).await.with_persistence().await;
    let ids = world.many(100).await;
    let job = world.applied(&ids, 20.0).await;
    let runner = world.start_runner();
    world
        .job_when(&job.id, |job| count(job, "sent") >= 10)
        .await;
    jobs::pause(&world.recovery, "ann", &job.id).await.unwrap();
    let paused = jobs::pause(&world.recovery, "ann", &job.id).await.unwrap();
    assert_eq!(paused.state, JobState::Paused);
    // A chunk that was claimed before the pause ends; the next would have come after half a second.
    let settled = world
        .job_when(&job.id, |job| count(job, "sending") == 0)
        .await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let still = jobs::get(&world.recovery, &job.id).await.unwrap();
    assert_eq!(count(&still, "sent"), count(&settled, "sent"));
    assert!(count(&still, "sent") <= 30, "{still:?}");
    assert_eq!(
        jobs::resume(&world.recovery, "ann", &job.id)
            .await
            .unwrap()
            .state,
        JobState::Running
    );
    jobs::apply(&world.recovery, "ann", &job.id, Some(60.0), true)
        .await
        .unwrap();
    world
        .job_when(&job.id, |job| count(job, "sent") >= 40)
        .await;
    let stopped = jobs::stop(&world.recovery, "ann", &job.id).await.unwrap();
    assert_eq!(
        (stopped.state, stopped.finished_at),
        (JobState::Stopped, None),
        "what was sent is still followed"
    );
    let job = world
        .job_when(&job.id, |job| count(job, "sending") == 0)
        .await;
    let sent = count(&job, "sent");
    assert!(sent < 100);
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state = 'open'")
            .await,
        100 - sent
    );
    let raws: Vec<(i32, i64)> = (0..sent).map(|offset| (0, offset)).collect();
    world.stored(&raws, false).await;
    let job = world
        .job_when(&job.id, |job| job.finished_at.is_some())
        .await;
    assert_eq!(
        (job.state, count(&job, "stored"), count(&job, "pending")),
        (JobState::Stopped, sent, 100 - sent)
    );
    assert_eq!(copies(&world), once_each(0..sent), "the oldest first");
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_claim_and_acknowledgement_with_nothing_in_the_topic_all_is_sent_by_the_next()
 {
    let world = world(&[]).await;
    let ids = world.many(20).await;
    world
        .broker
        .fail(Request::Produce, vec![Fault::NotEnoughReplicas; 1000]);
    let runner = world.start_runner();
    let job = world.applied(&ids, 1000.0).await;
    world
        .job_when(&job.id, |job| count(job, "sending") == 20)
        .await;
    runner.kill().await;
    assert!(world.retried().is_empty());
    assert_eq!(world.number("SELECT replaying FROM groups").await, 20);
    // The killed one's client lives on and tries on, as records on their way would arrive: until the grace is over nobody may judge.
    let runner = start_runner(&world.recovery, &world.broker, Duration::from_secs(8));
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        assert_eq!(
            count(
                &jobs::get(&world.recovery, &job.id).await.unwrap(),
                "sending"
            ),
            20
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.broker.stop_failing();
    world.job_when(&job.id, all_sent(20)).await;
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..20));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_all_in_the_topic_and_no_acknowledgement_seen_nothing_is_sent_again() {
    let world = world(&[]).await;
    let ids = world.many(20).await;
    let runner = world.start_runner();
    // One that goes through makes all connections first.
    let warm = world
        .dead(&Dead {
            raw: (7, 7),
            ..Dead::default()
        })
        .await;
    let job = world.applied(&[warm], 1000.0).await;
    world.job_when(&job.id, all_sent(1)).await;
    // Every acknowledgement takes a second: the records are there before it.
    world.broker.set_round_trip(Duration::from_secs(1));
    let job = world.applied(&ids, 1000.0).await;
    world
        .job_when(&job.id, |job| count(job, "sending") == 20)
        .await;
    runner.kill().await;
    world.broker.set_round_trip(Duration::ZERO);
    let deadline = Instant::now() + DEADLINE;
    while world.retried().len() < 21 {
        assert!(Instant::now() < deadline, "{}", world.retried().len());
    }
    let runner = world.start_runner();
    let job = world
        .job_when(&job.id, |job| {
            count(job, "sending") == 0 && count(job, "pending") == 0
        })
        .await;
    assert_eq!(count(&job, "sent"), 20);
    runner.end().await;
    assert_eq!(world.retried().len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_again_and_again_nothing_is_lost_and_nothing_is_sent_twice() {
    let world = world(&[]).await.with_persistence().await;
    let ids = world.many(120).await;
    // Chunks of 20; a new runner has its first one due at once.
    let job = world.applied(&ids, 40.0).await;
    world.broker.set_round_trip(Duration::from_millis(15));
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let deadline = Instant::now() + DEADLINE;
    let mut kills = 0;
    loop {
        let runner = world.start_runner();
        tokio::time::sleep(Duration::from_millis(random.u64(5..600))).await;
        let now = jobs::get(&world.recovery, &job.id).await.unwrap();
        if count(&now, "sent") == 120 {
            runner.end().await;
            break;
        }
        runner.kill().await;
        kills += 1;
        assert!(Instant::now() < deadline, "seed {seed}: {now:?}");
    }
    assert!(kills > 0);
    world.broker.set_round_trip(Duration::ZERO);
    assert_eq!(
        copies(&world),
        once_each(0..120),
        "seed {seed}, {kills} kills"
    );
    let raws: Vec<(i32, i64)> = (0..120).map(|offset| (0, offset)).collect();
    world.stored(&raws, false).await;
    let runner = world.start_runner();
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(count(&job, "stored"), 120);
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_outage_in_the_middle_is_waited_for_and_seen_in_the_job() {
    let world = world(&[]).await;
    let ids = world.many(60).await;
    let runner = world.start_runner();
    let job = world.applied(&ids, 40.0).await;
    world
        .job_when(&job.id, |job| count(job, "sent") >= 20)
        .await;
    world.broker.set_up(false);
    let job = world.job_when(&job.id, |job| job.blocked.is_some()).await;
    assert_eq!(job.state, JobState::Running, "an outage never fails a job");
    world.broker.set_up(true);
    let job = world.job_when(&job.id, all_sent(60)).await;
    assert_eq!(job.blocked, None);
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_retry_topic_blocks_the_job_with_a_sentence_and_a_blocked_job_can_be_stopped() {
    let world = world(&["--validator-group", "other"]).await;
    let id = world
        .dead(&Dead {
            group: "other",
            ..Dead::default()
        })
        .await;
    let runner = world.start_runner();
    let job = world.applied(&[id], 100.0).await;
    let blocked = world.job_when(&job.id, |job| job.blocked.is_some()).await;
    let reason = blocked.blocked.clone().unwrap();
    assert!(
        reason.contains("events.retry.other.v1") && reason.contains("eventflow admin topics"),
        "{reason}"
    );
    assert_eq!(
        (blocked.state, count(&blocked, "pending")),
        (JobState::Running, 1)
    );
    jobs::stop(&world.recovery, "ann", &job.id).await.unwrap();
    let job = world
        .job_when(&job.id, |job| job.finished_at.is_some())
        .await;
    assert_eq!((job.state, job.blocked), (JobState::Stopped, None));
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state = 'open'")
            .await,
        1
    );
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_again_while_its_acknowledgement_was_on_its_way_stays_failed() {
    let world = world(&[]).await;
    let ids = world.many(1).await;
    let runner = world.start_runner();
    let job = world.applied(&ids, 100.0).await;
    world.job_when(&job.id, all_sent(1)).await;
    // As the index writes it.
    for query in [
        "UPDATE replay_items SET state = 'failed', code = 'invalid_amount', settled_at = now() WHERE state IN ('sending', 'sent')",
        "UPDATE dead_letters SET state = 'open', replay_count = 1",
    ] {
        sqlx::query(query).execute(&world.pool).await.unwrap();
    }
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(job.by_code.get("invalid_amount"), Some(&1));
    // The next replay counts on.
    let job = world.applied(&ids, 100.0).await;
    world.job_when(&job.id, all_sent(1)).await;
    runner.end().await;
    let counts: Vec<_> = world
        .retried()
        .iter()
        .map(|record| record.header("ef.replay_count").unwrap())
        .collect();
    assert_eq!(counts.len(), 2);
    assert!(
        counts.contains(&"2".to_owned()),
        "{counts:?} in {RETRY_VALIDATOR}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_to_the_topic_its_stage_was_told_to_read() {
    let world = world(&[
        "--validator-topic-retry",
        RETRY_PERSISTENCE,
        "--persistence-topic-retry",
        RETRY_VALIDATOR,
    ])
    .await;
    let id = world
        .dead(&Dead {
            group: PERSISTENCE,
            ..Dead::default()
        })
        .await;
    let runner = world.start_runner();
    let job = world.applied(&[id], 1000.0).await;
    world.job_when(&job.id, all_sent(1)).await;
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..1));
}

#[test]
fn a_retry_topic_that_is_another_topic_is_refused() {
    for arguments in [
        &["--validator-topic-retry", "a b"][..],
        &["--persistence-topic-retry", topics::DLQ],
        &[
            "--persistence-topic-retry",
            "same",
            "--validator-topic-retry",
            "same",
        ],
    ] {
        let refused = replay::pipeline("postgresql://localhost/x", arguments)
            .check()
            .unwrap_err();
        assert!(refused.to_string().contains(arguments[0]), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_followed_or_counted_is_not_sent() {
    let world = world(&[]).await;
    let ids = world.many(2).await;
    let full = world
        .dead(&Dead {
            raw: (2, 2),
            replay_count: i32::MAX,
            ..Dead::default()
        })
        .await;
    // Its ef.raw cannot be read: the dead letter's own coordinates.
    sqlx::query("UPDATE dead_letters SET origin_topic = 'events.dlq.v1', origin_group = 'eventflow-validator' WHERE id = $1")
        .bind(ids[1])
        .execute(&world.pool)
        .await
        .unwrap();
    let runner = world.start_runner();
    let job = world.applied(&[&ids[..], &[full]].concat(), 1000.0).await;
    let job = world
        .job_when(&job.id, |job| {
            count(job, "sent") == 1 && count(job, "skipped") == 2
        })
        .await;
    assert_eq!(job.by_code["not_replayable"], 2);
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_past_the_second_person_waits_for_that_persons_word() {
    let world = world(&["--confirm-above", "1", "--require-approval"]).await;
    let ids = world.many(2).await;
    let job = world.planned(&ids, "k").await;
    // A command that works straight on the database, and was not told.
    let lax = recovery::Context::new(
        replay::pipeline(&world.url, &["--confirm-above", "1"]),
        None,
    )
    .unwrap();
    jobs::apply(&lax, "ann", &job.id, Some(1000.0), true)
        .await
        .unwrap();
    let runner = world.start_runner();
    let blocked = world.job_when(&job.id, |job| job.blocked.is_some()).await;
    assert!(
        blocked
            .blocked
            .unwrap()
            .contains(&format!("eventflow replay approve {}", job.id))
    );
    assert_eq!(
        (blocked.state, blocked.by_state[&ItemState::Pending]),
        (JobState::Running, 2)
    );
    assert_eq!(
        jobs::approve(&world.recovery, "ann", &job.id)
            .await
            .unwrap_err()
            .code(),
        "wrong_state",
        "not by who planned it"
    );
    jobs::approve(&world.recovery, "bob", &job.id)
        .await
        .unwrap();
    let job = world.job_when(&job.id, all_sent(2)).await;
    assert_eq!(job.blocked, None);
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..2));
}

/// As [`world`], with all topics a replay passes.
async fn world_of_all_topics() -> World {
    let topics = [
        (RETRY_VALIDATOR, 1),
        (RETRY_PERSISTENCE, 1),
        (topics::VALIDATED, 1),
        (topics::DLQ, 1),
    ];
    let broker = EmbeddedBroker::start(&topics).unwrap();
    let url = replay::database().await;
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
            topic_dlq: topics::DLQ.into(),
        },
    };
    let settings = stage.settings(&kafka, VALIDATOR, vec![RETRY_VALIDATOR.to_owned()], None);
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    let running = tokio::spawn(consumer::run(
        settings,
        Silent,
        Some(publisher),
        Health::new(),
        shutdown.clone(),
    ));
    let until = Instant::now() + DEADLINE;
    loop {
        let kafka = kafka.clone();
        let next =
            tokio::task::spawn_blocking(move || committed(&kafka, VALIDATOR, RETRY_VALIDATOR))
                .await
                .unwrap()
                .unwrap();
        if next == [(0, Some(1))] {
            break;
        }
        assert!(Instant::now() < until, "{next:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
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

/// Three replays of overlapping selections, while people pause, resume, stop, discard and instances are killed: whatever the order.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_people_and_crashes_do_no_dead_letter_is_twice_in_the_topic_and_its_state_says_whether_it_is_there()
 {
    let world = world(&[]).await;
    let ids = world.many(90).await;
    let mut jobs = Vec::new();
    for part in [&ids[..60], &ids[30..], &ids[15..75]] {
        jobs.push(world.applied(part, 60.0).await.id);
    }
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut runners = vec![world.start_runner()];
    for _ in 0..25 {
        let job = &jobs[random.usize(..jobs.len())];
        // Refused in the wrong state, which is half of the point.
        match random.u8(..7) {
            0 => drop(jobs::pause(&world.recovery, "ann", job).await),
            1 | 2 => drop(jobs::resume(&world.recovery, "ann", job).await),
            3 if job == &jobs[2] => drop(jobs::stop(&world.recovery, "ann", job).await),
            4 => {
                let one = recovery::model::Selection {
                    id: vec![ids[random.usize(..90)]],
                    ..Default::default()
                };
                edit::discard(&world.recovery, "ann", &one, "a test", false)
                    .await
                    .unwrap();
            }
            5 if runners.len() < 3 => runners.push(world.start_runner()),
            _ if !runners.is_empty() => {
                runners
                    .swap_remove(random.usize(..runners.len()))
                    .kill()
                    .await;
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(random.u64(..60))).await;
    }
    runners.push(world.start_runner());
    for job in &jobs {
        let over = |job: &recovery::model::Job| {
            let left = if job.state == JobState::Stopped {
                0
            } else {
                count(job, "pending")
            };
            count(job, "sending") + left == 0
        };
        drop(jobs::resume(&world.recovery, "ann", job).await);
        world.job_when(job, over).await;
    }
    for runner in runners {
        runner.end().await;
    }
    let copies = copies(&world);
    assert!(
        copies.values().all(|count| *count == 1),
        "seed {seed}: {copies:?}"
    );
    let rows: Vec<(i64, String, i64, bool)> = sqlx::query_as(
        "SELECT d.origin_offset, d.state, (SELECT count(*) FROM replay_items i WHERE i.dead_letter_id = d.id AND i.state = 'sent'),
                EXISTS (SELECT FROM replay_items i WHERE i.dead_letter_id = d.id AND i.code = 'being_replayed')
         FROM dead_letters d",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    for (offset, state, sent, left_to_another) in rows {
        let there = copies.contains_key(&format!("0:{offset}"));
        assert_eq!(
            (state == "replaying", sent),
            (there, i64::from(there)),
            "seed {seed}: {offset} is {state}"
        );
        // Of the two replays that are never stopped every item was sent or given up, or left to the third, which was stopped before it sent it.
        assert!(
            there || state == "discarded" || left_to_another,
            "seed {seed}: {offset} is {state} and was never sent"
        );
    }
    assert_eq!(
        world.number("SELECT replaying FROM groups").await,
        i64::try_from(copies.len()).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_finds_too_large_fails_alone_and_stays_open() {
    let world = world(&[]).await;
    let ids = world.many(3).await;
    // Beyond what the client takes at all.
    let large = vec![b'x'; 1_100_000];
    let large = world
        .dead(&Dead {
            raw: (0, 50),
            value: Some(&large),
            ..Dead::default()
        })
        .await;
    let runner = world.start_runner();
    let job = world.applied(&[&ids[..], &[large]].concat(), 1000.0).await;
    let job = world
        .job_when(&job.id, |job| {
            count(job, "sent") == 3 && count(job, "failed") == 1
        })
        .await;
    assert_eq!(job.by_code.get("record_too_large"), Some(&1));
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state = 'open' AND origin_offset = 50")
            .await,
        1
    );
    // Three that travel together and are refused as a whole: each is tried alone, and goes through.
    world
        .broker
        .fail(Request::Produce, vec![Fault::RecordTooLarge]);
    let more = [60, 61, 62];
    let mut ids = Vec::new();
    for offset in more {
        ids.push(
            world
                .dead(&Dead {
                    raw: (0, offset),
                    ..Dead::default()
                })
                .await,
        );
    }
    let job = world.applied(&ids, 1000.0).await;
    let job = world.job_when(&job.id, all_sent(3)).await;
    assert_eq!(count(&job, "failed"), 0);
    runner.end().await;
    assert_eq!(copies(&world).values().sum::<usize>(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_blocks_the_job_and_once_granted_it_goes_on() {
    let world = world(&[]).await;
    let ids = world.many(3).await;
    world
        .broker
        .fail(Request::Produce, vec![Fault::TopicAuthorizationFailed; 200]);
    let runner = world.start_runner();
    let job = world.applied(&ids, 1000.0).await;
    let blocked = world
        .job_when(&job.id, |job| job.blocked.is_some())
        .await
        .blocked
        .unwrap();
    assert!(blocked.contains("broker"), "{blocked}");
    world.broker.stop_failing();
    let job = world.job_when(&job.id, all_sent(3)).await;
    assert_eq!(job.blocked, None);
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..3));
}
