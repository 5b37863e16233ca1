//! P10 from the database: planted faults are found, and sound data has none.

#![allow(clippy::unwrap_used, reason = "a test")]

mod story;

use bytes::Bytes;
use contracts::kafka::topics;
use contracts::{Rejection, RejectionCode};
use proptest::prelude::*;
use recovery::audit::{Examined, PAGE, Reading, account, reconcile, reconcile_now};
use recovery::model::{Audit, DeadLetterState};
use runtime::admin::committed;
use runtime::consumer::{
    self, BatchArgs, DeadLetterArgs, Forward, Handler, Outcome, Record, StageArgs, StageError,
    Switch,
};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::EmbeddedBroker;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use story::{RAW, World, world};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

async fn examine(world: &World, settled: &[(i32, i64)]) -> Examined {
    let readings: Vec<Reading> = settled
        .iter()
        .map(|&(partition, settled)| Reading {
            partition,
            low: 0,
            settled,
            high: settled + 3,
        })
        .collect();
    account(&world.recovery, RAW, &readings).await.unwrap()
}

async fn reconciled(world: &World) -> Audit {
    reconcile(&world.recovery, None, None, None).await.unwrap()
}

/// The same, record by record.
async fn reconciled_by_record(world: &World) -> Audit {
    reconcile(
        &world.recovery,
        None,
        Some(time::OffsetDateTime::UNIX_EPOCH),
        None,
    )
    .await
    .unwrap()
}

fn found(audit: &Audit) -> Vec<(i32, i64, &str)> {
    audit
        .findings
        .iter()
        .map(|finding| (finding.partition, finding.offset, finding.kind.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_planted_fault_is_listed_by_its_coordinates_and_healed_when_fixed() {
    let world = world(true, None, &[]).await;
    world.store(0, 0..10).await;
    world.store(1, 0..4).await;
    world.duplicate(1, 4).await;
    world.letter(1, 5, "open").await;
    world.letter(1, 6, "discarded").await;
    world.letter(1, 7, "replaying").await;
    examine(&world, &[(0, 10), (1, 8)]).await;
    let sound = reconciled(&world).await;
    assert_eq!(
        (
            sound.records,
            sound.stored,
            sound.duplicate,
            sound.in_flight
        ),
        (18, 14, 1, 6)
    );
    assert_eq!(
        (
            sound.dead_lettered[&DeadLetterState::Open],
            sound.dead_lettered[&DeadLetterState::Discarded],
            sound.dead_lettered[&DeadLetterState::Replaying]
        ),
        (1, 1, 1)
    );
    assert!(
        found(&sound).is_empty() && sound.gaps == 0 && sound.double_fates == 0,
        "{sound:?}"
    );

    // A lost offset, a row deleted, a dead letter deleted, and one that is stored although nobody replayed it.
    world.store(0, 11..13).await;
    world
        .run("DELETE FROM persistence.events WHERE raw_partition = 0 AND raw_offset = 3")
        .await;
    world
        .run("DELETE FROM dead_letters WHERE origin_offset = 6")
        .await;
    world.store(1, 5..6).await;
    let expected = [
        (0, 3, "gap"),
        (0, 10, "gap"),
        (1, 5, "double_fate"),
        (1, 6, "gap"),
    ];
    // Each examination covers the page not examined for longest: two partitions, so at most two.
    examine(&world, &[(0, 13), (1, 8)]).await;
    examine(&world, &[(0, 13), (1, 8)]).await;
    let broken = reconciled(&world).await;
    assert_eq!(found(&broken), expected);
    assert_eq!(
        (broken.gaps, broken.double_fates, broken.records),
        (3, 1, 21)
    );
    let by_record = reconciled_by_record(&world).await;
    assert_eq!(
        (found(&by_record), by_record.records),
        (expected.to_vec(), 21)
    );

    // Fixed: the row is there again, the dead letters too, the double one was a replay.
    world.store(0, 3..4).await;
    world.letter(0, 10, "open").await;
    world.letter(1, 6, "open").await;
    world.set_state(1, 5, "resolved").await;
    examine(&world, &[(0, 13), (1, 8)]).await;
    assert!(found(&reconciled(&world).await).is_empty());
    assert_eq!(
        world
            .number("SELECT count(*) FROM audit_findings WHERE healed_at IS NOT NULL")
            .await,
        4,
        "kept when healed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolved_dead_letter_without_its_row_and_a_record_stored_twice_are_faults() {
    let world = world(true, None, &[]).await;
    world.letter(0, 0, "resolved").await;
    world.store(0, 1..2).await;
    world.duplicate(0, 1).await;
    examine(&world, &[(0, 2)]).await;
    let audit = reconciled(&world).await;
    assert_eq!(found(&audit), [(0, 0, "gap"), (0, 1, "double_fate")]);
    assert!(
        audit.findings[0].detail.contains("resolved"),
        "{:?}",
        audit.findings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_examined_is_not_examined_again_unless_something_changed() {
    let world = world(true, None, &[]).await;
    world.store(0, 0..2 * PAGE + 10).await;
    let first = examine(&world, &[(0, 2 * PAGE + 5)]).await;
    assert_eq!(
        first,
        Examined {
            new: 2 * PAGE + 5,
            again: 0
        }
    );
    let second = examine(&world, &[(0, 2 * PAGE + 10)]).await;
    assert_eq!(
        second,
        Examined {
            new: 5,
            again: PAGE
        },
        "the new ones, and one page in its turn"
    );
    // The validator's group was set back: nothing is new, and the frontier stays.
    assert_eq!(examine(&world, &[(0, 7)]).await.new, 0);
    let audit = reconciled(&world).await;
    assert_eq!(audit.partitions, [(0, 0, 2 * PAGE + 10, 2 * PAGE + 13)]);
    assert_eq!((audit.records, audit.in_flight), (2 * PAGE + 10, 3));
    // A partition added later, a topic whose beginning is gone.
    world.store(1, 50..60).await;
    let reading = Reading {
        partition: 1,
        low: 50,
        settled: 60,
        high: 60,
    };
    account(&world.recovery, RAW, &[reading]).await.unwrap();
    // Retention passes the frontier: what was settled before stays accounted for, what is new is examined.
    world.store(1, 60..70).await;
    account(
        &world.recovery,
        RAW,
        &[Reading {
            low: 65,
            settled: 70,
            high: 70,
            ..reading
        }],
    )
    .await
    .unwrap();
    let audit = reconciled(&world).await;
    assert_eq!(audit.partitions[1], (1, 50, 70, 70));
    assert!(found(&audit).is_empty(), "{:?}", audit.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_persistence_nothing_is_stored_and_dead_letters_are_accounted_for() {
    let world = world(false, None, &[]).await;
    world.letter(0, 0, "open").await;
    examine(&world, &[(0, 2)]).await;
    let audit = reconciled(&world).await;
    assert_eq!(
        (
            audit.records,
            audit.stored,
            audit.dead_lettered[&DeadLetterState::Open]
        ),
        (2, 0, 1)
    );
    assert_eq!(found(&audit), [(0, 1, "gap")]);
    assert!(matches!(
        reconcile(&world.recovery, Some("other"), None, None).await,
        Err(recovery::error::RecoveryError::NotFound(_))
    ));
}

/// Three partitions without a fault, of which the next look goes over the first in its turn: the third is seen only if its change is.
#[tokio::test(flavor = "multi_thread")]
async fn each_change_to_what_was_looked_at_is_seen_by_the_next_look() {
    for (letter, then, row, expected) in [
        ("open", "open", true, "double_fate"),
        ("open", "replaying", false, "replaying"),
        ("replaying", "open", false, "open"),
        ("replaying", "resolved", true, "stored"),
        ("open", "discarded", false, "discarded"),
        ("", "open", false, "double_fate"),
    ] {
        let world = world(true, None, &[]).await;
        for partition in 0..3 {
            world.store(partition, 0..5).await;
        }
        if letter.is_empty() {
            world.store(2, 5..6).await;
        } else {
            world.letter(2, 5, letter).await;
        }
        let settled = [(0, 5), (1, 5), (2, 6)];
        assert_eq!(
            examine(&world, &settled).await,
            Examined { new: 16, again: 0 }
        );
        match letter {
            "" => world.letter(2, 5, then).await,
            _ => world.set_state(2, 5, then).await,
        }
        if row {
            world.store(2, 5..6).await;
        }
        assert_eq!(
            examine(&world, &settled).await,
            Examined { new: 0, again: 11 },
            "{letter} to {then}: the first and the third"
        );
        let audit = reconciled(&world).await;
        let counts = [
            ("stored", audit.stored - 15),
            ("double_fate", audit.double_fates),
            ("gap", audit.gaps),
        ];
        let dead = audit
            .dead_lettered
            .iter()
            .map(|(state, count)| (state.as_str(), *count));
        let counted: Vec<_> = counts
            .into_iter()
            .chain(dead)
            .filter(|(_, count)| *count != 0)
            .collect();
        assert_eq!(counted, [(expected, 1)], "{letter} to {then}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_of_time_is_widened_to_whole_checkpoints_and_looked_at_anew() {
    let world = world(true, None, &[]).await;
    world.store(0, 0..40).await;
    examine(&world, &[(0, 40)]).await;
    let start = time::macros::datetime!(2026-11-21 10:00 UTC);
    for (minute, high) in [(0, 10), (10, 20), (20, 30), (30, 40)] {
        sqlx::query(
            "INSERT INTO audit_checkpoints (at, topic, low, high, validator_next, validated_ends, reached_at)
             VALUES ($1, $2, '{}', $3::jsonb, '{}', '{}', $1)",
        )
        .bind(start + time::Duration::minutes(minute))
        .bind(RAW)
        .bind(format!("{{\"0\": {high}}}"))
        .execute(world.recovery.pool())
        .await
        .unwrap();
    }
    world
        .run("DELETE FROM persistence.events WHERE raw_offset IN (5, 25)")
        .await;
    let at = |minute: i64| Some(start + time::Duration::minutes(minute));
    for (from, to, expected, gaps) in [
        (None, None, (0, 0, 40, 43), vec![]),
        (at(15), None, (0, 20, 40, 43), vec![(0, 25, "gap")]),
        (at(11), at(12), (0, 20, 30, 30), vec![(0, 25, "gap")]),
        // What was received just before a checkpoint may be published just after it.
        (at(1), at(10), (0, 10, 30, 30), vec![(0, 25, "gap")]),
        (None, at(1), (0, 0, 20, 20), vec![(0, 5, "gap")]),
        (
            at(-5),
            at(60),
            (0, 0, 40, 43),
            vec![(0, 5, "gap"), (0, 25, "gap")],
        ),
        (at(60), None, (0, 40, 40, 43), vec![]),
    ] {
        let audit = reconcile(&world.recovery, None, from, to).await.unwrap();
        assert_eq!(audit.partitions, [expected], "{from:?} {to:?}");
        assert_eq!(found(&audit), gaps, "{from:?} {to:?}");
        assert_eq!(
            (audit.records, audit.in_flight),
            (expected.2 - expected.1, expected.3 - expected.2)
        );
    }
}

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
    for (partition, offset, event, looks) in history {
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
        if !looks {
            continue;
        }
        frontier = OFFSETS.min(frontier + 2);
        let readings: Vec<_> = (0..4).map(|partition| (partition, frontier)).collect();
        examine(&world, &readings).await;
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        for (_, held) in model.iter().filter(|((_, offset), _)| *offset < frontier) {
            *expected.entry(fate(*held)).or_default() += 1;
        }
        for audit in [reconciled(&world).await, reconciled_by_record(&world).await] {
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

/// A validator that forwards what it is told to, and rejects the rest.
struct Halves;

impl Handler for Halves {
    fn stage(&self) -> &'static str {
        "validator"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let outcome = |record: &Record<'_>| match record.value() {
            b"good" => {
                let value = Bytes::from_static(b"datum");
                Outcome::Forward(vec![Forward::new(&topics::VALIDATED.into(), value)])
            }
            _ => Outcome::Reject(Rejection::new(RejectionCode::NotJson, None, "not good")),
        };
        Ok(batch.iter().map(outcome).collect())
    }
}

async fn publish(publisher: &Publisher, values: &[&'static [u8]]) {
    for value in values {
        let record = OutRecord {
            topic: RAW,
            key: Some(b"k"),
            value: Some(value),
            headers: RecordHeaders::new(0),
        };
        publisher.publish(record, DEADLINE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_waits_for_every_stage_and_then_accounts_for_every_record() {
    let broker =
        EmbeddedBroker::start(&[(RAW, 2), (topics::VALIDATED, 1), (topics::DLQ, 1)]).unwrap();
    let kafka = broker.kafka();
    let world = world(true, Some(kafka.clone()), &[]).await;
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    publish(&publisher, &[b"good", b"bad", b"good", b"good"]).await;

    // Before the validator committed anything nothing is owed a fate; all is in flight.
    let before = reconcile_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!((before.records, before.in_flight, before.gaps), (0, 4, 0));

    let (shutdown, health) = (CancellationToken::new(), Health::new());
    let stage = StageArgs {
        batch: BatchArgs {
            batch_records: 100,
            batch_age_ms: 2,
        },
        dead_letters: DeadLetterArgs {
            breaker: Switch::Off,
            max_dead_letter_ratio: 1.0,
            breaker_window: 10,
            topic_dlq: topics::DLQ.into(),
        },
    };
    let settings = stage.settings(&kafka, "eventflow-validator", vec![RAW.to_owned()], None);
    let running = tokio::spawn(consumer::run(
        settings,
        Halves,
        Some(publisher.clone()),
        health,
        shutdown.clone(),
    ));
    let until = Instant::now() + DEADLINE;
    loop {
        let kafka = kafka.clone();
        let next =
            tokio::task::spawn_blocking(move || committed(&kafka, "eventflow-validator", RAW))
                .await
                .unwrap()
                .unwrap();
        if next.iter().filter_map(|(_, next)| *next).sum::<i64>() == 4 {
            break;
        }
        assert!(Instant::now() < until, "{next:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();

    // Persistence has not read the validated topic: no verdict, and no false gap.
    let late = reconcile_now(&world.recovery, Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(
        late.to_string()
            .contains("eventflow-persistence has not read events.validated.v1:0 from 0 to 3"),
        "{late}"
    );
    let partition: i32 = reconciled(&world)
        .await
        .partitions
        .iter()
        .find(|(_, _, _, high)| *high == 4)
        .unwrap()
        .0;
    assert_eq!(
        (
            reconciled(&world).await.records,
            reconciled(&world).await.gaps
        ),
        (0, 0)
    );

    // Persistence has; the index of dead letters has not.
    world.store(partition, 0..1).await;
    world.store(partition, 2..4).await;
    world
        .run("INSERT INTO persistence.consumer_offsets (consumer_group, topic, partition, next_offset) VALUES ('eventflow-persistence', 'events.validated.v1', 0, 3)")
        .await;
    let late = reconcile_now(&world.recovery, Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(
        late.to_string()
            .contains("the index of dead letters has not read events.dlq.v1:0 from 0 to 1"),
        "{late}"
    );

    // The index says it has read the dead letter, but it is not there: a gap, and Kafka confirms that the record exists.
    world
        .run("INSERT INTO consumer_offsets (consumer_group, topic, partition, next_offset) VALUES ('g', 'events.dlq.v1', 0, 1)")
        .await;
    let lost = reconcile_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!(found(&lost), [(partition, 1, "gap")]);

    world.letter(partition, 1, "open").await;
    // The role goes on with the checkpoints that were left, and then takes its own.
    let (shutdown, health) = (CancellationToken::new(), Health::new());
    let auditing = tokio::spawn(recovery::audit::run(
        world.recovery.clone(),
        Duration::from_millis(100),
        health.clone(),
        shutdown.clone(),
    ));
    let until = Instant::now() + DEADLINE;
    while reconciled(&world).await.gaps > 0
        || world
            .number("SELECT count(*) FROM audit_checkpoints WHERE reached_at IS NULL")
            .await
            > 0
    {
        assert!(
            Instant::now() < until,
            "{:?} {:?}",
            reconciled(&world).await,
            health.reasons()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
    auditing.await.unwrap();
    let sound = reconciled(&world).await;
    assert_eq!(
        (
            sound.records,
            sound.stored,
            sound.dead_lettered[&DeadLetterState::Open],
            sound.in_flight
        ),
        (4, 3, 1, 0)
    );
    assert!(sound.checkpoint_age_seconds.is_some_and(|age| age < 60.0));
}
