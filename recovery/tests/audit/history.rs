//! Random histories against a naive model.

use crate::timeline::world;
use crate::{audited, audited_by_record, examine, found};
use proptest::prelude::*;
use recovery::model::DeadLetterState;
use std::collections::BTreeMap;

/// What the database holds about one offset.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    rows: u32,
    letter: Option<&'static str>,
}

fn fate(held: Held) -> &'static str {
    match (held.rows, held.letter) {
        (0, None | Some("resolved")) => "gap",
        (0, Some(state)) => state,
        (1, Some("open")) | (2.., _) => "double_fate",
        (1, _) => "stored",
    }
}

/// One thing that happens to an offset: what it needs, what it makes of it.
fn happens(event: u8, held: Held) -> Option<Held> {
    match (event, held) {
        (0, Held { rows: 0, letter }) => Some(Held { rows: 1, letter }),
        (1, Held { rows, letter: None }) => Some(Held {
            rows,
            letter: Some("open"),
        }),
        (
            2,
            Held {
                rows,
                letter: Some("open"),
            },
        ) => Some(Held {
            rows,
            letter: Some("replaying"),
        }),
        (
            3,
            Held {
                rows,
                letter: Some("replaying"),
            },
        ) => Some(Held {
            rows,
            letter: Some("open"),
        }),
        (
            4,
            Held {
                rows,
                letter: Some("replaying"),
            },
        ) => Some(Held {
            rows,
            letter: Some("resolved"),
        }),
        (
            5,
            Held {
                rows,
                letter: Some("open"),
            },
        ) => Some(Held {
            rows,
            letter: Some("discarded"),
        }),
        (_, _) => None,
    }
}

async fn replay_history(history: Vec<(i32, i64, u8, bool)>) {
    const OFFSETS: i64 = 6;
    let world = world(true, None, &[]).await;
    let mut model: BTreeMap<(i32, i64), Held> = (0..4)
        .flat_map(|p| (0..OFFSETS).map(move |o| ((p, o), Held::default())))
        .collect();
    let mut frontier = 0;
    for (partition, offset, event, is_examined) in history {
        let held = model[&(partition, offset)];
        if let Some(then) = happens(event, held) {
            if then.rows > held.rows {
                world.store(partition, offset..offset + 1).await;
            }
            match (held.letter, then.letter) {
                (None, Some(state)) => world.letter(partition, offset, state).await,
                (Some(was), Some(state)) if was != state => {
                    world.set_state(partition, offset, state).await;
                }
                _ => {}
            }
            model.insert((partition, offset), then);
        }
        if !is_examined {
            continue;
        }
        frontier = OFFSETS.min(frontier + 2);
        let readings: Vec<_> = (0..4).map(|partition| (partition, frontier)).collect();
        examine(&world, &readings).await;
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, held) in model.iter().filter(|((_, offset), _)| *offset < frontier) {
            *expected.entry(fate(*held)).or_default() += 1;
        }
        for audit in [audited(&world).await, audited_by_record(&world).await] {
            let count = |fate: &str| expected.get(fate).copied().unwrap_or(0);
            let dead =
                |state: DeadLetterState| audit.dead_lettered.get(&state).copied().unwrap_or(0);
            assert_eq!(audit.records, 4 * frontier);
            assert_eq!(
                (audit.stored, audit.gaps, audit.double_fates),
                (count("stored"), count("gap"), count("double_fate"))
            );
            assert_eq!(
                (
                    dead(DeadLetterState::Open),
                    dead(DeadLetterState::Replaying),
                    dead(DeadLetterState::Discarded),
                ),
                (count("open"), count("replaying"), count("discarded"))
            );
            let listed: Vec<_> = found(&audit)
                .into_iter()
                .map(|(partition, offset, kind)| ((partition, offset), kind))
                .collect();
            let wrong =
                |held: &Held| matches!(fate(*held), "gap" | "double_fate").then(|| fate(*held));
            let mut faults: Vec<_> = model
                .iter()
                .filter(|((_, o), _)| *o < frontier)
                .filter_map(|(at, held)| Some((*at, wrong(held)?)))
                .collect();
            faults.sort_unstable();
            let mut listed = listed;
            listed.sort_unstable();
            assert_eq!(listed, faults);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn any_history_is_judged_as_a_naive_model_judges_it(
        history in proptest::collection::vec((0..4i32, 0..6i64, 0..6u8, any::<bool>()), 1..60)
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(replay_history(history));
    }
}
