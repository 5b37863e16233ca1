//! Many rows at once are copied, and are then what they would be if they had been inserted.

use crate::world::{Delivery, Member, NUL, World, delivery, edited, of_order, world};
use sandbox::harness::until;
use std::time::Duration;
use store::fate::Fate;

/// Enough to be copied.
const MANY: i64 = 100;

/// A record of partition 0, made from a raw record of the same offset.
fn event(offset: i64, id: &str, amount: &str) -> Delivery {
    delivery(0, offset, &format!("3:{offset}"), id, amount)
}

fn events() -> Vec<Delivery> {
    let amounts = [
        "0.001",
        "0.0001",
        "1",
        "9999",
        "10000",
        "10000.0001",
        "12345678901.2345",
        "120000000",
    ];
    let order = |offset: i64| match offset % 3 {
        0 => "o".to_owned(),
        1 => "\"\\ \u{fc}\u{1f600}".to_owned(),
        _ => "long ".repeat(50),
    };
    (0..MANY)
        .zip(amounts.iter().cycle())
        .map(|(offset, amount)| {
            let (raw, id) = (format!("3:{offset}"), format!("e{offset}"));
            let event = of_order(0, offset, &raw, &id, &order(offset), amount);
            if offset % 7 == 0 {
                edited(event)
            } else {
                event
            }
        })
        .collect()
}

/// Every column but the time at which it was stored.
async fn rows(world: &World) -> Vec<String> {
    let rows = sqlx::query_scalar(
        "SELECT (to_jsonb(e) - 'stored_at')::text FROM persistence.events e ORDER BY event_id",
    );
    rows.fetch_all(&world.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_copied_is_the_row_that_is_inserted() {
    let (copied, inserted) = (world().await, world().await);
    let events = events();
    let fates = Member::new(&copied, &[0]).await.write(&events).await;
    assert_eq!(fates, vec![Fate::Stored; events.len()]);
    let mut member = Member::new(&inserted, &[0]).await;
    for few in events.chunks(10) {
        member.write(few).await;
    }
    let rows = (rows(&copied).await, rows(&inserted).await);
    assert_eq!(rows.0.len(), events.len());
    assert_eq!(rows.0, rows.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_or_comes_twice_is_not_copied_again() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    member
        .write(&[event(0, "e7", "1"), event(1, "e8", "1")])
        .await;
    let mut batch: Vec<Delivery> = (2..MANY)
        .map(|offset| event(offset, &format!("e{offset}"), "1"))
        .collect();
    batch.push(event(MANY, "e9", "1"));
    batch.push(event(MANY + 1, "e10", "2"));
    let fates = member.write(&batch).await;
    for (event, fate) in batch.iter().zip(&fates) {
        match event.offset {
            7 | 8 | MANY => assert_eq!(*fate, Fate::Duplicate, "{}", event.offset),
            offset if offset == MANY + 1 => {
                assert!(matches!(fate, Fate::Conflict(_)), "{fate:?}");
            }
            offset => assert_eq!(*fate, Fate::Stored, "{offset}"),
        }
    }
    let count = "SELECT count(*) FROM persistence.events";
    assert_eq!(world.number(count).await, MANY - 2, "e2 to e99");
    assert_eq!(
        Member::new(&world, &[0]).await.write(&batch[..90]).await[0],
        Fate::StoredBefore,
        "read again after a crash"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgresql_refuses_is_refused_alone() {
    let world = world().await;
    let mut batch = events();
    batch[50] = of_order(0, 50, "3:50", "e50", &format!("nul {NUL}"), "1");
    let fates = Member::new(&world, &[0]).await.write(&batch).await;
    let refused = |fate: &&Fate| matches!(fate, Fate::Refused(_));
    assert_eq!(fates.iter().filter(refused).count(), 1);
    assert!(refused(&&fates[50]), "{:?}", fates[50]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_somebody_else_stores_meanwhile_is_found_when_the_batch_is_tried_again() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    member.write(&[delivery(0, 0, "4:9", "e50", "1")]).await;
    let mut rival = world.pool.acquire().await.unwrap();
    for statement in [
        "CREATE TEMPORARY TABLE of_the_rival AS SELECT * FROM persistence.events",
        "DELETE FROM persistence.events",
        "BEGIN",
        "INSERT INTO persistence.events SELECT * FROM of_the_rival",
    ] {
        sqlx::query(statement).execute(&mut *rival).await.unwrap();
    }
    let batch: Vec<Delivery> = (1..MANY)
        .map(|offset| event(offset, &format!("e{offset}"), "1"))
        .collect();
    let commits = async {
        until("the copy waits", Duration::from_secs(30), async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                           WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'COPY%'";
            world.number(waiting).await == 1
        })
        .await;
        sqlx::query("COMMIT").execute(&mut *rival).await.unwrap();
    };
    let (fates, ()) = tokio::join!(member.write(&batch), commits);
    for (fate, offset) in fates.iter().zip(1..) {
        let expected = if offset == 50 {
            Fate::Duplicate
        } else {
            Fate::Stored
        };
        assert_eq!(*fate, expected, "{offset}");
    }
}
