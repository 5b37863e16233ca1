//! What is given up says why, and a flood goes in parts.

use crate::dead;
use crate::replay::{VALIDATOR, count, world};
use recovery::model::Selection;
use recovery::replay::edit;
use recovery::replay::jobs;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_says_why_needs_confirmation_for_many_and_is_not_sent_by_a_replay_planned_before()
{
    let world = world(&["--confirm-above", "3"]).await;
    let ids = world.many(5).await;
    let job = world.planned(&ids, "k").await;
    let all = Selection {
        id: ids.clone(),
        ..Selection::default()
    };
    assert_eq!(
        edit::discard(&world.recovery, "eve", &all, " ", true)
            .await
            .unwrap_err()
            .code(),
        "invalid_request"
    );
    assert_eq!(
        edit::discard(&world.recovery, "eve", &all, "test data", false)
            .await
            .unwrap_err()
            .code(),
        "needs_confirmation"
    );
    assert_eq!(
        world.number("SELECT open FROM groups").await,
        5,
        "a refused discard changes nothing"
    );
    let some = Selection {
        limit: Some(2),
        ..all.clone()
    };
    assert_eq!(
        edit::discard(&world.recovery, "eve", &some, "test\0data", false)
            .await
            .unwrap(),
        2
    );
    assert_eq!(world.number("SELECT discarded FROM groups").await, 2);
    let newest = "SELECT count(*) FROM dead_letters WHERE state = 'discarded' AND reason = 'test' || chr(65533) || 'data' AND settled_by = 'eve' AND origin_offset >= 3";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(newest)
            .fetch_one(&world.pool)
            .await
            .unwrap(),
        2
    );
    let log = jobs::audit_log(&world.recovery, None, None, None, 1)
        .await
        .unwrap();
    assert_eq!(
        (log[0].action.as_str(), &log[0].counts["discarded"]),
        ("dead_letter.discard", &json!(2))
    );
    jobs::apply(&world.recovery, "ann", &job.id, None, true)
        .await
        .unwrap();
    let runner = world.start_runner();
    let job = world.job_when(&job.id, |job| count(job, "sent") == 3).await;
    assert_eq!(job.by_code.get("not_open"), Some(&2));
    runner.end().await;
    assert_eq!(world.retried().len(), 3);
    assert_eq!(
        edit::discard(&world.recovery, "eve", &all, "again", true)
            .await
            .unwrap(),
        0,
        "what is sent is not given up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_discarded_in_parts_and_every_part_is_in_the_log() {
    let world = world(&[]).await;
    let one = dead(&world, VALIDATOR, 0, b"{}").await;
    sqlx::query(
        "INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset, consumer_group,
             detail, disposition, attempts, first_failed_at, last_failed_at, headers)
         SELECT group_id, origin_topic, 1, n, family, 1, n, consumer_group, detail, disposition, 1, now(), now(), '[]'
         FROM dead_letters, generate_series(1, 12000) n WHERE id = $1",
    )
    .bind(one)
    .execute(&world.pool)
    .await
    .unwrap();
    let all = Selection {
        code: vec!["invalid_amount".to_owned()],
        ..Selection::default()
    };
    let refused = edit::discard(&world.recovery, "eve", &all, "a flood", false)
        .await
        .unwrap_err();
    assert!(
        refused.code() == "needs_confirmation" && refused.to_string().contains("12001"),
        "{refused}"
    );
    assert_eq!(
        edit::discard(
            &world.recovery,
            "eve",
            &Selection {
                limit: Some(7_000),
                ..all.clone()
            },
            "a flood",
            true
        )
        .await
        .unwrap(),
        7_000
    );
    assert_eq!(
        edit::discard(&world.recovery, "eve", &all, "a flood", true)
            .await
            .unwrap(),
        5_001
    );
    assert_eq!(
        edit::discard(&world.recovery, "eve", &all, "a flood", true)
            .await
            .unwrap(),
        0,
        "and nothing is logged"
    );
    assert_eq!(world.number("SELECT discarded FROM groups").await, 12_001);
    assert_eq!(
        world
            .number("SELECT sum((counts->>'discarded')::bigint)::bigint FROM audit_log")
            .await,
        12_001
    );
    assert_eq!(world.number("SELECT count(*) FROM audit_log").await, 4);
}
