//! What is asked lists what a model lists, or says why it does not.

use crate::index_world::World;
use crate::{CODES, filled};
use recovery::error::RecoveryError;
use recovery::model::{DeadLetter, DeadLetterState, Selection, Time};
use recovery::query::detail;
use recovery::query::list;
use recovery::query::stats;

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
    let world = filled().await;
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
                    "analytics"
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
async fn an_empty_answer_says_when_the_last_one_was_resolved() {
    let world = filled().await;
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
    let world = filled().await;
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
