//! The edge on the embedded broker: every answer, and no 200 before the acknowledgement.

#![allow(clippy::unwrap_used, reason = "a test")]

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use clap::{Args, FromArgMatches};
use contracts::Secret;
use contracts::kafka::headers;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use http_body_util::BodyExt;
use producer::{Config, Edge, app};
use runtime::admin::read_all;
use runtime::health::Health;
use runtime::http::Limits;
use runtime::publisher::{Publisher, PublisherSettings};
use runtime::role::Role;
use sandbox::broker::{EmbeddedBroker, Fault, Request as BrokerRequest};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const PATH: &str = "/api/webhooks/payment-authorized";
const SECRET: &str = "top-secret-of-the-test";
const EVENT: &str =
    r#"{"event_id":"e-1","event_type":"payment.authorized.v1", "payload":{"payment_id":"p-1"}}"#;

fn now() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap()
}

fn config(flags: &[&str]) -> Config {
    let command = Config::augment_args(clap::Command::new("producer"));
    let all = [
        &[
            "producer",
            "--webhook-signing-secret",
            SECRET,
            "--ingest-api-key",
            "the-key",
        ],
        flags,
    ]
    .concat();
    Config::from_arg_matches(&command.get_matches_from(all)).unwrap()
}

fn sign(body: &[u8], secret: &str, at: i64) -> Vec<(String, String)> {
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(secret),
        not_after: None,
    };
    Verifier::new(Scheme::preset("eventflow").unwrap(), vec![key], None)
        .unwrap()
        .sign(None, at, body, 0)
}

struct World {
    broker: EmbeddedBroker,
    app: Router,
    publisher: Publisher,
    shutdown: CancellationToken,
}

async fn world(flags: &[&str], queue_records: usize) -> World {
    let broker = EmbeddedBroker::start(&[("events.raw.v1", 2)]).unwrap();
    let (health, shutdown) = (Health::new(), CancellationToken::new());
    let config = config(flags);
    let settings = PublisherSettings {
        record_timeout: Duration::from_millis(config.publish_deadline_ms),
        queue_records,
        ..PublisherSettings::stage("test")
    };
    let publisher = Publisher::new(&broker.kafka(), &settings, &health).unwrap();
    publisher
        .warm_up(&["events.raw.v1"], Duration::from_secs(20))
        .await;
    assert!(publisher.is_warm());
    let edge = Arc::new(Edge::new(&config, publisher.clone(), shutdown.clone()).unwrap());
    World {
        app: app(edge, health),
        broker,
        publisher,
        shutdown,
    }
}

fn request(
    path: &str,
    body: &[u8],
    signed: &[(String, String)],
    more: &[(&str, &str)],
) -> Request<Body> {
    let mut request = Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", "application/json");
    for (name, value) in signed {
        request = request.header(name, value);
    }
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_vec())).unwrap()
}

impl World {
    async fn ask(&self, request: Request<Body>) -> (u16, Value, Option<String>) {
        let response =
            tokio::time::timeout(Duration::from_secs(30), self.app.clone().oneshot(request))
                .await
                .unwrap()
                .unwrap();
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            serde_json::from_slice(&body).unwrap_or(Value::Null),
            retry_after,
        )
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value, Option<String>) {
        self.ask(request(
            path,
            body.as_bytes(),
            &sign(body.as_bytes(), SECRET, now()),
            &[],
        ))
        .await
    }
}

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
            .verify(&again, record.value.as_deref().unwrap(), now())
            .is_ok()
    );
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
                &big,
                &sign(&big, SECRET, now()),
                &[],
            ),
            413,
            "event_too_large",
        ),
        (
            request(
                &format!("{PATH}/batch"),
                b"1\n2\n3\n4",
                &sign(b"1\n2\n3\n4", SECRET, now()),
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

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_signature_and_all_or_503() {
    let world = world(&[], 1000).await;
    for body in [
        format!("{EVENT}\n\n{}\n", EVENT.replace("e-1", "e-2")),
        format!("[{EVENT}, {}]", EVENT.replace("e-1", "e-2")),
    ] {
        let (status, answer, _) = world.post(&format!("{PATH}/batch"), &body).await;
        assert_eq!((status, &answer["accepted"]), (200, &2.into()), "{answer}");
    }
    let records = read_all(&world.broker.kafka(), "events.raw.v1").unwrap();
    assert_eq!(records.len(), 4);
    assert_eq!(
        records
            .iter()
            .filter(|record| record.value.as_deref() == Some(EVENT.as_bytes()))
            .count(),
        2
    );
    assert!(records.iter().all(|record| {
        record
            .header(headers::BATCH)
            .unwrap()
            .starts_with("sha256:")
    }));
    world
        .broker
        .fail(BrokerRequest::Produce, vec![Fault::RecordTooLarge; 20]);
    let (status, _, _) = world
        .post(&format!("{PATH}/batch"), &format!("{EVENT}\n{EVENT}"))
        .await;
    assert_eq!(status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_broker_is_503_within_the_deadline_and_never_200() {
    let world = world(&["--publish-deadline-ms", "300"], 1000).await;
    world.broker.set_round_trip(Duration::from_secs(5));
    let (status, body, retry_after) = world.post(PATH, EVENT).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (503, Some("publish_not_acknowledged")),
        "{body}"
    );
    assert!(retry_after.is_some());
    world.broker.set_round_trip(Duration::ZERO);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while world.post(PATH, EVENT).await.0 != 200 {
        assert!(
            std::time::Instant::now() < deadline,
            "accepts again once the broker answers"
        );
    }
}

/// Events handed to the Kafka client and not answered 200, in all tests of this process.
fn unconfirmed() -> u64 {
    let text = runtime::telemetry::metrics_handle().render();
    let counter = format!(
        "{}{{source=\"payment-authorized\"}} ",
        producer::metrics::UNCONFIRMED
    );
    text.lines()
        .find_map(|line| line.strip_prefix(&counter))
        .map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_503_at_once_and_a_gone_client_harms_nothing_and_is_counted() {
    let before = unconfirmed();
    let world = world(&["--publish-deadline-ms", "20000"], 3).await;
    world.broker.set_round_trip(Duration::from_secs(2));
    // Three clients whose requests are under way give up: their records stay in flight and are freed by the delivery report.
    for _ in 0..3 {
        let post = tokio::time::timeout(Duration::from_millis(100), world.post(PATH, EVENT));
        assert!(post.await.is_err(), "no answer before the acknowledgement");
    }
    assert!(
        unconfirmed() >= before + 3,
        "in the topic or not: nobody was told"
    );
    let (status, body, _) = world.post(PATH, EVENT).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (503, Some("publish_queue_full")),
        "{body}"
    );
    world.broker.set_round_trip(Duration::ZERO);
    assert_eq!(world.publisher.drain(Duration::from_secs(60)).await, 0);
    assert_eq!(world.post(PATH, EVENT).await.0, 200);
    assert_eq!(
        read_all(&world.broker.kafka(), "events.raw.v1")
            .unwrap()
            .len(),
        4
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_ambiguous_lengths_and_slow_headers_and_drains() {
    let world = world(&[], 1000).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        connections: 100,
        drain: Duration::from_secs(10),
    };
    let shutdown = world.shutdown.clone();
    let serving = runtime::http::serve(listener, world.app.clone(), limits, None, shutdown);
    let server = tokio::spawn(serving);
    let talk = async |bytes: Vec<u8>| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let signed: String = sign(EVENT.as_bytes(), SECRET, now())
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let smuggled = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\n{signed}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let answer = talk(smuggled.into_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 400")
            && answer.contains("ambiguous_length")
            && answer.contains("connection: close"),
        "{answer}"
    );
    assert!(
        !talk(b"POST /api/webh".to_vec()).await.contains(" 200 "),
        "half a head is cut off"
    );
    for garbage in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST  HTTP/1.1\r\n\r\n",
    ] {
        let answer = talk(garbage.to_vec()).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    world.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), server)
        .await
        .unwrap()
        .unwrap();
}

#[test]
fn bad_configuration_names_the_setting_and_no_secret() {
    let problem = |flags: &[&str]| config(flags).check().unwrap_err().to_string();
    assert!(problem(&["--max-in-flight", "0"]).starts_with("--max-in-flight"));
    assert!(problem(&["--batch-max-events", "9999999"]).starts_with("--batch-max-events"));
    assert!(problem(&["--sources", "/nowhere/at/all"]).starts_with("--sources"));
    assert!(problem(&["--kafka-config", "no-such-setting=1"]).contains("no-such-setting"));
    assert!(problem(&["--kafka-security", "sasl-tls"]).starts_with("--kafka-username"));
    let mut help = Vec::new();
    let mut command = Config::augment_args(clap::Command::new("producer"));
    command.write_long_help(&mut help).unwrap();
    let shown = format!("{:?} {}", config(&[]), String::from_utf8(help).unwrap());
    assert!(!shown.contains(SECRET) && shown.contains("[redacted]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_failed_for_good_is_made_anew_once_the_right_is_granted() {
    let broker = EmbeddedBroker::start(&[("events.raw.v1", 1)]).unwrap();
    broker.fail(
        BrokerRequest::InitProducerId,
        vec![Fault::ClusterAuthorizationFailed; 100],
    );
    let config = config(&[&format!("--kafka-brokers={}", broker.kafka().kafka_brokers)]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (health, shutdown) = (Health::new(), CancellationToken::new());
    let address = listener.local_addr().unwrap();
    let (serving, checks, stop) = (config.clone(), health.clone(), shutdown.clone());
    let role = tokio::spawn(async move { producer::serve(&serving, listener, checks, stop).await });
    let denied = || {
        health
            .reasons()
            .iter()
            .any(|(_, reason)| reason.contains("ClusterAuthorizationFailed"))
    };
    until("the missing right shows in /ready", || {
        std::future::ready(denied())
    })
    .await;
    until("no 200 without it", async || {
        post(address).await == Some(503)
    })
    .await;
    broker.stop_failing();
    until("accepted again", async || post(address).await == Some(200)).await;
    until("ready again", || std::future::ready(health.is_ready())).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(30), role)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(read_all(&broker.kafka(), "events.raw.v1").unwrap().len(), 1);
}

async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !done().await {
        assert!(
            std::time::Instant::now() < deadline,
            "{what}: not within a minute"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The status of one signed webhook.
async fn post(address: std::net::SocketAddr) -> Option<u16> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    let mut head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
        EVENT.len()
    );
    for (name, value) in sign(EVENT.as_bytes(), SECRET, now()) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream
        .write_all(format!("{head}\r\n{EVENT}").as_bytes())
        .await
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.get(9..12)?.parse().ok()
}
