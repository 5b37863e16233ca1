//! One row an event, whatever is delivered again; what cannot be a row holds the offset.

use crate::world::{Delivery, Member, NUL, delivery, of_order, world};
use sqlx::Row as _;
use store::fate::Fate;

/// A record of partition 0, made from a raw record of the same offset.
fn event(offset: i64, id: &str, amount: &str) -> Delivery {
    delivery(0, offset, &format!("3:{offset}"), id, amount)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_an_event_whatever_is_delivered_again() {
    use Fate::{Duplicate, Stored, StoredBefore};
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    let first = [
        event(0, "a", "12345678901.2345"),
        event(1, "b", "1"),
        event(2, "a", "12345678901.2345"),
    ];
    assert_eq!(
        member.write(&first).await,
        [Stored, Stored, Duplicate],
        "a duplicate in one batch"
    );
    assert_eq!(
        member.write(&[event(3, "b", "1.0")]).await,
        [Duplicate],
        "a duplicate across batches; 1 and 1.0 are one amount"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        2
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        2
    );
    assert_eq!(world.next_offset().await, 4);
    let row = sqlx::query("SELECT amount::text, currency, entity_key, raw_partition, raw_offset, trace_id, payload->>'amount', octet_length(content_hash), source FROM persistence.events WHERE event_id = 'a'")
        .fetch_one(&world.pool).await.unwrap();
    assert_eq!(
        row.get::<String, _>(0),
        "12345678901.2345",
        "digit for digit"
    );
    assert_eq!(row.get::<String, _>(1), "CLF");
    assert_eq!(row.get::<String, _>(2), "key");
    assert_eq!((row.get::<i32, _>(3), row.get::<i64, _>(4)), (3, 0));
    assert_eq!(row.get::<String, _>(5), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(row.get::<String, _>(6), "12345678901.2345");
    assert_eq!(
        (row.get::<i32, _>(7), row.get::<String, _>(8)),
        (32, "acme".to_owned())
    );

    // Crashed between the transaction and the Kafka commit: a new process reads the same batch again.
    let mut member = Member::new(&world, &[0]).await;
    assert_eq!(
        member.write(&first).await,
        [StoredBefore, StoredBefore, Duplicate]
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        2
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        2
    );
    assert_eq!(world.next_offset().await, 4, "an offset never goes back");
    let counted = world
        .number("SELECT stored * 100 + duplicate FROM persistence.consumer_offsets")
        .await;
    assert_eq!(counted, 202, "what is read again is not counted again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_other_content_is_a_conflict_and_holds_the_offset() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    let fates = member
        .write(&[event(0, "a", "1"), event(1, "a", "2"), event(2, "c", "3")])
        .await;
    assert_eq!(fates[0], Fate::Stored);
    assert!(
        matches!(&fates[1], Fate::Conflict(detail) if detail.contains("3:0")),
        "{fates:?}"
    );
    assert_eq!(fates[2], Fate::Stored);
    assert_eq!(
        world.next_offset().await,
        1,
        "until the dead letter is acknowledged a crash must read it again"
    );
    world
        .store
        .move_past_dead_letters("g", &member.offsets, &member.positions)
        .await
        .unwrap();
    assert_eq!(world.next_offset().await, 3);
    // The answer to the commit was lost, so it is done again.
    world
        .store
        .move_past_dead_letters("g", &member.offsets, &member.positions)
        .await
        .unwrap();
    assert_eq!(world.next_offset().await, 3);
    assert_eq!(
        world
            .number("SELECT dead_lettered FROM persistence.consumer_offsets")
            .await,
        1
    );
    assert_eq!(
        world
            .number("SELECT stored FROM persistence.consumer_offsets")
            .await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_in_a_batch_of_500_is_refused_alone() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    let events: Vec<Delivery> = (0..500)
        .map(|number| {
            let (raw, id) = (format!("3:{number}"), format!("e{number}"));
            let order = if number == 321 {
                format!("nul {NUL}")
            } else {
                "o".to_owned()
            };
            of_order(0, number, &raw, &id, &order, "1")
        })
        .collect();
    let fates = member.write(&events).await;
    for (number, fate) in fates.iter().enumerate() {
        match number {
            321 => assert!(
                matches!(fate, Fate::Refused(detail) if detail.contains("SQLSTATE")),
                "{fate:?}"
            ),
            _ => assert_eq!(*fate, Fate::Stored, "{number}"),
        }
    }
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        499
    );
    assert_eq!(world.next_offset().await, 321);
}
