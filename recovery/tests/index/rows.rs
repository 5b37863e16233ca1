//! What a row says, whose it is, and what is left of one that PostgreSQL refuses.

use crate::index_world::{Made, body, ours, take, world, world_at};
use contracts::RejectionCode;
use recovery::model::Payload;
use recovery::query::detail;
use sandbox::harness::{cluster, database};
use sandbox::proxy::Proxy;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_all_that_the_headers_say() {
    let world = world().await;
    take(
        &mut world.index(),
        &[ours(5, RejectionCode::InvalidAmount).with("ef.dlq.attempts", "3")],
    )
    .unwrap();
    let detail = detail::dead_letter(&world.recovery, 1).await.unwrap();
    let letter = &detail.letter;
    assert_eq!(
        (letter.stage.as_str(), letter.code.as_str()),
        ("validator", "invalid_amount")
    );
    assert_eq!(
        (letter.source.as_str(), letter.event_type.as_str()),
        ("acme", "payment.authorized.v1")
    );
    assert_eq!(
        (letter.event_id.as_deref(), letter.entity_key.as_deref()),
        (Some("evt-5"), Some("pay-5"))
    );
    assert_eq!(
        (letter.origin.as_str(), letter.consumer_group.as_str()),
        ("events.raw.v1:2:5", "eventflow-validator")
    );
    assert_eq!(
        (
            letter.attempts,
            letter.replay_count,
            letter.disposition.as_str()
        ),
        (3, 0, "contract")
    );
    assert_eq!(letter.last_failed_at.unix_timestamp(), 1_790_000_005);
    assert_eq!(
        detail.trace_id.as_deref(),
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    assert_eq!((detail.family.as_str(), detail.dlq), ("eventflow", (0, 5)));
    assert_eq!(detail.service_version.as_deref(), Some("0.1.0"));
    assert_eq!(detail.headers.len(), 20);
    assert_eq!(
        detail.value,
        Payload::Text {
            text: String::from_utf8(body("evt-5", "payment.authorized.v1")).unwrap()
        }
    );
    assert_eq!(
        world
            .number("SELECT extract(epoch FROM received_at)::bigint FROM dead_letters")
            .await,
        1_789_999_999
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE value_sha256 = sha256(value)")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_of_the_path_has_dead_letters_of_its_own() {
    let world = world().await;
    let persistence = ours(1, RejectionCode::Conflict)
        .at(2)
        .with("ef.dlq.stage", "persistence")
        .with("ef.dlq.group", "eventflow-persistence");
    let other = ours(1, RejectionCode::BadDatum)
        .at(3)
        .with("ef.dlq.stage", "enrichment")
        .with("ef.dlq.group", "enrichers");
    take(
        &mut world.index(),
        &[ours(1, RejectionCode::NotJson), persistence, other],
    )
    .unwrap();
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE origin_group = ''")
            .await,
        1
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE origin_group = 'enrichers'")
            .await,
        1
    );
    assert_eq!(
        world.number("SELECT count(*) FROM failures").await,
        1,
        "the validator's and persistence's are one event's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_postgresql_refuses_is_indexed_without_its_texts() {
    let world = world().await;
    // Stands for whatever PostgreSQL may refuse one day.
    let refuse = "ALTER TABLE dead_letters ADD CONSTRAINT refused CHECK (event_id IS DISTINCT FROM 'evt-3' AND event_id IS DISTINCT FROM 'evt-7')";
    sqlx::query(refuse).execute(&world.pool).await.unwrap();
    let batch: Vec<Made> = (0..10)
        .map(|offset| ours(offset, RejectionCode::NotJson))
        .collect();
    take(&mut world.index(), &batch).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 10);
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        10
    );
    assert_eq!(world.number("SELECT count(*) FROM dead_letters WHERE event_id IS NULL AND origin_offset IN (3, 7)").await, 2);
    let id = world
        .number("SELECT id FROM dead_letters WHERE origin_offset = 7")
        .await;
    let detail = detail::dead_letter(&world.recovery, id).await.unwrap();
    assert!(
        detail.letter.detail.contains("refused"),
        "{}",
        detail.letter.detail
    );
    assert_eq!(
        detail.value,
        Payload::Text {
            text: String::from_utf8(body("evt-7", "payment.authorized.v1")).unwrap()
        }
    );
    assert_eq!(detail.letter.code, "not_json");
    world.assert_counters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_4000_dead_letters_are_refused_at_5_ms_a_round_trip_and_all_are_indexed() {
    let (server, half_a_round_trip) = (cluster().address(), Duration::from_micros(2500));
    let proxy = Proxy::start(&server, half_a_round_trip).await.unwrap();
    let url = database().await.replace(&server, &proxy.address());
    let world = world_at(url, "http://127.0.0.1:9", None).await;
    let refuse = "ALTER TABLE dead_letters ADD CONSTRAINT refused CHECK (event_id NOT LIKE '%0' AND event_id NOT LIKE '%5' AND replay_count < 9)";
    sqlx::query(refuse).execute(&world.pool).await.unwrap();
    let batch: Vec<Made> = (0..4000)
        .map(|number| {
            // Every tenth is another copy of the one before.
            let raw = number - i64::from(number % 10 == 9);
            let id = if number % 2 == 0 { "0" } else { "1" };
            ours(raw, RejectionCode::NotJson)
                .at(number)
                .with("ef.event_id", format!("evt-{raw}-{id}"))
        })
        .collect();
    let mut index = world.index();
    take(&mut index, &batch).unwrap();
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters").await,
        3600
    );
    assert_eq!(world.number("SELECT count(*) FROM failures").await, 400);
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE event_id IS NULL")
            .await,
        2000
    );
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        4000
    );
    world.assert_counters().await;
    // What is read again changes nothing.
    take(&mut index, &batch).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM failures").await, 400);
}
