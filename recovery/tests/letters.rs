//! Questions of on-call against a model in memory, pages, export, limits.

#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(missing_docs, unreachable_pub, reason = "a test")]
mod index_world;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use contracts::RejectionCode;
use index_world::{Made, World, body, ours, take, world};
use proptest::test_runner::{Config, TestRunner};
use recovery::error::RecoveryError;
use recovery::index::retention;
use recovery::index::retention::RetentionArgs;
use recovery::model::{DeadLetter, DeadLetterState, Payload, Selection, Time};
use recovery::query::detail;
use recovery::query::export;
use recovery::query::list;
use recovery::query::stats;

const CODES: [RejectionCode; 4] = [
    RejectionCode::NotJson,
    RejectionCode::MissingField,
    RejectionCode::InvalidAmount,
    RejectionCode::Conflict,
];

/// 600 dead letters of several codes, sources, types and states.
async fn filled(name: &str) -> World {
    let world = world(name).await;
    let batch: Vec<Made> = (0..600_i64)
        .map(|offset| {
            let made = ours(offset, CODES[usize::try_from(offset % 4).unwrap()])
                .with("ef.source", format!("s{}", offset % 3));
            Made {
                value: Some(body(&format!("evt-{offset}"), &format!("t{}", offset % 5))),
                ..made
            }
        })
        .collect();
    take(&mut world.index(), &batch).unwrap();
    for settle in [
        "UPDATE dead_letters SET state = 'resolved', resolution = 'stored', settled_at = now() - interval '1 hour' WHERE id % 3 = 0",
        "UPDATE dead_letters SET state = 'discarded', reason = 'why', settled_at = now() - interval '2 hours' WHERE id % 7 = 0",
        "UPDATE dead_letters SET state = 'replaying' WHERE id % 11 = 0 AND state = 'open'",
    ] {
        sqlx::query(settle).execute(&world.pool).await.unwrap();
    }
    world
}

/// All pages of a selection.
async fn all_of(world: &World, selection: &Selection) -> Vec<DeadLetter> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = list::dead_letters(&world.recovery, selection, before)
            .await
            .unwrap();
        let Some(last) = page.letters.last() else {
            return all;
        };
        before = Some(last.id);
        all.extend(page.letters);
    }
}

fn matches(selection: &Selection, letter: &DeadLetter) -> bool {
    let any = |values: &Vec<String>, value: &String| values.is_empty() || values.contains(value);
    let state = if selection.state.is_empty() {
        letter.state == DeadLetterState::Open
    } else {
        selection.state.contains(&letter.state)
    };
    state
        && any(&selection.code, &letter.code)
        && any(&selection.stage, &letter.stage)
        && any(&selection.source, &letter.source)
        && any(&selection.event_type, &letter.event_type)
        && (selection.id.is_empty() || selection.id.contains(&letter.id))
        && (selection.group.is_empty() || selection.group.contains(&letter.group))
        && (selection.event_id.is_none() || selection.event_id == letter.event_id)
        && (selection.entity_key.is_none() || selection.entity_key == letter.entity_key)
        && selection
            .since
            .is_none_or(|since| letter.last_failed_at >= since)
        && selection
            .until
            .is_none_or(|until| letter.last_failed_at < until)
        && selection
            .contains
            .as_ref()
            .is_none_or(|words| letter.detail.to_lowercase().contains(&words.to_lowercase()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_of_filters_lists_what_a_model_lists() {
    let world = filled("filters").await;
    let everything = Selection {
        state: vec![
            DeadLetterState::Open,
            DeadLetterState::Replaying,
            DeadLetterState::Resolved,
            DeadLetterState::Discarded,
        ],
        limit: Some(1000),
        ..Selection::default()
    };
    let letters = all_of(&world, &everything).await;
    assert_eq!(letters.len(), 600);
    assert!(letters.is_sorted_by(|a, b| a.id > b.id), "the newest first");
    let time = |seconds: i64| Time::from_unix_timestamp(1_790_000_000 + seconds).unwrap();
    let mut seen = 0;
    for number in 0..600_u32 {
        let pick =
            |shift: u32, choices: u32| (number.wrapping_mul(2_654_435_761) >> shift) % choices;
        let one = |wanted: bool, text: String| if wanted { vec![text] } else { Vec::new() };
        let selection = Selection {
            id: if pick(3, 9) == 0 {
                vec![5, 6, 7, i64::from(number)]
            } else {
                Vec::new()
            },
            group: if pick(5, 7) == 0 {
                vec![1, 2, 3, 99]
            } else {
                Vec::new()
            },
            state: match pick(7, 4) {
                0 => Vec::new(),
                1 => vec![DeadLetterState::Resolved, DeadLetterState::Resolved],
                2 => vec![DeadLetterState::Open, DeadLetterState::Replaying],
                _ => vec![DeadLetterState::Discarded],
            },
            code: one(
                pick(9, 3) == 0,
                CODES[pick(11, 4) as usize].code().to_owned(),
            ),
            stage: one(
                pick(13, 5) == 0,
                if pick(14, 4) == 0 {
                    "nobody"
                } else {
                    "validator"
                }
                .to_owned(),
            ),
            source: one(pick(15, 3) == 0, format!("s{}", pick(16, 4))),
            event_type: one(pick(17, 4) == 0, format!("t{}", pick(18, 6))),
            event_id: (pick(19, 9) == 0).then(|| format!("evt-{number}")),
            entity_key: (pick(20, 6) == 0).then(|| format!("pay-{}", pick(21, 8))),
            since: (pick(22, 3) == 0).then(|| time(i64::from(pick(4, 600)))),
            until: (pick(23, 4) == 0).then(|| time(i64::from(pick(6, 600)))),
            contains: (pick(24, 5) == 0).then(|| format!("WRONG with {}", pick(8, 60))),
            limit: Some(1 + pick(10, 50)),
        };
        let expected: Vec<&DeadLetter> = letters
            .iter()
            .filter(|letter| matches(&selection, letter))
            .collect();
        let found = all_of(&world, &selection).await;
        assert!(found.iter().eq(expected.iter().copied()), "{selection:?}");
        let first = list::dead_letters(&world.recovery, &selection, None)
            .await
            .unwrap();
        if let Some(total) = first.total {
            assert_eq!(
                usize::try_from(total).unwrap(),
                expected.len(),
                "{selection:?}"
            );
        }
        let groups = list::groups(
            &world.recovery,
            &Selection {
                limit: None,
                ..selection.clone()
            },
        )
        .await
        .unwrap();
        let counted: i64 = groups
            .iter()
            .map(|group| {
                let wanted = |state| {
                    selection.state.contains(&state)
                        || (selection.state.is_empty() && state == DeadLetterState::Open)
                };
                [
                    (DeadLetterState::Open, group.open),
                    (DeadLetterState::Replaying, group.replaying),
                    (DeadLetterState::Resolved, group.resolved),
                    (DeadLetterState::Discarded, group.discarded),
                ]
                .into_iter()
                .filter_map(|(state, count)| wanted(state).then_some(count))
                .sum::<i64>()
            })
            .sum();
        assert_eq!(
            usize::try_from(counted).unwrap(),
            expected.len(),
            "{selection:?}"
        );
        seen += expected.len();
    }
    assert!(seen > 1000, "the filters let something through: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_says_when_the_last_one_was_settled() {
    let world = filled("empty").await;
    let nothing = Selection {
        code: vec!["too_deep".to_owned()],
        ..Selection::default()
    };
    let page = list::dead_letters(&world.recovery, &nothing, None)
        .await
        .unwrap();
    assert_eq!((page.letters.len(), page.total), (0, Some(0)));
    let age = Time::now_utc() - page.last_settled_at.unwrap();
    assert_eq!(age.whole_minutes(), 60);
    assert!(matches!(
        detail::dead_letter(&world.recovery, 99_999).await,
        Err(RecoveryError::NotFound(_))
    ));
    let stats = stats::stats(&world.recovery).await.unwrap();
    assert_eq!(
        stats.open + stats.replaying + stats.resolved + stats.discarded,
        600
    );
    assert_eq!(stats.by_code.values().sum::<i64>(), stats.open);
    assert_eq!(stats.by_stage["validator"], stats.open);
    assert_eq!(stats.by_source.len(), 2, "one source has no open ones");
    assert_eq!(
        stats.oldest_open.unwrap().unix_timestamp(),
        1_790_000_000,
        "the first is open"
    );
    assert!(stats.index_bytes > 100_000 && stats.index_lag.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_take_too_long_are_refused_with_advice() {
    let world = filled("slow").await;
    let mut other = world.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *other)
        .await
        .unwrap();
    let words = Selection {
        contains: Some("wrong".to_owned()),
        ..Selection::default()
    };
    let refusal = list::dead_letters(&world.recovery, &words, None)
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), "invalid_request");
    assert!(refusal.to_string().contains("--code"), "{refusal}");
    other.rollback().await.unwrap();
    assert!(
        !list::dead_letters(&world.recovery, &words, None)
            .await
            .unwrap()
            .letters
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_verbatim_page_by_page() {
    let from = filled("export_from").await;
    let strange = Made {
        key: Some(vec![0, 255]),
        value: Some(vec![0, 1, 2, 0xff]),
        ..ours(700, RejectionCode::NotUtf8)
    };
    let null = Made {
        key: None,
        value: None,
        ..ours(701, RejectionCode::EmptyBody)
    };
    let nul_header = ours(702, RejectionCode::NotUtf8)
        .with("x", vec![0])
        .with("ef.dlq.detail", "<b>\u{1b}[2J'; --");
    take(&mut from.index(), &[strange, null, nul_header]).unwrap();
    let all = Selection {
        state: vec![
            DeadLetterState::Open,
            DeadLetterState::Replaying,
            DeadLetterState::Resolved,
            DeadLetterState::Discarded,
        ],
        limit: Some(100),
        ..Selection::default()
    };
    let (mut before, mut lines) = (None, Vec::new());
    loop {
        let (page, next) = export::export(&from.recovery, &all, before).await.unwrap();
        lines.extend(page);
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(lines.len(), 603);
    for line in &lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = |field: &str| {
            let text = line[field]
                .get("text")
                .map(|text| text.as_str().unwrap().as_bytes().to_vec());
            let decoded = line[field]
                .get("base64")
                .map(|text| STANDARD.decode(text.as_str().unwrap()).unwrap());
            text.or(decoded)
        };
        // Whatever the line says is in the row with its position, and nothing else.
        let same: bool = sqlx::query_scalar(
            "SELECT d.state = $3 AND d.value IS NOT DISTINCT FROM $4 AND d.key IS NOT DISTINCT FROM $5
                    AND encode(d.value_sha256, 'hex') IS NOT DISTINCT FROM $6 AND d.headers::jsonb = $7::jsonb
                    AND (g.stage, g.code, g.source, g.event_type) = ($8, $9, $10, $11) AND d.detail = $12
                    AND d.event_id IS NOT DISTINCT FROM $13 AND d.reason IS NOT DISTINCT FROM $14
                    AND d.resolution IS NOT DISTINCT FROM $15 AND d.origin_topic = $16 AND d.origin_offset = $17
             FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.dlq_partition = $1 AND d.dlq_offset = $2",
        )
        .bind(i32::try_from(line["dlq"][0].as_i64().unwrap()).unwrap())
        .bind(line["dlq"][1].as_i64())
        .bind(line["state"].as_str())
        .bind(bytes("value"))
        .bind(bytes("key"))
        .bind(line["value_sha256"].as_str())
        .bind(line["headers"].to_string())
        .bind(line["stage"].as_str())
        .bind(line["code"].as_str())
        .bind(line["source"].as_str())
        .bind(line["event_type"].as_str())
        .bind(line["detail"].as_str())
        .bind(line["event_id"].as_str())
        .bind(line["reason"].as_str())
        .bind(line["resolution"].as_str())
        .bind(line["origin"][0].as_str())
        .bind(line["origin"][2].as_i64())
        .fetch_one(&from.pool)
        .await
        .unwrap();
        assert!(same, "{line}");
    }
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    keep: RetentionArgs,
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_drop_values_of_settled_ones_the_oldest_first_and_never_a_row() {
    let world = filled("limits").await;
    // Of the same value: another one would be kept while its dead letter is open.
    let copy = ours(0, RejectionCode::NotJson).at(900).with("copy", "yes");
    let copy = Made {
        value: Some(body("evt-0", "t0")),
        ..copy
    };
    take(&mut world.index(), &[copy]).unwrap();
    let limits = |days: &str, mebibytes: &str| {
        Cli::parse_from([
            "test",
            "--payload-retention-days",
            days,
            "--index-max-mib",
            mebibytes,
        ])
        .keep
    };
    let roomy = retention::trim(&world.recovery, &limits("30", "20480"))
        .await
        .unwrap();
    assert_eq!(
        (roomy.letters, roomy.failures, roomy.over_limit),
        (0, 1, false),
        "that copy is of long ago"
    );

    // By age: what was settled more than a day ago.
    let old =
        "UPDATE dead_letters SET settled_at = now() - interval '2 days' WHERE state = 'discarded'";
    let discarded = sqlx::query(old)
        .execute(&world.pool)
        .await
        .unwrap()
        .rows_affected();
    let aged = retention::trim(&world.recovery, &limits("1", "20480"))
        .await
        .unwrap();
    assert_eq!((aged.letters, aged.over_limit), (discarded, false));
    assert_eq!(
        retention::trim(&world.recovery, &limits("1", "20480"))
            .await
            .unwrap()
            .letters,
        0,
        "once"
    );
    let one = list::dead_letters(
        &world.recovery,
        &Selection {
            state: vec![DeadLetterState::Discarded],
            limit: Some(1),
            ..Selection::default()
        },
        None,
    )
    .await
    .unwrap();
    let detail = detail::dead_letter(&world.recovery, one.letters[0].id)
        .await
        .unwrap();
    assert!(
        matches!(detail.value, Payload::Dropped { bytes } if bytes > 100),
        "{:?}",
        detail.value
    );
    assert!(detail.headers.is_empty() && detail.value_sha256.is_some());

    // By size: more than a mebibyte of settled ones, the oldest of them first.
    let large = "UPDATE dead_letters SET value = convert_to(repeat('x', 10000), 'UTF8'), kept_bytes = 10000,
                 settled_at = now() - make_interval(secs => id) WHERE state = 'resolved'";
    sqlx::query(large).execute(&world.pool).await.unwrap();
    let open = "SELECT sum(hashtext(d::text))::bigint FROM dead_letters d WHERE state IN ('open', 'replaying')";
    let before = world.number(open).await;
    let sized = retention::trim(&world.recovery, &limits("90", "1"))
        .await
        .unwrap();
    assert!(
        sized.letters > 0 && sized.bytes <= 1 << 20 && !sized.over_limit,
        "{sized:?}"
    );
    assert_eq!(world.number(open).await, before);
    assert_eq!(world.number("SELECT count(*) FROM dead_letters").await, 600);
    world.assert_counters().await;

    // Only open ones are left: nothing of them goes, and that is said.
    sqlx::query("UPDATE dead_letters SET kept_bytes = 1000000 WHERE state = 'open'")
        .execute(&world.pool)
        .await
        .unwrap();
    let full = retention::trim(&world.recovery, &limits("90", "1"))
        .await
        .unwrap();
    assert!(full.over_limit, "{full:?}");
    assert_eq!(
        world.number("SELECT count(*) FROM dead_letters WHERE state IN ('open', 'replaying') AND dropped_at IS NOT NULL").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_what_counting_gives_after_anything() {
    let world = world("counters").await;
    let runtime = tokio::runtime::Handle::current();
    let mut index = world.index();
    let mut offset = 0;
    let operation = (0..9_u8, 1..40_i64, 0..4_usize, 0..3_i32);
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    });
    let index = std::cell::RefCell::new(&mut index);
    let offset = std::cell::RefCell::new(&mut offset);
    runner
        .run(&operation, |(what, number, code, replays)| {
            let mut offset = offset.borrow_mut();
            let batch: Vec<Made> = (0..number)
                .map(|raw| {
                    **offset += 1;
                    ours(raw * 3 % 50, CODES[code]).at(**offset).with("ef.replay_count", (i64::from(replays) + **offset / 500).to_string())
                })
                .collect();
            let statement = match what {
                0..4 => return take(&mut index.borrow_mut(), &batch).map_err(|error| proptest::test_runner::TestCaseError::fail(error.to_string())),
                4 => "UPDATE dead_letters SET state = 'replaying' WHERE id % 5 = $1 % 5 AND state = 'open'",
                5 => "UPDATE dead_letters SET state = 'resolved', settled_at = now() WHERE id % 3 = $1 % 3 AND state = 'replaying'",
                6 => "UPDATE dead_letters SET state = 'discarded', settled_at = now() WHERE id % 7 = $1 % 7 AND state = 'open'",
                7 => "UPDATE dead_letters SET edit_id = 1 WHERE id % 2 = $1 % 2",
                _ => "UPDATE dead_letters SET value = NULL, headers = '[]', kept_bytes = 0 WHERE id % 4 = $1 % 4 AND settled_at IS NOT NULL",
            };
            tokio::task::block_in_place(|| {
                runtime.block_on(async {
                    sqlx::query(statement).bind(number).execute(&world.pool).await.unwrap();
                    world.assert_counters().await;
                });
            });
            Ok(())
        })
        .unwrap();
    world.assert_counters().await;
    assert!(world.number("SELECT count(*) FROM failures").await > 50);
    assert!(
        world
            .number("SELECT count(*) FROM dead_letters WHERE state <> 'open'")
            .await
            > 0
    );
}
