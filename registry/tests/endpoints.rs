//! Every endpoint and every error, as Confluent's clients see them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

mod common;

use common::{SUBJECT, ask, avsc, builtin, posted};
use serde_json::{Value, json};

#[tokio::test]
async fn reading_answers_what_is_pinned() {
    let authorized = avsc("payment.authorized.v1");
    let refunded = "events.validated.v1-eventflow.payment.PaymentRefunded";
    let whole = json!({"subject": SUBJECT, "version": 1, "id": 3, "schema": authorized, "schemaType": "AVRO"});
    let bare: Value = serde_json::from_str(&authorized).unwrap();
    for (path, expected) in [
        ("/".to_owned(), json!({})),
        (
            "/subjects".to_owned(),
            json!(["events.validated.v1-eventflow.Any", SUBJECT, refunded]),
        ),
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
        ("/schemas/ids/3".to_owned(), json!({"schema": authorized})),
        (
            "/schemas/ids/3?deleted=true".to_owned(),
            json!({"schema": authorized}),
        ),
        ("/schemas/ids/3/schema".to_owned(), bare),
        (
            "/schemas/ids/3/versions".to_owned(),
            json!([{"subject": SUBJECT, "version": 1}]),
        ),
        ("/schemas/ids/4/subjects".to_owned(), json!([refunded])),
        ("/schemas/types".to_owned(), json!(["AVRO"])),
        ("/contexts".to_owned(), json!(["."])),
        (
            format!("/subjects/{SUBJECT}/versions/1/referencedby"),
            json!([]),
        ),
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
