//! Killed at every step, and by chance: nothing is lost and nothing is sent twice.

use crate::replay::{DEADLINE, Dead, count, start_runner, world};
use crate::{all_sent, copies, once_each};
use recovery::model::JobState;
use recovery::replay::edit;
use recovery::replay::jobs;
use sandbox::broker::{BrokerFault, BrokerRequest};
use sandbox::harness::until;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_claim_and_acknowledgement_with_nothing_in_the_topic_all_is_sent_by_the_next()
 {
    let world = world(&[]).await;
    let ids = world.many(20).await;
    world.broker.fail(
        BrokerRequest::Produce,
        vec![BrokerFault::NotEnoughReplicas; 1000],
    );
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
    until("all are in the topic", DEADLINE, async || {
        world.retried().len() >= 21
    })
    .await;
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
        runner.kill_and_settle().await;
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
                    .kill_and_settle()
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
