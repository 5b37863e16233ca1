//! 20,000 events of all kinds on a real Apache Kafka, while processes are killed, the broker stops and a second member joins.

use crate::secure::{load_into, until_reason};
use crate::world::{DEADLINE, RealKafka, SECRET, World};
use sandbox::harness::until;
use simulator::delivery::{Deliverer, DeliveryArgs};
use simulator::event::{Fault, Rate};
use simulator::stream::{self, StreamSettings};
use std::collections::HashSet;
use tokio_util::sync::CancellationToken;

fn deliverer(edge: &str) -> Deliverer {
    Deliverer::new(&DeliveryArgs {
        webhook_url: format!("http://{edge}/api/webhooks/payment-authorized"),
        webhook_signing_secret: contracts::Secret::new(SECRET),
        webhook_timeout_seconds: 5.0,
        max_attempts: 60,
        backoff_base_seconds: 0.2,
        backoff_max_seconds: 1.0,
        backoff_jitter_seconds: 0.2,
    })
    .unwrap()
}

fn sent(tally: &stream::SharedTotals) -> u64 {
    tally.lock().unwrap().sent
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_events_have_one_fate_each_through_kills_outages_and_rebalances() {
    let Some(kafka) = RealKafka::start("twenty_thousand_events", false) else {
        return;
    };
    let flags = vec![
        format!("--kafka-brokers={}", kafka.get("BOOTSTRAP")),
        "--kafka-config=session.timeout.ms=6000".to_owned(),
    ];
    let world = World::new(kafka.plain(), flags).await;
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &[]);
    let mut validator = world.role("validator", &[]);
    let mut persistence = world.role("persistence", &[]);
    let analytics = world.role("analytics", &[]);
    for role in [&producer, &validator, &persistence, &analytics] {
        role.until_ready().await;
    }
    let journal = tempfile::NamedTempFile::new().unwrap();
    let settings = StreamSettings {
        rate: 1500.0,
        seed: 7,
        faults: Fault::ALL
            .map(|fault| Rate {
                fault,
                share: if fault == Fault::Burst { 0.001 } else { 0.01 },
            })
            .to_vec(),
        concurrency: 2000,
        amount: None,
        currency: None,
        payment_prefix: "pay".to_owned(),
        order_prefix: "ord".to_owned(),
        journal: Some(journal.path().to_owned()),
    };
    let (tally, stop) = (stream::SharedTotals::default(), CancellationToken::new());
    let (shared, stopping, deliverer) = (tally.clone(), stop.clone(), deliverer(&world.edge));
    let streaming =
        tokio::spawn(async move { stream::stream(&settings, &deliverer, shared, stopping).await });
    let reached = async |count: u64| {
        until(&format!("{count} are sent"), DEADLINE, async || {
            assert!(!streaming.is_finished());
            sent(&tally) >= count
        })
        .await;
    };

    reached(1_500).await;
    validator.kill();
    validator = world.role("validator", &[]);
    reached(3_700).await;
    persistence.kill();
    persistence = world.role("persistence", &[]);
    reached(6_000).await;
    let second = world.role("validator", &[]);
    second.until_ready().await;
    reached(9_000).await;
    assert_eq!(
        second.terminate(),
        Some(0),
        "SIGTERM under load drains and exits 0"
    );
    reached(10_000).await;
    kafka.stop(false);
    let unanswered = tempfile::NamedTempFile::new().unwrap();
    let silent = load_into(&world, 5, Some(unanswered.path().to_owned())).await;
    assert_eq!(
        silent.answers.keys().collect::<Vec<_>>(),
        ["503"],
        "no 200 while the broker is down"
    );
    // Long enough for the group to have removed its members.
    until_reason(&validator, "revoked this instance's partitions").await;
    kafka.restart();
    reached(14_000).await;
    world.postgres.stop_server().unwrap();
    reached(sent(&tally) + 500).await;
    world.postgres.start_server().unwrap();
    reached(16_000).await;
    persistence.kill();
    persistence = world.role("persistence", &[]);
    reached(20_000).await;
    stop.cancel();
    streaming.await.unwrap().unwrap();

    let (counts, ids) = world.account().await;
    let tally = tally.lock().unwrap().clone();
    assert!(
        tally.answers_2xx >= 15_000 && tally.unanswered == 0,
        "{tally:?}"
    );
    let raw: usize = counts.values().sum();
    assert!(
        raw as u64 >= tally.accepted,
        "accepted {} but only {raw} are durable",
        tally.accepted
    );
    for kind in [
        "stored",
        "duplicate",
        "dead_lettered conflict",
        "dead_lettered not_json",
        "dead_lettered missing_field",
    ] {
        assert!(
            counts.get(kind).copied().unwrap_or(0) > 0,
            "{kind}: {counts:?}"
        );
    }
    // P4: what was dead-lettered was broken on purpose; no outage made one.
    let expected: HashSet<&str> = [
        "amount_not_positive",
        "blank_field",
        "conflict",
        "missing_field",
        "not_json",
        "unknown_currency",
    ]
    .into();
    for kind in counts
        .keys()
        .filter_map(|kind| kind.strip_prefix("dead_lettered "))
    {
        assert!(expected.contains(kind), "{counts:?}");
    }
    // P1, P5: every event that got a 2xx and was sound is a row. And all else that can be judged from outside.
    let report =
        crate::verified::judge(&world, &[journal.path(), unanswered.path()], DEADLINE).await;
    assert!(report.is_clean(), "{report}");
    assert!(report.checked("lost") > 10_000 && report.checked("field_differs") > 10_000);
    assert!(!ids.is_empty());
    // After all of it, nobody had to restart a role.
    for role in [&producer, &validator, &persistence, &analytics] {
        role.until_ready().await;
    }
    let (_, metrics) = validator.ask("/metrics").await.unwrap();
    assert!(
        metrics.contains("eventflow_consumer_lag_seconds")
            && metrics.contains("# HELP eventflow_consumer_records_settled_total")
    );
    for role in [producer, validator, persistence, analytics] {
        let log = role.log.clone();
        assert_eq!(
            role.terminate(),
            Some(0),
            "{}",
            std::fs::read_to_string(&log).unwrap()
        );
        assert!(
            !std::fs::read_to_string(log).unwrap().contains(SECRET),
            "P9"
        );
    }
}
