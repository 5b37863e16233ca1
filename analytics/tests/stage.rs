//! The stage on the embedded broker: from a published record to `/api/stats` and `/metrics` over HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

mod common;
#[path = "common/role.rs"]
mod role;

use common::{Schemas, framed, now_ms};
use contracts::kafka::topics;
use role::{Role, publish};
use sandbox::broker::EmbeddedBroker;
use serde_json::json;
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread")]
async fn published_events_show_in_the_stats_and_in_the_metrics_once_their_schemas_are_known() {
    // Nobody's replays are for this stage, not even those under its own group's name: it reads two partitions and no more.
    let retry = ["eventflow-analytics", "eventflow-persistence"].map(topics::retry);
    let broker = EmbeddedBroker::start(&[
        (topics::VALIDATED, 2),
        (topics::DLQ, 1),
        (&retry[0], 1),
        (&retry[1], 1),
    ])
    .unwrap();
    let schemas = Schemas::start().await;
    let role = Role::start(broker.kafka(), &schemas.url).await;
    // The embedded broker cannot look up offsets by time, so the stage reads what comes once its partitions are its own.
    role.until("/metrics", |answer| {
        answer.contains("eventflow_consumer_partitions_assigned{stage=\"analytics\"} 2")
    })
    .await;
    role.until("/ready", |answer| answer.contains("\"ready\":true"))
        .await;

    schemas.down.store(true, Ordering::SeqCst);
    let value = |offset| match offset {
        29 => b"poison".to_vec(),
        _ if offset % 3 == 0 => framed("payment.refunded.v1", "0.10", "EUR"),
        _ => framed("payment.authorized.v1", "0.10", "EUR"),
    };
    publish(&broker.kafka(), 0..30, now_ms(), value).await;
    // A registry that answers 500 is waited for, in the open.
    role.until("/ready", |answer| answer.contains("registry_unavailable"))
        .await;
    schemas.down.store(false, Ordering::SeqCst);

    let stats = role.stats_of(30).await;
    assert_eq!(stats["total"]["events"], json!(29));
    assert_eq!(
        stats["total"]["by_kind"]["authorized"],
        json!({"events": 19, "amounts": {"EUR": "1.9"}, "without_amount": 0})
    );
    assert_eq!(
        stats["total"]["by_kind"]["refunded"],
        json!({"events": 10, "amounts": {"EUR": "1"}, "without_amount": 0})
    );
    let metrics = role
        .until("/metrics", |answer| {
            answer.contains(r#"eventflow_analytics_errors_total{code="bad_frame"} 1"#)
        })
        .await;
    for expected in [
        "event_type=\"payment.refunded.v1\"",
        "phase=\"live\"",
        "eventflow_analytics_event_age_seconds_bucket",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
    assert!(
        !metrics.contains("eventflow_consumer_dead_letters_total{"),
        "{metrics}"
    );
    role.stop().await;
}
