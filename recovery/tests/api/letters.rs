//! Dead letters and events are shown: listed, grouped, summed, exported, explained, traced.

use crate::answers::documented;
use crate::world::World;

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_grouped_summed_and_shown() {
    let world = World::new().await;
    let ids = world.dead_letters("invalid_amount", 5).await;
    world.dead_letters("not_json", 2).await;
    let get = async |path: &str| world.ask("viewer", "GET", path, "").await;
    let page = get("/api/v1/dead-letters?code=invalid_amount&limit=2").await;
    let page = documented(&page, "/api/v1/dead-letters", "get");
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
    let groups = documented(&get("/api/v1/groups").await, "/api/v1/groups", "get");
    assert_eq!(
        (
            groups["groups"][0]["open"].as_i64(),
            groups["groups"][1]["open"].as_i64()
        ),
        (Some(5), Some(2))
    );
    let stats = documented(&get("/api/v1/stats").await, "/api/v1/stats", "get");
    assert_eq!(
        (
            stats["open"].as_i64(),
            stats["by_code"]["not_json"].as_i64()
        ),
        (Some(7), Some(2))
    );
    let shown = documented(
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
async fn events_the_audit_by_hour_and_the_pipeline_now_are_as_documented() {
    let world = World::new().await;
    world.dead_letters("invalid_amount", 5).await;
    let get = async |path: &str| world.ask("viewer", "GET", path, "").await;
    let page = get("/api/v1/events?fate=dead_lettered&limit=3&source=payment-provider").await;
    let page = documented(&page, "/api/v1/events", "get");
    assert_eq!(page["events"].as_array().unwrap().len(), 3);
    let rest = format!(
        "/api/v1/events?limit=3&before={}",
        page["next"].as_str().unwrap()
    );
    assert_eq!(
        get(&rest).await.is_done()["events"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let raw = page["events"][0]["raw"].as_str().unwrap();
    let event = documented(
        &get(&format!("/api/v1/events/{raw}")).await,
        "/api/v1/events/{id}",
        "get",
    );
    assert_eq!(event["received"]["value"]["form"], "text");
    for (path, code) in [
        ("?field=x", "invalid_request"),
        ("?fate=lost", "invalid_request"),
        ("?fates=stored", "unknown_word"),
        ("?before=x", "invalid_request"),
    ] {
        get(&format!("/api/v1/events{path}"))
            .await
            .refuses(400, code);
    }
    get("/api/v1/events/9:9").await.refuses(404, "not_found");

    sqlx::raw_sql(
        "INSERT INTO audit_checkpoints (at, topic, low, high, validator_next, validated_ends, reached_at)
             VALUES (now() - interval '3 hours', 'events.raw.v1', '{}', '{\"0\": 100}', '{}', '{}', now()), (now() - interval '70 minutes', 'events.raw.v1', '{}', '{\"0\": 150}', '{}', '{}', now());
         INSERT INTO audit_frontier (topic, partition, first_offset, next_offset, high) VALUES ('events.raw.v1', 0, 10, 170, 200);
         INSERT INTO audit_findings (topic, partition, \"offset\", kind, detail) VALUES ('events.raw.v1', 0, 120, 'gap', 'lost'), ('events.raw.v1', 0, 50, 'double_fate', 'twice')",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let hours = documented(
        &get("/api/v1/audit/hours?hours=3").await,
        "/api/v1/audit/hours",
        "get",
    );
    let cells = hours["partitions"][0]["cells"].as_array().unwrap();
    let sums = ["from", "to", "unexamined", "gaps", "double_fates"].map(|what| -> Vec<i64> {
        cells
            .iter()
            .map(|cell| cell[what].as_i64().unwrap())
            .collect()
    });
    // The first hour of the three began before the second checkpoint, and after the first.
    assert_eq!(
        (sums[0][0], sums[1][2], cells.len()),
        (100, 200, 3),
        "{cells:?}"
    );
    assert_eq!(
        (
            sums[2].iter().sum::<i64>(),
            sums[3].iter().sum::<i64>(),
            sums[4].iter().sum::<i64>()
        ),
        (30, 1, 0)
    );
    get("/api/v1/audit/hours?hours=0")
        .await
        .refuses(400, "invalid_request");

    let now = documented(&get("/api/v1/now").await, "/api/v1/now", "get");
    assert_eq!(now["dead_letters"]["open"], 5);
    assert_eq!(now["roles"][0]["state"], "unknown");
}

#[tokio::test]
async fn an_export_is_json_lines_up_to_its_limit() {
    let here = World::new().await;
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
async fn a_dead_letter_is_explained_and_an_event_has_its_timeline() {
    let world = World::new().await;
    let id = world.dead_letters("amount_not_positive", 1).await[0];
    let explained = world
        .ask(
            "viewer",
            "GET",
            &format!("/api/v1/dead-letters/{id}/explain"),
            "",
        )
        .await;
    let explained = documented(&explained, "/api/v1/dead-letters/{id}/explain", "get");
    assert_eq!(
        (explained["letter"].as_i64(), explained["code"].as_str()),
        (Some(id), Some("amount_not_positive"))
    );
    world
        .ask("viewer", "GET", "/api/v1/dead-letters/999999/explain", "")
        .await
        .refuses(404, "not_found");
    let timeline = documented(
        &world
            .ask("viewer", "GET", "/api/v1/trace?q=evt_1", "")
            .await,
        "/api/v1/trace",
        "get",
    );
    assert_eq!(timeline["stories"][0]["event_id"], "evt_1");
    world
        .ask("viewer", "GET", "/api/v1/trace?q=evt_nobody_sent", "")
        .await
        .refuses(404, "not_found");
}
