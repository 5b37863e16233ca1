//! An event type that is a folder and nothing else, from the webhook to its row.

use crate::post::{authorized, client, post};
use crate::world::{SECRET, World, embedded};
use contracts::kafka::headers;
use contracts::kafka::topics;
use runtime::admin::read_all;
use serde_json::{Value, json};

/// A contract like none of the built-in ones: other fields, an enumeration, an optional text, no payment.
pub(crate) fn write_contract(
    directory: &std::path::Path,
    event_type: &str,
    record: &str,
    schema_id: u32,
) {
    let folder = directory.join(event_type);
    std::fs::create_dir(&folder).unwrap();
    let text = json!({"type": "string", "x-eventflow": "id"});
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "required": ["event_id", "event_type", "schema_version", "source", "timestamp", "payload"],
        "properties": {
            "event_id": text, "event_type": {"type": "string", "const": event_type},
            "schema_version": {"type": "integer", "const": 3}, "source": text,
            "timestamp": {"type": "string", "format": "date-time"},
            "payload": {
                "type": "object", "required": ["invoice_id", "amount", "currency", "channel"],
                "properties": {
                    "invoice_id": text, "currency": {"type": "string", "x-eventflow": "currency"},
                    "amount": {"type": ["number", "string"], "x-eventflow": "amount"},
                    "channel": {"type": "string", "enum": ["card", "transfer"]},
                    "remark": {"type": "string", "maxLength": 20},
                },
            },
        },
    });
    let amount = json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4});
    let payload = json!({"type": "record", "name": format!("{record}Payload"), "fields": [
        {"name": "invoice_id", "type": "string"}, {"name": "amount", "type": amount}, {"name": "currency", "type": "string"},
        {"name": "channel", "type": "string"}, {"name": "remark", "type": ["null", "string"], "default": null},
    ]});
    let record = json!({"type": "record", "name": record, "namespace": "test", "fields": [
        {"name": "event_id", "type": "string"}, {"name": "event_type", "type": "string"}, {"name": "schema_version", "type": "int"},
        {"name": "source", "type": "string"}, {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "payload", "type": payload},
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
        "event_id": event_id, "event_type": "invoice.settled.v3", "schema_version": 3, "source": "test",
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
        (
            &row["event_type"],
            &row["schema_version"],
            &row["schema_id"]
        ),
        (&json!("invoice.settled.v3"), &json!("3"), &json!(77))
    );
    let payload = json!({"invoice_id": "inv-1", "amount": "1234567890.05", "currency": "EUR", "channel": "card", "remark": "thank you"});
    assert_eq!(row["payload"], payload);
}
