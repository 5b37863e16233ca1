//! Planted faults, each listed by its coordinates.

use crate::timeline::world;
use crate::{audited, audited_by_record, examine, found};
use recovery::audit;
use recovery::model::DeadLetterState;

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
    let sound = audited(&world).await;
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
    let broken = audited(&world).await;
    assert_eq!(found(&broken), expected);
    assert_eq!(
        (broken.gaps, broken.double_fates, broken.records),
        (3, 1, 21)
    );
    let by_record = audited_by_record(&world).await;
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
    assert!(found(&audited(&world).await).is_empty());
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
    let audit = audited(&world).await;
    assert_eq!(found(&audit), [(0, 0, "gap"), (0, 1, "double_fate")]);
    assert!(
        audit.findings[0].detail.contains("resolved"),
        "{:?}",
        audit.findings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_persistence_nothing_is_stored_and_dead_letters_are_accounted_for() {
    let world = world(false, None, &[]).await;
    world.letter(0, 0, "open").await;
    examine(&world, &[(0, 2)]).await;
    let audit = audited(&world).await;
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
        audit::audit(&world.recovery, Some("other"), None, None).await,
        Err(recovery::error::RecoveryError::NotFound(_))
    ));
}
