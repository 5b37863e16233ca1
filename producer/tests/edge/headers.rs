//! Which headers of a request travel with its raw record.

use crate::world::{EVENT, PATH, SECRET, now, request, sign, world};
use contracts::kafka::headers;
use runtime::admin::{OwnedRecord, read_all};
use std::io::Write;

/// The values of a header, in order.
fn values(record: &OwnedRecord, name: &str) -> Vec<Vec<u8>> {
    let all = record.headers.iter().filter(|(own, _)| own == name);
    all.map(|(_, value)| value.clone().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_record_has_the_vendors_headers_and_none_that_could_hurt_or_deceive() {
    let world = world(&[], 1000).await;
    let signed = sign(EVENT.as_bytes(), SECRET, now());
    let mut asked = request(
        PATH,
        EVENT.as_bytes(),
        &signed,
        &[
            ("X-GitHub-Event", "push"),
            ("X-Shopify-Topic", "orders/paid"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("x-empty", ""),
            ("authorization", "Bearer stolen"),
            ("cookie", "stolen"),
            ("x-forwarded-for", "10.1.2.3"),
            ("ef.source", "another"),
            ("ef.event_id", "another"),
            ("ef.unsigned", ""),
            ("ef.signed_body", "1:0:00"),
            ("ef.revalidates", "any.v1"),
            ("__dlq.errors.topic", "another"),
        ],
    );
    let latin = http::HeaderValue::from_bytes(b"Caf\xe9").unwrap();
    asked.headers_mut().insert("x-latin", latin);
    let (status, answer, _) = world.ask(asked).await;
    assert_eq!(status, 200, "{answer}");
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    let record = &records[0];
    for (name, expected) in [
        ("x-github-event", &[&b"push"[..]][..]),
        ("x-shopify-topic", &[b"orders/paid"]),
        ("x-many", &[b"1", b"2"]),
        ("x-empty", &[b""]),
        ("x-latin", &[b"Caf\xe9"]),
        ("content-type", &[b"application/json"]),
        (headers::SOURCE, &[b"payment-authorized"]),
        (headers::EVENT_ID, &[b"e-1"]),
        (headers::UNSIGNED, &[]),
        (headers::SIGNED_BODY, &[]),
        (headers::REVALIDATES, &[]),
        (headers::LEFT_OUT, &[]),
        ("authorization", &[]),
        ("cookie", &[]),
        ("x-forwarded-for", &[]),
        ("__dlq.errors.topic", &[]),
    ] {
        assert_eq!(values(record, name), expected, "{name}");
    }
    assert_eq!(values(record, headers::TRACEPARENT).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_left_out_and_counted_and_never_what_the_source_reads() {
    let mut sources = tempfile::NamedTempFile::new().unwrap();
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let from = secret.path().display();
    writeln!(
        sources,
        "[[source]]\nname = \"acme\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"k\", from = \"file:{from}\" }}]\n\
         event.id = \"header:x-delivery\"\ndrop_headers = [\"x-noise-*\"]"
    )
    .unwrap();
    let world = world(&["--sources", sources.path().to_str().unwrap()], 1000).await;
    let signed = sign(EVENT.as_bytes(), SECRET, now());
    let long = "x".repeat(7000);
    let more = [
        ("x-long-1", long.as_str()),
        ("x-long-2", &long),
        ("x-noise-1", "1"),
        ("x-delivery", "d-1"),
    ];
    let asked = request("/api/webhooks/acme", EVENT.as_bytes(), &signed, &more);
    let (status, answer, _) = world.ask(asked).await;
    assert_eq!((status, &answer["event_id"]), (200, &"d-1".into()));
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    let record = &records[0];
    let long = ["x-long-1", "x-long-2"].map(|name| values(record, name).len());
    assert_eq!(long.iter().sum::<usize>(), 1, "one of the two fits");
    assert_eq!(values(record, headers::LEFT_OUT), [b"1"]);
    assert_eq!(values(record, "x-delivery"), [b"d-1"]);
    assert_eq!(values(record, "x-provider-signature").len(), 1);
    assert!(values(record, "x-noise-1").is_empty());
    let metrics = runtime::telemetry::metrics_handle().render();
    let counted = r#"eventflow_producer_headers_left_out_total{source="acme"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}
