//! A schema from samples: it takes every sample, says where they disagree, and guesses no rule.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::RejectionCode;
use contracts::event::{Contract, ContractFiles, infer, notes_to_do};
use serde_json::{Value, json};

/// The schema of samples; the contract of it takes all of them.
fn inferred(samples: &[&str]) -> (Value, Contract) {
    let schema_json = infer("order.placed", samples).unwrap();
    let contract = Contract::alone(ContractFiles {
        name: "order.placed".to_owned(),
        version: 1,
        schema_json: schema_json.clone(),
        record_avsc: None,
        schema_id: Some(1),
    })
    .unwrap();
    for sample in samples {
        contract.check_payload(sample.as_bytes()).unwrap();
    }
    (serde_json::from_str(&schema_json).unwrap(), contract)
}

/// The schema of the values of one field, each in a payload of its own.
fn of_values(values: &[&str]) -> Value {
    let samples: Vec<String> = values
        .iter()
        .map(|value| format!(r#"{{"a":{value}}}"#))
        .collect();
    let samples: Vec<&str> = samples.iter().map(String::as_str).collect();
    inferred(&samples).0["properties"]["a"].clone()
}

#[test]
fn what_may_be_missing_or_null_is_seen() {
    let (schema, contract) = inferred(&[
        r#"{"id":"a","note":null,"code":1,"left":true}"#,
        r#"{"id":"b","note":"x","code":null}"#,
    ]);
    assert_eq!(schema["required"], json!(["id", "note", "code"]));
    assert_eq!(
        schema["properties"]["note"],
        json!({"type": ["string", "null"]})
    );
    assert_eq!(
        schema["properties"]["code"],
        json!({"type": ["integer", "null"]})
    );
    assert_eq!(schema["properties"]["left"], json!({"type": "boolean"}));
    assert_eq!(
        schema.get("$comment"),
        None,
        "two samples say what is required"
    );
    let refused = contract
        .check_payload(br#"{"note":"x","code":1}"#)
        .unwrap_err();
    assert_eq!(
        (refused.code, refused.pointer.as_deref()),
        (RejectionCode::MissingField, Some("/id"))
    );
    let (one, _) = inferred(&[r#"{"id":"a"}"#]);
    assert!(
        one["$comment"]
            .as_str()
            .unwrap()
            .starts_with("TODO: from one sample"),
        "{one}"
    );
}

#[test]
fn types_are_what_all_samples_have_and_a_disagreement_is_left_to_a_person() {
    assert_eq!(of_values(&["1", "2"]), json!({"type": "integer"}));
    assert_eq!(of_values(&["1", "2.5"]), json!({"type": "number"}));
    assert_eq!(
        of_values(&["[1]", "[2,null]", "[]"]),
        json!({"type": "array", "items": {"type": ["integer", "null"]}})
    );
    assert_eq!(
        of_values(&[r#"[{"n":1,"m":1}]"#, r#"[{"n":2.5}]"#]),
        json!({"type": "array", "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "number"}, "m": {"type": "integer"}}}})
    );
    let mixed = of_values(&["1", r#""one""#, r#""two""#]);
    assert_eq!(mixed["type"], json!(["string", "integer"]));
    assert_eq!(
        mixed["$comment"].as_str().unwrap().split(';').next(),
        Some("TODO: samples disagree: string in 2, integer in 1")
    );
    let items = of_values(&[r#"[1,"x"]"#]);
    assert_eq!(
        items["items"].get("type"),
        None,
        "only jsonschema could judge it: {items}"
    );
    for (values, note) in [
        (&["null", "null"][..], "TODO: null in every sample"),
        (&["[]"], "TODO: empty in every sample"),
        (
            &["99999999999999999999", "1"],
            "TODO: an integer of more than 64 bits",
        ),
    ] {
        let schema = of_values(values);
        assert!(
            schema["$comment"].as_str().unwrap().starts_with(note),
            "{schema}"
        );
    }
}

#[test]
fn a_format_is_one_that_every_sample_has() {
    for (values, format) in [
        (&[r#""2026-01-02""#, r#""2026-02-28""#][..], Some("date")),
        (&[r#""2026-01-02T03:04:05Z""#], Some("date-time")),
        (&[r#""2026-01-02T03:04:05""#], None),
        (&[r#""f81d4fae-7dec-11d0-a765-00a0c91e6bf6""#], Some("uuid")),
        (
            &[r#""ada@example.com""#, r#""b@example.com""#],
            Some("email"),
        ),
        (&[r#""https://example.com/a?b=c""#], Some("uri")),
        (&[r#""urn:note""#], None),
        (&[r#""2026-01-02""#, r#""2026-01-02T03:04:05Z""#], None),
        (&[r#""ada@example.com""#, r#""ada""#], None),
        (&[r#""2026-02-30""#], None),
        (&[r#""""#], None),
    ] {
        let found = of_values(values);
        assert_eq!(
            found.get("format").and_then(Value::as_str),
            format,
            "{values:?}: {found}"
        );
    }
}

#[test]
fn few_values_are_a_question_and_no_enum() {
    let schema = of_values(&[r#""paid""#, r#""open""#, r#""paid""#, r#""paid""#]);
    assert_eq!(schema.get("enum"), None);
    let note = schema["$comment"].as_str().unwrap();
    assert!(note.contains(r#""enum": ["paid", "open"]"#), "{note}");
    assert_eq!(
        of_values(&[r#""a""#, r#""b""#, r#""c""#, r#""d""#]).get("$comment"),
        None
    );
}

#[test]
fn names_that_look_like_ids_make_a_map() {
    let schema = of_values(&[
        r#"{"price_1N3T00LkdIwHu7ix":{"count":1},"price_1N3T99LkdIwHu7iy":{"count":2,"note":"x"}}"#,
        r#"{"price_1N3T55LkdIwHu7iz":{"count":3}}"#,
    ]);
    let values = json!({"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}, "note": {"type": "string"}}});
    assert_eq!(schema["additionalProperties"], values);
    assert_eq!(schema.get("properties"), None);
    for plain in [
        r#"{"address_line1":"a","address_line2":"b"}"#,
        r#"{"sha256":"a","md5":"b"}"#,
    ] {
        let schema = of_values(&[plain]);
        assert!(schema.get("properties").is_some(), "{schema}");
    }
}

#[test]
fn money_is_suggested_and_not_decided() {
    let (schema, _) = inferred(&[
        r#"{"amount":4990,"currency":"eur","fees":[{"fee":1.5}],"count":4990,"totalPrice":"49.90"}"#,
        r#"{"amount":100,"currency":"usd","fees":[],"count":1,"totalPrice":"1.00"}"#,
    ]);
    let note = |pointer: &str| {
        let place = schema.pointer(pointer).unwrap();
        assert_eq!(place.get("x-eventflow"), None, "{place}");
        place
            .get("$comment")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    assert!(note("/properties/amount").contains(r#""amount-minor""#));
    assert!(note("/properties/currency").contains(r#"{"role": "currency", "case": "lower"}"#));
    assert!(note("/properties/fees/items/properties/fee").contains(r#""x-eventflow": "amount""#));
    assert!(note("/properties/totalPrice").contains(r#""x-eventflow": "amount""#));
    assert_eq!(note("/properties/count"), "");
    // Without a currency a total may be of anything.
    assert_eq!(of_values(&["1", "2"]).get("$comment"), None);
    let text = schema.to_string();
    assert_eq!(notes_to_do(&text).len(), 4, "{text}");
}

#[test]
fn a_payload_that_is_no_object_is_taken_too_and_one_that_is_no_json_is_named() {
    let (schema, _) = inferred(&[r#"[1,2]"#]);
    assert_eq!(schema["type"], "array");
    assert_eq!(
        infer("t", &["{}", r#"{"a":1,"a":2}"#]).unwrap_err(),
        "sample 2: \"a\" is there twice"
    );
}
