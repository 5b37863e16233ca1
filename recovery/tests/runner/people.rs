//! What people do: at once, in the middle, and only two together.

use crate::replay::{self, count, start_runner, world};
use crate::{all_sent, copies, once_each};
use recovery::model::{ItemState, JobState};
use recovery::replay::jobs;
use std::time::Duration;

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
async fn what_was_applied_past_the_second_person_waits_for_that_persons_approval() {
    let world = world(&["--confirm-above", "1", "--require-approval"]).await;
    let ids = world.many(2).await;
    let job = world.planned(&ids, "k").await;
    // A command that works straight on the database, without --require-approval.
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

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_value_and_many_small_replays_wait_at_the_role_whatever_applied_them() {
    let world = world(&["--confirm-above", "3", "--require-approval"]).await;
    let ids = world.many(5).await;
    let edit = "WITH e AS (INSERT INTO edits (dead_letter_id, edited_by, value, patch) VALUES ($1, 'eve', '{}', '[]') RETURNING id)
         UPDATE dead_letters SET edit_id = e.id FROM e WHERE dead_letters.id = $1";
    sqlx::query(edit)
        .bind(ids[0])
        .execute(&world.pool)
        .await
        .unwrap();
    let lax = recovery::Context::new(replay::pipeline(&world.url, &[]), None).unwrap();
    let mut jobs_applied = Vec::new();
    for letters in [&ids[..1], &ids[1..3], &ids[3..]] {
        let job = world.planned(letters, &format!("{letters:?}")).await;
        jobs::apply(&lax, "ann", &job.id, Some(1000.0), true)
            .await
            .unwrap();
        jobs_applied.push(job.id);
    }
    let runner = world.start_runner();
    // With the first, which waits, the second comes to three.
    world.job_when(&jobs_applied[1], all_sent(2)).await;
    for (job, why) in [(0, "edited values"), (2, "come to 5 dead letters")] {
        let blocked = world
            .job_when(&jobs_applied[job], |job| job.blocked.is_some())
            .await;
        assert!(
            blocked.blocked.as_deref().unwrap().contains(why),
            "{blocked:?}"
        );
    }
    for job in [0, 2] {
        jobs::approve(&world.recovery, "bob", &jobs_applied[job])
            .await
            .unwrap();
    }
    world.job_when(&jobs_applied[0], all_sent(1)).await;
    world.job_when(&jobs_applied[2], all_sent(2)).await;
    runner.end().await;
}
