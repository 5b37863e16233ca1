//! The embedded broker: whatever vendors do wrong is in the index, explained; what is fixed is stored, and what cannot be fixed is discarded
//! with a reason.

use crate::oncall::OnCall;
use crate::post::{authorized, post_all};
use crate::recovery::{PATCH, broken};
use crate::world::{SECRET, World, embedded};
use serde_json::Value;
use simulator::delivery::{Deliverer, DeliveryArgs};
use simulator::event::{Fault, Rate};
use simulator::stream::{self, StreamSettings};
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Some hundred deliveries with every fault there is.
async fn faults(world: &World) {
    let deliverer = Deliverer::new(&DeliveryArgs {
        webhook_url: format!("http://{}/api/webhooks/payment-authorized", world.edge),
        webhook_signing_secret: contracts::Secret::new(SECRET),
        webhook_timeout_seconds: 5.0,
        max_attempts: 10,
        backoff_base_seconds: 0.1,
        backoff_max_seconds: 0.5,
        backoff_jitter_seconds: 0.1,
    });
    let settings = StreamSettings {
        rate: 200.0,
        seed: 11,
        faults: Fault::ALL
            .map(|fault| Rate {
                fault,
                share: if fault == Fault::Burst { 0.001 } else { 0.03 },
            })
            .to_vec(),
        concurrency: 200,
        amount: None,
        currency: None,
        payment_prefix: "pay".to_owned(),
        order_prefix: "ord".to_owned(),
        journal: None,
    };
    let (tally, stop) = (stream::SharedTotals::default(), CancellationToken::new());
    let (shared, stopping, deliverer) = (tally.clone(), stop.clone(), deliverer.unwrap());
    let streaming =
        tokio::spawn(async move { stream::stream(&settings, &deliverer, shared, stopping).await });
    crate::oncall::until("six hundred sent", async || {
        tally.lock().unwrap().sent >= 600
    })
    .await;
    stop.cancel();
    streaming.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_in_the_index_and_what_cannot_be_fixed_is_discarded_with_a_reason() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &[]);
    let stages = ["validator", "persistence"].map(|role| world.role(role, &["--breaker", "off"]));
    let recovery = world.role("recovery", &[]);
    for role in stages.iter().chain([&producer, &recovery]) {
        role.until_ready().await;
    }
    faults(&world).await;
    // One event with two contents, at least.
    let other = authorized("twice").replace("1.50", "9.99");
    let nameless = authorized("nameless").replace(r#""payment_id":"#, r#""pay_id":"#);
    let events = [authorized("twice"), other, broken("fix-me"), nameless];
    post_all(&world.edge, &events).await;
    let oncall = OnCall::of(&world).await;

    // The index has what the topics have, code by code.
    let (fates, _) = world.account().await;
    let dead = fates.iter().filter_map(|(fate, count)| {
        Some((
            fate.strip_prefix("dead_lettered ")?.to_owned(),
            *count as i64,
        ))
    });
    let dead: BTreeMap<String, i64> = dead.collect();
    for code in [
        "amount_not_positive",
        "blank_field",
        "conflict",
        "missing_field",
        "not_json",
        "unknown_currency",
    ] {
        assert!(
            dead.contains_key(code),
            "{code} was not injected: {fates:?}"
        );
    }
    oncall.until_indexed(dead.values().sum()).await;
    let groups = oncall.json(&["dlq", "groups"]).await;
    let mut indexed: BTreeMap<String, i64> = BTreeMap::new();
    for group in groups["groups"].as_array().unwrap() {
        *indexed
            .entry(group["code"].as_str().unwrap().to_owned())
            .or_default() += group["open"].as_i64().unwrap();
    }
    assert_eq!(indexed, dead);
    for (code, count) in &dead {
        let listed = oncall
            .json(&["dlq", "ls", "--code", code, "--limit", "1"])
            .await;
        let explained = oncall
            .json(&["explain", &listed["letters"][0]["id"].to_string()])
            .await;
        assert_eq!(
            (explained["code"].as_str(), explained["like_it"].is_i64()),
            (Some(code.as_str()), true),
            "{explained}"
        );
        assert!(
            explained["like_it"].as_i64().unwrap() <= *count
                && !explained["next"].as_array().unwrap().is_empty(),
            "{explained}"
        );
    }

    one_is_fixed_by_its_number(&oncall).await;
    one_is_found_by_the_payment_id_that_it_lacked(&oncall).await;
    a_conflict_is_discarded(&oncall).await;

    let audit = oncall.audit().await;
    let raw: usize = fates.values().sum();
    let count = |fate: &str| fates.get(fate).copied().unwrap_or_default() as i64;
    assert_eq!(
        (audit["records"].as_i64(), audit["in_flight"].as_i64()),
        (Some(raw as i64), Some(0)),
        "{audit}"
    );
    assert_eq!(
        (audit["stored"].as_i64(), audit["duplicate"].as_i64()),
        (Some(count("stored") + 2), Some(count("duplicate"))),
        "{audit}"
    );
    let open = dead.values().sum::<i64>() - 3;
    assert_eq!(
        (
            &audit["dead_lettered"]["open"],
            &audit["dead_lettered"]["discarded"]
        ),
        (&open.into(), &1.into()),
        "{audit}"
    );
}

/// The dead letter of an event.
async fn letter(oncall: &OnCall, event_id: &str) -> Value {
    let listed = oncall
        .json(&[
            "dlq",
            "ls",
            "--event-id",
            event_id,
            "--state",
            "open,resolved,discarded",
        ])
        .await;
    assert_eq!(listed["letters"].as_array().unwrap().len(), 1, "{listed}");
    listed["letters"][0].clone()
}

async fn one_is_fixed_by_its_number(oncall: &OnCall) {
    let id = letter(oncall, "fix-me").await["id"].to_string();
    let hopeless = oncall
        .types("anna", &["replay", "apply", &id, "--yes"])
        .await;
    assert!(
        hopeless.code == Some(1) && hopeless.err.contains("every one would fail again"),
        "{hopeless:?}"
    );
    oncall.json(&["dlq", "edit", &id, "--patch", PATCH]).await;
    let explained = oncall.json(&["explain", &id]).await;
    assert!(
        explained["today"]
            .as_str()
            .unwrap()
            .contains("it meets its contract"),
        "{explained}"
    );
    let done = oncall
        .types("anna", &["replay", "apply", &id, "--yes"])
        .await;
    assert!(
        done.code == Some(0)
            && done.out.contains("1 would be stored") | done.out.contains("1 stored"),
        "{done:?}"
    );
    assert_eq!(letter(oncall, "fix-me").await["state"], "resolved");
    let traced = oncall.types("boris", &["trace", "fix-me"]).await;
    assert!(
        traced.code == Some(0) && traced.out.contains("event fix-me: stored"),
        "{traced:?}"
    );
}

async fn one_is_found_by_the_payment_id_that_it_lacked(oncall: &OnCall) {
    let id = letter(oncall, "nameless").await["id"].to_string();
    let set = "/payload/payment_id=pay-of-the-nameless";
    oncall.json(&["dlq", "edit", &id, "--set", set]).await;
    let done = oncall
        .types("anna", &["replay", "apply", &id, "--yes"])
        .await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let traced = oncall.json(&["trace", "pay-of-the-nameless"]).await;
    let timeline = &traced["stories"][0];
    assert_eq!(
        (
            &timeline["event_id"],
            &timeline["fate"],
            &timeline["entity_key"]
        ),
        (
            &"nameless".into(),
            &"stored".into(),
            &"pay-of-the-nameless".into()
        ),
        "{traced}"
    );
}

/// Persistence refused it: another content of an event that is stored. Nothing it could be edited into is this event.
async fn a_conflict_is_discarded(oncall: &OnCall) {
    let conflict = letter(oncall, "twice").await;
    assert_eq!(
        (&conflict["stage"], &conflict["code"]),
        (&"persistence".into(), &"conflict".into()),
        "{conflict}"
    );
    let id = conflict["id"].to_string();
    let page = oncall.types("boris", &["explain", &id]).await;
    assert!(
        page.code == Some(0) && page.out.contains("discard") && page.out.contains("amount"),
        "what differs, and what to do: {page:?}"
    );
    assert_eq!(
        oncall.types("boris", &["dlq", "discard", &id]).await.code,
        Some(2),
        "not without a reason"
    );
    let discard = [
        "dlq",
        "discard",
        &id,
        "--reason",
        "the vendor says the first is true",
        "--json",
    ];
    assert_eq!(
        oncall.types("boris", &discard).await.json(0)["discarded"],
        1
    );
    assert_eq!(letter(oncall, "twice").await["state"], "discarded");
    let refused = oncall.types("anna", &["replay", "plan", &id]).await;
    assert_eq!(
        refused.code,
        Some(1),
        "what is discarded is not replayed: {refused:?}"
    );
    let log = oncall.json(&["dlq", "audit-log", "--letter", &id]).await;
    let last = &log["entries"][0];
    assert_eq!(
        (&last["who"], &last["reason"]),
        (&"boris".into(), &"the vendor says the first is true".into()),
        "{log}"
    );
}
