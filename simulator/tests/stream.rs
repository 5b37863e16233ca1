//! Each fault does what it says it does, as the receiver and the journal see it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Receiver, SECRET};
use contracts::Secret;
use contracts::event::{Catalog, Envelope};
use sandbox::harness::until;
use serde_json::Value;
use simulator::delivery::{Deliverer, DeliveryArgs};
use simulator::event::{Expected, Fault, Rate};
use simulator::stream::{SharedTotals, StreamSettings, StreamTotals, stream};
use std::collections::HashMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Streams at least ten deliveries, all of that fault.
async fn streamed(fault: Fault) -> (StreamTotals, Vec<Value>, Receiver) {
    let receiver = Receiver::verifying().await;
    let journal = tempfile::NamedTempFile::new().unwrap();
    let settings = StreamSettings {
        rate: 500.0,
        seed: 3,
        faults: vec![Rate { fault, share: 1.0 }],
        concurrency: 16,
        amount: None,
        currency: None,
        payment_prefix: "pay".to_owned(),
        order_prefix: "ord".to_owned(),
        journal: Some(journal.path().to_owned()),
    };
    let deliverer = Deliverer::new(&DeliveryArgs {
        webhook_url: receiver.url.clone(),
        webhook_signing_secret: Secret::new(SECRET),
        webhook_timeout_seconds: 10.0,
        max_attempts: 4,
        backoff_base_seconds: 0.01,
        backoff_max_seconds: 0.1,
        backoff_jitter_seconds: 0.01,
    })
    .unwrap();
    let (shared, stop) = (SharedTotals::default(), CancellationToken::new());
    let (watched, stopping) = (shared.clone(), stop.clone());
    let streaming =
        tokio::spawn(async move { stream(&settings, &deliverer, shared, stopping).await });
    until(fault.name(), Duration::from_secs(30), async || {
        watched.lock().unwrap().sent >= 10
    })
    .await;
    stop.cancel();
    let tally = streaming.await.unwrap().unwrap();
    let lines = std::fs::read_to_string(journal.path()).unwrap();
    (
        tally,
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
        receiver,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_does_what_it_says() {
    let contracts = Catalog::builtin();
    for fault in Fault::ALL {
        let (tally, lines, receiver) = streamed(fault).await;
        let refused: u64 = tally.refused.values().sum();
        assert_eq!(
            tally.sent,
            tally.accepted + refused + tally.unanswered,
            "{fault}: {tally:?}"
        );
        let (sent, answered): (Vec<_>, Vec<_>) =
            lines.iter().partition(|line| line["body"].is_string());
        assert_eq!(
            (sent.len() as u64, answered.len() as u64),
            (tally.sent, tally.sent),
            "{fault}: two lines a delivery"
        );
        let expected = fault.expected().to_string();
        let (faulty, sound): (Vec<&Value>, Vec<&Value>) =
            sent.iter().partition(|line| line["expect"] == *expected);
        assert_eq!(tally.faults.keys().collect::<Vec<_>>(), [fault.name()]);
        if fault.expected() != Expected::Stored {
            assert_eq!(tally.faults[fault.name()], faulty.len() as u64, "{fault}");
        }
        let answer = |line: &Value| answered.iter().find(|answer| answer["n"] == line["n"]);
        for line in faulty {
            assert_eq!(line["source"], "payment-authorized");
            let answer = answer(line).unwrap();
            match fault.expected() {
                Expected::Refused(code) => assert_eq!(answer["code"], code, "{answer}"),
                Expected::Stored | Expected::Duplicate | Expected::DeadLettered(_) => {
                    assert_eq!(answer["status"], 200, "{answer}");
                }
            }
        }
        for line in sound {
            assert_eq!(line["expect"], "stored", "{line}");
            assert_eq!(answer(line).unwrap()["status"], 200, "{line}");
        }

        let got = receiver.got();
        let verdicts = got
            .iter()
            .map(|(_, body)| Envelope::own(body).and_then(|envelope| contracts.validate(envelope)));
        match fault {
            Fault::Duplicate | Fault::Conflicting => {
                let mut by_id: HashMap<String, Vec<&[u8]>> = HashMap::new();
                for (verdict, (_, body)) in verdicts.zip(&got) {
                    by_id
                        .entry(verdict.unwrap().envelope().id.clone().into_owned())
                        .or_default()
                        .push(body);
                }
                for bodies in by_id.values() {
                    assert_eq!(
                        (bodies.len(), bodies[0] == bodies[1]),
                        (2, fault == Fault::Duplicate),
                        "{fault}"
                    );
                }
            }
            Fault::Reordered => {
                // Of each payment the later event comes first.
                let mut first: HashMap<String, bool> = HashMap::new();
                for body in receiver.bodies() {
                    let event: Value = serde_json::from_slice(&body).unwrap();
                    let later = event["payload"]["order_id"]
                        .as_str()
                        .unwrap()
                        .ends_with("_later");
                    first
                        .entry(event["payload"]["payment_id"].to_string())
                        .or_insert(later);
                }
                assert!(first.len() > 1 && first.values().all(|later| *later));
            }
            Fault::SlowBody => assert!(
                got.iter()
                    .all(|(headers, _)| headers.contains_key("transfer-encoding"))
            ),
            _ => {
                for verdict in verdicts {
                    let code = verdict.err().map(|rejection| rejection.code.code());
                    let Expected::DeadLettered(expected) = fault.expected() else {
                        assert_eq!(code, None, "{fault}");
                        continue;
                    };
                    assert_eq!(code, Some(expected), "{fault}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_journal_that_cannot_be_made_is_an_error_at_once() {
    let receiver = Receiver::verifying().await;
    let args = DeliveryArgs {
        webhook_url: receiver.url.clone(),
        webhook_signing_secret: Secret::new(SECRET),
        webhook_timeout_seconds: 1.0,
        max_attempts: 1,
        backoff_base_seconds: 0.0,
        backoff_max_seconds: 0.0,
        backoff_jitter_seconds: 0.0,
    };
    let settings = StreamSettings {
        rate: f64::INFINITY,
        seed: 1,
        faults: Vec::new(),
        concurrency: 0,
        amount: None,
        currency: None,
        payment_prefix: String::new(),
        order_prefix: String::new(),
        journal: Some("/nowhere/at/all".into()),
    };
    let ended = stream(
        &settings,
        &Deliverer::new(&args).unwrap(),
        SharedTotals::default(),
        CancellationToken::new(),
    )
    .await;
    assert!(ended.unwrap_err().to_string().contains("/nowhere/at/all"));
}
