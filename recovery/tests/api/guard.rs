//! Before the work: who may, which words, how much at once. Every route of the document, and no other.

use crate::world::{HOSTILE, World, answer, token};
use axum::body::Body;
use axum::http::Request;
use recovery::http::{Tokens, openapi};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every operation of the document: method, path with a number in it, and what it says.
fn operations() -> Vec<(String, String, Value)> {
    let document = openapi::document();
    let paths = document["paths"].as_object().unwrap().clone();
    let all = paths.into_iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().clone();
        methods.into_iter().map(move |(method, operation)| {
            (method.to_uppercase(), path.replace("{id}", "1"), operation)
        })
    });
    all.collect()
}

/// The least a body must have by its schema.
fn least(operation: &Value) -> String {
    match operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() {
        Some(name) if name.ends_with("/NewValue") => json!({"text": "{}"}).to_string(),
        Some(name) if name.ends_with("/Patch") => {
            json!({"selection": {"id": [1]}, "patch": []}).to_string()
        }
        Some(name) if name.ends_with("/Discard") || name.ends_with("/Vouch") => {
            json!({"selection": {"id": [1]}, "reason": "r"}).to_string()
        }
        Some(name) if name.ends_with("/Plan") => json!({"selection": {"id": [1]}}).to_string(),
        _ => String::new(),
    }
}

#[tokio::test]
async fn every_route_wants_a_token_of_its_role_and_shows_nobody_else_anything() {
    let world = World::new().await;
    let operations = operations();
    assert!(operations.len() >= 23, "{}", operations.len());
    let nobody = recovery::http::routes(world.recovery.clone(), &Tokens::default());
    for (method, path, operation) in &operations {
        world
            .ask("", method, path, "")
            .await
            .refuses(401, "bad_token");
        world
            .ask("wrong", method, path, "")
            .await
            .refuses(401, "bad_token");
        let request = Request::builder()
            .method(method.as_str())
            .uri(path)
            .body(Body::empty())
            .unwrap();
        answer(nobody.clone(), request)
            .await
            .refuses(503, "no_tokens_configured");
        let needs = operation["x-role"].as_str().unwrap();
        let lower: &[&str] = match needs {
            "viewer" => &[],
            _ => &["viewer"],
        };
        for role in lower {
            world
                .ask(role, method, path, least(operation))
                .await
                .refuses(403, "role_too_low");
        }
        assert_eq!(
            needs == "viewer",
            method == "GET",
            "{method} {path}: what changes something needs more than a viewer"
        );
    }
    world.ask("", "GET", "/openapi.json", "").await.is_done();
    world
        .ask("admin", "GET", "/api/v1/nothing", "")
        .await
        .refuses(404, "no_such_route");
    world
        .ask("admin", "DELETE", "/api/v1/dead-letters", "")
        .await
        .refuses(405, "method_not_allowed");
}

#[tokio::test]
async fn an_unknown_parameter_is_named_and_nothing_is_done() {
    let world = World::new().await;
    for (method, path, operation) in operations() {
        let refused = world
            .ask_with(
                "admin",
                &method,
                &format!("{path}?no_such_word=1"),
                least(&operation),
                Some("key"),
            )
            .await;
        refused.refuses(400, "unknown_word");
        let detail = refused.json["detail"].as_str().unwrap();
        assert!(detail.contains("no_such_word"), "{detail}");
        for parameter in operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|parameter| parameter["in"] == "query")
        {
            assert!(
                detail.contains(parameter["name"].as_str().unwrap()),
                "{path} knows another word than it says: {detail}"
            );
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM audit_log").await, 0);
}

#[tokio::test]
async fn hostile_words_are_refused_or_looked_for_and_never_run() {
    let world = World::new().await;
    let ids = world.dead_letters("invalid_amount", 2).await;
    for (path, code) in [
        ("/api/v1/dead-letters?contains=%00", "bad_value"),
        ("/api/v1/dead-letters?id=1%3BDROP", "bad_value"),
        (
            "/api/v1/dead-letters?limit=99999999999999999999",
            "bad_value",
        ),
        ("/api/v1/dead-letters?before=x", "bad_value"),
        ("/api/v1/dead-letters/1%3BDROP", "bad_value"),
        ("/api/v1/dead-letters/99999999999999999999", "bad_value"),
        (
            "/api/v1/dead-letters?code=%27%20OR%201%3D1--",
            "invalid_request",
        ),
        ("/api/v1/replays/%00", "bad_value"),
        ("/api/v1/replays?limit=0", "bad_value"),
        ("/api/v1/trace", "bad_value"),
        ("/api/v1/audit?from=yesterday", "bad_value"),
    ] {
        world
            .ask("viewer", "GET", path, "")
            .await
            .refuses(400, code);
    }
    let whole = world.ask("viewer", "GET", "/api/v1/dead-letters", "").await;
    assert_eq!(whole.media, "application/json");
    assert_eq!(whole.is_done()["letters"][0]["detail"], HOSTILE);
    for words in [
        "contains=%27%3B%20DROP%20TABLE",
        "contains=%3Cscript%3E",
        "contains=%5C%25_",
        "event_type=%27%20OR%201%3D1--",
    ] {
        let found = world
            .ask(
                "viewer",
                "GET",
                &format!("/api/v1/dead-letters?{words}"),
                "",
            )
            .await;
        let expected = if words.starts_with("contains=%27") || words.contains("script") {
            2
        } else {
            0
        };
        assert_eq!(
            found.is_done()["letters"].as_array().unwrap().len(),
            expected,
            "{words}"
        );
    }
    let detail = world
        .ask(
            "viewer",
            "GET",
            &format!("/api/v1/dead-letters/{}", ids[0]),
            "",
        )
        .await;
    assert_eq!(detail.is_done()["headers"][1], json!(["x-note", HOSTILE]));
    assert_eq!(detail.json["headers"][2], json!(["null", null]));
    assert_eq!(world.count("SELECT count(*) FROM dead_letters").await, 2);
}

#[tokio::test]
async fn a_body_that_is_too_large_or_invalid_is_refused() {
    let world = World::new().await;
    let post = async |path: &str, body: Vec<u8>| {
        world
            .ask_with("admin", "POST", path, body, Some("key"))
            .await
    };
    for (path, body) in [
        ("/api/v1/replays", &b"{\"selection\":"[..]),
        ("/api/v1/replays", b"\xff\xfe"),
        ("/api/v1/replays", b"[]"),
        ("/api/v1/replays", b"{\"selection\":{\"cod\":[\"x\"]}}"),
        ("/api/v1/replays", b"{\"selection\":{},\"force\":true}"),
        (
            "/api/v1/dead-letters/discard",
            b"{\"selection\":{\"id\":[1]}}",
        ),
        ("/api/v1/replays/x/apply", b"{\"rate\":\"fast\"}"),
    ] {
        post(path, body.to_vec()).await.refuses(400, "bad_body");
    }
    let nul = json!({"selection": {"event_id": "\0"}}).to_string();
    post("/api/v1/replays", nul.into_bytes())
        .await
        .refuses(400, "bad_value");
    for rate in ["0", "-1", "1e300"] {
        post(
            "/api/v1/replays/x/apply",
            format!("{{\"rate\":{rate}}}").into_bytes(),
        )
        .await
        .refuses(400, "bad_value");
    }
    post(
        "/api/v1/replays",
        vec![b' '; recovery::http::BODY_BYTES + 1],
    )
    .await
    .refuses(413, "body_too_large");
    for key in [None, Some(""), Some("\u{e9}"), Some(&*"k".repeat(201))] {
        let body = json!({"selection": {"id": [1]}}).to_string();
        world
            .ask_with("admin", "POST", "/api/v1/replays", body, key)
            .await
            .refuses(400, "idempotency_key_required");
    }
    assert_eq!(world.count("SELECT count(*) FROM replay_jobs").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_free_permit_a_request_is_refused_and_a_stranger_takes_none() {
    let world = World::new().await;
    world.dead_letters("not_json", 1).await;
    // Whoever reads dead letters now waits for this transaction.
    let mut blocker = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *blocker)
        .await
        .unwrap();
    let ask = |token: String| {
        let request = Request::builder()
            .uri("/api/v1/dead-letters")
            .header("authorization", format!("Bearer {token}"));
        tokio::spawn(answer(
            world.router.clone(),
            request.body(Body::empty()).unwrap(),
        ))
    };
    for _ in 0..100 {
        ask("a stranger's".to_owned())
            .await
            .unwrap()
            .refuses(401, "bad_token");
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut waiting = Vec::new();
    let refused = loop {
        assert!(
            Instant::now() < deadline && waiting.len() < 1000,
            "{} at once were taken",
            waiting.len()
        );
        let mut asked = ask(token("viewer"));
        match tokio::time::timeout(Duration::from_millis(20), &mut asked).await {
            Ok(answer) => break answer.unwrap(),
            Err(_) => waiting.push(asked),
        }
    };
    refused.refuses(503, "overloaded");
    assert_eq!(waiting.len(), 32);
    blocker.rollback().await.unwrap();
    for asked in waiting {
        let status = asked.await.unwrap().status;
        assert!(status == 200 || status == 503, "{status}");
    }
    world
        .ask("viewer", "GET", "/api/v1/dead-letters", "")
        .await
        .is_done();
}
