//! What a replay sends, and where to.

use crate::replay::{self, Dead, PERSISTENCE, RETRY_PERSISTENCE, RETRY_VALIDATOR, world};
use crate::{all_sent, copies, once_each};
use contracts::kafka::topics;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_record_is_the_dead_letter_without_its_verdict_and_says_which_replay_it_is_of() {
    let world = world(&[]).await;
    let headers = serde_json::json!([
        ["ef.source", "acme"], ["ef.dlq.code", "invalid_amount"], ["__dlq.errors.topic", "t"], ["ef.dlq.first_failed_at", "12"],
        ["x-null", null], ["x-bytes", {"base64": "/wA="}], ["ef.replay_id", "older"], ["ef.replay_count", "2"], ["x-bytes", "again"]
    ]);
    let value = b"{\"amount\":\xff\x00}";
    let plain = world
        .dead(&Dead {
            raw: (3, 77),
            value: Some(value),
            headers: headers.clone(),
            replay_count: 2,
            ..Dead::default()
        })
        .await;
    let edited = world
        .dead(&Dead {
            raw: (1, 5),
            value: Some(value),
            headers,
            ..Dead::default()
        })
        .await;
    let null = world
        .dead(&Dead {
            raw: (1, 6),
            value: None,
            headers: serde_json::json!([["ef.raw", "4:44"]]),
            ..Dead::default()
        })
        .await;
    sqlx::query(
        "WITH e AS (INSERT INTO edits (dead_letter_id, edited_by, value, patch) VALUES ($1, 'eve', 'better', '[]') RETURNING id)
         UPDATE dead_letters SET edit_id = e.id FROM e WHERE dead_letters.id = $1",
    )
    .bind(edited)
    .execute(&world.pool)
    .await
    .unwrap();
    let runner = world.start_runner();
    let job = world.applied(&[plain, edited, null], 1000.0).await;
    world.job_when(&job.id, all_sent(3)).await;
    runner.end().await;
    let records: BTreeMap<String, _> = world
        .retried()
        .into_iter()
        .map(|record| (record.header("ef.raw").unwrap(), record))
        .collect();
    assert_eq!(
        records.keys().map(String::as_str).collect::<Vec<_>>(),
        ["1:5", "3:77", "4:44"]
    );
    let some = |text: &str| Some(text.as_bytes().to_vec());
    let kept = |tail: Vec<(&str, Option<Vec<u8>>)>| {
        let mut all = vec![
            ("ef.source", some("acme")),
            ("ef.dlq.first_failed_at", some("12")),
            ("x-null", None),
            ("x-bytes", Some(vec![0xff, 0])),
            ("x-bytes", some("again")),
        ];
        all.extend(tail);
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Vec<_>>()
    };
    let record = &records["3:77"];
    assert_eq!(
        (record.key.as_deref(), record.value.as_deref()),
        (Some(&b"k"[..]), Some(&value[..]))
    );
    let tail = vec![
        ("ef.raw", some("3:77")),
        ("ef.replay_id", some(&job.id)),
        ("ef.replay_count", some("3")),
    ];
    assert_eq!(record.headers, kept(tail));
    let record = &records["1:5"];
    assert_eq!(record.value.as_deref(), Some(&b"better"[..]));
    let hash = format!("sha256:{}", hex::encode(Sha256::digest(value)));
    let tail = vec![
        ("ef.raw", some("1:5")),
        ("ef.replay_id", some(&job.id)),
        ("ef.replay_count", some("1")),
        ("ef.edited_by", some("eve")),
        ("ef.original_hash", some(&hash)),
    ];
    assert_eq!(record.headers, kept(tail));
    let record = &records["4:44"];
    assert_eq!(record.value, None, "Kafka's null stays null");
    let names: Vec<&str> = record
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["ef.raw", "ef.replay_id", "ef.replay_count"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_to_the_topic_its_stage_reads() {
    let world = world(&[
        "--validator-topic-retry",
        RETRY_PERSISTENCE,
        "--persistence-topic-retry",
        RETRY_VALIDATOR,
    ])
    .await;
    let id = world
        .dead(&Dead {
            group: PERSISTENCE,
            ..Dead::default()
        })
        .await;
    let runner = world.start_runner();
    let job = world.applied(&[id], 1000.0).await;
    world.job_when(&job.id, all_sent(1)).await;
    runner.end().await;
    assert_eq!(copies(&world), once_each(0..1));
}

#[test]
fn a_retry_topic_that_is_another_topic_is_refused() {
    for arguments in [
        &["--validator-topic-retry", "a b"][..],
        &["--persistence-topic-retry", topics::DLQ],
        &[
            "--persistence-topic-retry",
            "same",
            "--validator-topic-retry",
            "same",
        ],
    ] {
        let refused = replay::pipeline("postgresql://localhost/x", arguments)
            .check()
            .unwrap_err();
        assert!(refused.to_string().contains(arguments[0]), "{refused}");
    }
}
