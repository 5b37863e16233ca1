//! A dry run says what the stages and the database would say, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a test")]

mod conflicts;
#[path = "../replay/mod.rs"]
mod replay;

use contracts::avro::datum::Decoder;
use contracts::event::Catalog;
use recovery::model::{DryRun, DryRunSample, Prediction};
use recovery::replay::{dry_run, jobs};
use replay::{Dead, NUL, PERSISTENCE, World, body, framed, registry, world};
use sha2::{Digest, Sha256};

/// A prediction and its code.
type Predicted = (Prediction, Option<String>);

/// Prediction and code of every dead letter.
fn predictions(run: &DryRun, ids: &[i64]) -> Vec<Predicted> {
    let of = |id: &i64| {
        run.samples
            .iter()
            .find(|item| item.letter == Some(*id))
            .map(|item| (item.would, item.code.clone()))
    };
    ids.iter().map(|id| of(id).unwrap()).collect()
}

fn sample(run: &DryRun, id: i64) -> &DryRunSample {
    run.samples
        .iter()
        .find(|item| item.letter == Some(id))
        .unwrap()
}

fn predicted(would: &str, code: Option<&str>) -> Predicted {
    (would.parse().unwrap(), code.map(str::to_owned))
}

async fn dead(world: &World, group: &str, offset: i64, value: &[u8]) -> i64 {
    world
        .dead(&Dead {
            group,
            raw: (0, offset),
            value: Some(value),
            ..Dead::default()
        })
        .await
}

/// A row of persistence's.
async fn store(world: &World, event_id: &str, amount: &str, raw: (i32, i64)) {
    let framed = framed(&body(event_id, amount));
    let contracts = Catalog::builtin();
    let contract = contracts.contract("payment.authorized.v1").unwrap();
    let decoder = Decoder::new(&contract.record_avsc).unwrap();
    sqlx::query(
        "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, amount, currency, payload, content_hash,
             schema_id, raw_partition, raw_offset)
         VALUES ('acme', $1, 'payment.authorized.v1', '1', '2026-01-02T03:04:05Z', $2::text::numeric, 'EUR', $6::jsonb, $3, 1, $4, $5)",
    )
    .bind(event_id)
    .bind(amount)
    // As older versions hashed it.
    .bind(Sha256::digest(&framed[5..]).to_vec())
    .bind(raw.0)
    .bind(raw.1)
    .bind(decoder.decode(&framed[5..]).unwrap().payload_json)
    .execute(&world.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_dead_letter_would_come_to() {
    let url = registry().await;
    let world = world(&["--registry-url", &url])
        .await
        .with_persistence()
        .await;
    store(&world, "same", "5", (7, 1)).await;
    store(&world, "other", "5", (7, 2)).await;
    store(&world, "itself", "5", (0, 12)).await;
    let mut unknown = framed(&body("x", "1"));
    unknown[4] = 99;
    let long = "i".repeat(60);
    let cases: Vec<(i64, &str, Vec<u8>, Predicted)> = vec![
        (
            1,
            replay::VALIDATOR,
            body("new", "5").into(),
            predicted("store", None),
        ),
        (
            2,
            replay::VALIDATOR,
            body("bad", "\"-1\"").into(),
            predicted("fail", Some("amount_not_positive")),
        ),
        (
            3,
            replay::VALIDATOR,
            b"\xff{".to_vec(),
            predicted("fail", Some("not_utf8")),
        ),
        (
            4,
            PERSISTENCE,
            framed(&body("same", "5")),
            predicted("duplicate", None),
        ),
        (
            5,
            PERSISTENCE,
            framed(&body("other", "6")),
            predicted("fail", Some("conflict")),
        ),
        (
            6,
            PERSISTENCE,
            b"no frame".to_vec(),
            predicted("fail", Some("bad_frame")),
        ),
        (
            7,
            PERSISTENCE,
            unknown,
            predicted("fail", Some("schema_not_found")),
        ),
        (
            8,
            PERSISTENCE,
            vec![0, 0, 0, 0, 3, 7],
            predicted("fail", Some("bad_datum")),
        ),
        (
            9,
            PERSISTENCE,
            framed(&body(&format!("a{NUL}b"), "5")),
            predicted("fail", Some("row_refused")),
        ),
        (
            10,
            replay::VALIDATOR,
            body("new", "5").into(),
            predicted("duplicate", None),
        ),
        (
            11,
            replay::VALIDATOR,
            body("new", "6").into(),
            predicted("fail", Some("conflict")),
        ),
        (
            12,
            replay::VALIDATOR,
            body("itself", "5").into(),
            predicted("duplicate", None),
        ),
        (
            13,
            "billing",
            body(&long, "5").into(),
            predicted("fail", Some("destination_unknown")),
        ),
    ];
    let mut ids = Vec::new();
    for (offset, group, value, _) in &cases {
        ids.push(dead(&world, group, *offset, value).await);
    }
    let often = Dead {
        raw: (0, 14),
        value: Some(b"{}"),
        replay_count: 5,
        ..Dead::default()
    };
    ids.push(world.dead(&often).await);
    let job = world.planned(&ids, "k").await;
    let run = dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    let mut expected: Vec<_> = cases.into_iter().map(|(.., verdict)| verdict).collect();
    expected.push(predicted("fail", Some("replays_exhausted")));
    assert_eq!(predictions(&run, &ids), expected);
    assert_eq!(
        (run.would_store, run.would_be_duplicate, run.would_fail),
        (1, 3, 10)
    );
    assert_eq!(run.would_fail_by_code["conflict"], 2);
    // The predictions stay with the items.
    let items = jobs::items(&world.recovery, &job.id, &[], 100)
        .await
        .unwrap();
    let kept: Vec<_> = items
        .into_iter()
        .map(|item| (item.would.unwrap(), item.would_code))
        .collect();
    assert_eq!(kept, expected);
    let row = sample(&run, ids[0]).row.as_ref().unwrap();
    assert_eq!(
        (
            &row["event_id"],
            &row["amount"],
            &row["raw"],
            &row["source"]
        ),
        (&"new".into(), &"5".into(), &"0:1".into(), &"acme".into())
    );
    let diff = serde_json::to_string(sample(&run, ids[4]).diff.as_ref().unwrap()).unwrap();
    assert!(diff.contains("/amount") && diff.contains("\"6\""), "{diff}");
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        3,
        "nothing is stored by a dry run"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state = 'open'")
            .await,
        14
    );
    assert_eq!(
        jobs::audit_log(&world.recovery, Some(&job.id), None, None, 1)
            .await
            .unwrap()[0]
            .action,
        "replay.dry_run"
    );
    assert_eq!(
        dry_run::dry_run(&world.recovery, "ann", "nothere")
            .await
            .unwrap_err()
            .code(),
        "not_found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_persistences_tables_refusals_are_found_all_the_same() {
    let url = registry().await;
    let world = world(&["--registry-url", &url]).await;
    let good = dead(&world, replay::VALIDATOR, 1, body("good", "5").as_bytes()).await;
    let nul = framed(&body(&format!("a{NUL}b"), "5"));
    let nul = dead(&world, PERSISTENCE, 2, &nul).await;
    let job = world.planned(&[good, nul], "k").await;
    let run = dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    assert_eq!(
        predictions(&run, &[good, nul]),
        [
            predicted("store", None),
            predicted("fail", Some("row_refused"))
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_gives_no_prediction() {
    let world = world(&["--registry-url", "http://127.0.0.1:9"]).await;
    let id = dead(&world, PERSISTENCE, 1, &framed(&body("e", "5"))).await;
    let job = world.planned(&[id], "k").await;
    assert_eq!(
        dry_run::dry_run(&world.recovery, "ann", &job.id)
            .await
            .unwrap_err()
            .code(),
        "unavailable"
    );
    assert_eq!(world.text("SELECT would FROM replay_items").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_page_is_tried_and_counted_wholly() {
    let world = world(&[]).await;
    let mut ids = Vec::new();
    for offset in 0..450 {
        let amount = if offset % 3 == 0 { "\"no\"" } else { "5" };
        ids.push(
            dead(
                &world,
                replay::VALIDATOR,
                offset,
                body(&format!("e{offset}"), amount).as_bytes(),
            )
            .await,
        );
    }
    let job = world.planned(&ids, "k").await;
    let run = dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    assert_eq!(
        (run.would_store, run.would_be_duplicate, run.would_fail),
        (300, 0, 150)
    );
    assert_eq!(
        world.number("SELECT count(*) FROM replay_items WHERE would = 'fail' AND would_code = 'invalid_amount'").await,
        150
    );
    assert!(run.samples.len() <= 10);
    dry_run::dry_run(&world.recovery, "ann", &job.id)
        .await
        .unwrap();
    let tables = world
        .number("SELECT count(*) FROM pg_class WHERE relname = 'dry_run_rows'")
        .await;
    assert!(
        (1..=i64::from(world.recovery.pool().size())).contains(&tables),
        "one per connection, not one per page: {tables}"
    );
}
