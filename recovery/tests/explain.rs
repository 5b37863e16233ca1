//! Every code explained: where, what is there, the rule, today's verdict, and the next command to type.

#![allow(clippy::unwrap_used, reason = "a test")]

mod story;

use contracts::RejectionCode;
use contracts::avro::framing;
use contracts::event::Catalog;
use recovery::error::RecoveryError;
use recovery::model::Explanation;
use recovery::query::explain;
use std::collections::BTreeSet;
use story::{RAW, World, world};

/// A dead letter as the index makes it; answers its number.
async fn dead(world: &World, stage: &str, code: &str, detail: &str, value: Option<&[u8]>) -> i64 {
    sqlx::query_scalar(
        "WITH g AS (INSERT INTO groups (stage, code, source, event_type) VALUES ($1, $2, 's', '')
                    ON CONFLICT (stage, code, source, event_type) DO UPDATE SET code = excluded.code RETURNING id)
         INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset, consumer_group,
             detail, disposition, attempts, first_failed_at, last_failed_at, headers, value, value_bytes)
         SELECT id, $3, 0, (SELECT count(*) FROM dead_letters), 'eventflow', 0, 0, 'eventflow-' || $1, $4, 'contract', 1, now(), now(), '[]', $5,
             length($5) FROM g RETURNING id",
    )
    .bind(stage)
    .bind(code)
    .bind(RAW)
    .bind(detail)
    .bind(value)
    .fetch_one(world.recovery.pool())
    .await
    .unwrap()
}

async fn explained(world: &World, id: i64) -> Explanation {
    explain::explain(&world.recovery, id).await.unwrap()
}

fn body(id: &str, amount: &str) -> String {
    serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1, "source": "s",
        "timestamp": "2026-01-02T03:04:05Z", "payload": {"payment_id": "p", "order_id": "o", "amount": amount, "currency": "EUR", "provider_auth_id": "a"}})
    .to_string()
}

fn framed(schema_id: i32, id: &str, amount: &str) -> Vec<u8> {
    let mut value = Vec::new();
    framing::frame(schema_id, &mut value);
    Catalog::builtin()
        .validate(body(id, amount).as_bytes())
        .unwrap()
        .encode(&mut value);
    value
}

/// A registry that has one schema, number 1.
async fn registry() -> String {
    let contracts = Catalog::builtin();
    let schema =
        serde_json::json!({"schema": contracts.get("payment.authorized.v1").unwrap().record_avsc});
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
async fn every_invalid_example_is_explained_at_its_place_with_its_rule_and_what_to_type() {
    let world = world(true, None, &[]).await;
    let contracts = Catalog::builtin();
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../contracts/events/payment.authorized.v1/examples/invalid"
    );
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let value = std::fs::read(entry.unwrap().path()).unwrap();
        let rejection = contracts.validate(&value).unwrap_err();
        let detail = match &rejection.pointer {
            Some(pointer) => format!("{pointer}: {}", rejection.detail),
            None => rejection.detail.clone(),
        };
        let code = rejection.code.code();
        codes.insert(code);
        let id = dead(&world, "validator", code, &detail, Some(&value)).await;
        let told = explained(&world, id).await;
        assert_eq!(
            (told.code.as_str(), told.meaning.as_str(), &told.detail),
            (code, rejection.code.meaning(), &detail)
        );
        assert_eq!(told.pointer, rejection.pointer, "{code}");
        assert!(
            told.today
                .starts_with(&format!("it still fails with {code}")),
            "{code}: {}",
            told.today
        );
        assert!(
            told.next
                .iter()
                .any(|next| next.contains(&format!("eventflow dlq discard --id {id}"))),
            "{:?}",
            told.next
        );
        assert!(told.began_at.is_some() && told.like_it > 0);
        let is_known = rejection
            .pointer
            .as_deref()
            .is_some_and(|pointer| pointer.starts_with("/payload/"));
        if is_known && code != "missing_field" {
            assert!(told.value.is_some(), "{code}: {told:?}");
            assert!(
                told.rule
                    .as_deref()
                    .is_some_and(|rule| rule.contains("type")),
                "{code}: {told:?}"
            );
        }
    }
    assert!(codes.len() >= 14, "{codes:?}");
    let text = explained(&world, 1).await;
    let serialized = serde_json::to_string(&text).unwrap();
    assert!(serialized.contains("eventflow "), "{serialized}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_there_is_has_advice_of_its_own_and_a_foreign_one_gets_the_general() {
    let world = world(false, None, &[]).await;
    let mut advice = BTreeSet::new();
    for code in RejectionCode::ALL {
        let stage = match code {
            RejectionCode::BadFrame
            | RejectionCode::UnknownSchemaId
            | RejectionCode::BadDatum
            | RejectionCode::Conflict
            | RejectionCode::RowRefused => "persistence",
            _ => "validator",
        };
        let id = dead(&world, stage, code.code(), "d", Some(b"x")).await;
        let told = explained(&world, id).await;
        assert!(
            told.next.iter().any(|next| next.contains("eventflow ")),
            "{}: {:?}",
            code.code(),
            told.next
        );
        advice.insert(told.next[0].replace(&id.to_string(), ""));
    }
    assert_eq!(
        advice.len(),
        RejectionCode::ALL.len(),
        "no two codes have the same first sentence"
    );
    let id = dead(
        &world,
        "connect",
        "org.apache.DataException",
        "boom",
        Some(b"x"),
    )
    .await;
    world.run(format!("UPDATE dead_letters SET family = 'connect', consumer_group = 'connect-sink' WHERE id = {id}")).await;
    let told = explained(&world, id).await;
    assert!(
        told.meaning.contains("another system") && told.today.starts_with("not checked"),
        "{told:?}"
    );
    assert!(
        told.next.iter().any(|next| next.contains("connect-sink")),
        "{:?}",
        told.next
    );
    assert!(
        !told.next.iter().any(|next| next.contains("replay plan")),
        "it cannot be replayed: {:?}",
        told.next
    );
    assert!(matches!(
        explain::explain(&world.recovery, 999_999).await,
        Err(RecoveryError::NotFound(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_one_passes_now_and_settled_ones_need_nothing() {
    let world = world(true, None, &[]).await;
    let broken = body("e", "x");
    let id = dead(
        &world,
        "validator",
        "invalid_amount",
        "/payload/amount: \"x\" is no amount",
        Some(broken.as_bytes()),
    )
    .await;
    dead(&world, "validator", "invalid_amount", "d", Some(b"x")).await;
    let told = explained(&world, id).await;
    assert_eq!((told.value.as_deref(), told.like_it), (Some("\"x\""), 2));
    assert!(
        told.rule
            .as_deref()
            .is_some_and(|rule| rule.starts_with("required, ") && rule.contains("amount")),
        "{told:?}"
    );
    sqlx::query("WITH e AS (INSERT INTO edits (dead_letter_id, edited_by, value, patch) VALUES ($1, 'ada', $2, '[]') RETURNING id) UPDATE dead_letters SET edit_id = e.id FROM e WHERE dead_letters.id = $1")
        .bind(id)
        .bind(body("e", "1").as_bytes())
        .execute(world.recovery.pool())
        .await
        .unwrap();
    let told = explained(&world, id).await;
    assert_eq!(
        told.today,
        "as edited, it keeps its contract (payment.authorized.v1) now"
    );
    assert_eq!(
        told.value.as_deref(),
        Some("\"x\""),
        "what failed is the original"
    );
    assert!(
        told.next[0].ends_with(&format!("eventflow replay plan --id {id}")),
        "{:?}",
        told.next
    );
    for (state, words) in [
        ("resolved", "it is settled"),
        ("discarded", "it was discarded"),
        ("replaying", "Wait: "),
    ] {
        world
            .run(format!(
                "UPDATE dead_letters SET state = '{state}' WHERE id = {id}"
            ))
            .await;
        let told = explained(&world, id).await;
        assert!(
            told.next.len() == 1 && told.next[0].contains(words),
            "{:?}",
            told.next
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_wrote_is_shown_bounded_and_without_control() {
    let world = world(true, None, &[]).await;
    let long = format!(
        "{{\"event_type\":\"payment.authorized.v1\",\"payload\":{{\"amount\":\"\u{202e}{}\"}}}}",
        "9".repeat(5000)
    );
    let detail = format!("/payload/amount: \u{1b}]0;owned\u{7}{}", "y".repeat(5000));
    let id = dead(
        &world,
        "validator",
        "invalid_amount",
        &detail,
        Some(long.as_bytes()),
    )
    .await;
    let told = explained(&world, id).await;
    let text = serde_json::to_string(&told).unwrap();
    assert!(
        !text.contains('\u{202e}') && !text.contains("\\u001b") && !text.contains("\\u0007"),
        "{text}"
    );
    assert!(
        text.len() < 5000
            && told
                .value
                .is_some_and(|value| value.contains("999") && value.chars().count() <= 201)
    );
    for value in [
        None,
        Some(&b"\xff\xfe"[..]),
        Some(&b""[..]),
        Some(&b"{"[..]),
        Some(&b"\0\0"[..]),
    ] {
        let id = dead(&world, "validator", "not_json", "/x: y", value).await;
        assert!(
            explained(&world, id).await.today.contains("still fails"),
            "{value:?}"
        );
        let id = dead(&world, "persistence", "bad_frame", "d", value).await;
        assert!(
            explained(&world, id).await.today.contains("still fails"),
            "{value:?}"
        );
    }
    world
        .run("UPDATE dead_letters SET value = NULL, value_bytes = 70000")
        .await;
    assert!(
        explained(&world, id)
            .await
            .today
            .contains("70000 bytes were not kept")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_says_what_differs_from_the_stored_row() {
    let world = world(true, None, &["--registry-url", &registry().await]).await;
    let contracts = Catalog::builtin();
    let stored = framed(1, "e", "1");
    let decoder = contracts::avro::datum::Decoder::new(
        &contracts.get("payment.authorized.v1").unwrap().record_avsc,
    )
    .unwrap();
    let event = decoder.decode(&stored[5..]).unwrap();
    sqlx::query("INSERT INTO persistence.events (source, event_id, event_type, schema_version, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         VALUES ('s', 'e', $1, $2, '2026-01-02T03:04:05Z', $3::jsonb, sha256($4), 1, 7, 70)")
        .bind(event.event_type)
        .bind(&*event.schema_version)
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
    let told = explained(&world, conflict).await;
    assert!(
        told.today
            .starts_with("it still fails with conflict: raw record 7:70"),
        "{}",
        told.today
    );
    assert!(
        told.today
            .contains("Different: payload.amount: stored \"1\", here \"2.5\""),
        "{}",
        told.today
    );
    assert!(
        !told.today.contains("order_id") && !told.today.contains("timestamp"),
        "only what differs: {}",
        told.today
    );
    assert!(
        told.next[0].starts_with("One event id has two contents"),
        "{:?}",
        told.next
    );

    let same = dead(&world, "persistence", "conflict", "d", Some(&stored)).await;
    assert!(
        explained(&world, same)
            .await
            .today
            .contains("would find a duplicate of raw record 7:70")
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
            .contains("only a replay tells")
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
            .contains("still fails with unknown_schema_id")
    );
    let cut = dead(&world, "persistence", "bad_datum", "d", Some(&stored[..20])).await;
    assert!(
        explained(&world, cut)
            .await
            .today
            .contains("still fails with bad_datum")
    );
    let down = story::world(true, None, &["--registry-url", "http://127.0.0.1:9"]).await;
    let id = dead(&down, "persistence", "conflict", "d", Some(&stored)).await;
    assert!(
        explained(&down, id)
            .await
            .today
            .starts_with("not checked: schema registry"),
        "an outage is no verdict"
    );
}
