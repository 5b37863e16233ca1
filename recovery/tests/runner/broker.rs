//! A broker that is away, refuses, or lacks the topic.

use crate::replay::{Dead, count, world};
use crate::{all_sent, copies, once_each};
use recovery::model::JobState;
use recovery::replay::jobs;
use sandbox::broker::{BrokerFault, BrokerRequest};

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
        .fail(BrokerRequest::Produce, vec![BrokerFault::RecordTooLarge]);
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
    world.broker.fail(
        BrokerRequest::Produce,
        vec![BrokerFault::TopicAuthorizationFailed; 200],
    );
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
