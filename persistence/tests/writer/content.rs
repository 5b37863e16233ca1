//! Which content makes a conflict: the event type and the payload, but not what says something of the delivery.

use crate::world::{Member, World, delivery, of_body, of_order, world};
use contracts::event::{Catalog, ContractFiles};
use serde_json::{Value, json};
use store::fate::Fate;

const TYPE: &str = "parcel.sent.v1";

/// A contract whose payload has a counter of attempts and an object of the delivery; `note`: and an optional text more.
fn parcels(note: bool) -> Catalog {
    let text = json!({"type": "string", "x-eventflow": "id"});
    let mut payload = json!({
        "parcel": text, "weight": {"type": "integer"}, "attempt": {"type": "integer", "x-eventflow": "delivery"},
        "meta": {"type": "object", "x-eventflow": "delivery", "required": ["at"],
                 "properties": {"at": {"type": "string", "format": "date-time"}}},
        "to": {"type": "object", "required": ["city", "tried"],
               "properties": {"city": text, "tried": {"type": "integer", "x-eventflow": "delivery"}}},
    });
    let record =
        |name: &str, fields: Value| json!({"type": "record", "name": name, "fields": fields});
    let time = json!({"type": "long", "logicalType": "timestamp-micros"});
    let mut fields = vec![
        json!({"name": "parcel", "type": "string"}),
        json!({"name": "weight", "type": "long"}),
        json!({"name": "attempt", "type": ["null", "int"]}),
        json!({"name": "meta", "type": ["null", record("Meta", json!([{"name": "at", "type": time}]))]}),
        json!({"name": "to", "type": record("To", json!([{"name": "city", "type": "string"}, {"name": "tried", "type": "int"}]))}),
    ];
    if note {
        payload["note"] = json!({"type": "string"});
        fields.push(json!({"name": "note", "type": ["null", "string"], "default": null}));
    }
    let schema =
        json!({"type": "object", "required": ["parcel", "weight", "to"], "properties": payload});
    let record_avsc = record(
        "Parcel",
        json!([
            {"name": "event_id", "type": "string"}, {"name": "event_type", "type": "string"}, {"name": "timestamp", "type": time},
            {"name": "payload", "type": record("P", json!(fields))}, {"name": "rest", "type": ["null", "string"], "default": null},
        ]),
    );
    let files = ContractFiles {
        name: "parcel.sent".to_owned(),
        version: 1,
        schema_json: schema.to_string(),
        record_avsc: Some(record_avsc.to_string()),
        schema_id: None,
    };
    Catalog::compile([files]).unwrap()
}

fn parcel(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({"event_id": "a", "event_type": TYPE, "timestamp": "2026-01-02T03:04:05Z",
        "payload": {"parcel": "p", "weight": 3, "attempt": 1, "meta": {"at": "2026-01-02T03:04:05Z"}, "to": {"city": "Ulm", "tried": 0},
                    "note": "n"}});
    change(&mut body);
    body
}

async fn count(world: &World, query: &'static str) -> i64 {
    world.number(query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_that_stamps_the_delivery_again_is_a_duplicate() {
    let world = world().await;
    let contracts = parcels(false);
    let mut member = Member::reading(&world, &[0], &contracts, TYPE).await;
    let resends = [
        parcel(|_| {}),
        parcel(|body| body["timestamp"] = json!("2027-01-02T03:04:05Z")),
        parcel(|body| body["payload"]["attempt"] = json!(2)),
        parcel(|body| body["payload"]["attempt"] = json!(null)),
        parcel(|body| body["payload"]["meta"]["at"] = json!("2027-01-02T03:04:05Z")),
        parcel(|body| body["payload"]["meta"] = json!(null)),
        parcel(|body| body["payload"]["to"]["tried"] = json!(9)),
    ];
    let batch: Vec<_> = (0..)
        .zip(&resends)
        .map(|(offset, body)| of_body(offset, &contracts, body))
        .collect();
    let mut fates = member.write(&batch).await;
    assert_eq!(fates.remove(0), Fate::Stored);
    assert_eq!(fates, vec![Fate::Duplicate; resends.len() - 1]);
    // In a batch of their own too, where the row is of another transaction.
    let again: Vec<_> = (100..)
        .zip(&resends)
        .map(|(offset, body)| of_body(offset, &contracts, body))
        .collect();
    assert_eq!(
        member.write(&again).await,
        vec![Fate::Duplicate; resends.len()]
    );
    assert_eq!(
        count(&world, "SELECT count(*) FROM persistence.events").await,
        1
    );
    let first = "SELECT count(*) FROM persistence.events WHERE payload->>'attempt' = '1' AND occurred_at < '2026-02-01'";
    assert_eq!(count(&world, first).await, 1, "the first one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_names_what_differs_and_not_the_values() {
    let world = world().await;
    let contracts = parcels(false);
    let mut member = Member::reading(&world, &[0], &contracts, TYPE).await;
    let other = parcel(|body| {
        body["payload"]["weight"] = json!(77);
        body["payload"]["to"] = json!({"city": "Bonn", "tried": 5});
        body["payload"]["attempt"] = json!(5);
    });
    let batch = [
        of_body(0, &contracts, &parcel(|_| {})),
        of_body(1, &contracts, &other),
    ];
    let fates = member.write(&batch).await;
    assert_eq!(
        fates[1],
        Fate::Conflict(
            "event a of source acme is stored with other content, from raw record 3:0; different: /payload/to/city, /payload/weight".to_owned()
        )
    );
    // Another type with the same id is another event, whatever it says.
    let mut payments = Member::new(&world, &[0]).await;
    let fates = payments.write(&[delivery(0, 2, "3:2", "a", "1")]).await;
    assert!(
        matches!(&fates[0], Fate::Conflict(detail) if detail.ends_with("different: /event_type, /payload")),
        "{fates:?}"
    );
    // At most five are named.
    let builtin = Catalog::builtin();
    let body = |value: &str| {
        json!({"event_id": "b", "event_type": "payment.refunded.v1", "timestamp": "2026-01-02T03:04:05Z",
            "payload": {"refund_id": value, "payment_id": value, "order_id": value, "amount": value, "reason": value,
                        "currency": if value == "1" { "EUR" } else { "USD" }}})
    };
    let mut refunds = Member::reading(&world, &[0], &builtin, "payment.refunded.v1").await;
    let batch = [
        of_body(3, &builtin, &body("1")),
        of_body(4, &builtin, &body("2")),
    ];
    let fates = refunds.write(&batch).await;
    assert!(
        matches!(&fates[1], Fate::Conflict(detail) if detail.ends_with("/payload/payment_id, /payload/reason and 1 more")),
        "{fates:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_the_hash_of_an_older_version_is_judged_by_its_payload() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    let number = |index: i64| format!("e{index}");
    let stored: Vec<_> = (0..40)
        .map(|index| delivery(0, index, &format!("3:{index}"), &number(index), "1"))
        .collect();
    member.write(&stored).await;
    // Older versions hashed the Avro, envelope included.
    for (index, delivery) in (0..).zip(&stored) {
        sqlx::query("UPDATE persistence.events SET content_hash = sha256($1) WHERE event_id = $2")
            .bind(&delivery.datum)
            .bind(number(index))
            .execute(&world.pool)
            .await
            .unwrap();
    }
    // Each comes again in one batch, the even ones as they were.
    let again: Vec<_> = (0..40)
        .map(|index| {
            let order = if index % 2 == 0 { "o" } else { "changed" };
            let (offset, id) = (100 + index, number(index));
            of_order(0, offset, &format!("3:{offset}"), &id, order, "1")
        })
        .collect();
    for (index, fate) in member.write(&again).await.into_iter().enumerate() {
        if index % 2 == 0 {
            assert_eq!(fate, Fate::Duplicate, "{index}");
        } else {
            assert!(
                matches!(&fate, Fate::Conflict(detail) if detail.ends_with("different: /payload/order_id")),
                "{fate:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_one_of_two_contracts_did_not_know_makes_no_conflict() {
    let world = world().await;
    let (old, new) = (parcels(false), parcels(true));
    let mut before = Member::reading(&world, &[0], &old, TYPE).await;
    let sent = parcel(|_| {});
    assert_eq!(
        before.write(&[of_body(0, &old, &sent)]).await,
        [Fate::Stored]
    );
    // The vendor sent the note both times; only the new contract keeps it.
    let mut after = Member::reading(&world, &[0], &new, TYPE).await;
    assert_eq!(
        after.write(&[of_body(1, &new, &sent)]).await,
        [Fate::Duplicate]
    );
    let other = parcel(|body| body["payload"]["weight"] = json!(4));
    let fates = after.write(&[of_body(2, &new, &other)]).await;
    assert!(
        matches!(&fates[0], Fate::Conflict(detail) if detail.ends_with("different: /payload/weight")),
        "{fates:?}"
    );
}
