//! What was sent is followed until its fate is known.

use crate::replay::{RETRY_VALIDATOR, count, world};
use crate::{all_sent, copies, once_each};
use recovery::model::JobState;
use recovery::replay::jobs;

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
    let actions: Vec<String> = jobs::audit_log(&world.recovery, Some(&job.id), None, None, 10)
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
