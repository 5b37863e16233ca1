//! The record that consumers get: derived by stated rules, or written and then checked.

use crate::world::{compile, contract, fault, files, payload_read};
use contracts::RejectionCode as C;
use contracts::event::Catalog;
use serde_json::{Value, json};

#[test]
fn a_record_is_derived_by_rules() {
    let schema = json!({"type": "object", "required": ["id", "total", "lines"], "properties": {
        "id": {"type": "string", "x-eventflow": "id"},
        "at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"},
        "ref": {"type": "string", "format": "uuid"},
        "state": {"enum": ["new", "paid"]},
        "plan": {"enum": ["a b", "c"]},
        "one": {"const": "x"},
        "count": {"type": "integer"},
        "wide": {"type": "integer", "maximum": 1_000_000_000_000_000_000_000_u128 as f64},
        "ratio": {"type": "number"},
        "total": {"type": "number", "x-eventflow": "amount"},
        "code": {"type": ["string", "null"], "x-eventflow": "currency"},
        "ok": {"type": "boolean"},
        "lines": {"type": "array", "items": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": ["string", "null"]}}}},
        "tags": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        "free": {},
        "some-name": {"type": "string"},
    }});
    let text = schema.to_string().replace("1e21", "1000000000000000000000");
    let catalog = compile(&text).unwrap();
    let record: Value = serde_json::from_str(&contract(&catalog).record_avsc).unwrap();
    let optional =
        |name: &str, kind: Value| json!({"name": name, "type": ["null", kind], "default": null});
    let decimal = |precision: u32, scale: u32| json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
    let mut code = optional("code", json!("string"));
    code["x-eventflow"] = json!("currency");
    assert_eq!(record["name"], "ShopOrder");
    assert_eq!(record["namespace"], "eventflow.shop");
    // serde_json sorts: in schema.json the order of the file counts.
    let expected = json!([
        optional("at", json!({"type": "long", "logicalType": "timestamp-micros"})),
        code,
        optional("count", json!("long")),
        optional("day", json!({"type": "int", "logicalType": "date"})),
        {"name": "id", "type": "string", "x-eventflow": "id"},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "ShopOrderPayloadLinesItem", "fields": [optional("sku", json!("string"))]}}},
        optional("ok", json!("boolean")),
        optional("one", json!("string")),
        optional("plan", json!("string")),
        optional("ratio", json!("double")),
        optional("ref", json!({"type": "string", "logicalType": "uuid"})),
        optional("state", json!({"type": "enum", "name": "ShopOrderPayloadState", "symbols": ["new", "paid"]})),
        optional("tags", json!({"type": "map", "values": ["null", "string"]})),
        {"name": "total", "type": decimal(28, 4), "x-eventflow": "amount"},
        optional("wide", decimal(38, 0)),
    ]);
    assert_eq!(record["fields"][3]["type"]["fields"], expected);
    assert_eq!(
        record["fields"][4],
        json!({"name": "rest", "type": ["null", "string"], "default": null})
    );
    let payload = r#"{"id":"i","wide":100000000000000000000,"total":1.5,"code":"EUR","lines":[{"sku":null}],"state":"paid","day":"2026-01-02","tags":{"b":null,"a":"x"},"ref":"5b1f0c9e-0d1c-7f3a-9c59-1d2f6a7b8c90"}"#;
    let read: Value = serde_json::from_str(&payload_read(&catalog, payload)).unwrap();
    assert_eq!(
        (
            &read["state"],
            &read["day"],
            &read["tags"],
            &read["total"],
            &read["wide"],
            &read["lines"]
        ),
        (
            &json!("paid"),
            &json!("2026-01-02"),
            &json!({"a": "x", "b": null}),
            &json!("1.5"),
            &json!("100000000000000000000"),
            &json!([{"sku": null}])
        )
    );
}

fn schema() -> String {
    json!({"type": "object", "required": ["n"], "properties": {
        "n": {"type": "integer"}, "t": {"type": "string", "enum": ["a", "b"]}, "d": {"type": "number"},
        "amount": {"type": "number", "x-eventflow": "amount"}, "list": {"type": "array", "items": {"type": "string"}},
        "open": {}, "inner": {"type": "object", "properties": {"i": {"type": "string"}}},
    }})
    .to_string()
}

fn record(fields: &Value) -> Value {
    json!({"type": "record", "name": "Order", "fields": [
        {"name": "event_id", "type": "string"}, {"name": "event_type", "type": "string"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "payload", "type": {"type": "record", "name": "P", "fields": fields}},
        {"name": "rest", "type": ["null", "string"], "default": null},
    ]})
}

fn with(record: &Value) -> Result<Catalog, String> {
    Catalog::compile([files(1, &schema(), Some(record))]).map_err(|error| error.0)
}

#[test]
fn a_written_record_may_choose_types_and_order_and_leave_fields_to_the_rest() {
    let fixed = json!({"type": "fixed", "name": "Money", "size": 9, "logicalType": "decimal", "precision": 20, "scale": 2});
    let catalog = with(&record(&json!([
        {"name": "amount", "type": [fixed, "null"]},
        {"name": "d", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}]},
        {"name": "n", "type": "int"},
        {"name": "t", "type": ["null", {"type": "enum", "name": "T", "symbols": ["b", "a"]}]},
    ])))
    .unwrap();
    let payload = r#"{"n":7,"t":"a","d":1.5,"amount":-0,"list":["x"],"inner":{"i":"y","z":1.0}}"#
        .replace("-0", "49.90");
    assert_eq!(
        payload_read(&catalog, &payload),
        r#"{"amount":"49.9","d":"1.5","n":7,"t":"a","inner":{"i":"y","z":1.0},"list":["x"]}"#
    );
    // What is left to the rest is checked all the same.
    assert_eq!(
        fault(&catalog, r#"{"n":1,"inner":{"i":2}}"#),
        Some((C::WrongType, "/payload/inner/i".to_owned()))
    );
    assert_eq!(
        fault(&catalog, r#"{"n":2147483648}"#),
        Some((C::IntegerOutOfRange, "/payload/n".to_owned()))
    );
    assert_eq!(
        fault(&catalog, r#"{"n":1,"d":1.0005}"#),
        Some((C::NumberOutOfRange, "/payload/d".to_owned()))
    );
}

#[test]
fn a_record_that_cannot_hold_what_the_schema_lets_pass_stops_the_boot() {
    let n = json!({"name": "n", "type": "long"});
    let one = |name: &str, kind: Value| record(&json!([n, {"name": name, "type": kind}]));
    let optional = |kind: Value| json!(["null", kind]);
    let mut other_order = record(&json!([n]));
    other_order["fields"].as_array_mut().unwrap().swap(0, 1);
    let mut no_rest = record(&json!([n]));
    no_rest["fields"].as_array_mut().unwrap().pop();
    for (record, says) in [
        (
            record(&json!([{"name": "n", "type": "string"}])),
            "/n: is an integer",
        ),
        (one("t", json!("string")), "/t: is always written"),
        (
            one("t", json!(["null", "string", "int"])),
            "union of null and one type",
        ),
        (
            one(
                "t",
                optional(json!({"type": "enum", "name": "T", "symbols": ["a"]})),
            ),
            "each must be a symbol",
        ),
        (
            one("amount", optional(json!("double"))),
            "an amount, which must be a decimal",
        ),
        (one("d", optional(json!("float"))), "is a number"),
        (
            one("list", optional(json!({"type": "array", "items": "int"}))),
            "/list/*: is a string",
        ),
        (
            one("inner", optional(json!("string"))),
            "/inner: is an object",
        ),
        (
            one("open", optional(json!("string"))),
            "travels in the field rest",
        ),
        (
            one("other", optional(json!("string"))),
            "/other: is not in schema.json",
        ),
        (other_order, "in this order"),
        (no_rest, "in this order"),
        (json!("string"), "is not a record"),
    ] {
        let error = with(&record).map(drop).expect_err(says);
        assert!(
            error.starts_with("contract shop.order.v1: ") && error.contains(says),
            "{says}: {error}"
        );
    }
    assert!(with(&record(&json!([n]))).is_ok());
}
