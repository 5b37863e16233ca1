//! The key of an edited replay: from the edited value, and only where the old one was missing or at fault.

use crate::replay::{Dead, NUL, PERSISTENCE, VALIDATOR, World, body, framed, registry, world};
use crate::{ONE, dead};
use recovery::query::trace::trace;
use recovery::replay::{dry_run, edit};
use serde_json::json;

/// What a dead letter is found by, its own key, and the key of its edit.
async fn keys(world: &World, id: i64) -> (Option<String>, Option<String>, Option<String>) {
    let keys = sqlx::query_as(
        "SELECT d.entity_key, d.key, e.key FROM dead_letters d LEFT JOIN edits e ON e.id = d.edit_id WHERE d.id = $1",
    );
    let (found_by, own, sent): (Option<String>, Option<Vec<u8>>, Option<Vec<u8>>) =
        keys.bind(id).fetch_one(&world.pool).await.unwrap();
    let text = |key: Vec<u8>| String::from_utf8(key).unwrap().replace('\0', "\u{7f}");
    (found_by, own.map(text), sent.map(text))
}

async fn keyed(world: &World, group: &str, offset: i64, key: Option<&str>, value: &[u8]) -> i64 {
    let id = dead(world, group, offset, value).await;
    sqlx::query(
        "UPDATE dead_letters SET key = $2, entity_key = replace($3, E'\\x7f', '?') WHERE id = $1",
    )
    .bind(id)
    .bind(key.map(|key| key.replace(NUL, "\0").into_bytes()))
    .bind(key)
    .execute(&world.pool)
    .await
    .unwrap();
    id
}

fn of(payment: &str, event_id: &str) -> String {
    body(event_id, "5").replace(r#""payment_id":"p""#, payment)
}

fn text(key: &str) -> Option<String> {
    Some(key.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_id_that_is_supplied_or_corrected_is_what_its_replay_is_found_by() {
    let url = registry().await;
    let world = world(&["--registry-url", &url])
        .await
        .with_persistence()
        .await;
    let good = |n: usize| of(&format!(r#""payment_id":"pay_{n}""#), &format!("e{n}"));
    let nul = framed(&of(&format!(r#""payment_id":"pay_{NUL}3""#), "e3"));
    let cases = [
        // Missing: the record's key is the event id.
        (VALIDATOR, Some("e0"), of(r#""x":1"#, "e0").into_bytes()),
        (
            VALIDATOR,
            Some("pay_\u{7f}1"),
            of(r#""payment_id":"pay_\u00001""#, "e1").into_bytes(),
        ),
        // At fault together with something that is found first.
        (
            VALIDATOR,
            Some("pay_\u{7f}2"),
            of(r#""payment_id":"pay_\u00002""#, "e2")
                .replace(":5,", ":-5,")
                .into_bytes(),
        ),
        (PERSISTENCE, Some("pay_\u{7f}3"), nul),
        // No key at all, and no JSON.
        (VALIDATOR, None, b"{\"event_id\":\"e4\"".to_vec()),
    ];
    let mut ids = Vec::new();
    for (n, (group, key, value)) in cases.into_iter().enumerate() {
        let id = keyed(&world, group, n as i64, key, &value).await;
        let edited = edit::edit(&world.recovery, "eve", id, &good(n), "").await;
        assert_eq!(edited.unwrap(), ONE, "{n}");
        let (found_by, own, sent) = keys(&world, id).await;
        let pay = text(&format!("pay_{n}"));
        assert_eq!((found_by, sent), (pay.clone(), pay), "{n}");
        assert_eq!(own.as_deref(), key, "the dead letter keeps its own");
        let found = trace(&world.recovery, &format!("pay_{n}")).await.unwrap();
        assert_eq!(found.timelines.len(), 1, "{n}");
        ids.push(id);
    }
    let job = world.applied(&ids, 1000.0).await;
    let tried = dry_run::dry_run(&world.recovery, "ann", &job.id).await;
    let rows: Vec<_> = tried
        .unwrap()
        .samples
        .into_iter()
        .filter_map(|sample| sample.row)
        .map(|row| row["entity_key"].clone())
        .collect();
    assert!(rows.contains(&json!("pay_0")), "{rows:?}");
    let runner = world.start_runner();
    world
        .job_when(&job.id, |job| crate::replay::count(job, "sent") == 5)
        .await;
    runner.end().await;
    let mut sent: Vec<String> = world
        .retried()
        .into_iter()
        .map(|record| String::from_utf8(record.key.unwrap()).unwrap())
        .collect();
    sent.sort();
    assert_eq!(sent, ["pay_0", "pay_1", "pay_2", "pay_4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_taken_back_is_found_by_the_old_key_again() {
    let world = world(&[]).await;
    let lacks = of(r#""x":1"#, "e1");
    // A contract that asks for less would take it: back is to the original, whatever it is.
    let id = keyed(&world, VALIDATOR, 1, Some("p"), body("e1", "5").as_bytes()).await;
    for amount in ["6", "5"] {
        let edited = edit::edit(&world.recovery, "eve", id, &body("e1", amount), "").await;
        assert_eq!(edited.unwrap(), ONE);
        assert_eq!(keys(&world, id).await.0, text("p"));
    }
    assert_eq!(keys(&world, id).await.2, None, "the original again");
    let missing = keyed(&world, VALIDATOR, 2, Some("e1"), lacks.as_bytes()).await;
    edit::edit(&world.recovery, "eve", missing, &body("e1", "5"), "")
        .await
        .unwrap();
    assert_eq!(keys(&world, missing).await.0, text("p"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_moves_no_event_to_another_entity() {
    let world = world(&[]).await;
    let lone = of(r#""payment_id":"pay_lone""#, "e1").replace(":5,", ":-5,");
    let id = keyed(&world, VALIDATOR, 1, Some("pay_lone"), lone.as_bytes()).await;
    let mallory = of(r#""payment_id":"pay_mallory""#, "e1");
    let refused = edit::edit(&world.recovery, "eve", id, &mallory, "").await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), "invalid_request");
    assert!(
        refused
            .to_string()
            .contains(r#"keep /payload/payment_id "pay_lone""#),
        "{refused}"
    );
    let right = of(r#""payment_id":"pay_lone""#, "e1");
    edit::edit(&world.recovery, "eve", id, &right, "")
        .await
        .unwrap();
    // Nor in two steps.
    assert!(
        edit::edit(&world.recovery, "eve", id, &mallory, "")
            .await
            .is_err()
    );
    assert_eq!(keys(&world, id).await.2, text("pay_lone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_source_nobody_knows_what_an_edit_makes() {
    let world = world(&[]).await;
    let value = body("e1", "-5");
    let foreign = Dead {
        raw: (0, 1),
        value: Some(value.as_bytes()),
        headers: json!([["ef.source", "nobody"]]),
        ..Dead::default()
    };
    let id = world.dead(&foreign).await;
    let refused = edit::edit(&world.recovery, "eve", id, &body("e1", "5"), "").await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("unknown_source")
            && refused.contains("\"nobody\"")
            && refused.contains("--sources"),
        "{refused}"
    );
    // What came through /api/ingest is enveloped by the edge itself.
    let headers = json!([["ef.source", "ingest"], ["ef.scheme", "api-key"]]);
    let value = of(r#""x":1"#, "e3");
    let ingested = world
        .dead(&Dead {
            raw: (0, 3),
            value: Some(value.as_bytes()),
            headers,
            ..Dead::default()
        })
        .await;
    edit::edit(&world.recovery, "eve", ingested, &body("e3", "5"), "")
        .await
        .unwrap();
    assert_eq!(keys(&world, ingested).await.2, text("p"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_from_a_header_that_no_record_keeps_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::replay::sources_file(
        folder.path(),
        r#"["header:x-entity", "/payload/payment_id"]"#,
    );
    let world = world(&["--sources", &file]).await;
    let id = keyed(
        &world,
        VALIDATOR,
        1,
        Some("of the header"),
        of(r#""x":1"#, "e1").as_bytes(),
    )
    .await;
    edit::edit(&world.recovery, "eve", id, &body("e1", "5"), "")
        .await
        .unwrap();
    assert_eq!(keys(&world, id).await.2, text("of the header"));
}
