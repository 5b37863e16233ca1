//! Revalidations: which rows are taken, what today's checks say of them, and each sent once whoever is killed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use contracts::kafka::{headers, topics};
use recovery::error::RecoveryError;
use recovery::model::{DryRun, ItemState, Job, JobKind, JobState, Selection};
use recovery::replay::{dry_run, jobs, revalidation};
use replay::{DEADLINE, World, body, count, pipeline, start_runner, world};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An event that is a row: its raw record is published, or was.
struct Row<'a> {
    id: String,
    body: String,
    contract: &'a str,
    source: &'a str,
}

impl Row<'_> {
    fn of(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            body: body(id, "\"12.50\""),
            contract: "any.v1",
            source: "acme",
        }
    }
}

/// Publishes the raw records, in this order, in partition 0.
async fn publish(world: &World, rows: &[Row<'_>]) {
    let settings = PublisherSettings::stage("test");
    let publisher = Publisher::new(&world.broker.kafka(), &settings, &Health::new()).unwrap();
    for row in rows {
        let headers = RecordHeaders::new(3)
            .with(headers::SOURCE, Some(row.source))
            .with(headers::EVENT_ID, Some(&row.id))
            .with(headers::RECEIVED_AT, Some("1700000000000000"));
        let record = OutRecord {
            topic: topics::RAW,
            key: Some(b"p"),
            value: Some(row.body.as_bytes()),
            headers,
        };
        publisher.publish(record, DEADLINE).await.unwrap();
    }
}

async fn stored(world: &World, offset: i64, row: &Row<'_>) {
    sqlx::query(
        "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, received_at, payload, content_hash, schema_id,
             raw_partition, raw_offset)
         VALUES ($1, $2, 'payment.authorized.v1', $3, now(), now(), $4::jsonb->'payload', 'h', 1, 0, $5)",
    )
    .bind(row.source)
    .bind(&row.id)
    .bind(row.contract)
    .bind(&row.body)
    .bind(offset)
    .execute(&world.pool)
    .await
    .unwrap();
}

async fn all(world: &World, rows: &[Row<'_>]) {
    publish(world, rows).await;
    for (offset, row) in (0..).zip(rows) {
        stored(world, offset, row).await;
    }
}

fn many(number: usize) -> Vec<Row<'static>> {
    (0..number).map(|n| Row::of(&format!("e{n}"))).collect()
}

/// With a raw topic, and persistence's schema.
async fn world_with(more: &[&str]) -> World {
    world(more).await.with_persistence().await
}

fn of_acme() -> Selection {
    Selection {
        source: vec!["acme".to_owned()],
        ..Selection::default()
    }
}

async fn planned(world: &World, key: &str) -> Job {
    revalidation::plan(&world.recovery, "ann", &of_acme(), "a contract", key)
        .await
        .unwrap()
}

async fn applied(world: &World, rate: f64) -> Job {
    let job = planned(world, &format!("{:x}", fastrand::u64(..))).await;
    jobs::apply(&world.recovery, "ann", &job.id, Some(rate), true)
        .await
        .unwrap()
}

async fn tried(world: &World, job: &Job) -> DryRun {
    dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap()
}

/// Persistence has typed these.
async fn typed(world: &World) {
    sqlx::query("UPDATE persistence.events SET contract = 'payment.authorized.v1' WHERE contract = 'any.v1' AND source = 'acme'")
        .execute(&world.pool)
        .await
        .unwrap();
}

fn code<T: std::fmt::Debug>(answer: Result<T, RecoveryError>) -> &'static str {
    answer.unwrap_err().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_typed_or_stays_for_a_reason_that_is_said() {
    let world = world_with(&[]).await;
    let mut rows = many(3);
    rows.push(Row {
        body: body("bad", "-1"),
        ..Row::of("bad")
    });
    rows.push(Row {
        body: body("odd", "1").replace("payment.authorized.v1", "payment.odd"),
        ..Row::of("odd")
    });
    // By today's mapping it is another event.
    rows.push(Row {
        body: body("renamed", "1"),
        ..Row::of("name-of-then")
    });
    rows.push(Row::of("edited"));
    rows.push(Row {
        contract: "payment.authorized.v1",
        ..Row::of("typed")
    });
    rows.push(Row {
        source: "other",
        ..Row::of("of-another")
    });
    all(&world, &rows).await;
    // Retention has passed it; and the topic was another one when this came.
    stored(&world, 4711, &Row::of("gone")).await;
    sqlx::query("UPDATE persistence.events SET edited_by = 'bob' WHERE event_id = 'edited'")
        .execute(&world.pool)
        .await
        .unwrap();
    let job = planned(&world, "key").await;
    assert_eq!(
        (job.kind, job.items, job.state),
        (JobKind::Revalidation, 8, JobState::Planned)
    );
    let run = tried(&world, &job).await;
    assert_eq!(
        (run.would_retype, run.would_be_unchanged),
        (3, 1),
        "{run:?}"
    );
    let codes = [
        ("amount_not_positive", 1),
        ("conflict", 1),
        ("raw_record_gone", 1),
        ("unknown_event_type", 1),
    ];
    let codes: BTreeMap<String, i64> = codes.map(|(code, n)| (code.to_owned(), n)).into();
    assert_eq!(run.would_fail_by_code, codes);
    let of = |id: &str| {
        let mut samples = run.samples.iter();
        samples
            .find(|sample| sample.event_id.as_deref() == Some(id))
            .unwrap()
    };
    assert_eq!(of("e0").raw.as_deref(), Some("0:0"));
    assert_eq!(of("edited").code.as_deref(), Some("edited"));
    let row = of("e1").row.as_ref().unwrap();
    assert_eq!(
        (&row["amount"], &row["contract"]),
        (&"12.5".into(), &"payment.authorized.v1".into())
    );

    let runner = world.start_runner();
    jobs::apply(&world.recovery, "ann", &job.id, Some(1000.0), true)
        .await
        .unwrap();
    let all_sent = |job: &Job| count(job, "sent") == 3 && count(job, "skipped") == 5;
    let job = world.job_when(&job.id, all_sent).await;
    assert_eq!(job.by_code["raw_record_gone"], 1, "{job:?}");
    let items = jobs::items(&world.recovery, &job.id, &[ItemState::Skipped], 100)
        .await
        .unwrap();
    let gone = items
        .iter()
        .find(|item| item.event_id.as_deref() == Some("gone"))
        .unwrap();
    assert_eq!(
        (gone.letter, gone.raw.as_deref(), gone.code.as_deref()),
        (None, Some("0:4711"), Some("raw_record_gone"))
    );
    for record in world.retried() {
        let header = |name: &str| record.header(name).unwrap();
        assert_eq!(header(headers::REVALIDATES), "any.v1");
        assert_eq!(header(headers::REPLAY_ID), job.id);
        assert_eq!(
            (header(headers::SOURCE), header(headers::RECEIVED_AT)),
            ("acme".to_owned(), "1700000000000000".to_owned())
        );
        let (_, offset) = record.raw().unwrap();
        let original = &rows[usize::try_from(offset).unwrap()].body;
        assert_eq!(
            record.value.as_deref(),
            Some(original.as_bytes()),
            "verbatim"
        );
    }
    typed(&world).await;
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(count(&job, "retyped"), 3);
    runner.end().await;
    let none = revalidation::plan(&world.recovery, "ann", &of_acme(), "", "again").await;
    assert_eq!(code(none), "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_rows_of_named_sources_are_taken_and_only_by_what_rows_have() {
    let world = world_with(&[]).await;
    all(&world, &many(3)).await;
    let plan = async |selection: &Selection, key: &str| {
        revalidation::plan(&world.recovery, "ann", selection, "", key).await
    };
    let by = |change: fn(&mut Selection)| {
        let mut selection = of_acme();
        change(&mut selection);
        selection
    };
    for wrong in [
        Selection::default(),
        by(|selection| selection.id = vec![1]),
        by(|selection| selection.code = vec!["not_json".to_owned()]),
        by(|selection| selection.contains = Some("x".to_owned())),
    ] {
        assert_eq!(
            code(plan(&wrong, "k").await),
            "invalid_request",
            "{wrong:?}"
        );
    }
    let later = time::OffsetDateTime::now_utc() + Duration::from_secs(60);
    let cases = [
        (by(|_| {}), Some(3)),
        (by(|selection| selection.limit = Some(2)), Some(2)),
        (
            by(|selection| selection.event_type = vec!["payment.authorized.v1".to_owned()]),
            Some(3),
        ),
        (
            by(|selection| selection.event_type = vec!["other".to_owned()]),
            None,
        ),
        (
            by(|selection| selection.source = vec!["other".to_owned()]),
            None,
        ),
        (
            Selection {
                since: Some(later),
                ..of_acme()
            },
            None,
        ),
        (
            Selection {
                until: Some(later),
                ..of_acme()
            },
            Some(3),
        ),
    ];
    for (number, (selection, items)) in cases.into_iter().enumerate() {
        let planned = plan(&selection, &format!("case {number}")).await;
        assert_eq!(planned.ok().map(|job| job.items), items, "{selection:?}");
    }
    // One key, one job; a replay's key is none of a revalidation's.
    let job = plan(&of_acme(), "one").await.unwrap();
    assert_eq!(plan(&of_acme(), "one").await.unwrap().id, job.id);
    let replay = jobs::plan(&world.recovery, "ann", &of_acme(), "", "one", None).await;
    assert_eq!(code(replay), "wrong_state");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_again_and_again_each_event_is_sent_once() {
    let world = world_with(&[]).await;
    all(&world, &many(120)).await;
    let job = applied(&world, 40.0).await;
    world.broker.set_round_trip(Duration::from_millis(15));
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    // Each begins by asking Kafka for raw records.
    let deadline = Instant::now() + DEADLINE * 3;
    let mut kills = 0;
    loop {
        let runner = world.start_runner();
        tokio::time::sleep(Duration::from_millis(random.u64(50..3000))).await;
        let now = jobs::get(&world.recovery, &job.id).await.unwrap();
        if count(&now, "sent") == 120 {
            runner.end().await;
            break;
        }
        runner.kill_and_settle().await;
        kills += 1;
        assert!(Instant::now() < deadline, "seed {seed}: {now:?}");
    }
    assert!(kills > 0);
    world.broker.set_round_trip(Duration::ZERO);
    let mut copies: BTreeMap<(i32, i64), usize> = BTreeMap::new();
    for record in world.retried() {
        *copies.entry(record.raw().unwrap()).or_default() += 1;
    }
    let once: BTreeMap<(i32, i64), usize> = (0..120).map(|offset| ((0, offset), 1)).collect();
    assert_eq!(copies, once, "seed {seed}, {kills} kills");
    typed(&world).await;
    let runner = world.start_runner();
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(count(&job, "retyped"), 120);
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_it_sends_no_more_and_stopped_it_is_followed_to_its_end() {
    let world = world_with(&[]).await;
    all(&world, &many(60)).await;
    let job = applied(&world, 20.0).await;
    let runner = world.start_runner();
    world.job_when(&job.id, |job| count(job, "sent") > 0).await;
    jobs::pause(&world.recovery, "ann", &job.id).await.unwrap();
    let settled = |job: &Job| count(job, "sending") == 0;
    let paused = world.job_when(&job.id, settled).await;
    assert!(count(&paused, "pending") > 0, "{paused:?}");
    jobs::resume(&world.recovery, "ann", &job.id).await.unwrap();
    let before = count(&paused, "sent");
    world
        .job_when(&job.id, |job| count(job, "sent") > before)
        .await;
    jobs::stop(&world.recovery, "ann", &job.id).await.unwrap();
    let stopped = world.job_when(&job.id, settled).await;
    typed(&world).await;
    let ended = world
        .job_when(&job.id, |job| job.finished_at.is_some())
        .await;
    assert_eq!(
        (ended.state, count(&ended, "retyped")),
        (JobState::Stopped, count(&stopped, "sent"))
    );
    let sent = i64::try_from(world.retried().len()).unwrap();
    assert_eq!(sent, count(&stopped, "sent"));
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wait_for_a_second_person() {
    let world = world_with(&["--require-approval", "--confirm-above", "5"]).await;
    all(&world, &many(10)).await;
    let job = planned(&world, "key").await;
    assert!(job.needs_approval && job.needs_confirmation, "{job:?}");
    let apply = async || jobs::apply(&world.recovery, "ann", &job.id, None, true).await;
    assert_eq!(code(apply().await), "needs_approval");
    let own = jobs::approve(&world.recovery, "ann", &job.id).await;
    assert_eq!(code(own), "wrong_state");
    // Applied by a role that does not ask, it waits at one that does.
    let lax =
        recovery::Context::new(pipeline(&world.url, &[]), Some(world.broker.kafka())).unwrap();
    jobs::apply(&lax, "ann", &job.id, None, true).await.unwrap();
    let runner = start_runner(&world.recovery, &world.broker, Duration::from_millis(300));
    let blocked = |job: &Job| {
        job.blocked
            .as_deref()
            .is_some_and(|why| why.contains("second person"))
    };
    let waiting = world.job_when(&job.id, blocked).await;
    assert_eq!(count(&waiting, "pending"), 10);
    jobs::approve(&world.recovery, "bob", &job.id)
        .await
        .unwrap();
    world
        .job_when(&job.id, |job| count(job, "sent") == 10)
        .await;
    runner.end().await;
}
