//! One patch for many: all or none, nobody else kept waiting, and narrowed when it takes too long.

use crate::replay::{VALIDATOR, body, world};
use crate::{current, dead};
use recovery::model::{EditSummary, Selection};
use recovery::replay::edit;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_goes_to_all_or_to_none_and_touches_no_other_digit() {
    let world = world(&["--confirm-above", "200"]).await;
    let broken = |id: &str| body(id, "1234567890123456789.10").replace("EUR", "eur");
    let mut ids = Vec::new();
    for offset in 0..150 {
        ids.push(
            dead(
                &world,
                VALIDATOR,
                offset,
                broken(&format!("e{offset}")).as_bytes(),
            )
            .await,
        );
    }
    let patch = json!([{"op": "replace", "path": "/payload/currency", "value": "EUR"}]);
    let all = Selection {
        code: vec!["invalid_amount".to_owned()],
        ..Selection::default()
    };
    // One that stays broken: none is changed, and it is named.
    let bad = dead(&world, VALIDATOR, 777, body("bad", "0").as_bytes()).await;
    let refused = edit::patch(
        &world.recovery,
        "eve",
        &all,
        &json!([{"op": "replace", "path": "/payload/order_id", "value": "x"}]).to_string(),
        "",
        "k1",
        true,
    )
    .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "still_broken");
    assert!(refused.to_string().contains("dead letter "), "{refused}");
    assert_eq!(world.number("SELECT count(*) FROM edits").await, 0);
    let missing = json!([{"op": "replace", "path": "/payload/nothing", "value": 1}]);
    assert_eq!(
        edit::patch(
            &world.recovery,
            "eve",
            &all,
            &missing.to_string(),
            "",
            "k2",
            true
        )
        .await
        .unwrap_err()
        .code(),
        "invalid_request"
    );
    assert_eq!(
        edit::patch(
            &world.recovery,
            "eve",
            &all,
            &json!({"no": "patch"}).to_string(),
            "",
            "k3",
            true
        )
        .await
        .unwrap_err()
        .code(),
        "invalid_request"
    );
    edit::discard(
        &world.recovery,
        "eve",
        &Selection {
            id: vec![bad],
            ..Selection::default()
        },
        "a test",
        false,
    )
    .await
    .unwrap();
    let edited = edit::patch(
        &world.recovery,
        "eve",
        &all,
        &patch.to_string(),
        "lower case",
        "k4",
        false,
    )
    .await
    .unwrap();
    assert_eq!(
        edited,
        EditSummary {
            changed: 150,
            unchanged: 0
        }
    );
    let sent = String::from_utf8(current(&world, ids[7]).await.unwrap()).unwrap();
    assert!(
        sent.contains("1234567890123456789.10") && sent.contains("\"EUR\""),
        "{sent}"
    );
    let edited = edit::patch(
        &world.recovery,
        "eve",
        &all,
        &patch.to_string(),
        "lower case",
        "k5",
        false,
    )
    .await
    .unwrap();
    assert_eq!(
        edited,
        EditSummary {
            changed: 0,
            unchanged: 150
        },
        "the second time changes nothing"
    );
    assert_eq!(world.number("SELECT count(*) FROM edits").await, 150);
    let everything = Selection::default();
    assert_eq!(
        edit::patch(
            &world.recovery,
            "eve",
            &everything,
            &patch.to_string(),
            "",
            "k6",
            false
        )
        .await
        .unwrap_err()
        .code(),
        "needs_confirmation"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_in_progress_keeps_no_new_dead_letter_of_its_group_waiting() {
    let world = world(&[]).await;
    dead(&world, VALIDATOR, 1, b"{}").await;
    let mut patching = world.pool.begin().await.unwrap();
    sqlx::query("UPDATE dead_letters SET edit_id = 1")
        .execute(&mut *patching)
        .await
        .unwrap();
    let indexing = dead(&world, VALIDATOR, 2, b"{}");
    tokio::time::timeout(std::time::Duration::from_secs(5), indexing)
        .await
        .expect("the index is not kept waiting");
    patching.rollback().await.unwrap();
    assert_eq!(world.number("SELECT open FROM groups").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_cancels_for_its_length_is_to_be_narrowed_and_not_tried_again() {
    let world = world(&[]).await;
    let id = dead(&world, VALIDATOR, 1, body("e1", "0").as_bytes()).await;
    for statement in [
        "CREATE FUNCTION too_long() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled'; END $$",
        "CREATE TRIGGER too_long BEFORE UPDATE ON dead_letters FOR EACH ROW EXECUTE FUNCTION too_long()",
    ] {
        sqlx::query(statement).execute(&world.pool).await.unwrap();
    }
    let one = Selection {
        id: vec![id],
        ..Selection::default()
    };
    let patch = json!([{"op": "replace", "path": "/payload/amount", "value": 5}]).to_string();
    let patched = edit::patch(&world.recovery, "eve", &one, &patch, "", "k7", false)
        .await
        .unwrap_err();
    let discarded = edit::discard(&world.recovery, "eve", &one, "a test", false)
        .await
        .unwrap_err();
    for refused in [patched, discarded] {
        assert!(
            refused.code() == "invalid_request" && refused.to_string().contains("narrow"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_would_fill_the_memory_is_refused() {
    let world = world(&[]).await;
    let id = dead(&world, VALIDATOR, 1, body("e1", "0").as_bytes()).await;
    let one = Selection {
        id: vec![id],
        ..Selection::default()
    };
    // Forty copies of the payload into itself are a million million of it.
    let doubled = |times: usize| {
        let copies = (0..times)
            .map(|n| json!({"op": "copy", "from": "/payload", "path": format!("/payload/{n}")}));
        serde_json::Value::from_iter(copies).to_string()
    };
    for (times, reason) in [
        (40, "more than 1000000 bytes after the patch"),
        (101, "101 operations; at most 100 are allowed"),
    ] {
        let key = times.to_string();
        let patch = doubled(times);
        let refused = edit::patch(&world.recovery, "eve", &one, &patch, "", &key, true).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), "invalid_request");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    assert_eq!(world.number("SELECT count(*) FROM edits").await, 0);
}
