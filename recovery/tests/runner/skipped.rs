//! What is not sent, and stays where it was.

use crate::replay::{Dead, count, world};
use crate::{copies, once_each};
use recovery::replay::jobs;

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
