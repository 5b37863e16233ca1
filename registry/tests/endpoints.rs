//! Every endpoint and every error, as Confluent's clients see them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

use axum::body::Body;
use axum::http::Request;
use contracts::contract::{ContractFiles, Contracts};
use http_body_util::BodyExt;
use registry::{Subject, app, subjects};
use serde_json::{Value, json};
use tower::ServiceExt;

const SUBJECT: &str = "events.validated.v1-eventflow.payment.PaymentAuthorizedV1";

fn builtin() -> Vec<Subject> {
    subjects(&Contracts::builtin(), contracts::topics::VALIDATED).unwrap()
}

fn avsc(event_type: &str) -> String {
    Contracts::builtin()
        .get(event_type)
        .unwrap()
        .record_avsc
        .clone()
}

async fn ask(
    subjects: Vec<Subject>,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> (u16, String, Value) {
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_owned()));
    // No content type: Confluent's registry takes curl's default too.
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body)
        .unwrap();
    let response = app(subjects).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        content_type,
        serde_json::from_slice(&bytes).unwrap(),
    )
}

fn posted(schema: &str) -> String {
    json!({"schema": schema}).to_string()
}

#[tokio::test]
async fn reading_answers_what_is_pinned() {
    let authorized = avsc("payment.authorized.v1");
    let refunded = "events.validated.v1-eventflow.payment.PaymentRefundedV1";
    let whole = json!({"subject": SUBJECT, "version": 1, "id": 1, "schema": authorized});
    let bare: Value = serde_json::from_str(&authorized).unwrap();
    for (path, expected) in [
        ("/".to_owned(), json!({})),
        ("/subjects".to_owned(), json!([SUBJECT, refunded])),
        (
            "/subjects?subjectPrefix=events.validated.v1-eventflow.payment.PaymentR".to_owned(),
            json!([refunded]),
        ),
        (format!("/subjects/{SUBJECT}/versions"), json!([1])),
        (format!("/subjects/{SUBJECT}/versions/1"), whole.clone()),
        (
            format!("/subjects/{SUBJECT}/versions/latest"),
            whole.clone(),
        ),
        (format!("/subjects/{SUBJECT}/versions/-1"), whole),
        (
            format!("/subjects/{SUBJECT}/versions/latest/schema"),
            bare.clone(),
        ),
        ("/schemas/ids/1".to_owned(), json!({"schema": authorized})),
        (
            "/schemas/ids/1?deleted=true".to_owned(),
            json!({"schema": authorized}),
        ),
        ("/schemas/ids/1/schema".to_owned(), bare),
        (
            "/schemas/ids/1/versions".to_owned(),
            json!([{"subject": SUBJECT, "version": 1}]),
        ),
        ("/schemas/ids/2/subjects".to_owned(), json!([refunded])),
        ("/schemas/types".to_owned(), json!(["AVRO"])),
        (
            "/config".to_owned(),
            json!({"compatibilityLevel": "BACKWARD"}),
        ),
        (
            format!("/config/{SUBJECT}"),
            json!({"compatibilityLevel": "BACKWARD"}),
        ),
        ("/mode".to_owned(), json!({"mode": "READONLY"})),
        (format!("/mode/{SUBJECT}"), json!({"mode": "READONLY"})),
    ] {
        let (status, content_type, body) = ask(builtin(), "GET", &path, None).await;
        assert_eq!((status, &body), (200, &expected), "{path}");
        assert_eq!(
            content_type, "application/vnd.schemaregistry.v1+json",
            "{path}"
        );
    }
}

#[tokio::test]
async fn errors_have_confluents_form() {
    let same = posted(&avsc("payment.authorized.v1"));
    let protobuf = json!({"schemaType": "PROTOBUF", "schema": "message A {}"}).to_string();
    let references = json!({"schema": "\"string\"", "references": [{"name": "a", "subject": "a", "version": 1}]}).to_string();
    let huge = "x".repeat(300 * 1024);
    let subject = |rest: &str| format!("/subjects/{SUBJECT}{rest}");
    for (method, path, body, status, code) in [
        (
            "GET",
            "/subjects/none/versions".to_owned(),
            None,
            404,
            40401,
        ),
        (
            "GET",
            "/subjects/none/versions/1".to_owned(),
            None,
            404,
            40401,
        ),
        ("GET", "/config/none".to_owned(), None, 404, 40401),
        ("GET", "/mode/none".to_owned(), None, 404, 40401),
        ("GET", subject("/versions/2"), None, 404, 40402),
        ("GET", subject("/versions/2147483647"), None, 404, 40402),
        ("GET", subject("/versions/0"), None, 422, 42202),
        ("GET", subject("/versions/-2"), None, 422, 42202),
        ("GET", subject("/versions/2147483648"), None, 422, 42202),
        ("GET", subject("/versions/newest"), None, 422, 42202),
        (
            "GET",
            "/subjects/none/versions/newest".to_owned(),
            None,
            422,
            42202,
        ),
        ("GET", "/schemas/ids/99".to_owned(), None, 404, 40403),
        ("GET", "/schemas/ids/99/schema".to_owned(), None, 404, 40403),
        (
            "GET",
            "/schemas/ids/99/versions".to_owned(),
            None,
            404,
            40403,
        ),
        (
            "GET",
            "/schemas/ids/99/subjects".to_owned(),
            None,
            404,
            40403,
        ),
        ("GET", "/schemas/ids/one".to_owned(), None, 404, 404),
        ("GET", "/nothing".to_owned(), None, 404, 404),
        (
            "POST",
            "/subjects/none".to_owned(),
            Some(same.as_str()),
            404,
            40401,
        ),
        (
            "POST",
            subject(""),
            Some(r#"{"schema":"\"string\""}"#),
            404,
            40403,
        ),
        ("POST", subject(""), Some(r#"{"schema":"{"}"#), 422, 42201),
        (
            "POST",
            subject("/versions"),
            Some(r#"{"schema":""}"#),
            422,
            42201,
        ),
        ("POST", subject("/versions"), Some("{}"), 422, 42201),
        ("POST", subject("/versions"), Some("schema"), 400, 400),
        ("POST", subject("/versions"), Some(""), 400, 400),
        (
            "POST",
            subject("/versions"),
            Some(protobuf.as_str()),
            422,
            42201,
        ),
        (
            "POST",
            subject("/versions"),
            Some(references.as_str()),
            422,
            42201,
        ),
        ("POST", subject("/versions"), Some(huge.as_str()), 413, 413),
        (
            "POST",
            "/subjects/none/versions".to_owned(),
            Some(same.as_str()),
            422,
            42205,
        ),
        (
            "POST",
            format!("/compatibility{}", subject("/versions/2")),
            Some(same.as_str()),
            404,
            40402,
        ),
        (
            "POST",
            format!("/compatibility{}", subject("/versions/x")),
            Some(same.as_str()),
            422,
            42202,
        ),
        (
            "POST",
            format!("/compatibility{}", subject("/versions/1")),
            Some(r#"{"schema":"{"}"#),
            422,
            42201,
        ),
        (
            "POST",
            "/compatibility/subjects/none/versions/1".to_owned(),
            Some(same.as_str()),
            404,
            40401,
        ),
        ("DELETE", subject(""), None, 405, 405),
        (
            "PUT",
            "/config".to_owned(),
            Some(r#"{"compatibility":"NONE"}"#),
            405,
            405,
        ),
    ] {
        let (answered, content_type, answer) = ask(builtin(), method, &path, body).await;
        assert_eq!(
            (answered, &answer["error_code"]),
            (status, &json!(code)),
            "{method} {path} {answer}"
        );
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{method} {path}"
        );
        assert_eq!(
            content_type, "application/vnd.schemaregistry.v1+json",
            "{method} {path}"
        );
    }
}

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
    let authorized = Contracts::builtin_files()
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
    let files = Contracts::builtin_files()
        .into_iter()
        .chain([further(record_avsc, schema_id)]);
    let contracts = Contracts::compile(files).map_err(|error| error.to_string())?;
    subjects(&contracts, contracts::topics::VALIDATED).map_err(|error| error.to_string())
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
