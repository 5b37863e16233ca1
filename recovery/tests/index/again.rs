//! What is read twice changes nothing, and what fails again replaces its verdict.

use crate::index_world::{Made, body, ours, take, world};
use contracts::RejectionCode;
use recovery::model::{DeadLetterState, Payload};
use recovery::query::detail;
use sqlx::Row as _;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_again_changes_nothing_and_a_zombie_loses() {
    let world = world().await;
    let mut index = world.index();
    let all: Vec<Made> = (0..10)
        .map(|offset| ours(offset, RejectionCode::NotJson))
        .collect();
    take(&mut index, &all[..6]).unwrap();
    let state = "SELECT sum(hashtext(d::text))::bigint FROM (SELECT dead_letters::text AS d FROM dead_letters UNION ALL SELECT failures::text FROM failures) x";
    let before = world.number(state).await;

    // Crashed after the transaction and before Kafka's commit: a new process starts at the database's offset.
    let mut next = world.index();
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        6
    );
    // And a loop that hands over the same batch again changes nothing.
    take(&mut next, &all[..6]).unwrap();
    assert_eq!(world.number(state).await, before);
    assert_eq!(
        world
            .number("SELECT stored * 100 + duplicate FROM consumer_offsets")
            .await,
        600
    );

    // The old process wakes up: it may write what is there already, and not move the offset back.
    take(&mut next, &all[6..]).unwrap();
    take(&mut index, &all[4..8]).unwrap();
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        10
    );
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 10);
    assert_eq!(world.number("SELECT count(*) FROM failures").await, 0);
    assert_eq!(
        world.number("SELECT stored FROM consumer_offsets").await,
        10
    );

    // Somebody set the offset back behind a batch: a gap, so the process ends.
    sqlx::query("UPDATE consumer_offsets SET next_offset = 2")
        .execute(&world.pool)
        .await
        .unwrap();
    let error = take(&mut next, &[ours(10, RejectionCode::NotJson)]).unwrap_err();
    assert_eq!((error.code(), error.must_stop()), ("offset_behind", true));
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters").await,
        10,
        "its rows went with its offset"
    );
    world.assert_counters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_fails_again_replaces_the_verdict_and_a_copy_does_not() {
    let world = world().await;
    let mut index = world.index();
    take(
        &mut index,
        &[
            ours(1, RejectionCode::NotJson),
            ours(2, RejectionCode::NotJson),
        ],
    )
    .unwrap();
    sqlx::raw_sql(
        "INSERT INTO replay_jobs (id, selection, created_by, items, needs_confirmation) VALUES ('j', '{}', 'me', 1, false);
         INSERT INTO replay_items (job_id, dead_letter_id, position, state, replay_count) VALUES ('j', 1, 0, 'sent', 1), ('j', 2, 1, 'sent', 1);
         UPDATE dead_letters SET state = 'replaying', job_id = 'j', edit_id = 7 WHERE id = 1;
         UPDATE dead_letters SET state = 'discarded', settled_at = now() WHERE id = 2",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let again = |offset: i64, raw: i64, count: &str| {
        ours(raw, RejectionCode::AmountNotPositive)
            .at(offset)
            .with("ef.replay_count", count)
            .with("ef.replay_id", "j")
    };
    let edited = Made {
        value: Some(b"{\"edited\":true}".to_vec()),
        ..again(10, 1, "1")
    };
    let batch = [
        edited,
        again(11, 2, "1"),
        ours(1, RejectionCode::NotJson).at(12),
    ];
    take(&mut index, &batch).unwrap();
    let one = detail::dead_letter(&world.recovery, 1).await.unwrap();
    assert_eq!(
        (
            one.letter.state,
            one.letter.code.as_str(),
            one.letter.replay_count
        ),
        (DeadLetterState::Open, "amount_not_positive", 1)
    );
    assert_eq!(
        one.value,
        Payload::Text {
            text: "{\"edited\":true}".to_owned()
        }
    );
    assert!(
        !one.letter.edited,
        "the edited value is the one that failed"
    );
    assert_eq!(one.dlq, (0, 10));
    let codes: Vec<_> = one
        .failures
        .iter()
        .map(|failure| (failure.code.as_str(), failure.dlq.1, failure.replay_count))
        .collect();
    assert_eq!(
        codes,
        [("not_json", 1, 0), ("not_json", 12, 0)],
        "the older verdict, and the late copy of it"
    );
    let old: Vec<u8> = sqlx::query_scalar("SELECT value FROM failures WHERE dlq_offset = 1")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(
        old,
        body("evt-1", "payment.authorized.v1"),
        "the original is not lost with the edit"
    );
    let two = detail::dead_letter(&world.recovery, 2).await.unwrap();
    assert_eq!(
        two.letter.state,
        DeadLetterState::Discarded,
        "what a person gave up stays given up"
    );
    assert_eq!(two.letter.code, "amount_not_positive");
    let items = sqlx::query("SELECT state, code, detail FROM replay_items ORDER BY position")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    for item in &items {
        assert_eq!(
            (item.get::<String, _>(0), item.get::<String, _>(1)),
            ("failed".to_owned(), "amount_not_positive".to_owned())
        );
        assert!(item.get::<String, _>(2).starts_with("/payload/amount"));
    }
    assert_eq!(
        world
            .number("SELECT stored * 100 + duplicate FROM consumer_offsets")
            .await,
        203
    );
    world.assert_counters().await;

    // Twice in one batch, in the wrong order, and all of it read again: the highest count stays.
    take(&mut index, &[again(13, 1, "3"), again(14, 1, "2")]).unwrap();
    let state = "SELECT sum(hashtext(x))::bigint FROM (SELECT dead_letters::text AS x FROM dead_letters UNION ALL SELECT failures::text FROM failures) y";
    let before = world.number(state).await;
    take(&mut index, &batch).unwrap();
    take(&mut index, &[again(13, 1, "3"), again(14, 1, "2")]).unwrap();
    assert_eq!(world.number(state).await, before);
    let one = detail::dead_letter(&world.recovery, 1).await.unwrap();
    assert_eq!(
        (one.letter.replay_count, one.dlq, one.failures.len()),
        (3, (0, 13), 4)
    );
    world.assert_counters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_a_recreated_raw_topic_is_no_copy_of_an_old_one() {
    let world = world().await;
    let mut index = world.index();
    let of = |offset: i64, raw: &str| ours(offset, RejectionCode::NotJson).with("ef.raw", raw);
    let (old, new) = ("2:0:AAAAAAAAAAAAAAAAAAAAAQ", "2:0:AAAAAAAAAAAAAAAAAAAAAg");
    take(&mut index, &[of(0, old)]).unwrap();
    sqlx::query("UPDATE dead_letters SET state = 'discarded'")
        .execute(&world.pool)
        .await
        .unwrap();
    // The same coordinates, and once more each: also without an id, as version 0.1 wrote them.
    take(&mut index, &[of(1, new), of(2, new), of(3, "2:0")]).unwrap();
    // Another process has learned nothing yet.
    take(&mut world.index(), &[of(4, old)]).unwrap();
    let letters: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT d.origin_topic, d.state, (SELECT count(*) FROM failures f WHERE f.dead_letter_id = d.id) FROM dead_letters d ORDER BY d.id",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let expected = [
        ("events.raw.v1".to_owned(), "discarded".to_owned(), 2),
        (
            "events.raw.v1@AAAAAAAAAAAAAAAAAAAAAg".to_owned(),
            "open".to_owned(),
            1,
        ),
    ];
    assert_eq!(letters, expected);
}
