//! Edits: checked before they are taken, the original kept, and never another event.

#![allow(clippy::unwrap_used, reason = "a test")]

mod replay;

use recovery::model::{EditSummary, Selection};
use recovery::replay::edit;
use recovery::replay::jobs;
use replay::{Dead, PERSISTENCE, VALIDATOR, World, body, count, framed, registry, world};
use serde_json::json;

const ONE: EditSummary = EditSummary {
    changed: 1,
    unchanged: 0,
};
const SAME: EditSummary = EditSummary {
    changed: 0,
    unchanged: 1,
};

async fn dead(world: &World, group: &str, offset: i64, value: &[u8]) -> i64 {
    world
        .dead(&Dead {
            group,
            raw: (0, offset),
            value: Some(value),
            ..Dead::default()
        })
        .await
}

async fn current(world: &World, id: i64) -> Option<Vec<u8>> {
    let value = sqlx::query_scalar(
        "SELECT e.value FROM dead_letters d JOIN edits e ON e.id = d.edit_id WHERE d.id = $1",
    );
    value.bind(id).fetch_optional(&world.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_taken_verbatim_once_and_the_original_stays() {
    let world = world(&[]).await;
    let (bad, good) = (body("e1", "\"-5\""), body("e1", "12345678901234567890.12"));
    let id = dead(&world, VALIDATOR, 1, bad.as_bytes()).await;
    assert_eq!(edit::editable_text(&world.recovery, id).await.unwrap(), bad);
    assert_eq!(
        edit::edit(&world.recovery, "eve", id, &bad, "")
            .await
            .unwrap(),
        SAME,
        "what is there already is no edit"
    );
    let refused = edit::edit(&world.recovery, "eve", id, &body("e1", "0"), "")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "still_broken");
    assert!(
        refused.to_string().contains("amount_not_positive"),
        "{refused}"
    );
    assert_eq!(current(&world, id).await, None);
    assert_eq!(
        edit::edit(&world.recovery, "eve", id, &good, "typo")
            .await
            .unwrap(),
        ONE
    );
    assert_eq!(
        edit::edit(&world.recovery, "eve", id, &good, "typo")
            .await
            .unwrap(),
        SAME
    );
    assert_eq!(current(&world, id).await.unwrap(), good.as_bytes());
    assert_eq!(
        edit::editable_text(&world.recovery, id).await.unwrap(),
        good
    );
    assert_eq!(world.number("SELECT count(*) FROM edits").await, 1);
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE sha256(value) = value_sha256")
            .await,
        1,
        "the original stays"
    );
    let patch = world.text("SELECT patch::text FROM edits").await.unwrap();
    assert_eq!(
        patch, r#"[{"op":"replace","path":"/payload/amount","value":12345678901234567890.12}]"#,
        "every digit"
    );
    let log = jobs::audit_log(&world.recovery, None, Some(id), 10)
        .await
        .unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (
            log[0].who.as_str(),
            log[0].action.as_str(),
            log[0].reason.as_str()
        ),
        ("eve", "dead_letter.edit", "typo")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_never_makes_another_event_but_mends_an_id_that_is_at_fault() {
    let world = world(&[]).await;
    let id = dead(&world, VALIDATOR, 1, body("e1", "0").as_bytes()).await;
    let refused = edit::edit(&world.recovery, "eve", id, &body("e2", "5"), "")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "invalid_request");
    assert!(refused.to_string().contains("another event"), "{refused}");
    let blank = dead(&world, VALIDATOR, 2, body(" ", "5").as_bytes()).await;
    assert_eq!(
        edit::edit(&world.recovery, "eve", blank, &body("e3", "5"), "")
            .await
            .unwrap(),
        ONE
    );
    // A value that is no JSON, nor UTF-8, says nothing that could change; its text is what can be read of it.
    let broken = dead(&world, VALIDATOR, 3, b"\xff{\"event_id\":\"e4\"\x00").await;
    assert_eq!(
        edit::editable_text(&world.recovery, broken).await.unwrap(),
        "\u{fffd}{\"event_id\":\"e4\"\0"
    );
    assert_eq!(
        edit::edit(&world.recovery, "eve", broken, &body("e4", "5"), "")
            .await
            .unwrap(),
        ONE
    );
    // The source is identity only where no header says it.
    let text = body("e5", "0").replace("\"s\"", "\"t\"");
    let plain = world
        .dead(&Dead {
            raw: (0, 5),
            value: Some(text.as_bytes()),
            headers: json!([]),
            ..Dead::default()
        })
        .await;
    assert_eq!(
        edit::edit(&world.recovery, "eve", plain, &body("e5", "5"), "")
            .await
            .unwrap_err()
            .code(),
        "invalid_request"
    );
    let headed = dead(&world, VALIDATOR, 6, text.as_bytes()).await;
    assert_eq!(
        edit::edit(&world.recovery, "eve", headed, &body("e5", "5"), "")
            .await
            .unwrap(),
        ONE
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn framed_avro_is_edited_as_its_envelope_and_framed_again() {
    let url = registry().await;
    let world = world(&["--registry-url", &url]).await;
    let id = dead(&world, PERSISTENCE, 1, &framed(&body("e1", "5"))).await;
    let text = edit::editable_text(&world.recovery, id).await.unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (
            &document["event_id"],
            &document["payload"]["amount"],
            &document["schema_version"]
        ),
        (&json!("e1"), &json!("5"), &json!(1))
    );
    assert_eq!(
        edit::edit(&world.recovery, "eve", id, &text, "")
            .await
            .unwrap(),
        SAME
    );
    assert_eq!(
        edit::edit(
            &world.recovery,
            "eve",
            id,
            &text.replace("\"5\"", "\"5.00\""),
            ""
        )
        .await
        .unwrap(),
        SAME,
        "the same Avro"
    );
    assert_eq!(
        edit::edit(
            &world.recovery,
            "eve",
            id,
            &text.replace("\"5\"", "\"6.5\""),
            ""
        )
        .await
        .unwrap(),
        ONE
    );
    assert_eq!(
        current(&world, id).await.unwrap(),
        framed(&body("e1", "6.5"))
    );
    assert!(
        edit::editable_text(&world.recovery, id)
            .await
            .unwrap()
            .contains("\"6.5\"")
    );
    // Back to what it was.
    assert_eq!(
        edit::edit(&world.recovery, "eve", id, &text, "")
            .await
            .unwrap(),
        ONE
    );
    assert_eq!(current(&world, id).await, None);
    assert_eq!(
        edit::edit(
            &world.recovery,
            "eve",
            id,
            &text.replace("\"e1\"", "\"e2\""),
            ""
        )
        .await
        .unwrap_err()
        .code(),
        "invalid_request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_open_dead_letters_that_can_be_replayed_are_edited() {
    let world = world(&[]).await;
    let id = dead(&world, VALIDATOR, 1, body("e1", "0").as_bytes()).await;
    sqlx::query("UPDATE dead_letters SET state = 'replaying'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(
        edit::edit(&world.recovery, "eve", id, &body("e1", "5"), "")
            .await
            .unwrap_err()
            .code(),
        "wrong_state"
    );
    let foreign = dead(&world, "billing", 2, body("e1", "0").as_bytes()).await;
    assert_eq!(
        edit::edit(&world.recovery, "eve", foreign, &body("e1", "5"), "")
            .await
            .unwrap_err()
            .code(),
        "wrong_state"
    );
    assert_eq!(
        edit::edit(&world.recovery, "eve", 999, "{}", "")
            .await
            .unwrap_err()
            .code(),
        "not_found"
    );
    assert_eq!(
        edit::edit(&world.recovery, "", id, "{}", "")
            .await
            .unwrap_err()
            .code(),
        "invalid_request"
    );
    assert_eq!(
        edit::edit(&world.recovery, "eve", id, &"x".repeat(1_000_001), "")
            .await
            .unwrap_err()
            .code(),
        "invalid_request"
    );
}

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
async fn a_discard_says_why_needs_a_word_for_many_and_is_not_sent_by_a_replay_planned_before() {
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
    let log = jobs::audit_log(&world.recovery, None, None, 1)
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
async fn a_patch_in_hand_keeps_no_new_dead_letter_of_its_group_waiting() {
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
