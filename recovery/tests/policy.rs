//! Automatic recovery replays what would pass today, within its bounds, and stops itself.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use recovery::model::{Job, JobState};
use recovery::replay::jobs;
use recovery::replay::policy::{self, Policies};
use replay::{DEADLINE, Dead, World, body, count, world};
use runtime::health::Health;
use sandbox::harness::{self, wait_for};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Automatic {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Automatic {
    fn start(world: &World, more: &str) -> Self {
        let text = format!(
            "every = \"1s\"\n[[policy]]\nname = \"after-a-fix\"\ncodes = [\"invalid_amount\", \"unknown_event_type\"]\nyoungest = \"1s\"\n{more}"
        );
        let policies = Policies::parse(&text).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(policy::run(
            world.recovery.clone(),
            policies,
            Health::new(),
            stop.clone(),
        ));
        Self { task, stop }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

/// Dead letters an hour old; those before `sound` have a value that passes today.
async fn dead(world: &World, sound: i64, all: i64) -> Vec<i64> {
    let mut ids = Vec::new();
    for offset in 0..all {
        let good = body(&format!("e{offset}"), "12.50");
        let value = if offset < sound { good.as_str() } else { "{}" };
        ids.push(
            world
                .dead(&Dead {
                    raw: (0, offset),
                    value: Some(value.as_bytes()),
                    ..Dead::default()
                })
                .await,
        );
    }
    sqlx::query("UPDATE dead_letters SET last_failed_at = now() - interval '1 hour'")
        .execute(&world.pool)
        .await
        .unwrap();
    ids
}

/// The newest replay, once there are so many.
async fn replays(world: &World, wanted: usize) -> Job {
    wait_for(DEADLINE, async || {
        let jobs = jobs::history(&world.recovery, &[], None, 10).await.unwrap();
        if jobs.len() >= wanted {
            Ok(jobs[0].clone())
        } else {
            Err(format!("{wanted} replays: {jobs:?}"))
        }
    })
    .await
}

/// How often policies looked for work and wrote so.
async fn until(world: &World, query: &'static str, wanted: i64) {
    harness::until(query, DEADLINE, async || {
        world.number(query).await >= wanted
    })
    .await;
}

const REFUSED: &str = "SELECT count(*) FROM policy_tries WHERE failed_with IS NOT NULL";

#[tokio::test(flavor = "multi_thread")]
async fn what_would_pass_is_replayed_and_the_rest_is_asked_once() {
    let world = world(&[]).await.with_persistence().await;
    let ids = dead(&world, 3, 5).await;
    let edited = world
        .dead(&Dead {
            raw: (1, 0),
            value: Some(body("x", "1").as_bytes()),
            ..Dead::default()
        })
        .await;
    let foreign = world
        .dead(&Dead {
            group: "others",
            raw: (1, 1),
            value: Some(body("y", "1").as_bytes()),
            ..Dead::default()
        })
        .await;
    sqlx::query("UPDATE dead_letters SET edit_id = 1, last_failed_at = now() - interval '1 hour' WHERE id = $1")
        .bind(edited)
        .execute(&world.pool)
        .await
        .unwrap();
    // It came back of an edited replay: its value is what a person wrote.
    world
        .dead(&Dead {
            raw: (1, 2),
            value: Some(body("z", "1").as_bytes()),
            headers: serde_json::json!([["ef.source", "acme"], ["ef.edited_by", "eve"]]),
            replay_count: 1,
            ..Dead::default()
        })
        .await;
    sqlx::query("UPDATE dead_letters SET last_failed_at = now() - interval '1 hour'")
        .execute(&world.pool)
        .await
        .unwrap();
    let automatic = Automatic::start(&world, "rate = 50");
    let job = replays(&world, 1).await;
    assert_eq!(
        (job.policy.as_deref(), job.created_by.as_str(), job.items),
        (Some("after-a-fix"), "policy:after-a-fix", 3)
    );
    // Planned and applied are two steps.
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Running)
        .await;
    assert!((job.rate - 50.0).abs() < f64::EPSILON);
    until(&world, REFUSED, 2).await;
    let items = jobs::items(&world.recovery, &job.id, &[], 100)
        .await
        .unwrap();
    let mut chosen: Vec<i64> = items.iter().filter_map(|item| item.letter).collect();
    chosen.sort_unstable();
    assert_eq!(
        chosen,
        ids[..3],
        "neither what still fails, nor what a person edits ({edited}), nor what is not ours ({foreign})"
    );
    let runner = world.start_runner();
    world.job_when(&job.id, |job| count(job, "sent") == 3).await;
    world.stored(&[(0, 0), (0, 1), (0, 2)], false).await;
    world
        .job_when(&job.id, |job| count(job, "stored") == 3)
        .await;
    automatic.end().await;
    runner.end().await;
    assert_eq!(
        jobs::history(&world.recovery, &[], None, 10)
            .await
            .unwrap()
            .len(),
        1,
        "nothing is left to try"
    );
    assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE who = 'policy:after-a-fix' AND action = 'policy.look'").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM audit_log WHERE who = 'policy:after-a-fix' AND action = 'replay.plan'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_whose_replay_fails_again_stops_until_something_changes() {
    let world = world(&[]).await.with_persistence().await;
    dead(&world, 4, 4).await;
    let automatic = Automatic::start(&world, "stop_after_failures = 2\nbackoff = \"1h\"");
    let job = replays(&world, 1).await;
    // As the index writes it.
    sqlx::query("UPDATE replay_items SET state = 'failed', code = 'conflict' WHERE job_id = $1 AND position <= 2")
        .bind(&job.id)
        .execute(&world.pool)
        .await
        .unwrap();
    until(
        &world,
        "SELECT count(*) FROM audit_log WHERE action = 'policy.stop'",
        1,
    )
    .await;
    let stopped = world
        .job_when(&job.id, |job| job.state == JobState::Stopped)
        .await;
    assert_eq!(stopped.items, 4);
    automatic.end().await;
    let again = Automatic::start(&world, "stop_after_failures = 2\nbackoff = \"1h\"");
    let known = world
        .text("SELECT stopped_reason FROM policies")
        .await
        .unwrap();
    assert!(
        known.contains("failed again") && known.contains(&job.id),
        "{known}"
    );
    again.end().await;
    assert_eq!(
        jobs::history(&world.recovery, &[], None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let changed = Automatic::start(
        &world,
        "stop_after_failures = 2\nbackoff = \"1h\"\nrate = 11",
    );
    // The change is known before anything may be tried again, and the old replay's failures do not stop the policy in between.
    until(
        &world,
        "SELECT count(*) FROM policies WHERE stopped_at IS NULL",
        1,
    )
    .await;
    sqlx::query("UPDATE policy_tries SET next_try_at = now()")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(
        replays(&world, 2).await.policy.as_deref(),
        Some("after-a-fix"),
        "another policy is another chance"
    );
    changed.end().await;
    assert_eq!(
        world.text("SELECT stopped_reason FROM policies").await,
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_and_budget_are_counted_before_anything_is_sent() {
    let world = world(&[]).await.with_persistence().await;
    dead(&world, 7, 7).await;
    let automatic = Automatic::start(&world, "budget = 4\nmax_tries = 1");
    let first = replays(&world, 1).await;
    automatic.end().await;
    assert_eq!(first.items, 4, "the budget of an hour");
    assert_eq!(
        world
            .number("SELECT count(*) FROM policy_tries WHERE tries = 1")
            .await,
        4
    );
    // The role dies before anything is sent; a person stops the replay: the tries are spent all the same.
    jobs::stop(&world.recovery, "ann", &first.id).await.unwrap();
    sqlx::query("UPDATE replay_items SET sent_at = now(), state = 'skipped'")
        .execute(&world.pool)
        .await
        .unwrap();
    let again = Automatic::start(&world, "budget = 7\nmax_tries = 1");
    let second = replays(&world, 2).await;
    again.end().await;
    assert_eq!(second.items, 3, "those that were not tried yet");
    assert_eq!(
        world
            .number("SELECT count(*) FROM policy_tries WHERE tries > 1")
            .await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_was_planned_when_the_role_died_is_started_by_the_next() {
    let world = world(&[]).await.with_persistence().await;
    let ids = dead(&world, 1, 1).await;
    let selection = recovery::model::Selection {
        id: ids,
        ..Default::default()
    };
    let job = jobs::plan(
        &world.recovery,
        "policy:after-a-fix",
        &selection,
        "",
        "key",
        Some("after-a-fix"),
    )
    .await
    .unwrap();
    let automatic = Automatic::start(&world, "rate = 7");
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Running)
        .await;
    assert!((job.rate - 7.0).abs() < f64::EPSILON);
    automatic.end().await;
    assert_eq!(
        jobs::history(&world.recovery, &[], None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_replay_never_sent_is_not_of_the_budget() {
    let world = world(&[]).await.with_persistence().await;
    dead(&world, 4, 4).await;
    let automatic = Automatic::start(&world, "budget = 3");
    let first = replays(&world, 1).await;
    assert_eq!(first.items, 3);
    jobs::stop(&world.recovery, "ann", &first.id).await.unwrap();
    let runner = world.start_runner();
    world
        .job_when(&first.id, |job| job.finished_at.is_some())
        .await;
    assert_eq!(
        replays(&world, 2).await.items,
        1,
        "nothing was sent in this hour, and three have had their try"
    );
    automatic.end().await;
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replayed_too_often_hides_no_other_dead_letter() {
    let world = world(&["--max-replays", "2"])
        .await
        .with_persistence()
        .await;
    let sample = world
        .dead(&Dead {
            raw: (1, 0),
            replay_count: 2,
            ..Dead::default()
        })
        .await;
    // As many as one look takes, all older than the one that may be tried.
    sqlx::query(
        "INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset, consumer_group,
             detail, disposition, attempts, replay_count, first_failed_at, last_failed_at, headers)
         SELECT group_id, origin_topic, 1, n, family, 1, n, consumer_group, detail, disposition, attempts, replay_count, first_failed_at,
             last_failed_at, headers FROM dead_letters, generate_series(1, 2000) n WHERE id = $1",
    )
    .bind(sample)
    .execute(&world.pool)
    .await
    .unwrap();
    let ids = dead(&world, 1, 1).await;
    let automatic = Automatic::start(&world, "");
    let job = replays(&world, 1).await;
    automatic.end().await;
    let items = jobs::items(&world.recovery, &job.id, &[], 10)
        .await
        .unwrap();
    assert_eq!(
        items
            .iter()
            .filter_map(|item| item.letter)
            .collect::<Vec<_>>(),
        ids
    );
}
