//! What is accepted and what is refused, and how.

use crate::world::{EVENT, PATH, SECRET, now, request, sign, world};
use axum::body::Body;
use axum::http::Request;
use contracts::Secret;
use contracts::kafka::headers;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, SignedRequest, Verifier};
use runtime::admin::read_all;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_webhook_is_in_the_topic_byte_for_byte_with_what_verifies_it_again() {
    let world = world(&[], 1000).await;
    for path in [PATH.to_owned(), format!("{PATH}/")] {
        let (status, body, _) = world.post(&path, EVENT).await;
        assert_eq!(
            (status, &body["status"], &body["event_id"], &body["source"]),
            (
                200,
                &"accepted".into(),
                &"e-1".into(),
                &"payment-authorized".into()
            )
        );
    }
    let (status, body, _) = world.post(PATH, "not json at all").await;
    assert_eq!(
        (status, &body["event_id"]),
        (200, &Value::Null),
        "authentic: the validator decides"
    );
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    assert_eq!(records.len(), 3);
    let record = records
        .iter()
        .find(|record| record.value.as_deref() == Some(EVENT.as_bytes()))
        .unwrap();
    assert_eq!(record.key.as_deref(), Some(&b"p-1"[..]), "the entity's key");
    for (name, value) in [
        (headers::SOURCE, "payment-authorized"),
        (headers::EVENT_ID, "e-1"),
        (headers::SCHEME, "eventflow"),
        (headers::SECRET_ID, "default"),
        (headers::CONTENT_TYPE, "application/json"),
    ] {
        assert_eq!(record.header(name).as_deref(), Some(value), "{name}");
    }
    assert!(
        runtime::traceparent::trace_id(&record.header(headers::TRACEPARENT).unwrap()).is_some()
    );
    let again: http::HeaderMap = record
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-provider"))
        .map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().unwrap(),
                http::HeaderValue::from_bytes(value.as_deref().unwrap()).unwrap(),
            )
        })
        .collect();
    let verifier = Verifier::new(
        Scheme::preset("eventflow").unwrap(),
        vec![Key {
            id: "k".to_owned(),
            secret: Secret::new(SECRET),
            not_after: None,
        }],
        None,
    )
    .unwrap();
    assert!(
        verifier
            .verify(
                &SignedRequest::post(&again, record.value.as_deref().unwrap()),
                now()
            )
            .is_ok()
    );
    assert_eq!(record.header(headers::UNSIGNED), None, "all is signed");
    let everything = format!("{records:?}");
    assert!(!everything.contains(SECRET));
    let no_key = records
        .iter()
        .find(|record| record.value.as_deref() == Some(b"not json at all"))
        .unwrap();
    assert_eq!(no_key.key, None, "no id: no constant key");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_status_and_code() {
    let world = world(
        &["--batch-max-events", "3", "--failures-per-second", "5"],
        1000,
    )
    .await;
    let good = sign(EVENT.as_bytes(), SECRET, now());
    let event = EVENT.as_bytes();
    let big = vec![b'x'; 300 << 10];
    let big_event = format!(r#"[{{"a":"{}"}}]"#, "x".repeat(300 << 10)).into_bytes();
    let mut twice = good.clone();
    twice.push(good[1].clone());
    let cases: Vec<(Request<Body>, u16, &str)> = vec![
        (
            request("/api/webhooks/nobody", event, &good, &[]),
            404,
            "unknown_source",
        ),
        (request("/nothing", event, &good, &[]), 404, "not_found"),
        (
            Request::get(PATH).body(Body::empty()).unwrap(),
            405,
            "method_not_allowed",
        ),
        (
            request(PATH, event, &good[..1], &[]),
            400,
            "missing_signature_header",
        ),
        (
            request(PATH, event, &twice, &[]),
            400,
            "duplicate_signature_header",
        ),
        (
            request(
                PATH,
                event,
                &[good[0].clone(), (good[1].0.clone(), "abc".to_owned())],
                &[],
            ),
            400,
            "malformed_signature_header",
        ),
        (
            request(PATH, event, &sign(event, "wrong", now()), &[]),
            401,
            "signature_mismatch",
        ),
        (
            request(PATH, event, &sign(event, SECRET, now() - 400), &[]),
            401,
            "timestamp_too_old",
        ),
        (
            request(PATH, event, &sign(event, SECRET, now() + 400), &[]),
            429,
            "too_many_failures",
        ),
        (
            request(PATH, b"", &sign(b"", SECRET, now()), &[]),
            400,
            "empty_body",
        ),
        (
            request(PATH, &big, &sign(&big, SECRET, now()), &[]),
            413,
            "body_too_large",
        ),
        (
            request(PATH, event, &good, &[("content-encoding", "gzip")]),
            415,
            "unsupported_encoding",
        ),
        (
            request(
                PATH,
                event,
                &good,
                &[("content-length", "5"), ("transfer-encoding", "chunked")],
            ),
            400,
            "ambiguous_length",
        ),
        (
            request(
                &format!("{PATH}/batch"),
                b"[1,",
                &sign(b"[1,", SECRET, now()),
                &[],
            ),
            400,
            "malformed_batch",
        ),
        (
            request(
                &format!("{PATH}/batch"),
                &big_event,
                &sign(&big_event, SECRET, now()),
                &[],
            ),
            413,
            "event_too_large",
        ),
        (
            request(
                &format!("{PATH}/batch"),
                b"[{},{},{},{}]",
                &sign(b"[{},{},{},{}]", SECRET, now()),
                &[],
            ),
            400,
            "too_many_events",
        ),
        (request("/api/ingest", b"{}", &[], &[]), 401, "bad_api_key"),
        (
            request("/api/ingest", b"{}", &[], &[("x-api-key", "the-kez")]),
            401,
            "bad_api_key",
        ),
        (
            request("/api/ingest", b"[1]", &[], &[("x-api-key", "the-key")]),
            400,
            "malformed_payload",
        ),
    ];
    for (asked, status, code) in cases {
        let shown = format!("{} {:?}", asked.uri(), asked.headers());
        let (answered, body, retry_after) = world.ask(asked).await;
        assert_eq!(
            (answered, body["code"].as_str()),
            (status, Some(code)),
            "{shown} {body}"
        );
        assert_eq!(body["status"], status);
        assert_eq!(
            retry_after.is_some(),
            status == 429 || status == 503,
            "{shown}"
        );
        assert!(!body.to_string().contains(SECRET));
    }
    assert_eq!(
        read_all(&world.broker.kafka(), "events.raw.v1")
            .unwrap()
            .len(),
        0,
        "nothing refused reaches the topic"
    );
    world.shutdown.cancel();
    let (status, body, _) = world.post(PATH, EVENT).await;
    assert_eq!((status, body["code"].as_str()), (503, Some("draining")));
}
