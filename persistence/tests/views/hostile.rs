//! Names and values of anybody's making: no name ends a statement, no row makes a view fail.

use crate::world::{version, world};
use contracts::event::Catalog;
use persistence::views;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

#[tokio::test(flavor = "multi_thread")]
async fn every_name_of_a_contract_or_field_is_a_name_and_nothing_else() {
    let world = world().await;
    let names = [
        "\"; DROP TABLE persistence.events; --",
        "it's",
        "back\\slash'",
        "select",
        "xmin",
        "Mixed Case",
        "",
        "source",
        "payload_source",
        "ü",
        &"long".repeat(30),
        &format!("{}x", "long".repeat(30)),
    ];
    let text = json!({"type": "string"});
    let properties: Value = names
        .iter()
        .map(|name| ((*name).to_owned(), text.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let schema = json!({"type": "object", "properties": properties});
    let hostile = "o'r\"der; DROP SCHEMA persistence CASCADE; --\\";
    let contracts = Catalog::compile([
        version(hostile, 1, &schema),
        version("a.b", 1, &schema),
        version("a_b", 1, &schema),
    ])
    .unwrap();
    let payload: Value = names
        .iter()
        .map(|name| ((*name).to_owned(), json!(format!("of {name}"))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let label = format!("{hostile}.v1");
    world.event(&contracts, "1", &label, &payload).await;
    world.event(&contracts, "2", "a_b.v1", &payload).await;
    let views = views::of(&contracts);
    world.apply(&views).await;
    assert_eq!(world.apply(&views).await.statements().count(), 0);
    for (contract, rows) in [(hostile, 1), ("a.b", 0), ("a_b", 1)] {
        let view = views.iter().find(|view| view.contract == contract).unwrap();
        let query = format!("SELECT * FROM events.{}", views::quoted(&view.name));
        let found = world.query(&query).await.unwrap();
        assert_eq!(found.len(), rows, "{contract}");
        let Some(row) = found.first().and_then(Value::as_object) else {
            continue;
        };
        assert_eq!(row["source"], "acme");
        assert_eq!(row["payload_payload_source"], "of source");
        assert_eq!(row["payload_source"], "of payload_source");
        let mut values: Vec<&str> = row.values().filter_map(Value::as_str).collect();
        values.retain(|value| value.starts_with("of "));
        assert_eq!(values.len(), names.len(), "{row:?}");
    }
    let events = "SELECT count(*)::text FROM persistence.events";
    assert_eq!(world.text(events).await.as_deref(), Some("2"));
}

/// What stands in a payload, and what a column of each type has of it.
fn values() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let long = "9".repeat(2000);
    vec![
        ("day", json!("2024-02-29"), Some("2024-02-29")),
        ("day", json!("2000-02-29"), Some("2000-02-29")),
        ("day", json!("2023-02-29"), None),
        ("day", json!("1900-02-29"), None),
        ("day", json!("2026-04-31"), None),
        ("day", json!("2026-02-30"), None),
        ("day", json!("0000-01-01"), None),
        ("day", json!("0001-01-01"), Some("0001-01-01")),
        ("day", json!("tomorrow"), None),
        ("day", json!(20_260_101), None),
        ("day", json!({"year": 2026}), None),
        (
            "at",
            json!("2026-01-02T03:04:05.000007Z"),
            Some("2026-01-02 03:04:05.000007"),
        ),
        (
            "at",
            json!("2026-01-02t03:04:05+02:00"),
            Some("2026-01-02 01:04:05"),
        ),
        ("at", json!("2026-01-02T24:00:00Z"), None),
        ("at", json!("2026-13-02T03:04:05Z"), None),
        ("at", json!("2026-01-02T03:04:05"), None),
        ("at", json!("infinity"), None),
        ("count", json!(5.0), Some("5")),
        ("count", json!(i64::MAX), Some("9223372036854775807")),
        ("count", json!(i64::MIN), Some("-9223372036854775808")),
        ("count", json!(u64::MAX), None),
        ("count", json!(5.5), None),
        ("count", json!("7; SELECT 1"), None),
        ("count", json!([7]), None),
        (
            "price",
            json!("12345678901234567890.123456789"),
            Some("12345678901234567890.123456789"),
        ),
        ("price", json!(-0.5), Some("-0.5")),
        ("price", json!(1e300), Some("1e300")),
        ("price", json!("1e5"), None),
        ("price", json!("NaN"), None),
        ("price", json!(long), None),
        ("done", json!(true), Some("true")),
        ("done", json!("yes"), None),
        ("done", json!(1), None),
        (
            "key",
            json!("6F9619FF-8B86-D011-B42D-00CF4FC964FF"),
            Some("6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        ),
        ("key", json!("6F9619FF8B86D011B42D00CF4FC964FF"), None),
        ("note", json!(["a"]), Some("[\"a\"]")),
        ("note", json!(null), None),
        ("list", json!(null), None),
        ("list", json!({"a": 1}), Some("{\"a\": 1}")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_another_type_is_null_and_no_row_makes_the_view_fail() {
    let world = world().await;
    let text = |format: &str| json!({"type": "string", "format": format});
    let schema = json!({"type": "object", "properties": {
        "day": text("date"), "at": text("date-time"), "key": text("uuid"), "count": {"type": "integer"},
        "price": {"type": "number"}, "done": {"type": "boolean"}, "note": {"type": "string"}, "list": {"type": "array", "items": {"type": "integer"}},
    }});
    let contracts = Catalog::compile([version("odd.sent", 1, &schema)]).unwrap();
    world.apply(&views::of(&contracts)).await;
    // As rows that were stored before the contract was changed in place.
    let insert = "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         VALUES ('acme', $1, 'sent', 'odd.sent.v1', now(), $2, '', 1, 0, 0)";
    let all: Vec<(String, Value)> = values()
        .into_iter()
        .enumerate()
        .map(|(number, (field, value, _))| (format!("{number:03}"), json!({field: value})))
        .chain([
            ("array".to_owned(), json!([1])),
            ("text".to_owned(), json!("x")),
        ])
        .collect();
    for (id, payload) in &all {
        let statement = sqlx::query(insert).bind(id).bind(payload);
        statement.execute(&world.rows).await.unwrap();
    }
    let whole = world.query("SELECT * FROM events.odd_sent").await.unwrap();
    assert_eq!(whole.len(), all.len());
    for (number, (field, value, expected)) in values().into_iter().enumerate() {
        let column = match field {
            "at" => "(at AT TIME ZONE 'UTC')::text".to_owned(),
            "price" if value == json!(1e300) => "'1e' || length(price::text) - 1".to_owned(),
            other => format!("{other}::text"),
        };
        let found: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT {column} FROM events.odd_sent WHERE event_id = '{number:03}'"
        )))
        .fetch_one(&world.rows)
        .await
        .unwrap();
        assert_eq!(found.as_deref(), expected, "{field} {value}");
    }
}
