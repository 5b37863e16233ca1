//! Which schemas are known, which would be compatible, and which contracts can be served.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

mod common;

use common::{SUBJECT, ask, avsc, builtin, posted};
use contracts::event::{Catalog, ContractFiles};
use registry::{Subject, subjects};
use serde_json::{Value, json};

/// The contract's schema, changed as JSON.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut schema: Value = serde_json::from_str(&avsc("payment.authorized.v1")).unwrap();
    change(&mut schema);
    schema.to_string()
}

fn with_field(field: Value) -> String {
    changed(|schema| schema["fields"].as_array_mut().unwrap().push(field))
}

/// Parsing Canonical Form cannot tell it from the contract's; whoever mixed them up would read amounts 100 times too large.
fn at_another_scale() -> String {
    changed(|schema| schema["fields"][5]["type"]["fields"][2]["type"]["scale"] = json!(2))
}

#[tokio::test]
async fn a_schema_is_known_by_its_meaning_not_its_spelling() {
    let spaced = avsc("payment.authorized.v1").replace('\n', "   ");
    let reordered = changed(|schema| {
        let fields = schema["fields"].take();
        *schema = json!({"fields": fields, "name": "eventflow.payment.PaymentAuthorizedV1", "type": "record"});
    });
    for known in [avsc("payment.authorized.v1"), spaced, reordered] {
        let (status, _, answer) = ask(
            builtin(),
            "POST",
            &format!("/subjects/{SUBJECT}/versions"),
            Some(&posted(&known)),
        )
        .await;
        assert_eq!((status, answer), (200, json!({"id": 1})), "{known}");
        let (status, _, answer) = ask(
            builtin(),
            "POST",
            &format!("/subjects/{SUBJECT}?deleted=false"),
            Some(&posted(&known)),
        )
        .await;
        assert_eq!(
            (status, &answer["id"], &answer["version"]),
            (200, &json!(1), &json!(1)),
            "{known}"
        );
    }
}

#[tokio::test]
async fn only_backward_compatible_schemas_pass_and_none_is_added() {
    let cases = [
        (
            "a field with a default",
            with_field(json!({"name": "note", "type": ["null", "string"], "default": null})),
            true,
        ),
        (
            "a field without one",
            with_field(json!({"name": "note", "type": "string"})),
            false,
        ),
        (
            "a field dropped",
            changed(|schema| drop(schema["fields"].as_array_mut().unwrap().remove(3))),
            true,
        ),
        (
            "int widened to long",
            changed(|schema| schema["fields"][2]["type"] = json!("long")),
            true,
        ),
        (
            "long narrowed to int",
            changed(|schema| schema["fields"][4]["type"] = json!("int")),
            false,
        ),
        (
            "another record",
            r#"{"type":"record","name":"X","fields":[]}"#.to_owned(),
            false,
        ),
        ("money at another scale", at_another_scale(), false),
    ];
    for (what, schema, passes) in cases {
        let path = format!("/compatibility/subjects/{SUBJECT}/versions/latest");
        let (status, _, answer) = ask(builtin(), "POST", &path, Some(&posted(&schema))).await;
        assert_eq!(
            (status, answer),
            (200, json!({"is_compatible": passes})),
            "{what}"
        );
        let (_, _, answer) = ask(
            builtin(),
            "POST",
            &format!("{path}?verbose=true"),
            Some(&posted(&schema)),
        )
        .await;
        assert_eq!(
            answer["messages"].as_array().unwrap().is_empty(),
            passes,
            "{what}: {answer}"
        );
        let (status, _, answer) = ask(
            builtin(),
            "POST",
            &format!("/subjects/{SUBJECT}/versions"),
            Some(&posted(&schema)),
        )
        .await;
        let code = if passes { 42205 } else { 409 };
        assert_eq!(
            (status, &answer["error_code"]),
            (if passes { 422 } else { 409 }, &json!(code)),
            "{what}"
        );
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("contracts are data"),
            "{what}: {answer}"
        );
    }
}

/// The built-in contract under another event type, with this record and id.
fn further(record_avsc: String, schema_id: Option<i32>) -> ContractFiles {
    let authorized = Catalog::builtin_files()
        .into_iter()
        .find(|files| files.event_type == "payment.authorized.v1")
        .unwrap();
    let schema_json = authorized
        .schema_json
        .replace("payment.authorized.v1", "payment.authorized.v2");
    ContractFiles {
        event_type: "payment.authorized.v2".to_owned(),
        schema_json,
        record_avsc,
        schema_id,
    }
}

fn with_further(record_avsc: String, schema_id: Option<i32>) -> Result<Vec<Subject>, String> {
    let files = Catalog::builtin_files()
        .into_iter()
        .chain([further(record_avsc, schema_id)]);
    let contracts = Catalog::compile(files).map_err(|error| error.to_string())?;
    subjects(&contracts, contracts::kafka::topics::VALIDATED).map_err(|error| error.to_string())
}

#[tokio::test]
async fn contracts_of_one_record_name_are_versions_of_one_subject() {
    let widened = changed(|schema| schema["fields"][2]["type"] = json!("long"));
    let two = || with_further(widened.clone(), Some(7)).unwrap();
    let (_, _, versions) = ask(two(), "GET", &format!("/subjects/{SUBJECT}/versions"), None).await;
    assert_eq!(versions, json!([1, 2]));
    let (_, _, latest) = ask(
        two(),
        "GET",
        &format!("/subjects/{SUBJECT}/versions/latest"),
        None,
    )
    .await;
    assert_eq!((&latest["version"], &latest["id"]), (&json!(2), &json!(7)));
    let (_, _, of_id) = ask(two(), "GET", "/schemas/ids/7/versions", None).await;
    assert_eq!(of_id, json!([{"subject": SUBJECT, "version": 2}]));
    let (_, _, old) = ask(
        two(),
        "POST",
        &format!("/subjects/{SUBJECT}/versions"),
        Some(&posted(&avsc("payment.authorized.v1"))),
    )
    .await;
    assert_eq!(old, json!({"id": 1}), "the first version keeps its id");
}

#[test]
fn contracts_that_cannot_be_served_stop_the_boot_with_a_sentence() {
    let other =
        || avsc("payment.authorized.v1").replace("PaymentAuthorizedV1", "PaymentAuthorizedV2");
    let sentence = |avsc: String, id| with_further(avsc, id).unwrap_err();
    let unpinned = sentence(other(), None);
    assert!(
        unpinned.contains("payment.authorized.v2") && unpinned.contains("schema-id"),
        "{unpinned}"
    );
    assert!(sentence(other(), Some(0)).contains("1 or more"));
    assert!(
        sentence(other(), Some(1)).contains("payment.authorized.v1"),
        "an id that is taken names its owner"
    );
    let incompatible = sentence(at_another_scale(), Some(7));
    assert!(
        incompatible.contains("backward compatible"),
        "{incompatible}"
    );
}
