//! Every code there is, its rule and its advice.

use crate::story::world;
use crate::{dead, explained};
use contracts::RejectionCode;
use contracts::event::Catalog;
use recovery::error::RecoveryError;
use recovery::query::explain;
use std::collections::BTreeSet;

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
