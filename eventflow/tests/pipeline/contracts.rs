//! An event type that is a folder and nothing else, from the webhook to its row.

use crate::post::{authorized, client, post};
use crate::world::{DEADLINE, SECRET, World, embedded};
use contracts::kafka::headers;
use contracts::kafka::topics;
use runtime::admin::read_all;
use sandbox::harness::wait_for;
use serde_json::{Value, json};

/// A contract like none of the built-in ones: other fields, an enumeration, an optional text, no payment.
pub(crate) fn write_contract(
    directory: &std::path::Path,
    label: &str,
    record: &str,
    schema_id: u32,
) {
    let (name, version) = label.rsplit_once('.').unwrap();
    let folder = directory.join(name).join(version);
    std::fs::create_dir_all(&folder).unwrap();
    let text = json!({"type": "string", "x-eventflow": "id"});
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "required": ["invoice_id", "amount", "currency", "channel"],
        "properties": {
            "invoice_id": text, "currency": {"type": "string", "x-eventflow": "currency"},
            "amount": {"type": ["number", "string"], "x-eventflow": "amount"},
            "channel": {"type": "string", "enum": ["card", "transfer"]},
            "remark": {"type": "string", "maxLength": 20},
        },
    });
    let amount = json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4});
    let payload = json!({"type": "record", "name": format!("{record}Payload"), "fields": [
        {"name": "invoice_id", "type": "string"}, {"name": "amount", "type": amount}, {"name": "currency", "type": "string"},
        {"name": "channel", "type": "string"}, {"name": "remark", "type": ["null", "string"], "default": null},
    ]});
    let record = json!({"type": "record", "name": record, "namespace": "test", "fields": [
        {"name": "event_id", "type": "string"}, {"name": "event_type", "type": "string"}, {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "payload", "type": payload}, {"name": "rest", "type": ["null", "string"], "default": null},
    ]});
    for (file, text) in [
        ("schema.json", schema.to_string()),
        ("record.avsc", record.to_string()),
        ("schema-id", format!("{schema_id}\n")),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
    }
}

pub(crate) fn settled(event_id: &str, change: impl Fn(&mut Value)) -> String {
    let mut event = json!({
        "event_id": event_id, "event_type": "invoice.settled.v3", "schema_version": 3,
        "timestamp": "2026-01-02T03:04:05Z",
        "payload": {"invoice_id": "inv-1", "amount": "1234567890.05", "currency": "EUR", "channel": "card"},
    });
    change(&mut event);
    event.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_type_that_is_only_a_folder_goes_from_the_webhook_to_its_row() {
    let folder = tempfile::tempdir().unwrap();
    write_contract(folder.path(), "invoice.settled.v3", "InvoiceSettledV3", 77);
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    world.contracts = Some(folder.path().display().to_string());
    let _registry = world.role("registry", &[]);
    let roles = ["producer", "validator", "persistence"].map(|role| world.role(role, &[]));
    for role in &roles {
        role.until_ready().await;
    }
    let client = client();
    for body in [
        settled("new-1", |_| {}),
        settled("new-2", |event| {
            event["payload"]["remark"] = "thank you".into();
        }),
        authorized("old-1"),
        settled("bad-channel", |event| {
            event["payload"]["channel"] = "cash".into();
        }),
        settled("bad-remark", |event| {
            event["payload"]["remark"] = "x".repeat(21).into();
        }),
        settled("bad-version", |event| event["schema_version"] = 1.into()),
    ] {
        let (status, answer) = post(&client, &world.edge, body, SECRET).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    let (fates, ids) = world.account().await;
    let expected = [
        ("stored", 3),
        ("dead_lettered value_not_allowed", 1),
        ("dead_lettered too_long", 1),
        ("dead_lettered unsupported_schema_version", 1),
    ];
    assert_eq!(
        fates,
        expected
            .map(|(fate, count)| (fate.to_owned(), count))
            .into()
    );
    assert_eq!(ids, ["new-1", "new-2", "old-1"].map(str::to_owned).into());
    // The row is the event, digit for digit: its payload is built from the registry's schema alone.
    let validated = read_all(&broker.kafka(), topics::VALIDATED).unwrap();
    let record = validated
        .iter()
        .find(|record| record.header(headers::EVENT_ID).as_deref() == Some("new-2"))
        .unwrap();
    assert_eq!(
        record.value.as_deref().unwrap()[..5],
        [0, 0, 0, 0, 77],
        "the id that is pinned in the folder"
    );
    let text = world.row("new-2").await;
    assert!(text.contains(r#""amount":1234567890.05"#), "{text}");
    let row: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&row["event_type"], &row["contract"], &row["schema_id"]),
        (
            &json!("invoice.settled.v3"),
            &json!("invoice.settled.v3"),
            &json!(77)
        )
    );
    let payload = json!({"invoice_id": "inv-1", "amount": "1234567890.05", "currency": "EUR", "channel": "card", "remark": "thank you"});
    assert_eq!(row["payload"], payload);
}

/// An event type in its versions up to `newest`; the second has one field more, which is optional.
fn versions(newest: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for version in 1..=newest {
        let folder = directory.path().join(format!("order.placed/v{version}"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut schema = json!({"type": "object", "required": ["order_id"], "properties": {
            "order_id": {"type": "string", "x-eventflow": "entity"},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
        }});
        if version > 1 {
            schema["properties"]["note"] = json!({"type": "string"});
        }
        std::fs::write(folder.join("schema.json"), schema.to_string()).unwrap();
        std::fs::write(folder.join("schema-id"), format!("{}\n", 80 + version)).unwrap();
    }
    directory
}

fn placed(event_id: &str) -> String {
    json!({
        "event_id": event_id, "event_type": "order.placed", "timestamp": "2026-01-02T03:04:05Z",
        "payload": {"order_id": event_id, "note": "n", "lines": [{"sku": "a", "count": 2}]},
    })
    .to_string()
}

/// Rows of both versions are alike, and no record is a dead letter.
async fn all_stored(world: &World, kafka: &runtime::kafka::KafkaArgs, ids: &[&str]) {
    let (fates, stored) = world.account().await;
    assert_eq!(fates, [("stored".to_owned(), ids.len())].into());
    assert_eq!(stored, ids.iter().map(|id| (*id).to_owned()).collect());
    let validated = read_all(kafka, topics::VALIDATED).unwrap();
    let written: std::collections::BTreeSet<u8> = validated
        .iter()
        .map(|record| record.value.as_deref().unwrap()[4])
        .collect();
    assert_eq!(written, [81, 82].into(), "both versions are in the topic");
    for id in ids {
        let row: Value = serde_json::from_str(&world.row(id).await).unwrap();
        let payload = json!({"order_id": id, "note": "n", "lines": [{"sku": "a", "count": 2}]});
        assert_eq!(row["payload"], payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compatible_version_is_rolled_out_to_the_validator_last_without_a_dead_letter() {
    let (old, new) = (versions(1), versions(2));
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    world.contracts = Some(new.path().display().to_string());
    let _registry = world.role("registry", &[]);
    world.contracts = Some(old.path().display().to_string());
    let roles = ["producer", "persistence"].map(|role| world.role(role, &[]));
    let before = world.role("validator", &[]);
    for role in roles.iter().chain([&before]) {
        role.until_ready().await;
    }
    let client = client();
    post(&client, &world.edge, placed("o-1"), SECRET)
        .await
        .unwrap();
    all_settled(&world, 1).await;
    world.contracts = Some(new.path().display().to_string());
    let after = world.role("validator", &[]);
    after.until_ready().await;
    before.kill();
    post(&client, &world.edge, placed("o-2"), SECRET)
        .await
        .unwrap();
    all_stored(&world, &broker.kafka(), &["o-1", "o-2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compatible_version_is_rolled_out_to_the_validator_first_without_a_dead_letter() {
    let (old, new) = (versions(1), versions(2));
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    world.contracts = Some(old.path().display().to_string());
    let registry = world.role("registry", &[]);
    let roles = ["producer", "persistence"].map(|role| world.role(role, &[]));
    let before = world.role("validator", &[]);
    for role in roles.iter().chain([&before]) {
        role.until_ready().await;
    }
    let client = client();
    post(&client, &world.edge, placed("o-1"), SECRET)
        .await
        .unwrap();
    all_settled(&world, 1).await;
    before.kill();
    // The registry does not have the new version yet: its validator waits, and what comes stays in the topic.
    world.contracts = Some(new.path().display().to_string());
    let after = world.role("validator", &[]);
    post(&client, &world.edge, placed("o-2"), SECRET)
        .await
        .unwrap();
    wait_for(DEADLINE, async || match after.ask("/ready").await {
        Some((503, answer)) if answer.contains("registry_unavailable") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    registry.kill();
    let _registry = world.role("registry", &[]);
    after.until_ready().await;
    all_stored(&world, &broker.kafka(), &["o-1", "o-2"]).await;
}

/// So many events have their fate.
async fn all_settled(world: &World, count: usize) {
    let (fates, _) = world.account().await;
    assert_eq!(fates.values().sum::<usize>(), count);
}
