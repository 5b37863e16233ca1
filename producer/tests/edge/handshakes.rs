//! Handshakes and success answers through the edge.

use crate::sources::{Vendors, vendors};
use crate::world::request;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use runtime::admin::read_all;
use tower::ServiceExt;

const SLACK: &str = "[[source.handshake]]\nwhen = { \"/type\" = \"url_verification\" }\nanswer = { text = \"/challenge\" }";
const ECHO: &str = "[[source.handshake]]\nmethod = \"GET\"\nwhen = { \"query:challenge\" = true }\nanswer = { text = \"query:challenge\" }";
const ASANA: &str = "[[source.handshake]]\nsigned = false\nwhen = { \"header:x-hook-secret\" = true }\nanswer = { header = { x-hook-secret = \"header:x-hook-secret\" } }";

impl Vendors {
    async fn answer(&self, asked: Request<Body>) -> (u16, HeaderMap, String) {
        let answer = self.world.app.clone().oneshot(asked).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, method: Method, path: &str) -> (u16, HeaderMap, String) {
        let asked = Request::builder().method(method).uri(path);
        self.answer(asked.body(Body::empty()).unwrap()).await
    }

    async fn answer_to(&self, source: &str, body: &str) -> (u16, HeaderMap, String) {
        let signed = self.sign(source, body.as_bytes());
        let path = format!("/api/webhooks/{source}");
        self.answer(request(&path, body.as_bytes(), &signed, &[]))
            .await
    }

    fn published(&self) -> usize {
        read_all(&self.world.broker.kafka(), "events.raw.v1")
            .unwrap()
            .len()
    }
}

fn is_harmless(headers: &HeaderMap) -> bool {
    headers["x-content-type-options"] == "nosniff"
        && headers["content-security-policy"] == "default-src 'none'; sandbox"
        && headers["cache-control"] == "no-store"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_handshake_is_answered_once_it_is_verified_and_is_no_event() {
    let vendors = vendors(&[("slack", SLACK)]).await;
    let body = r#"{"type":"url_verification","challenge":"<script>1"}"#;
    let (status, headers, answer) = vendors.answer_to("slack", body).await;
    assert_eq!((status, answer.as_str()), (200, "<script>1"));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert!(is_harmless(&headers), "{headers:?}");
    assert_eq!(vendors.published(), 0);
    let forged = vendors.sign("slack", b"another");
    let forged = request("/api/webhooks/slack", body.as_bytes(), &forged, &[]);
    assert_eq!(vendors.answer(forged).await.0, 401);
    assert_eq!(
        vendors.answer_to("slack", r#"{"type":"event"}"#).await.0,
        200
    );
    assert_eq!(vendors.published(), 1, "an event");
    let metrics = runtime::telemetry::metrics_handle().render();
    assert!(
        metrics.contains(r#"eventflow_producer_requests_total{source="slack",code="handshake"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_is_a_handshake_or_405_with_the_methods_that_there_are() {
    let vendors = vendors(&[("echo", ECHO), ("plain", "")]).await;
    for path in ["/api/webhooks/echo", "/api/webhooks/echo/"] {
        let path = format!("{path}?challenge=a%2Bb");
        let (status, headers, answer) = vendors.get(Method::GET, &path).await;
        assert_eq!((status, answer.as_str()), (200, "a+b"));
        assert!(is_harmless(&headers), "{headers:?}");
        let (status, _, answer) = vendors.get(Method::HEAD, &path).await;
        assert_eq!((status, answer.as_str()), (200, ""));
    }
    for (method, path, status, code, allow) in [
        (
            Method::GET,
            "/api/webhooks/echo",
            400,
            "no_handshake",
            Some("GET, HEAD, POST"),
        ),
        (
            Method::PUT,
            "/api/webhooks/echo?challenge=1",
            405,
            "method_not_allowed",
            Some("GET, HEAD, POST"),
        ),
        (
            Method::GET,
            "/api/webhooks/plain",
            405,
            "method_not_allowed",
            Some("POST"),
        ),
        (
            Method::GET,
            "/api/webhooks/plain/",
            405,
            "method_not_allowed",
            Some("POST"),
        ),
        (
            Method::DELETE,
            "/api/webhooks/plain",
            405,
            "method_not_allowed",
            Some("POST"),
        ),
        (
            Method::GET,
            "/api/webhooks/nobody",
            404,
            "unknown_source",
            Some("POST"),
        ),
        (
            Method::GET,
            "/api/webhooks/plain/batch",
            405,
            "method_not_allowed",
            Some("POST"),
        ),
    ] {
        let (answered, headers, body) = vendors.get(method.clone(), path).await;
        let shown = format!("{method} {path}: {body}");
        assert_eq!(answered, status, "{shown}");
        assert!(body.contains(code), "{shown}");
        let methods = headers.get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(methods, allow, "{shown}");
    }
    let (status, ..) = vendors.get(Method::HEAD, "/api/webhooks/plain").await;
    assert_eq!(status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_ask_for_handshakes_are_bounded_and_take_nothing_from_events() {
    let vendors = vendors(&[("echo", ECHO), ("asana", ASANA)]).await;
    let mut answered = 0;
    let refused = loop {
        let (status, headers, _) = vendors
            .get(Method::GET, "/api/webhooks/echo?challenge=1")
            .await;
        if status != 200 {
            break (status, headers.contains_key("retry-after"));
        }
        answered += 1;
        assert!(answered < 1000);
    };
    assert_eq!(refused, (429, true));
    assert_eq!(vendors.answer_to("echo", "{}").await.0, 200, "an event");
    // Another source's are its own; and a header is given back as a header.
    let asked = request("/api/webhooks/asana", b"", &[], &[("x-hook-secret", "s-1")]);
    let (status, headers, body) = vendors.answer(asked).await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(headers["x-hook-secret"], "s-1");
    assert!(!headers.contains_key("content-type"));
    assert_eq!(vendors.published(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_hears_what_it_wants_to_hear() {
    let vendors = vendors(&[
        ("adyen", "answer = { status = 202, body = \"[accepted]\" }"),
        (
            "twilio",
            "answer = { body = \"<Response/>\", content_type = \"text/xml\" }",
        ),
        ("quiet", "answer = { status = 204 }"),
    ])
    .await;
    for (source, status, body, kind) in [
        (
            "adyen",
            202,
            "[accepted]",
            Some("text/plain; charset=utf-8"),
        ),
        ("twilio", 200, "<Response/>", Some("text/xml")),
        ("quiet", 204, "", None),
    ] {
        let (answered, headers, text) = vendors.answer_to(source, "{}").await;
        let content_type = headers.get("content-type");
        let content_type = content_type.map(|value| value.to_str().unwrap());
        assert_eq!(
            (answered, text.as_str(), content_type),
            (status, body, kind),
            "{source}"
        );
        assert_eq!(
            headers.contains_key("x-content-type-options"),
            kind.is_some()
        );
    }
    assert_eq!(vendors.published(), 3);
}
