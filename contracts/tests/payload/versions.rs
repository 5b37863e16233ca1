//! Versions of a contract, side by side.

use crate::world::{body, files};
use contracts::avro::datum::Decoder;
use contracts::event::{Catalog, Envelope, can_read};
use serde_json::json;

fn schema(required: &[&str], properties: &serde_json::Value) -> String {
    json!({"type": "object", "required": required, "properties": properties}).to_string()
}

#[test]
fn a_new_optional_field_is_compatible_and_both_versions_are_read() {
    let one = schema(&["id"], &json!({"id": {"type": "string"}}));
    let two = schema(
        &["id"],
        &json!({"id": {"type": "string"}, "note": {"type": "string"}}),
    );
    let catalog = Catalog::compile([files(2, &two, None), files(1, &one, None)]).unwrap();
    let newest = catalog.contract("shop.order").unwrap();
    let old = catalog.contract("shop.order.v1").unwrap();
    assert_eq!((newest.version, old.version), (2, 1));
    assert_eq!(newest.record_name, old.record_name);
    assert!(catalog.contract("shop.order.v3").is_none() && catalog.contract("shop").is_none());
    // The row is the same, whichever version wrote it: what version 1 does not declare is in the rest.
    let payload = r#"{"note":"n","id":"i"}"#;
    for contract in [old, newest] {
        let mut datum = Vec::new();
        let body = body(payload);
        let envelope = Envelope::own(body.as_bytes()).unwrap();
        contract.validate(envelope).unwrap().encode(&mut datum);
        let decoder = Decoder::new(&contract.record_avsc).unwrap();
        let event = decoder.decode(&datum).unwrap();
        assert_eq!(event.payload_json, r#"{"id":"i","note":"n"}"#);
    }
    let parse = |text: &str| apache_avro::Schema::parse_str(text).unwrap();
    can_read(&parse(&old.record_avsc), &parse(&newest.record_avsc)).unwrap();
}

#[test]
fn a_version_that_cannot_read_the_one_before_stops_the_boot_and_says_what_breaks() {
    let one = schema(
        &["id"],
        &json!({"id": {"type": "string"}, "state": {"enum": ["a", "b"]}, "size": {"type": "integer"}}),
    );
    for (required, properties, says) in [
        (
            &["id", "note"][..],
            json!({"id": {"type": "string"}, "note": {"type": "string"}}),
            "note",
        ),
        (&["id"], json!({"id": {"type": "integer"}}), "id"),
        // Most of what version 1 wrote can be read, but not all of it.
        (
            &["id"],
            json!({"id": {"type": "string"}, "state": {"enum": ["a", "c"]}}),
            "/payload/state",
        ),
        (
            &["id", "size"],
            json!({"id": {"type": "string"}, "size": {"type": "integer"}}),
            "/payload/size",
        ),
    ] {
        let two = schema(required, &properties);
        let error = Catalog::compile([files(1, &one, None), files(2, &two, None)])
            .unwrap_err()
            .0;
        assert!(
            error.starts_with("contract shop.order.v2: ")
                && error.contains("cannot read what shop.order.v1 wrote")
                && error.contains(says),
            "{error}"
        );
    }
    assert!(Catalog::compile([files(1, &one, None), files(1, &one, None)]).is_err());
}
