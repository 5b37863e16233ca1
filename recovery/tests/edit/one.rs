//! One value edited: verbatim, only to what passes, and never to another event.

use crate::replay::{Dead, PERSISTENCE, VALIDATOR, body, framed, registry, world};
use crate::{ONE, SAME, current, dead};
use recovery::replay::edit;
use recovery::replay::jobs;
use serde_json::json;

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
    let log = jobs::audit_log(&world.recovery, None, Some(id), None, 10)
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
async fn an_edit_never_makes_another_event_but_may_fix_an_invalid_event_id() {
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
    // Without its source nobody knows how to read it.
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
        "still_broken"
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
            &document["event_type"]
        ),
        (&json!("e1"), &json!("5"), &json!("payment.authorized.v1"))
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

/// A person edits the event, not how the vendor wrote it down; the raw value stays the signed bytes.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_a_form_is_edited_as_the_json_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::replay::sources_file(folder.path(), "\"/payload/payment_id\"");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace(
        "name = \"acme\"\n",
        "name = \"acme\"\nbody = \"form:payload\"\n",
    );
    std::fs::write(&file, text).unwrap();
    let world = world(&["--sources", &file]).await;
    let (bad, good) = (body("e1", "-5"), body("e1", "5"));
    let escaped: String = bad.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form = format!("payload={escaped}");
    let id = dead(&world, VALIDATOR, 1, form.as_bytes()).await;
    let context = &world.recovery;
    assert_eq!(edit::editable_text(context, id).await.unwrap(), bad);
    let same = edit::edit(context, "eve", id, &bad, "").await.unwrap();
    assert_eq!(same, SAME, "what is there already is no edit");
    let one = edit::edit(context, "eve", id, &good, "typo").await.unwrap();
    assert_eq!(one, ONE);
    assert_eq!(current(&world, id).await.unwrap(), good.as_bytes());
    assert_eq!(edit::editable_text(context, id).await.unwrap(), good);
    let patch = world.text("SELECT patch::text FROM edits").await.unwrap();
    assert_eq!(
        patch,
        r#"[{"op":"replace","path":"/payload/amount","value":5}]"#
    );
}
