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
    changed(|schema| schema["fields"][3]["type"]["fields"][2]["type"]["scale"] = json!(2))
}

#[tokio::test]
async fn a_schema_is_known_by_its_meaning_not_its_spelling() {
    let spaced = avsc("payment.authorized.v1").replace('\n', "   ");
    let reordered = changed(|schema| {
        let fields = schema["fields"].take();
        let meaning = schema["x-eventflow"].take();
        *schema = json!({"x-eventflow": meaning, "fields": fields, "name": "eventflow.payment.PaymentAuthorized", "type": "record"});
    });
    for known in [avsc("payment.authorized.v1"), spaced, reordered] {
        let (status, _, answer) = ask(
            builtin(),
            "POST",
            &format!("/subjects/{SUBJECT}/versions"),
            Some(&posted(&known)),
        )
        .await;
        assert_eq!((status, answer), (200, json!({"id": 3})), "{known}");
        let (status, _, answer) = ask(
            builtin(),
            "POST",
            &format!("/subjects/{SUBJECT}?deleted=false"),
            Some(&posted(&known)),
        )
        .await;
        assert_eq!(
            (status, &answer["id"], &answer["version"]),
            (200, &json!(3), &json!(1)),
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
            changed(|schema| drop(schema["fields"].as_array_mut().unwrap().remove(1))),
            true,
        ),
        (
            "a text made nullable",
            changed(|schema| schema["fields"][1]["type"] = json!(["null", "string"])),
            true,
        ),
        (
            "long narrowed to int",
            changed(|schema| schema["fields"][2]["type"] = json!("int")),
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

/// The next version of the built-in contract, with this record and id.
fn further(record_avsc: String, schema_id: Option<i32>) -> ContractFiles {
    let authorized = Catalog::builtin_files()
        .into_iter()
        .find(|files| files.name == "payment.authorized")
        .unwrap();
    ContractFiles {
        version: 2,
        record_avsc: Some(record_avsc),
        schema_id,
        ..authorized
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
    let widened = changed(|schema| {
        let fields = schema["fields"][3]["type"]["fields"].as_array_mut();
        let order = fields.unwrap().remove(1);
        assert_eq!(order["name"], "order_id");
        let optional = json!({"name": "order_id", "type": ["null", "string"]});
        let fields = schema["fields"][3]["type"]["fields"].as_array_mut();
        fields.unwrap().insert(1, optional);
    });
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
    assert_eq!(old, json!({"id": 3}), "the first version keeps its id");
}

#[test]
fn contracts_that_cannot_be_served_stop_the_boot_with_a_sentence() {
    let same = || avsc("payment.authorized.v1");
    let sentence = |avsc: String, id| with_further(avsc, id).unwrap_err();
    let unpinned = sentence(same(), None);
    assert!(
        unpinned.contains("payment.authorized.v2") && unpinned.contains("schema-id"),
        "{unpinned}"
    );
    assert!(sentence(same(), Some(0)).contains("1 or more"));
    assert!(
        sentence(same(), Some(3)).contains("payment.authorized.v1"),
        "an id that is taken names its owner"
    );
    let incompatible = sentence(at_another_scale(), Some(7));
    assert!(
        incompatible.contains("cannot read what payment.authorized.v1 wrote"),
        "{incompatible}"
    );
    let renamed = same().replace("PaymentAuthorized", "PaymentAuthorizedV2");
    assert!(sentence(renamed, Some(7)).contains("one record name"));
    let elsewhere = ContractFiles {
        name: "payment.else".to_owned(),
        version: 1,
        ..further(same(), Some(7))
    };
    let contracts =
        Catalog::compile(Catalog::builtin_files().into_iter().chain([elsewhere])).unwrap();
    let taken = subjects(&contracts, "t").unwrap_err().to_string();
    assert!(
        taken.contains("payment.authorized") && taken.contains("payment.else"),
        "{taken}"
    );
}

#[tokio::test]
async fn a_schema_is_compared_with_one_version_or_with_all() {
    let next = with_field(json!({"name": "note", "type": ["null", "string"], "default": null}));
    let two = || with_further(avsc("payment.authorized.v1"), Some(7)).unwrap();
    for (version, schema, compatible, problems) in [
        ("/1", &next, true, 0),
        ("/latest", &next, true, 0),
        ("", &next, true, 0),
        ("", &at_another_scale(), false, 2),
        ("/2", &at_another_scale(), false, 1),
    ] {
        let path = format!(
            "/compatibility/subjects/{SUBJECT}/versions{version}?normalize=False&verbose=True"
        );
        let (status, _, answer) = ask(two(), "POST", &path, Some(&posted(schema))).await;
        assert_eq!(
            (status, &answer["is_compatible"]),
            (200, &json!(compatible)),
            "{path}"
        );
        assert_eq!(
            answer["messages"].as_array().unwrap().len(),
            problems,
            "{answer}"
        );
    }
    let (_, _, all) = ask(two(), "GET", "/schemas?subjectPrefix=events", None).await;
    let (_, _, latest) = ask(two(), "GET", "/schemas?latestOnly=true", None).await;
    let versions = |list: &Value| -> Vec<Value> {
        let list = list.as_array().unwrap().iter();
        list.filter(|one| one["subject"] == SUBJECT)
            .map(|one| json!([one["version"], one["id"]]))
            .collect()
    };
    assert_eq!(versions(&all), [json!([1, 3]), json!([2, 7])]);
    assert_eq!(versions(&latest), [json!([2, 7])]);
}
