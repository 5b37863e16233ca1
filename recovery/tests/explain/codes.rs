//! Every code there is, its rule and its advice.

use crate::timeline::world;
use crate::{dead, explained};
use contracts::RejectionCode;
use contracts::event::{Catalog, Envelope};
use recovery::error::RecoveryError;
use recovery::query::explain;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn every_invalid_example_is_explained_at_its_place_with_its_rule_and_what_to_type() {
    let world = world(true, None, &[]).await;
    let contracts = Catalog::builtin();
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../contracts/events/payment.authorized/v1/examples/invalid"
    );
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let payload = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let value = format!(
            r#"{{"event_id":"e","event_type":"payment.authorized.v1","timestamp":"2026-01-02T03:04:05Z","payload":{payload}}}"#
        );
        let rejection = Envelope::own(value.as_bytes())
            .and_then(|envelope| contracts.validate(envelope))
            .unwrap_err();
        let detail = match &rejection.pointer {
            Some(pointer) => format!("{pointer}: {}", rejection.detail),
            None => rejection.detail.clone(),
        };
        let code = rejection.code.code();
        codes.insert(code);
        let id = dead(&world, "validator", code, &detail, Some(value.as_bytes())).await;
        let explanation = explained(&world, id).await;
        assert_eq!(
            (
                explanation.code.as_str(),
                explanation.meaning.as_str(),
                &explanation.detail
            ),
            (code, rejection.code.meaning(), &detail)
        );
        assert_eq!(explanation.pointer, rejection.pointer, "{code}");
        assert!(
            explanation
                .today
                .starts_with(&format!("it still fails with {code}")),
            "{code}: {}",
            explanation.today
        );
        assert!(
            explanation
                .next
                .iter()
                .any(|next| next.contains(&format!("eventflow dlq discard --id {id}"))),
            "{:?}",
            explanation.next
        );
        assert!(explanation.began_at.is_some() && explanation.like_it > 0);
        let is_known = rejection
            .pointer
            .as_deref()
            .is_some_and(|pointer| pointer.starts_with("/payload/"));
        if is_known && code != "missing_field" {
            assert!(explanation.value.is_some(), "{code}: {explanation:?}");
            assert!(
                explanation
                    .rule
                    .as_deref()
                    .is_some_and(|rule| rule.contains("type")),
                "{code}: {explanation:?}"
            );
        }
    }
    assert!(codes.len() >= 12, "{codes:?}");
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
        let explanation = explained(&world, id).await;
        assert!(
            explanation
                .next
                .iter()
                .any(|next| next.contains("eventflow ")),
            "{}: {:?}",
            code.code(),
            explanation.next
        );
        advice.insert(explanation.next[0].replace(&id.to_string(), ""));
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
    let explanation = explained(&world, id).await;
    assert!(
        explanation.meaning.contains("another system")
            && explanation.today.starts_with("not checked"),
        "{explanation:?}"
    );
    assert!(
        explanation
            .next
            .iter()
            .any(|next| next.contains("connect-sink")),
        "{:?}",
        explanation.next
    );
    assert!(
        !explanation
            .next
            .iter()
            .any(|next| next.contains("replay plan")),
        "it cannot be replayed: {:?}",
        explanation.next
    );
    assert!(matches!(
        explain::explain(&world.recovery, 999_999).await,
        Err(RecoveryError::NotFound(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_mapping_has_one_cure_whatever_is_missed_first() {
    let world = world(false, None, &[]).await;
    let github = r#"{"action":"opened","repository":{"full_name":"example-org/hello-world"}}"#;
    let paypal = r#"{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","create_time":"2026-01-15T12:00:00Z","resource":{}}"#;
    let mut cures = BTreeSet::new();
    for (code, detail, body) in [
        (
            "no_event_type",
            "/event_type: nothing is at /event_type",
            github,
        ),
        ("no_event_id", "/event_id: nothing is at /event_id", paypal),
        (
            "no_event_time",
            "/timestamp: nothing is at /timestamp",
            paypal,
        ),
        ("missing_field", "/payload: is required", paypal),
    ] {
        let id = dead(&world, "validator", code, detail, Some(body.as_bytes())).await;
        cures.insert(explained(&world, id).await.next[0].clone());
    }
    assert_eq!(cures.len(), 1, "{cures:?}");
    assert!(
        cures
            .iter()
            .all(|cure| cure.contains("This source has no mapping")),
        "{cures:?}"
    );
    // In EventFlow's own envelope the one place that is missing is named.
    let own = r#"{"event_id":"e-1","timestamp":"2026-01-15T12:00:00Z","payload":{}}"#;
    let (code, detail) = ("no_event_type", "/event_type: nothing is at /event_type");
    let id = dead(&world, "validator", code, detail, Some(own.as_bytes())).await;
    let next = explained(&world, id).await.next;
    assert!(
        next[0].contains("correct type in its [source.event]"),
        "{next:?}"
    );
}
