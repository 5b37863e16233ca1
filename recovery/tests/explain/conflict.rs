//! What differs from the stored row, and what persistence would say today.

use crate::timeline;
use crate::timeline::world;
use crate::{body, dead, explained};
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};

fn framed(schema_id: i32, id: &str, amount: &str) -> Vec<u8> {
    let mut value = Vec::new();
    framing::frame(schema_id, &mut value);
    Catalog::builtin()
        .validate(Envelope::own(body(id, amount).as_bytes()).unwrap())
        .unwrap()
        .encode(&mut value);
    value
}

/// A registry that has one schema, number 1.
async fn registry() -> String {
    let contracts = Catalog::builtin();
    let schema = serde_json::json!({"schema": contracts.contract("payment.authorized.v1").unwrap().record_avsc});
    let known = move || std::future::ready(axum::Json(schema.clone()));
    let unknown = || async {
        (
            axum::http::StatusCode::NOT_FOUND,
            r#"{"error_code":40403,"message":"Schema not found"}"#,
        )
    };
    let app = axum::Router::new()
        .route("/schemas/ids/1", axum::routing::get(known))
        .route("/schemas/ids/{id}", axum::routing::get(unknown));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_says_what_differs_from_the_stored_row() {
    let world = world(true, None, &["--registry-url", &registry().await]).await;
    let contracts = Catalog::builtin();
    let stored = framed(1, "e", "1");
    let decoder = contracts::avro::datum::Decoder::new(
        &contracts
            .contract("payment.authorized.v1")
            .unwrap()
            .record_avsc,
    )
    .unwrap();
    let event = decoder.decode(&stored[5..]).unwrap();
    sqlx::query("INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         VALUES ('s', 'e', $1, $2, '2026-01-02T03:04:05Z', $3::jsonb, sha256($4), 1, 7, 70)")
        .bind(event.event_type)
        .bind("payment.authorized.v1")
        .bind(&event.payload_json)
        .bind(&stored[5..])
        .execute(world.recovery.pool())
        .await
        .unwrap();
    let conflict = dead(
        &world,
        "persistence",
        "conflict",
        "event e of source s is stored with other content",
        Some(&framed(1, "e", "2.5")),
    )
    .await;
    let explanation = explained(&world, conflict).await;
    assert!(
        explanation
            .today
            .starts_with("it still fails with conflict: raw record 7:70"),
        "{}",
        explanation.today
    );
    assert!(
        explanation
            .today
            .contains("Different: payload.amount: stored \"1\", here \"2.5\""),
        "{}",
        explanation.today
    );
    assert!(
        !explanation.today.contains("order_id") && !explanation.today.contains("timestamp"),
        "only what differs: {}",
        explanation.today
    );
    assert!(
        explanation.next[0].starts_with("One event id has two contents"),
        "{:?}",
        explanation.next
    );

    let same = dead(&world, "persistence", "conflict", "d", Some(&stored)).await;
    assert!(
        explained(&world, same)
            .await
            .today
            .contains("would be a duplicate of raw record 7:70")
    );
    let free = dead(
        &world,
        "persistence",
        "conflict",
        "d",
        Some(&framed(1, "other", "1")),
    )
    .await;
    assert!(
        explained(&world, free)
            .await
            .today
            .contains("would be stored now")
    );
    let refused = dead(
        &world,
        "persistence",
        "row_refused",
        "d",
        Some(&framed(1, "other", "1")),
    )
    .await;
    assert!(
        explained(&world, refused)
            .await
            .today
            .contains("only a replay shows")
    );
    let unknown = dead(
        &world,
        "persistence",
        "unknown_schema_id",
        "d",
        Some(&framed(9, "e", "1")),
    )
    .await;
    assert!(
        explained(&world, unknown)
            .await
            .today
            .starts_with("not checked: the schema registry has no schema 9"),
        "a registry that lacks a schema is no verdict"
    );
    let cut = dead(&world, "persistence", "bad_datum", "d", Some(&stored[..20])).await;
    assert!(
        explained(&world, cut)
            .await
            .today
            .contains("still fails with bad_datum")
    );
    let down = timeline::world(true, None, &["--registry-url", "http://127.0.0.1:9"]).await;
    let id = dead(&down, "persistence", "conflict", "d", Some(&stored)).await;
    assert!(
        explained(&down, id)
            .await
            .today
            .starts_with("not checked: schema registry"),
        "an outage is no verdict"
    );
}
