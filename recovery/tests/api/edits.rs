//! What changes a dead letter: an edit, a patch, a discard; the same again does nothing more.

use crate::answers::documented;
use crate::world::World;
use recovery::http::openapi;
use serde_json::json;

/// A dead letter whose contract takes its value once the amount is positive.
const BROKEN: &str = r#"{"event_id":"evt_1","event_type":"payment.authorized.v1","schema_version":1,"source":"payment-provider","timestamp":"2026-01-02T03:04:05Z","payload":{"payment_id":"pay_1","order_id":"o","amount":"-1.00","currency":"EUR","provider_auth_id":"a"}}"#;

#[tokio::test]
async fn a_value_is_edited_only_to_what_passes_and_the_same_again_changes_nothing() {
    let world = World::new().await;
    let id = world.dead_letters("amount_not_positive", 1).await[0];
    sqlx::query(
        "UPDATE dead_letters SET value = $1, value_bytes = length($1), value_sha256 = sha256($1)",
    )
    .bind(BROKEN.as_bytes())
    .execute(&world.pool)
    .await
    .unwrap();
    let path = format!("/api/v1/dead-letters/{id}/value");
    let value = documented(
        &world.ask("viewer", "GET", &path, "").await,
        "/api/v1/dead-letters/{id}/value",
        "get",
    );
    let put = async |text: &str| {
        world
            .ask(
                "operator",
                "PUT",
                &path,
                json!({"text": text, "reason": "typing error"}).to_string(),
            )
            .await
    };
    let refused = put(&value["text"].as_str().unwrap().replace("-1.00", "-2.00")).await;
    refused.refuses(422, "still_broken");
    assert_eq!(
        refused.json["rejection"]["code"], "amount_not_positive",
        "{}",
        refused.text
    );
    let fixed = value["text"].as_str().unwrap().replace("-1.00", "1.00");
    for changed in [1, 0] {
        let edited = documented(&put(&fixed).await, "/api/v1/dead-letters/{id}/value", "put");
        assert_eq!(
            edited,
            json!({"changed": changed, "unchanged": 1 - changed})
        );
    }
    assert_eq!(world.count("SELECT count(*) FROM edits").await, 1);
    world
        .ask(
            "operator",
            "PUT",
            "/api/v1/dead-letters/999999/value",
            json!({"text": fixed}).to_string(),
        )
        .await
        .refuses(404, "not_found");
    let patch =
        json!({"selection": {"id": [id]}, "patch": [{"op": "replace", "path": "/payload/amount", "value": "3.00"}]}).to_string();
    for changed in [1, 0] {
        let patched = documented(
            &world
                .ask_with(
                    "operator",
                    "POST",
                    "/api/v1/dead-letters/patch",
                    patch.clone(),
                    Some(&format!("changes {changed}")),
                )
                .await,
            "/api/v1/dead-letters/patch",
            "post",
        );
        assert_eq!(
            patched,
            json!({"changed": changed, "unchanged": 1 - changed})
        );
    }
    // A number in a patch keeps every digit: more than a float has.
    let digits =
        r#""patch": [{"op": "replace", "path": "/payload/amount", "value": 12345678901234567.89}]"#;
    let precise = format!(r#"{{"selection": {{"id": [{id}]}}, {digits}}}"#);
    world
        .ask_with(
            "operator",
            "POST",
            "/api/v1/dead-letters/patch",
            precise,
            Some("digits"),
        )
        .await
        .is_done();
    let value = world
        .ask(
            "operator",
            "GET",
            &format!("/api/v1/dead-letters/{id}/value"),
            "",
        )
        .await;
    assert!(
        value.is_done()["text"]
            .as_str()
            .unwrap()
            .contains("12345678901234567.89"),
        "every digit"
    );
    let shown = documented(
        &world
            .ask("viewer", "GET", &format!("/api/v1/dead-letters/{id}"), "")
            .await,
        "/api/v1/dead-letters/{id}",
        "get",
    );
    assert_eq!(
        (
            shown["edited"].as_bool(),
            shown["edits"][0]["edited_by"].as_str()
        ),
        (Some(true), Some("olga"))
    );
    let plan = world
        .ask_with(
            "operator",
            "POST",
            "/api/v1/replays",
            json!({"selection": {"id": [id]}}).to_string(),
            Some("k"),
        )
        .await;
    let dry = format!(
        "/api/v1/replays/{}/dry-run",
        plan.is_done()["id"].as_str().unwrap()
    );
    let dry = documented(
        &world.ask("operator", "POST", &dry, "").await,
        "/api/v1/replays/{id}/dry-run",
        "post",
    );
    assert_eq!(
        (dry["would_store"].as_i64(), dry["would_fail"].as_i64()),
        (Some(1), Some(0)),
        "{dry}"
    );
}

#[tokio::test]
async fn a_patch_is_applied_once_a_key_whatever_it_would_do_a_second_time() {
    const PATH: &str = "/api/v1/dead-letters/patch";
    let world = World::new().await;
    let id = world.dead_letters("amount_not_positive", 1).await[0];
    sqlx::query(
        "UPDATE dead_letters SET value = $1, value_bytes = length($1), value_sha256 = sha256($1)",
    )
    .bind(BROKEN.as_bytes())
    .execute(&world.pool)
    .await
    .unwrap();
    let body = |to: &str| {
        let steps = json!([{"op": "test", "path": "/payload/amount", "value": "-1.00"}, {"op": "replace", "path": "/payload/amount", "value": to}]);
        json!({"selection": {"id": [id]}, "patch": steps}).to_string()
    };
    let post = async |to: &str, key: &str| {
        world
            .ask_with("operator", "POST", PATH, body(to), Some(key))
            .await
    };
    // What was refused is not remembered.
    post("-2.00", "fixed").await.refuses(422, "still_broken");
    let (first, beside) = tokio::join!(post("1.00", "fixed"), post("1.00", "fixed"));
    for answer in [first, beside, post("1.00", "fixed").await] {
        assert_eq!(
            documented(&answer, PATH, "post"),
            json!({"changed": 1, "unchanged": 0})
        );
    }
    assert_eq!(world.count("SELECT count(*) FROM edits").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM audit_log").await, 1);
    post("1.00", "another")
        .await
        .refuses(400, "invalid_request");
    let other = post("2.00", "fixed").await;
    other.refuses(409, "wrong_state");
    assert!(
        other.json["detail"].as_str().unwrap().contains("new key"),
        "{}",
        other.text
    );
    world
        .ask("operator", "POST", PATH, body("1.00"))
        .await
        .refuses(400, "idempotency_key_required");
    let says = &openapi::document()["paths"][PATH]["post"]["parameters"][0];
    assert_eq!(
        (says["name"].as_str(), says["required"].as_bool()),
        (Some("Idempotency-Key"), Some(true))
    );
}

#[tokio::test]
async fn a_discard_says_why_and_happens_once() {
    let world = World::new().await;
    let ids = world.dead_letters("invalid_amount", 2).await;
    let discard = json!({"selection": {"id": [ids[0]]}, "reason": "test traffic"}).to_string();
    for discarded in [1, 0] {
        let answer = world
            .ask(
                "operator",
                "POST",
                "/api/v1/dead-letters/discard",
                discard.clone(),
            )
            .await;
        assert_eq!(
            documented(&answer, "/api/v1/dead-letters/discard", "post"),
            json!({"discarded": discarded})
        );
    }
    let all = json!({"selection": {}, "reason": "r"}).to_string();
    world
        .ask("operator", "POST", "/api/v1/dead-letters/discard", all)
        .await
        .refuses(409, "needs_confirmation");
    assert_eq!(
        world
            .count("SELECT count(*) FROM dead_letters WHERE state = 'open'")
            .await,
        1
    );
}
