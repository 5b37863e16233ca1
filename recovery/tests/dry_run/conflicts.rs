//! A dry run knows what persistence has stored: another value of the same event, and another event of the same raw record, are conflicts.

use crate::replay::{self, Dead, body, registry, world};
use crate::{Predicted, dead, predicted, predictions, sample, store};
use recovery::replay::dry_run;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_is_stored_already_is_a_conflict_as_persistence_says() {
    let url = registry().await;
    let world = world(&["--registry-url", &url])
        .await
        .with_persistence()
        .await;
    store(&world, "e", "5", (0, 1)).await;
    let text = body("e", "6");
    let mut ids = Vec::new();
    for headers in [
        json!([["ef.source", "acme"]]),
        json!([["ef.source", "acme"], ["ef.edited_by", "ann"]]),
    ] {
        sqlx::query("DELETE FROM dead_letters")
            .execute(&world.pool)
            .await
            .unwrap();
        let id = world
            .dead(&Dead {
                raw: (0, 1),
                value: Some(text.as_bytes()),
                headers,
                ..Dead::default()
            })
            .await;
        let job = world.planned(&[id], &id.to_string()).await;
        let run = dry_run::dry_run(&world.recovery, "ann", &job.id)
            .await
            .unwrap();
        ids.push(predictions(&run, &[id]).remove(0));
    }
    assert_eq!(
        ids,
        [
            predicted("duplicate", None),
            predicted("fail", Some("conflict"))
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_record_that_is_another_event_already_is_a_conflict_as_persistence_says() {
    let url = registry().await;
    let world = world(&["--registry-url", &url])
        .await
        .with_persistence()
        .await;
    store(&world, "first", "5", (0, 30)).await;
    sqlx::query(
        "INSERT INTO persistence.duplicates (raw_partition, raw_offset, source, event_id) VALUES (0, 31, 'acme', 'first')",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let cases = [
        (30, body("second", "5"), predicted("fail", Some("conflict"))),
        (31, body("third", "5"), predicted("fail", Some("conflict"))),
        (32, body("fourth", "5"), predicted("store", None)),
    ];
    let mut ids = Vec::new();
    for (offset, text, _) in &cases {
        ids.push(dead(&world, replay::VALIDATOR, *offset, text.as_bytes()).await);
    }
    // As the delivery it was recorded as it is still a duplicate.
    let headers = json!([["ef.source", "acme"], ["ef.raw", "0:31"]]);
    ids.push(
        world
            .dead(&Dead {
                raw: (0, 33),
                value: Some(body("first", "5").as_bytes()),
                headers,
                ..Dead::default()
            })
            .await,
    );
    let job = world.planned(&ids, "k").await;
    let run = dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    let mut expected: Vec<Predicted> = cases.into_iter().map(|(.., verdict)| verdict).collect();
    expected.push(predicted("duplicate", None));
    assert_eq!(predictions(&run, &ids), expected);
    let detail = sample(&run, ids[0]).detail.clone().unwrap();
    assert_eq!(
        detail,
        "raw record 0:30 is event first of source acme already"
    );
}
