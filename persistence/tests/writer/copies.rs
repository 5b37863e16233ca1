//! A signed body under another id, which nobody signed: a copy, whoever sends it, for as long as its vendor may send it again.

use crate::world::{Delivery, Member, NUL, World, delivery, edited, in_body, of_order, world};
use store::fate::{Fate, RecordedFate};

fn copy_of(id: &str) -> Fate {
    Fate::Copy(id.to_owned())
}

fn of(offset: i64, id: &str) -> Delivery {
    delivery(0, offset, &format!("3:{offset}"), id, "1.50")
}

async fn rows(world: &World) -> Vec<String> {
    sqlx::query_scalar("SELECT event_id FROM persistence.events ORDER BY event_id")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_stored_under_its_first_id_and_is_a_copy_under_any_other_until_its_time_is_over()
{
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    let batch = [
        in_body(1, 0, 0, of(0, "first")),
        in_body(1, 0, 1, of(1, "second")),
        // Another event of the same body, and another body.
        in_body(1, 1, 1, of(2, "item")),
        in_body(2, 0, 1, of(3, "other")),
        // Its own id once more, and an id that is signed.
        in_body(1, 0, 2, of(4, "first")),
        of(5, "signed"),
    ];
    let fates = [
        Fate::Stored,
        copy_of("first"),
        Fate::Stored,
        Fate::Stored,
        Fate::Duplicate,
        Fate::Stored,
    ];
    assert_eq!(member.write(&batch).await, fates);
    // The same for what comes in another batch, up to the end of its time, which the last delivery set.
    let later = [
        in_body(1, 0, 3602, of(6, "third")),
        in_body(1, 0, 3603, of(7, "fourth")),
        in_body(1, 0, 3604, of(8, "fifth")),
    ];
    let fates = [copy_of("first"), Fate::Stored, copy_of("fourth")];
    for (delivery, fate) in later.into_iter().zip(fates) {
        assert_eq!(member.write(&[delivery]).await, [fate]);
    }
    let stored = ["first", "fourth", "item", "other", "signed"];
    assert_eq!(rows(&world).await, stored.map(str::to_owned));
    assert_eq!(
        world.fates("third").await,
        [((3, 6), RecordedFate::Duplicate)]
    );
    // Read again after a crash: the raw record that has a row keeps it, whoever has its body now.
    let again = Delivery {
        offset: 9,
        ..in_body(1, 0, 0, of(0, "first"))
    };
    assert_eq!(member.write(&[again]).await, [Fate::StoredBefore]);
    let again = Delivery {
        offset: 10,
        ..in_body(1, 0, 3602, of(6, "third"))
    };
    member.write(&[again]).await;
    let query = "SELECT count(*) FROM (SELECT FROM persistence.event_fates GROUP BY raw_partition, raw_offset HAVING count(*) > 1) twice";
    assert_eq!(world.number(query).await, 0, "one fate each");
    assert_eq!(world.totals().await, (vec![11], 5, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_belongs_to_nobody_whose_event_is_not_stored_and_an_edit_has_none() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    member.write(&[of(0, "taken")]).await;
    let refused = of_order(0, 2, "3:2", "refused", &NUL.to_string(), "1.50");
    let batch = [
        // A conflict, and a row that PostgreSQL refuses: both are dead letters.
        in_body(1, 0, 0, delivery(0, 1, "3:1", "taken", "9")),
        in_body(1, 0, 0, refused),
        in_body(1, 0, 0, of(3, "sound")),
        in_body(1, 0, 0, of(4, "copy")),
        edited(in_body(1, 0, 0, of(5, "edit"))),
    ];
    let fates = member.write(&batch).await;
    assert!(matches!(fates[0], Fate::Conflict(_)), "{fates:?}");
    assert!(matches!(fates[1], Fate::Refused(_)), "{fates:?}");
    assert_eq!(
        fates[2..],
        [Fate::Stored, copy_of("sound"), Fate::Stored],
        "{fates:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_instances_that_store_one_body_at_once_one_has_it() {
    let world = world().await;
    let mut first = Member::new(&world, &[0]).await;
    let mut second = Member::new(&world, &[1]).await;
    let batch = |partition: i32, name: &str| -> Vec<Delivery> {
        (0_u8..40)
            .map(|number| {
                let offset = i64::from(number);
                let raw = format!("{partition}:{offset}");
                let id = format!("{name}-{number}");
                in_body(number, 0, 0, delivery(partition, offset, &raw, &id, "1"))
            })
            .collect()
    };
    let (mut a, mut b) = (batch(0, "a"), batch(1, "b"));
    b.reverse();
    for (offset, delivery) in (0..).zip(&mut b) {
        delivery.offset = offset;
    }
    a.truncate(40);
    let (a, b) = tokio::join!(first.write(&a), second.write(&b));
    let stored = a.iter().chain(&b).filter(|fate| **fate == Fate::Stored);
    assert_eq!(stored.count(), 40, "{a:?} {b:?}");
    let copies = a
        .iter()
        .chain(&b)
        .filter(|fate| matches!(fate, Fate::Copy(_)));
    assert_eq!(copies.count(), 40);
    let query = "SELECT count(*) FROM persistence.duplicates d JOIN persistence.events e ON e.event_id = d.same_body_as";
    assert_eq!(world.number(query).await, 40, "each copy says of which row");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_forgotten_a_day_after_their_time() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    let batch = [
        in_body(1, 0, 0, of(0, "old")),
        in_body(2, 0, 0, of(1, "new")),
    ];
    member.write(&batch).await;
    sqlx::query("UPDATE persistence.signed_bodies SET until = now() - interval '23 hours' WHERE event_id = 'new'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.store.forget_bodies().await.unwrap();
    let left: Vec<String> = sqlx::query_scalar("SELECT event_id FROM persistence.known_bodies")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(left, ["new"]);
}
