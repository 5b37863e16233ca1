//! What is examined: new records, changed pages, and a range of time.

use crate::timeline::{RAW, world};
use crate::{audited, examine, found};
use recovery::audit::{self, Examined, PAGE, Reading, examine_pages};

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
    let audit = audited(&world).await;
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
    examine_pages(&world.recovery, RAW, &[reading])
        .await
        .unwrap();
    // Retention passes the frontier: what was settled before stays accounted for, what is new is examined.
    world.store(1, 60..70).await;
    examine_pages(
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
    let audit = audited(&world).await;
    assert_eq!(audit.partitions[1], (1, 50, 70, 70));
    assert!(found(&audit).is_empty(), "{:?}", audit.findings);
}

/// Three partitions without a fault, of which the next examination repeats the first in its turn: the third is seen only if its change is.
#[tokio::test(flavor = "multi_thread")]
async fn each_change_to_what_was_examined_is_seen_by_the_next_examination() {
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
        let audit = audited(&world).await;
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
async fn a_range_of_time_is_widened_to_whole_checkpoints_and_examined_again() {
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
        let audit = audit::audit(&world.recovery, None, from, to).await.unwrap();
        assert_eq!(audit.partitions, [expected], "{from:?} {to:?}");
        assert_eq!(found(&audit), gaps, "{from:?} {to:?}");
        assert_eq!(
            (audit.records, audit.in_flight),
            (expected.2 - expected.1, expected.3 - expected.2)
        );
    }
}
