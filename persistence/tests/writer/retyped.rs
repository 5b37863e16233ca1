//! A row that a contract says more of: typed again from the same raw record, never turned back, and stored once all the while.

use crate::world::{Delivery, Member, World, edited, of_contract, world};
use contracts::event::{Catalog, ContractFiles};
use serde_json::json;
use store::fate::{Fate, RecordedFate};

const GENERIC: &str = "any.v1";

/// The generic contract, and one of orders in two versions.
fn orders() -> Catalog {
    let files = |version: u32, note: serde_json::Value| {
        let mut schema = json!({"type": "object", "required": ["order", "total", "currency"], "properties": {
            "order": {"type": "string", "x-eventflow": "entity"},
            "total": {"type": "integer", "x-eventflow": "amount-minor"},
            "currency": {"type": "string", "x-eventflow": {"role": "currency", "case": "lower"}},
        }});
        if version > 1 {
            schema["properties"]["note"] = note;
        }
        ContractFiles {
            name: "order.placed".to_owned(),
            version,
            schema_json: schema.to_string(),
            record_avsc: None,
            schema_id: None,
        }
    };
    let generic = Catalog::builtin_files();
    let generic = generic.into_iter().filter(|files| files.name == "any");
    let note = || json!({"type": "string"});
    Catalog::compile(generic.chain([files(1, note()), files(2, note())])).unwrap()
}

struct Orders(Catalog);

impl Orders {
    fn of(&self, offset: i64, raw: &str, id: &str, label: &str) -> Delivery {
        let body = json!({"event_id": id, "event_type": "order.placed", "timestamp": "2026-01-02T03:04:05Z",
            "payload": {"order": "o-1", "total": 4990, "currency": "eur", "note": "n", "more": [1, {"a": 2.5}]}});
        of_contract(offset, raw, &self.0, label, &body)
    }
}

async fn member(world: &World, orders: &Orders) -> Member {
    Member::reading(world, &[0], &orders.0, GENERIC).await
}

/// Contract, amount, currency and schema id of a row, and what is kept that no contract names.
async fn row(world: &World, id: &str) -> (String, Option<String>, Option<String>, String) {
    sqlx::query_as(
        "SELECT contract, amount::text, currency, payload->>'more' FROM persistence.events WHERE event_id = $1",
    )
    .bind(id)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

fn typed(contract: &str) -> (String, Option<String>, Option<String>, String) {
    let (amount, more) = ("49.9".to_owned(), "[1, {\"a\": 2.5}]".to_owned());
    (
        contract.to_owned(),
        Some(amount),
        Some("EUR".to_owned()),
        more,
    )
}

async fn history(world: &World) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT contract_before, contract FROM persistence.retyped_events ORDER BY retyped_at",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_typed_by_what_says_more_and_by_nothing_that_says_less_or_comes_late() {
    let (world, orders) = (world().await, Orders(orders()));
    let mut member = member(&world, &orders).await;
    let steps = [
        (GENERIC, Fate::Stored, GENERIC),
        ("order.placed.v1", Fate::Retyped, "order.placed.v1"),
        ("order.placed.v1", Fate::StoredBefore, "order.placed.v1"),
        (GENERIC, Fate::StoredBefore, "order.placed.v1"),
        ("order.placed.v2", Fate::Retyped, "order.placed.v2"),
        ("order.placed.v1", Fate::StoredBefore, "order.placed.v2"),
        (GENERIC, Fate::StoredBefore, "order.placed.v2"),
    ];
    for (offset, (label, fate, then)) in (0..).zip(steps) {
        let delivery = orders.of(offset, "3:0", "a", label);
        assert_eq!(member.write(&[delivery]).await, [fate], "{offset} {label}");
        let row = row(&world, "a").await;
        assert_eq!(row.0, then, "{offset} {label}");
        if then != GENERIC {
            assert_eq!(row, typed(then));
        }
    }
    let changes = [
        (GENERIC, "order.placed.v1"),
        ("order.placed.v1", "order.placed.v2"),
    ];
    let changes = changes.map(|(before, after)| (before.to_owned(), after.to_owned()));
    assert_eq!(history(&world).await, changes);
    assert_eq!(world.fates("a").await, [((3, 0), RecordedFate::Stored)]);
    assert_eq!(world.totals().await, (vec![7], 1, 0), "stored once");
    // Another delivery of it is one, and types nothing.
    let again = orders.of(7, "3:9", "a", "order.placed.v2");
    assert_eq!(member.write(&[again]).await, [Fate::Duplicate]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_with_all_of_them_what_says_most_wins_whatever_the_order() {
    let (world, orders) = (world().await, Orders(orders()));
    let mut member = member(&world, &orders).await;
    let labels = [
        GENERIC,
        "order.placed.v2",
        "order.placed.v1",
        GENERIC,
        "order.placed.v2",
    ];
    let batch: Vec<Delivery> = (0..)
        .zip(labels)
        .map(|(offset, label)| orders.of(offset, "3:0", "a", label))
        .collect();
    let fates = member.write(&batch).await;
    assert_eq!(fates[0], Fate::Stored);
    let retyped = fates.iter().filter(|fate| **fate == Fate::Retyped).count();
    assert_eq!(retyped, 1, "{fates:?}");
    assert_eq!(row(&world, "a").await, typed("order.placed.v2"));
    assert_eq!(history(&world).await.len(), 1);
    // Read again, as after a crash: nothing is changed any more.
    let again = batch.into_iter().map(|delivery| Delivery {
        offset: delivery.offset + 5,
        ..delivery
    });
    let again: Vec<Delivery> = again.collect();
    assert_eq!(member.write(&again).await, vec![Fate::StoredBefore; 5]);
    assert_eq!(row(&world, "a").await, typed("order.placed.v2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_an_edit_nor_another_raw_record_is_typed_from_and_others_stay_as_they_are() {
    let (world, orders) = (world().await, Orders(orders()));
    let mut member = member(&world, &orders).await;
    member
        .write(&[
            edited(orders.of(0, "3:0", "edited", GENERIC)),
            orders.of(1, "3:1", "plain", GENERIC),
            orders.of(2, "3:2", "other", GENERIC),
        ])
        .await;
    let fates = member
        .write(&[
            orders.of(3, "3:0", "edited", "order.placed.v1"),
            edited(orders.of(4, "3:1", "plain", "order.placed.v1")),
        ])
        .await;
    assert!(!fates.contains(&Fate::Retyped), "{fates:?}");
    for id in ["edited", "plain", "other"] {
        assert_eq!(row(&world, id).await.0, GENERIC, "{id}");
    }
    let delivery = orders.of(5, "3:1", "plain", "order.placed.v1");
    assert_eq!(member.write(&[delivery]).await, [Fate::Retyped]);
    assert_eq!(row(&world, "other").await.0, GENERIC);
    assert_eq!(row(&world, "plain").await, typed("order.placed.v1"));
    let who: Vec<Option<String>> =
        sqlx::query_scalar("SELECT edited_by FROM persistence.stored_events ORDER BY raw_offset")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(who, [Some("ann".to_owned()), None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_that_type_the_same_rows_at_once_change_each_once() {
    let (world, orders) = (world().await, Orders(orders()));
    let mut first = Member::reading(&world, &[0], &orders.0, GENERIC).await;
    let mut second = Member::reading(&world, &[1], &orders.0, GENERIC).await;
    let batch = |label: &str, partition: i32, from: i64| -> Vec<Delivery> {
        (0..50)
            .map(|number| Delivery {
                partition,
                ..orders.of(
                    from + number,
                    &format!("3:{number}"),
                    &format!("e-{number}"),
                    label,
                )
            })
            .collect()
    };
    first.write(&batch(GENERIC, 0, 0)).await;
    let mut backwards = batch("order.placed.v1", 1, 0);
    backwards.reverse();
    let forwards = batch("order.placed.v1", 0, 50);
    let (a, b) = tokio::join!(first.write(&forwards), second.write(&backwards));
    let retyped = a.iter().chain(&b).filter(|fate| **fate == Fate::Retyped);
    assert_eq!(retyped.count(), 50);
    assert_eq!(history(&world).await.len(), 50);
    let query = "SELECT count(*) FROM persistence.events WHERE contract = 'order.placed.v1' AND amount = 49.90";
    assert_eq!(world.number(query).await, 50);
}
