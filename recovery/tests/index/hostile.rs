//! Whatever a record holds becomes a row, verbatim.

use crate::index_world::{Made, ours, take, world};
use contracts::RejectionCode;
use proptest::strategy::ValueTree as _;
use recovery::model::{Payload, Selection};
use recovery::query::detail;
use recovery::query::export;
use recovery::query::list;
use sqlx::Row as _;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_come_back_verbatim_and_change_nothing() {
    let world = world().await;
    let hostile = [
        "'; DROP TABLE dead_letters; --",
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "<script>alert(1)</script>",
        "$1 %s {} \\ \\u0000 \" ,NULL",
        "\u{202e}gnp.exe",
        "日本語\r\n\t",
    ];
    let batch: Vec<Made> = hostile
        .iter()
        .zip(0..)
        .map(|(text, offset)| {
            let made = ours(offset, RejectionCode::NotJson);
            let made = Made {
                key: Some(text.as_bytes().to_vec()),
                value: Some(text.as_bytes().to_vec()),
                ..made
            };
            [
                "ef.dlq.detail",
                "ef.dlq.code",
                "ef.dlq.stage",
                "ef.source",
                "ef.event_id",
                "x",
                text,
            ]
            .iter()
            .fold(made, |made, name| made.with(name, *text))
        })
        .collect();
    take(&mut world.index(), &batch).unwrap();
    for (text, made) in hostile.iter().zip(&batch) {
        let found = list::dead_letters(
            &world.recovery,
            &Selection {
                event_id: Some((*text).to_owned()),
                ..Selection::default()
            },
            None,
        )
        .await
        .unwrap();
        assert_eq!(found.letters.len(), 1, "{text}");
        let detail = detail::dead_letter(&world.recovery, found.letters[0].id)
            .await
            .unwrap();
        let letter = &detail.letter;
        for field in [&letter.detail, &letter.code, &letter.stage, &letter.source] {
            assert_eq!(field, text);
        }
        assert_eq!(
            (letter.entity_key.as_deref(), detail.key.as_deref()),
            (Some(*text), Some(*text))
        );
        assert_eq!(
            detail.value,
            Payload::Text {
                text: (*text).to_owned()
            }
        );
        let headers: Vec<(String, Option<String>)> = made
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.clone(),
                    Some(String::from_utf8(value.clone()).unwrap()),
                )
            })
            .collect();
        assert_eq!(detail.headers, headers);
        for selection in [
            Selection {
                code: vec![(*text).to_owned()],
                ..Selection::default()
            },
            Selection {
                source: vec![(*text).to_owned()],
                stage: vec![(*text).to_owned()],
                ..Selection::default()
            },
            Selection {
                contains: Some((*text).to_owned()),
                ..Selection::default()
            },
            Selection {
                entity_key: Some((*text).to_owned()),
                ..Selection::default()
            },
        ] {
            assert_eq!(
                list::dead_letters(&world.recovery, &selection, None)
                    .await
                    .unwrap()
                    .letters
                    .len(),
                1,
                "{selection:?}"
            );
            assert_eq!(
                list::groups(&world.recovery, &selection)
                    .await
                    .unwrap()
                    .len(),
                1,
                "{selection:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_too_strange_to_be_indexed() {
    let world = world().await;
    let bare = |offset| Made {
        partition: 1,
        offset,
        timestamp_ms: 0,
        key: None,
        value: None,
        headers: Vec::new(),
    };
    let large = format!(
        "{{\"event_id\":\"{}\",\"event_type\":\"{}\"",
        "i".repeat(100_000),
        "t".repeat(900_000)
    );
    let mut twice = ours(100, RejectionCode::NotJson);
    twice
        .headers
        .push(("ef.source".to_owned(), b"second".to_vec()));
    let batch = [
        bare(0),
        Made {
            key: Some(vec![0, 159, 146, 150]),
            value: Some(vec![0, 0, 0, 0, 1, 255, 254]),
            timestamp_ms: i64::MAX,
            ..bare(1)
        },
        Made {
            value: Some(large.clone().into_bytes()),
            timestamp_ms: i64::MIN,
            ..bare(2)
        },
        Made {
            value: Some(b"a\0b".to_vec()),
            headers: vec![
                ("n\0ul".to_owned(), b"v\0al".to_vec()),
                (String::new(), vec![0xff]),
            ],
            ..bare(3)
        },
        ours(101, RejectionCode::NotUtf8)
            .with("ef.source", vec![0xc3, 0x28])
            .with("ef.dlq.detail", b"nul \0 and \xff".to_vec())
            .with("ef.event_id", b"e\0e".to_vec()),
        ours(102, RejectionCode::NotUtf8)
            .with("ef.dlq.attempts", "99999999999999999999")
            .with("ef.replay_count", "-5")
            .with("ef.dlq.first_failed_at", "9223372036854775807")
            .with("ef.dlq.last_failed_at", "-1"),
        ours(103, RejectionCode::NotUtf8)
            .with("ef.raw", "4294967296:-1")
            .with("__dlq.errors.offset", "x"),
        ours(104, RejectionCode::NotUtf8)
            .with("ef.dlq.code", "c".repeat(100_000))
            .with("ef.dlq.detail", "ü".repeat(100_000))
            .with("ef.event_id", "e".repeat(100_000)),
        twice,
        ours(105, RejectionCode::NotJson).with("ef.raw", ""),
    ];
    take(&mut world.index(), &batch).unwrap();
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters").await,
        batch.len() as i64
    );
    for made in &batch {
        let id: i64 = sqlx::query_scalar(
            "SELECT id FROM dead_letters WHERE dlq_partition = $1 AND dlq_offset = $2",
        )
        .bind(made.partition)
        .bind(made.offset)
        .fetch_one(&world.pool)
        .await
        .unwrap();
        let row = sqlx::query("SELECT key, value, value_bytes FROM dead_letters WHERE id = $1")
            .bind(id)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert_eq!(row.get::<Option<Vec<u8>>, _>(0), made.key);
        assert_eq!(row.get::<Option<Vec<u8>>, _>(1), made.value);
        assert_eq!(
            row.get::<Option<i32>, _>(2),
            made.value
                .as_ref()
                .map(|value| i32::try_from(value.len()).unwrap())
        );
        let detail = detail::dead_letter(&world.recovery, id).await.unwrap();
        assert_eq!(detail.headers.len(), made.headers.len());
        serde_json::to_string(&detail).unwrap();
    }
    let nul = detail::dead_letter(&world.recovery, 4).await.unwrap();
    assert_eq!(
        nul.headers,
        [
            ("n\u{fffd}ul".to_owned(), Some("base64:dgBhbA==".to_owned())),
            (String::new(), Some("base64:/w==".to_owned()))
        ]
    );
    let numbers = detail::dead_letter(&world.recovery, 6)
        .await
        .unwrap()
        .letter;
    assert_eq!(
        (
            numbers.replay_count,
            numbers.attempts,
            numbers.last_failed_at.unix_timestamp()
        ),
        (0, 1, 1_790_000_000)
    );
    assert_eq!(
        detail::dead_letter(&world.recovery, 9)
            .await
            .unwrap()
            .letter
            .source,
        "acme",
        "the first of two"
    );
    let long = "e".repeat(100_000);
    let found = list::dead_letters(
        &world.recovery,
        &Selection {
            event_id: Some(long),
            ..Selection::default()
        },
        None,
    )
    .await
    .unwrap();
    assert_eq!(
        found.letters.len(),
        1,
        "what is too long for an index is found all the same"
    );
    let exported = export::export(&world.recovery, &Selection::default(), None)
        .await
        .unwrap();
    assert_eq!(exported.0.len(), batch.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_headers_and_bytes_become_a_row_or_a_failure_of_one() {
    use proptest::prelude::*;
    const NAMES: &[&str] = &[
        "ef.raw",
        "ef.replay_count",
        "ef.dlq.stage",
        "ef.dlq.code",
        "ef.dlq.last_failed_at",
        "ef.source",
        "ef.event_id",
        "traceparent",
        "__dlq.errors.topic",
        "__dlq.errors.partition",
        "__dlq.errors.offset",
        "kafka_dlt-original-topic",
        "kafka_dlt-original-partition",
        "kafka_dlt-original-offset",
        "__connect.errors.topic",
        "\u{0}\u{1b}",
    ];
    let world = world().await;
    let mut index = world.index();
    let bytes = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[-0-9:]{0,20}".prop_map(String::into_bytes),
            "\\{\"event_(id|type)\":\"[a-z\\\\u0]{0,9}\"[,}]?".prop_map(String::into_bytes),
        ]
    };
    let header = (0..NAMES.len(), bytes());
    let record = (
        any::<i64>(),
        prop::option::of(bytes()),
        prop::option::of(bytes()),
        prop::collection::vec(header, 0..10),
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = prop::collection::vec(record, 50);
    for round in 0..40_i64 {
        let records = strategy.new_tree(&mut runner).unwrap().current();
        let batch: Vec<Made> = records
            .into_iter()
            .zip(round * 50..)
            .map(|((timestamp_ms, key, value, headers), offset)| {
                let headers = headers
                    .into_iter()
                    .map(|(name, value)| (NAMES[name].to_owned(), value))
                    .collect();
                Made {
                    partition: 0,
                    offset,
                    timestamp_ms,
                    key,
                    value,
                    headers,
                }
            })
            .collect();
        take(&mut index, &batch).unwrap();
    }
    // Every record is a row, or the verdict before or beside one.
    let places = "SELECT count(*) FROM (SELECT dlq_offset FROM dead_letters UNION SELECT dlq_offset FROM failures) x";
    assert_eq!(world.number(places).await, 2000);
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        2000
    );
    world.assert_counters().await;
    let all = Selection {
        limit: Some(1000),
        ..Selection::default()
    };
    for letter in list::dead_letters(&world.recovery, &all, None)
        .await
        .unwrap()
        .letters
    {
        serde_json::to_string(
            &detail::dead_letter(&world.recovery, letter.id)
                .await
                .unwrap(),
        )
        .unwrap();
    }
}
