//! What the routes do, and that the same again does nothing more. Every answer has the fields its schema says.

use crate::world::{Answer, World};
use recovery::http::openapi;
use serde_json::{Value, json};

/// Asserts that an answer has exactly the fields of its schema, and theirs in turn.
fn fits(value: &Value, schema: &Value, place: &str) {
    let document = openapi::document();
    let resolve = |schema: &Value| match schema["$ref"].as_str() {
        Some(name) => document["components"]["schemas"][name.rsplit('/').next().unwrap()].clone(),
        None => schema.clone(),
    };
    let schema = resolve(schema);
    match (value, &schema["properties"]) {
        (Value::Object(fields), Value::Object(properties))
            if schema["additionalProperties"] != json!(false) =>
        {
            let has: Vec<_> = fields.keys().collect();
            let says: Vec<_> = properties.keys().collect();
            assert_eq!(has, says, "{place}");
            fields.iter().for_each(|(name, value)| {
                fits(value, &properties[name], &format!("{place}.{name}"))
            });
        }
        (Value::Array(items), _) if schema["type"] == "array" => {
            items
                .iter()
                .for_each(|item| fits(item, &schema["items"], &format!("{place}[]")));
        }
        _ => {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_i64() => "integer",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            let says = &schema["type"];
            let number = kind == "integer" && says.to_string().contains("number");
            assert!(
                says.is_null() || number || says.to_string().contains(&format!("\"{kind}\"")),
                "{place} is {kind}, says {says}"
            );
        }
    }
}

/// Done, and as the document says.
#[track_caller]
fn told(answer: &Answer, path: &str, method: &str) -> Value {
    let document = openapi::document();
    let content = &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    assert!(
        content.is_object(),
        "{method} {path} is not in the document"
    );
    fits(answer.is_done(), content, path);
    answer.json.clone()
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_grouped_summed_and_shown() {
    let world = World::new("lists").await;
    let ids = world.dead_letters("invalid_amount", 5).await;
    world.dead_letters("not_json", 2).await;
    let get = async |path: &str| world.ask("viewer", "GET", path, "").await;
    let page = get("/api/v1/dead-letters?code=invalid_amount&limit=2").await;
    let page = told(&page, "/api/v1/dead-letters", "get");
    let listed: Vec<i64> = page["letters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|letter| letter["id"].as_i64().unwrap())
        .collect();
    assert_eq!(listed, [ids[4], ids[3]]);
    let next = get(&format!(
        "/api/v1/dead-letters?code=invalid_amount&limit=2&before={}",
        ids[3]
    ))
    .await;
    assert_eq!(next.is_done()["letters"][0]["id"], ids[2]);
    let groups = told(&get("/api/v1/groups").await, "/api/v1/groups", "get");
    assert_eq!(
        (
            groups["groups"][0]["open"].as_i64(),
            groups["groups"][1]["open"].as_i64()
        ),
        (Some(5), Some(2))
    );
    let stats = told(&get("/api/v1/stats").await, "/api/v1/stats", "get");
    assert_eq!(
        (
            stats["open"].as_i64(),
            stats["by_code"]["not_json"].as_i64()
        ),
        (Some(7), Some(2))
    );
    let shown = told(
        &get(&format!("/api/v1/dead-letters/{}", ids[0])).await,
        "/api/v1/dead-letters/{id}",
        "get",
    );
    assert_eq!(
        shown["value"]["text"],
        r#"{"event_id":"evt_1","payload":{"amount":"-1"}}"#
    );
    get("/api/v1/dead-letters/999999")
        .await
        .refuses(404, "not_found");
}

#[tokio::test]
async fn an_export_is_json_lines_up_to_its_limit() {
    let here = World::new("exported").await;
    here.dead_letters("invalid_amount", 7).await;
    let exported = here.ask("viewer", "GET", "/api/v1/export", "").await;
    assert_eq!(
        (
            exported.status,
            exported.media.as_str(),
            exported.text.lines().count()
        ),
        (200, "application/x-ndjson", 7)
    );
    let three = here
        .ask("viewer", "GET", "/api/v1/export?limit=3", "")
        .await;
    assert_eq!(three.text.lines().count(), 3);
    assert!(exported.text.starts_with(&three.text));
}

#[tokio::test]
async fn a_replay_is_planned_once_a_key_and_every_change_may_be_sent_again() {
    let world = World::new("replays").await;
    world.dead_letters("invalid_amount", 3).await;
    let plan = json!({"selection": {"code": ["invalid_amount"]}, "reason": "fixed"}).to_string();
    let planned = async |key: &str, body: &str| {
        world
            .ask_with(
                "operator",
                "POST",
                "/api/v1/replays",
                body.to_owned(),
                Some(key),
            )
            .await
    };
    let first = told(&planned("once", &plan).await, "/api/v1/replays", "post");
    let again = planned("once", &plan).await;
    assert_eq!(
        (first["id"].clone(), first["created_by"].as_str()),
        (again.is_done()["id"].clone(), Some("olga"))
    );
    assert_eq!(world.count("SELECT count(*) FROM replay_jobs").await, 1);
    let nothing = json!({"selection": {"code": ["no_such_code"]}}).to_string();
    planned("other", &nothing).await.refuses(404, "not_found");
    let job = first["id"].as_str().unwrap();
    let change = async |what: &str| {
        world
            .ask(
                "operator",
                "POST",
                &format!("/api/v1/replays/{job}/{what}"),
                "",
            )
            .await
    };
    for (what, state) in [
        ("apply", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
    ] {
        for _ in 0..2 {
            let path = format!("/api/v1/replays/{{id}}/{what}");
            assert_eq!(
                told(&change(what).await, &path, "post")["state"],
                state,
                "{what}"
            );
        }
    }
    change("apply").await.refuses(409, "wrong_state");
    for what in ["apply", "approve", "pause", "resume", "stop"] {
        world
            .ask(
                "operator",
                "POST",
                &format!("/api/v1/replays/nope/{what}"),
                "",
            )
            .await
            .refuses(404, "not_found");
    }
    let get = async |path: &str| world.ask("viewer", "GET", path, "").await;
    assert_eq!(
        told(
            &get(&format!("/api/v1/replays/{job}")).await,
            "/api/v1/replays/{id}",
            "get"
        )["items"],
        3
    );
    let items = told(
        &get(&format!("/api/v1/replays/{job}/items?limit=2")).await,
        "/api/v1/replays/{id}/items",
        "get",
    );
    assert_eq!(items["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        get(&format!("/api/v1/replays/{job}/items?state=stored,failed"))
            .await
            .is_done()["items"],
        json!([])
    );
    assert_eq!(
        told(
            &get("/api/v1/replays?limit=1").await,
            "/api/v1/replays",
            "get"
        )["replays"][0]["id"],
        job
    );
    let log = told(
        &get(&format!("/api/v1/log?job={job}")).await,
        "/api/v1/log",
        "get",
    );
    assert!(
        log["entries"]
            .as_array()
            .unwrap()
            .iter()
            .all(|entry| entry["who"] == "olga"),
        "{log}"
    );
    for path in ["/api/v1/replays/nope", "/api/v1/replays/nope/items"] {
        get(path).await.refuses(404, "not_found");
    }
}

#[tokio::test]
async fn nobody_approves_what_they_planned_themselves() {
    let world = World::with("approvals", &["--confirm-above", "1", "--require-approval"]).await;
    world.dead_letters("invalid_amount", 3).await;
    let plan = json!({"selection": {"code": ["invalid_amount"]}}).to_string();
    let planned = world
        .ask_with("operator", "POST", "/api/v1/replays", plan, Some("k"))
        .await;
    let path = format!(
        "/api/v1/replays/{}",
        planned.is_done()["id"].as_str().unwrap()
    );
    let post = async |role: &str, what: &str, body: &str| {
        world
            .ask(role, "POST", &format!("{path}{what}"), body.to_owned())
            .await
    };
    post("operator", "/apply", "")
        .await
        .refuses(409, "needs_confirmation");
    post("operator", "/apply", "{\"yes\":true}")
        .await
        .refuses(409, "needs_approval");
    assert_eq!(post("operator", "/approve", "").await.status, 409);
    for _ in 0..2 {
        assert_eq!(
            told(
                &post("second", "/approve", "").await,
                "/api/v1/replays/{id}/approve",
                "post"
            )["approved_by"],
            "otto"
        );
    }
    assert_eq!(
        post("operator", "/apply", "{\"yes\":true}").await.is_done()["state"],
        "running"
    );
}

#[tokio::test]
async fn an_audit_of_nothing_has_no_gaps() {
    let world = World::new("audited").await;
    let audit = told(
        &world
            .ask("viewer", "GET", "/api/v1/audit?from=7d", "")
            .await,
        "/api/v1/audit",
        "get",
    );
    assert_eq!(
        (audit["gaps"].as_i64(), audit["double_fates"].as_i64()),
        (Some(0), Some(0))
    );
}

/// A dead letter whose contract takes its value once the amount is positive.
const BROKEN: &str = r#"{"event_id":"evt_1","event_type":"payment.authorized.v1","schema_version":1,"source":"payment-provider","timestamp":"2026-01-02T03:04:05Z","payload":{"payment_id":"pay_1","order_id":"o","amount":"-1.00","currency":"EUR","provider_auth_id":"a"}}"#;

#[tokio::test]
async fn a_value_is_edited_only_to_what_passes_and_the_same_again_changes_nothing() {
    let world = World::new("edits").await;
    let id = world.dead_letters("amount_not_positive", 1).await[0];
    sqlx::query(
        "UPDATE dead_letters SET value = $1, value_bytes = length($1), value_sha256 = sha256($1)",
    )
    .bind(BROKEN.as_bytes())
    .execute(&world.pool)
    .await
    .unwrap();
    let path = format!("/api/v1/dead-letters/{id}/value");
    let value = told(
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
    let mended = value["text"].as_str().unwrap().replace("-1.00", "1.00");
    for changed in [1, 0] {
        let edited = told(
            &put(&mended).await,
            "/api/v1/dead-letters/{id}/value",
            "put",
        );
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
            json!({"text": mended}).to_string(),
        )
        .await
        .refuses(404, "not_found");
    let patch =
        json!({"selection": {"id": [id]}, "patch": [{"op": "replace", "path": "/payload/amount", "value": "3.00"}]}).to_string();
    for changed in [1, 0] {
        let patched = told(
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
    let shown = told(
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
    let dry = told(
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
    let world = World::new("patched_once").await;
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
    post("-2.00", "mended").await.refuses(422, "still_broken");
    let (first, beside) = tokio::join!(post("1.00", "mended"), post("1.00", "mended"));
    for answer in [first, beside, post("1.00", "mended").await] {
        assert_eq!(
            told(&answer, PATH, "post"),
            json!({"changed": 1, "unchanged": 0})
        );
    }
    assert_eq!(world.count("SELECT count(*) FROM edits").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM audit_log").await, 1);
    post("1.00", "another")
        .await
        .refuses(400, "invalid_request");
    let other = post("2.00", "mended").await;
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
    let world = World::new("discards").await;
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
            told(&answer, "/api/v1/dead-letters/discard", "post"),
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

#[tokio::test]
async fn a_dead_letter_is_explained_and_an_event_has_its_story() {
    let world = World::new("stories").await;
    let id = world.dead_letters("amount_not_positive", 1).await[0];
    let explained = world
        .ask(
            "viewer",
            "GET",
            &format!("/api/v1/dead-letters/{id}/explain"),
            "",
        )
        .await;
    let explained = told(&explained, "/api/v1/dead-letters/{id}/explain", "get");
    assert_eq!(
        (explained["letter"].as_i64(), explained["code"].as_str()),
        (Some(id), Some("amount_not_positive"))
    );
    world
        .ask("viewer", "GET", "/api/v1/dead-letters/999999/explain", "")
        .await
        .refuses(404, "not_found");
    let story = told(
        &world
            .ask("viewer", "GET", "/api/v1/trace?q=evt_1", "")
            .await,
        "/api/v1/trace",
        "get",
    );
    assert_eq!(story["stories"][0]["event_id"], "evt_1");
    world
        .ask("viewer", "GET", "/api/v1/trace?q=evt_nobody_sent", "")
        .await
        .refuses(404, "not_found");
}
