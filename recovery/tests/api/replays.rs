//! A replay by its routes: planned once a key, changed, approved by another, and accounted for.

use crate::answers::documented;
use crate::world::World;
use serde_json::json;

#[tokio::test]
async fn a_replay_is_planned_once_a_key_and_every_change_may_be_sent_again() {
    let world = World::new().await;
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
    let first = documented(&planned("once", &plan).await, "/api/v1/replays", "post");
    let again = planned("once", &plan).await;
    assert_eq!(
        (first["id"].clone(), first["created_by"].as_str()),
        (again.is_done()["id"].clone(), Some("olga"))
    );
    assert_eq!(world.count("SELECT count(*) FROM replay_jobs").await, 1);
    let nothing = json!({"selection": {"code": ["not_utf8"]}}).to_string();
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
                documented(&change(what).await, &path, "post")["state"],
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
        documented(
            &get(&format!("/api/v1/replays/{job}")).await,
            "/api/v1/replays/{id}",
            "get"
        )["items"],
        3
    );
    let items = documented(
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
        documented(
            &get("/api/v1/replays?limit=1").await,
            "/api/v1/replays",
            "get"
        )["replays"][0]["id"],
        job
    );
    let log = documented(
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
    let check = documented(
        &get("/api/v1/log/verify").await,
        "/api/v1/log/verify",
        "get",
    );
    let newest = &log["entries"][0];
    assert_eq!(
        check,
        json!({"entries": newest["seq"], "seq": newest["seq"], "hash": newest["hash"], "broken": null})
    );
    for path in ["/api/v1/replays/nope", "/api/v1/replays/nope/items"] {
        get(path).await.refuses(404, "not_found");
    }
}

#[tokio::test]
async fn nobody_approves_what_they_planned_themselves() {
    let world = World::with(&["--confirm-above", "1", "--require-approval"]).await;
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
            documented(
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
    let world = World::new().await;
    let audit = documented(
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
