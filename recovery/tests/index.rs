//! The index on a real PostgreSQL: one row a dead event, whatever is read twice, fails again or is hostile.

#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(missing_docs, unreachable_pub, reason = "a test")]
mod index_world;

use contracts::RejectionCode;
use index_world::{Made, assign, body, ours, take, world};
use proptest::strategy::ValueTree as _;
use recovery::index::retention;
use recovery::model::{DeadLetterState, Payload, Selection};
use recovery::query::detail;
use recovery::query::export;
use recovery::query::list;
use recovery::query::stats;
use sqlx::Row as _;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_again_changes_nothing_and_a_zombie_loses() {
    let world = world("again").await;
    let mut index = world.index();
    let all: Vec<Made> = (0..10)
        .map(|offset| ours(offset, RejectionCode::NotJson))
        .collect();
    take(&mut index, &all[..6]).unwrap();
    let state = "SELECT sum(hashtext(d::text))::bigint FROM (SELECT dead_letters::text AS d FROM dead_letters UNION ALL SELECT failures::text FROM failures) x";
    let before = world.number(state).await;

    // Crashed after the transaction and before Kafka's commit: a new process starts at the database's offset.
    let mut next = world.index();
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        6
    );
    // And a loop that hands over the same batch again changes nothing.
    take(&mut next, &all[..6]).unwrap();
    assert_eq!(world.number(state).await, before);
    assert_eq!(
        world
            .number("SELECT stored * 100 + duplicate FROM consumer_offsets")
            .await,
        600
    );

    // The old process wakes up: it may write what is there already, and not move the offset back.
    take(&mut next, &all[6..]).unwrap();
    take(&mut index, &all[4..8]).unwrap();
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        10
    );
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 10);
    assert_eq!(world.number("SELECT count(*) FROM failures").await, 0);
    assert_eq!(
        world.number("SELECT stored FROM consumer_offsets").await,
        10
    );

    // Somebody set the offset back behind a batch: a gap, so the process ends.
    sqlx::query("UPDATE consumer_offsets SET next_offset = 2")
        .execute(&world.pool)
        .await
        .unwrap();
    let error = take(&mut next, &[ours(10, RejectionCode::NotJson)]).unwrap_err();
    assert_eq!((error.code(), error.must_stop()), ("offset_behind", true));
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters").await,
        10,
        "its rows went with its offset"
    );
    world.assert_counters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_all_that_the_headers_say() {
    let world = world("columns").await;
    take(
        &mut world.index(),
        &[ours(5, RejectionCode::InvalidAmount).with("ef.dlq.attempts", "3")],
    )
    .unwrap();
    let detail = detail::dead_letter(&world.recovery, 1).await.unwrap();
    let letter = &detail.letter;
    assert_eq!(
        (letter.stage.as_str(), letter.code.as_str()),
        ("validator", "invalid_amount")
    );
    assert_eq!(
        (letter.source.as_str(), letter.event_type.as_str()),
        ("acme", "payment.authorized.v1")
    );
    assert_eq!(
        (letter.event_id.as_deref(), letter.entity_key.as_deref()),
        (Some("evt-5"), Some("pay-5"))
    );
    assert_eq!(
        (letter.origin.as_str(), letter.consumer_group.as_str()),
        ("events.raw.v1:2:5", "eventflow-validator")
    );
    assert_eq!(
        (
            letter.attempts,
            letter.replay_count,
            letter.disposition.as_str()
        ),
        (3, 0, "contract")
    );
    assert_eq!(letter.last_failed_at.unix_timestamp(), 1_790_000_005);
    assert_eq!(
        detail.trace_id.as_deref(),
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    assert_eq!((detail.family.as_str(), detail.dlq), ("eventflow", (0, 5)));
    assert_eq!(detail.service_version.as_deref(), Some("0.1.0"));
    assert_eq!(detail.headers.len(), 20);
    assert_eq!(
        detail.value,
        Payload::Text {
            text: String::from_utf8(body("evt-5", "payment.authorized.v1")).unwrap()
        }
    );
    assert_eq!(
        world
            .number("SELECT extract(epoch FROM received_at)::bigint FROM dead_letters")
            .await,
        1_789_999_999
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE value_sha256 = sha256(value)")
            .await,
        1
    );
}

#[derive(clap::Parser)]
struct Limits {
    #[command(flatten)]
    keep: recovery::index::retention::RetentionArgs,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_of_an_edit_that_failed_again_is_kept_while_its_dead_letter_is_open() {
    let world = world("originals").await;
    let mut index = world.index();
    take(&mut index, &[ours(1, RejectionCode::NotJson)]).unwrap();
    let again = ours(1, RejectionCode::AmountNotPositive)
        .at(10)
        .with("ef.replay_count", "1")
        .with("ef.replay_id", "j");
    take(
        &mut index,
        &[Made {
            value: Some(b"{\"edited\":true}".to_vec()),
            ..again
        }],
    )
    .unwrap();
    let limits =
        <Limits as clap::Parser>::parse_from(["test", "--payload-retention-days", "1"]).keep;
    let aged = "UPDATE failures SET failed_at = now() - interval '2 days'";
    sqlx::query(aged).execute(&world.pool).await.unwrap();
    let original = "SELECT count(*) FROM failures WHERE value IS NOT NULL AND dropped_at IS NULL";
    assert_eq!(
        (
            retention::trim(&world.recovery, &limits)
                .await
                .unwrap()
                .failures,
            world.number(original).await
        ),
        (0, 1)
    );
    let settled = "UPDATE dead_letters SET state = 'resolved', settled_at = now()";
    sqlx::query(settled).execute(&world.pool).await.unwrap();
    assert_eq!(
        (
            retention::trim(&world.recovery, &limits)
                .await
                .unwrap()
                .failures,
            world.number(original).await
        ),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_patch_is_forgotten_after_a_month() {
    let world = world("keys").await;
    let keys = "INSERT INTO done_once (key, asked, answer, at)
         SELECT n::text, '', '{}', now() - make_interval(days => n) FROM generate_series(28, 32, 2) n";
    sqlx::query(keys).execute(&world.pool).await.unwrap();
    retention::trim(
        &world.recovery,
        &<Limits as clap::Parser>::parse_from(["test"]).keep,
    )
    .await
    .unwrap();
    assert_eq!(
        world
            .number("SELECT sum(key::integer)::bigint FROM done_once")
            .await,
        28
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_fails_again_replaces_the_verdict_and_a_copy_does_not() {
    let world = world("replayed").await;
    let mut index = world.index();
    take(
        &mut index,
        &[
            ours(1, RejectionCode::NotJson),
            ours(2, RejectionCode::NotJson),
        ],
    )
    .unwrap();
    sqlx::raw_sql(
        "INSERT INTO replay_jobs (id, selection, created_by, items, needs_confirmation) VALUES ('j', '{}', 'me', 1, false);
         INSERT INTO replay_items (job_id, dead_letter_id, position, state, replay_count) VALUES ('j', 1, 0, 'sent', 1), ('j', 2, 1, 'sent', 1);
         UPDATE dead_letters SET state = 'replaying', job_id = 'j', edit_id = 7 WHERE id = 1;
         UPDATE dead_letters SET state = 'discarded', settled_at = now() WHERE id = 2",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let again = |offset: i64, raw: i64, count: &str| {
        ours(raw, RejectionCode::AmountNotPositive)
            .at(offset)
            .with("ef.replay_count", count)
            .with("ef.replay_id", "j")
    };
    let edited = Made {
        value: Some(b"{\"edited\":true}".to_vec()),
        ..again(10, 1, "1")
    };
    let batch = [
        edited,
        again(11, 2, "1"),
        ours(1, RejectionCode::NotJson).at(12),
    ];
    take(&mut index, &batch).unwrap();
    let one = detail::dead_letter(&world.recovery, 1).await.unwrap();
    assert_eq!(
        (
            one.letter.state,
            one.letter.code.as_str(),
            one.letter.replay_count
        ),
        (DeadLetterState::Open, "amount_not_positive", 1)
    );
    assert_eq!(
        one.value,
        Payload::Text {
            text: "{\"edited\":true}".to_owned()
        }
    );
    assert!(
        !one.letter.edited,
        "the edited value is the one that failed"
    );
    assert_eq!(one.dlq, (0, 10));
    let codes: Vec<_> = one
        .failures
        .iter()
        .map(|failure| (failure.code.as_str(), failure.dlq.1, failure.replay_count))
        .collect();
    assert_eq!(
        codes,
        [("not_json", 1, 0), ("not_json", 12, 0)],
        "the older verdict, and the late copy of it"
    );
    let old: Vec<u8> = sqlx::query_scalar("SELECT value FROM failures WHERE dlq_offset = 1")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(
        old,
        body("evt-1", "payment.authorized.v1"),
        "the original is not lost with the edit"
    );
    let two = detail::dead_letter(&world.recovery, 2).await.unwrap();
    assert_eq!(
        two.letter.state,
        DeadLetterState::Discarded,
        "what a person gave up stays given up"
    );
    assert_eq!(two.letter.code, "amount_not_positive");
    let items = sqlx::query("SELECT state, code, detail FROM replay_items ORDER BY position")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    for item in &items {
        assert_eq!(
            (item.get::<String, _>(0), item.get::<String, _>(1)),
            ("failed".to_owned(), "amount_not_positive".to_owned())
        );
        assert!(item.get::<String, _>(2).starts_with("/payload/amount"));
    }
    assert_eq!(
        world
            .number("SELECT stored * 100 + duplicate FROM consumer_offsets")
            .await,
        203
    );
    world.assert_counters().await;

    // Twice in one batch, in the wrong order, and all of it read again: the highest count stays.
    take(&mut index, &[again(13, 1, "3"), again(14, 1, "2")]).unwrap();
    let state = "SELECT sum(hashtext(x))::bigint FROM (SELECT dead_letters::text AS x FROM dead_letters UNION ALL SELECT failures::text FROM failures) y";
    let before = world.number(state).await;
    take(&mut index, &batch).unwrap();
    take(&mut index, &[again(13, 1, "3"), again(14, 1, "2")]).unwrap();
    assert_eq!(world.number(state).await, before);
    let one = detail::dead_letter(&world.recovery, 1).await.unwrap();
    assert_eq!(
        (one.letter.replay_count, one.dlq, one.failures.len()),
        (3, (0, 13), 4)
    );
    world.assert_counters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_of_the_path_has_dead_letters_of_its_own() {
    let world = world("observer").await;
    let persistence = ours(1, RejectionCode::Conflict)
        .at(2)
        .with("ef.dlq.stage", "persistence")
        .with("ef.dlq.group", "eventflow-persistence");
    let other = ours(1, RejectionCode::BadDatum)
        .at(3)
        .with("ef.dlq.stage", "enrichment")
        .with("ef.dlq.group", "enrichers");
    take(
        &mut world.index(),
        &[ours(1, RejectionCode::NotJson), persistence, other],
    )
    .unwrap();
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE origin_group = ''")
            .await,
        1
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE origin_group = 'enrichers'")
            .await,
        1
    );
    assert_eq!(
        world.number("SELECT count(*) FROM failures").await,
        1,
        "the validator's and persistence's are one event's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_come_back_verbatim_and_change_nothing() {
    let world = world("hostile").await;
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
    let world = world("strange").await;
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
async fn a_row_postgresql_refuses_is_indexed_without_its_texts() {
    let world = world("refused").await;
    // Stands for whatever PostgreSQL may refuse one day.
    let refuse = "ALTER TABLE dead_letters ADD CONSTRAINT refused CHECK (event_id IS DISTINCT FROM 'evt-3' AND event_id IS DISTINCT FROM 'evt-7')";
    sqlx::query(refuse).execute(&world.pool).await.unwrap();
    let batch: Vec<Made> = (0..10)
        .map(|offset| ours(offset, RejectionCode::NotJson))
        .collect();
    take(&mut world.index(), &batch).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 10);
    assert_eq!(
        world
            .number("SELECT next_offset FROM consumer_offsets")
            .await,
        10
    );
    assert_eq!(world.number("SELECT count(*) FROM dead_letters WHERE event_id IS NULL AND origin_offset IN (3, 7)").await, 2);
    let id = world
        .number("SELECT id FROM dead_letters WHERE origin_offset = 7")
        .await;
    let detail = detail::dead_letter(&world.recovery, id).await.unwrap();
    assert!(
        detail.letter.detail.contains("refused"),
        "{}",
        detail.letter.detail
    );
    assert_eq!(
        detail.value,
        Payload::Text {
            text: String::from_utf8(body("evt-7", "payment.authorized.v1")).unwrap()
        }
    );
    assert_eq!(detail.letter.code, "not_json");
    world.assert_counters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_registry_is_not_waited_for() {
    let world = world("framed").await;
    let framed: Vec<Made> = (0..100)
        .map(|offset| Made {
            value: Some([&[0, 0, 0, 0, 9][..], b"datum"].concat()),
            ..ours(offset, RejectionCode::BadDatum)
        })
        .collect();
    let began = std::time::Instant::now();
    take(&mut world.index(), &framed).unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(
        world
            .number("SELECT count(*) FROM groups WHERE event_type = '' AND open = 100")
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_counted_exactly_and_random_event_types_stay_few_groups() {
    let world = world("flood").await;
    let mut index = world.index();
    let codes = [
        RejectionCode::NotJson,
        RejectionCode::MissingField,
        RejectionCode::InvalidAmount,
        RejectionCode::Conflict,
    ];
    let mut offset = 0;
    while offset < 50_000 {
        let batch: Vec<Made> = (offset..offset + 2000)
            .map(|offset| {
                let code = codes[usize::try_from(offset % 4).unwrap()];
                let event_type = if offset % 2 == 0 {
                    "payment.authorized.v1".to_owned()
                } else {
                    format!("random.{}", offset % 5000)
                };
                Made {
                    partition: i32::try_from(offset % 3).unwrap(),
                    value: Some(body("e", &event_type)),
                    ..ours(offset, code)
                }
            })
            .collect();
        take(&mut index, &batch).unwrap();
        offset += 2000;
    }
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters").await,
        50_000
    );
    world.assert_counters().await;
    let groups = world.number("SELECT count(*) FROM groups").await;
    assert!(groups <= 4 * 201 + 4, "{groups} groups");
    let stats = stats::stats(&world.recovery).await.unwrap();
    assert_eq!(stats.open, 50_000);
    for code in codes {
        assert_eq!(stats.by_code[code.code()], 12_500);
    }
    let other = Selection {
        event_type: vec!["(other)".to_owned()],
        ..Selection::default()
    };
    assert!(
        list::groups(&world.recovery, &other)
            .await
            .unwrap()
            .iter()
            .map(|group| group.open)
            .sum::<i64>()
            > 20_000
    );
    assert_eq!(
        world
            .number("SELECT sum(next_offset)::bigint FROM consumer_offsets")
            .await,
        3 * 50_000 - 3
    );
    // A new process knows the groups.
    let mut next = world.index();
    assign(&mut next);
    let more = Made {
        value: Some(body("e", "random.new")),
        ..ours(60_000, RejectionCode::Conflict)
    };
    take(&mut next, &[more]).unwrap();
    assert_eq!(world.number("SELECT count(*) FROM groups").await, groups);
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
    let world = world("anything").await;
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
