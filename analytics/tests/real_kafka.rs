//! On a real Apache Kafka: the embedded broker cannot look up offsets by time, which a restart needs.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

mod common;
#[path = "common/role.rs"]
mod role;

use analytics::figures::MINUTE_MS;
use common::{Schemas, framed, now_ms};
use contracts::kafka::topics;
use role::{Role, publish};
use sandbox::harness::RealKafka;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// The minutes with that many events.
fn events_of(stats: &Value, events: u64) -> Vec<&Value> {
    stats["minutes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|minute| minute["events"] == json!(events))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_the_hour_again_and_doubles_nothing() {
    let Some(broker) = RealKafka::start("a_restart_reads_the_hour_again", false) else {
        return;
    };
    let kafka = broker.plain();
    runtime::admin::create_topics(&kafka, &[(topics::VALIDATED, 3), (topics::DLQ, 1)])
        .await
        .unwrap();
    let schemas = Schemas::start().await;
    // A copy has the id of the first.
    let made: Vec<Vec<u8>> = (0..300)
        .map(|_| framed("payment.authorized.v1", "0.10", "EUR"))
        .collect();
    let authorized = |number: i64| made[usize::try_from(number).unwrap()].clone();
    let refunded = |_| framed("payment.refunded.v1", "0.01", "EUR");

    publish(&kafka, 0..300, now_ms() - 5 * MINUTE_MS, authorized).await;
    let first = Role::start(kafka.clone(), &schemas.url).await;
    let before = first.stats_of(300).await;
    assert_eq!(
        (
            &before["total"]["events"],
            &before["total"]["by_kind"]["authorized"]["amounts"]
        ),
        (&json!(300), &json!({"EUR": "30"}))
    );
    first.stop().await;

    // Nobody reads while these arrive, the last 10 of them copies of records that were published before.
    publish(&kafka, 300..320, now_ms() - 2 * MINUTE_MS, refunded).await;
    publish(&kafka, 0..10, now_ms() - 5 * MINUTE_MS, authorized).await;
    schemas.down.store(true, Ordering::SeqCst);
    let second = Role::start(kafka.clone(), &schemas.url).await;
    second
        .until("/ready", |answer| answer.contains("registry_unavailable"))
        .await;
    schemas.down.store(false, Ordering::SeqCst);
    let after = second.stats_of(330).await;
    assert_eq!(after["total"]["events"], json!(320), "{after}");
    assert_eq!(after["total"]["by_kind"]["refunded"]["events"], json!(20));
    assert_eq!(
        events_of(&before, 300),
        events_of(&after, 300),
        "the minute says what it said before the restart"
    );
    assert_eq!(
        events_of(&after, 20)[0]["by_kind"]["refunded"]["amounts"],
        json!({"EUR": "0.2"})
    );
    let metrics = second
        .until("/metrics", |answer| {
            answer.contains("eventflow_analytics_events_duplicate_total 10")
        })
        .await;
    assert!(
        !metrics.contains("phase=\"live\""),
        "all of it was published before a stage took the partitions\n{metrics}"
    );
    second.stop().await;
}
