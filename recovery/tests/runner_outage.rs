//! The database killed in the middle of a replay. A test binary of its own: the others share their cluster.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use recovery::model::JobState;
use replay::{DEADLINE, count, world};
use sandbox::harness::{cluster, until, wait_for};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_killed_in_the_middle_is_waited_for_and_every_dead_letter_is_sent_once() {
    let world = world(&[]).await.with_persistence().await;
    let ids = world.many(60).await;
    let runner = world.start_runner();
    let job = world.applied(&ids, 40.0).await;
    for seen in [10, 30] {
        world
            .job_when(&job.id, |job| count(job, "sent") >= seen)
            .await;
        cluster().kill_server().unwrap();
        until("an outage shows", DEADLINE, async || {
            !runner.health.is_ready()
        })
        .await;
        cluster().start_server().unwrap();
    }
    world
        .job_when(&job.id, |job| count(job, "sent") == 60)
        .await;
    wait_for(DEADLINE, async || {
        if runner.health.is_ready() {
            Ok(())
        } else {
            Err(format!("ready: {:?}", runner.health.reasons()))
        }
    })
    .await;
    let raws: Vec<_> = world
        .retried()
        .iter()
        .map(|record| record.header("ef.raw").unwrap())
        .collect();
    assert_eq!(raws.len(), 60, "none twice");
    assert_eq!(raws.iter().collect::<BTreeSet<_>>().len(), 60, "none lost");
    let all: Vec<(i32, i64)> = (0..60).map(|offset| (0, offset)).collect();
    world.stored(&all, false).await;
    let job = world
        .job_when(&job.id, |job| job.state == JobState::Finished)
        .await;
    assert_eq!(count(&job, "stored"), 60);
    runner.end().await;
}
