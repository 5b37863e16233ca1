//! One event that comes by several partitions: one row, and every further raw record a duplicate, in whatever batch and whoever writes.

use crate::world::{Delivery, Member, delivery, edit, world};
use store::fate::{Fate, RecordedFate};

#[tokio::test(flavor = "multi_thread")]
async fn one_event_by_two_partitions_is_one_row_and_one_duplicate_in_one_batch_and_in_two() {
    use Fate::{Duplicate, Stored, StoredBefore};
    let world = world().await;
    let mut member = Member::new(&world, &[0, 1]).await;
    let both = [
        delivery(0, 0, "0:5", "a", "1"),
        delivery(1, 0, "3:9", "a", "1"),
    ];
    assert_eq!(
        member.write(&both).await,
        [Stored, Duplicate],
        "in one batch the first is the row"
    );
    let stored_first = vec![
        ((0, 5), RecordedFate::Stored),
        ((3, 9), RecordedFate::Duplicate),
    ];
    assert_eq!(world.fates("a").await, stored_first);
    // In two batches, the higher partition first.
    let (late, early) = (
        delivery(0, 1, "0:6", "b", "2"),
        delivery(1, 1, "3:10", "b", "2"),
    );
    assert_eq!(member.write(std::slice::from_ref(&early)).await, [Stored]);
    assert_eq!(member.write(std::slice::from_ref(&late)).await, [Duplicate]);
    assert_eq!(
        world.fates("b").await,
        [
            ((0, 6), RecordedFate::Duplicate),
            ((3, 10), RecordedFate::Stored)
        ]
    );
    assert_eq!(world.totals().await, (vec![2, 2], 2, 2));
    // A crash before the Kafka commits, and other partitions for another member: everything comes again, in another order.
    let mut other = Member::new(&world, &[0, 1]).await;
    let again = [late, early, both[1].clone(), both[0].clone()];
    assert_eq!(
        other.write(&again).await,
        [Duplicate, StoredBefore, Duplicate, StoredBefore]
    );
    assert_eq!(
        world.totals().await,
        (vec![2, 2], 2, 2),
        "nothing is counted twice and no offset goes back"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        2
    );
    assert_eq!(world.fates("a").await, stored_first);
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.event_fates")
            .await,
        4,
        "one fate a raw record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_by_another_partition_is_a_conflict_that_names_the_row_and_holds_only_its_own_partition()
 {
    let world = world().await;
    let mut member = Member::new(&world, &[0, 1]).await;
    let batch = [
        delivery(0, 0, "0:5", "a", "1"),
        delivery(1, 0, "3:9", "a", "2"),
        delivery(0, 1, "0:6", "b", "1"),
    ];
    let fates = member.write(&batch).await;
    assert!(
        matches!(&fates[1], Fate::Conflict(detail) if detail.contains("0:5")),
        "{fates:?}"
    );
    assert_eq!((&fates[0], &fates[2]), (&Fate::Stored, &Fate::Stored));
    assert_eq!(
        world.totals().await,
        (vec![2, 0], 2, 0),
        "the conflict's partition waits for its dead letter, the other does not"
    );
    assert_eq!(world.fates("a").await, [((0, 5), RecordedFate::Stored)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_raw_record_in_one_batch_the_first_is_the_row_and_an_edit_that_says_otherwise_a_conflict()
 {
    use Fate::{Stored, StoredBefore};
    let world = world().await;
    let mut member = Member::new(&world, &[0, 1]).await;
    let batch = [
        delivery(0, 0, "0:5", "a", "1"),
        edit(1, 0, "0:5", "a", "2"),
        edit(1, 1, "0:5", "a", "1"),
        // The edit comes first: it is the row, and its raw record as it was has that fate.
        edit(1, 2, "0:6", "b", "2"),
        delivery(0, 1, "0:6", "b", "1"),
        // Two edits of one raw record, the second under another id.
        edit(1, 3, "0:7", "c", "1"),
        edit(1, 4, "0:7", "d", "1"),
    ];
    let fates = member.write(&batch).await;
    let known: Vec<_> = fates
        .iter()
        .filter(|fate| !matches!(fate, Fate::Conflict(_)))
        .collect();
    assert_eq!(
        known,
        [&Stored, &StoredBefore, &Stored, &StoredBefore, &Stored]
    );
    assert!(
        matches!(&fates[1], Fate::Conflict(detail) if detail.contains("0:5")),
        "{fates:?}"
    );
    assert!(
        matches!(&fates[6], Fate::Conflict(detail) if detail.contains("event c")),
        "{fates:?}"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        3
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.event_fates")
            .await,
        3,
        "one fate a raw record"
    );
    // Read again after a crash: the same verdicts.
    let mut other = Member::new(&world, &[0, 1]).await;
    let again = other.write(&batch).await;
    assert_eq!(
        (&again[0], &again[2], &again[1]),
        (&StoredBefore, &StoredBefore, &fates[1])
    );
    assert_eq!(
        (&again[3], &again[4], &again[5]),
        (&StoredBefore, &StoredBefore, &StoredBefore)
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_writing_the_same_events_at_once_in_opposite_orders_store_each_once() {
    const EVENTS: usize = 60;
    const ROUNDS: i64 = 10;
    let world = world().await;
    let (mut first, mut second) = (
        Member::new(&world, &[0]).await,
        Member::new(&world, &[1]).await,
    );
    let (mut stored, mut duplicates) = (0, 0);
    for round in 0..ROUNDS {
        let start = round * i64::try_from(EVENTS).unwrap();
        let batch = |partition: i32, ids: Vec<usize>| -> Vec<Delivery> {
            let places = (start..).zip(ids);
            places
                .map(|(offset, id)| {
                    delivery(
                        partition,
                        offset,
                        &format!("{partition}:{offset}"),
                        &format!("{round}-{id}"),
                        "1",
                    )
                })
                .collect()
        };
        // Whoever inserts in the order of arrival meets the other half-way and each waits for the other.
        let (up, down) = (
            batch(0, (0..EVENTS).collect()),
            batch(1, (0..EVENTS).rev().collect()),
        );
        let (left, right) = tokio::join!(first.write(&up), second.write(&down));
        for (id, fate) in left.iter().enumerate() {
            let twin = &right[EVENTS - 1 - id];
            let one_each = matches!(
                (fate, twin),
                (Fate::Stored, Fate::Duplicate) | (Fate::Duplicate, Fate::Stored)
            );
            assert!(one_each, "event {round}-{id}: {fate:?} and {twin:?}");
        }
        stored += left
            .iter()
            .chain(&right)
            .filter(|fate| **fate == Fate::Stored)
            .count();
        duplicates += left
            .iter()
            .chain(&right)
            .filter(|fate| **fate == Fate::Duplicate)
            .count();
    }
    let all = i64::try_from(EVENTS).unwrap() * ROUNDS;
    assert_eq!(
        (
            i64::try_from(stored).unwrap(),
            i64::try_from(duplicates).unwrap()
        ),
        (all, all)
    );
    assert_eq!(world.totals().await, (vec![all, all], all, all));
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        all
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        all
    );
}
