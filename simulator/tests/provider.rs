//! `POST /authorize` and the deliveries it makes, over real HTTP.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use clap::Parser;
use common::{Receiver, SECRET, problem};
use contracts::event::{Catalog, Envelope};
use runtime::health::Health;
use runtime::role::Role;
use serde_json::{Value, json};
use simulator::Config;
use simulator::delivery::Deliverer;
use simulator::event::{Event, Fault};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

fn config(url: &str, more: &[&str]) -> Config {
    let given = [
        "simulator",
        "--webhook-url",
        url,
        "--webhook-signing-secret",
        SECRET,
        "--duplicate-rate=0",
        "--corruption-rate=0",
    ];
    let quick = [
        "--backoff-base-seconds=0.01",
        "--backoff-jitter-seconds=0.01",
        "--seed=1",
    ];
    Cli::try_parse_from(given.iter().chain(&quick).chain(more))
        .unwrap()
        .config
}

async fn serve(
    config: Config,
    listener: tokio::net::TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    runtime::role::serve(&config, listener, Health::starting(), stop).await
}

/// Asks a provider to announce a payment.
async fn authorize(config: Config, request: &Value) -> (StatusCode, Value) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/authorize", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let provider = tokio::spawn(serve(config, listener, stop.clone()));
    let response = runtime::http_client::new()
        .post(url)
        .body(request.to_string())
        .send()
        .await
        .unwrap();
    let answer = (response.status(), response.json().await.unwrap());
    stop.cancel();
    provider.await.unwrap().unwrap();
    answer
}

fn payment() -> Value {
    json!({"payment_id": "pay_1", "order_id": "ord_1", "amount": "12345678901.23", "currency": "EUR"})
}

fn with(key: &str, value: impl Into<Value>) -> Value {
    let mut request = payment();
    request[key] = value.into();
    request
}

fn deliverer(url: &str) -> Deliverer {
    Deliverer::new(&config(url, &[]).delivery).unwrap()
}

fn event() -> Event {
    Event {
        id: "e1".to_owned(),
        body: b"{}".to_vec(),
    }
}

#[tokio::test]
async fn an_authorized_payment_is_announced_once_signed_and_digit_for_digit() {
    let receiver = Receiver::verifying().await;
    let (status, answer) = authorize(config(&receiver.url, &[]), &payment()).await;
    assert_eq!(
        (status, answer["status"].as_str()),
        (StatusCode::OK, Some("accepted")),
        "{answer}"
    );
    assert_eq!(
        (
            &answer["primary_delivery"]["attempts"],
            &answer["primary_delivery"]["status_code"]
        ),
        (&json!(1), &json!(200))
    );
    assert_eq!(
        (&answer["corrupted"], &answer["duplicate_sent"]),
        (&json!(false), &json!(false))
    );
    let bodies = receiver.bodies();
    assert_eq!(bodies.len(), 1);
    assert!(String::from_utf8_lossy(&bodies[0]).contains(r#""amount":12345678901.23,"#));
    let contracts = Catalog::builtin();
    let event = contracts.validate(Envelope::own(&bodies[0]).unwrap());
    let event = event.unwrap();
    assert_eq!(Some(&*event.envelope().id), answer["event_id"].as_str());
}

#[tokio::test]
async fn a_forced_duplicate_is_the_same_bytes_again() {
    let receiver = Receiver::verifying().await;
    let (status, answer) =
        authorize(config(&receiver.url, &[]), &with("force_duplicate", true)).await;
    assert_eq!(
        (status, &answer["duplicate_sent"]),
        (StatusCode::OK, &json!(true))
    );
    assert_eq!(answer["duplicate_delivery"]["status_code"], 200);
    let bodies = receiver.bodies();
    assert_eq!((bodies.len(), &bodies[0]), (2, &bodies[1]));
}

#[tokio::test]
async fn a_forced_corruption_is_one_of_the_four_and_breaks_its_rule() {
    let receiver = Receiver::verifying().await;
    let (status, answer) =
        authorize(config(&receiver.url, &[]), &with("force_corruption", true)).await;
    assert_eq!(
        (status, &answer["corrupted"]),
        (StatusCode::OK, &json!(true))
    );
    let fault = Fault::CORRUPTIONS
        .into_iter()
        .find(|fault| answer["corruption_mode"] == fault.name())
        .unwrap();
    let contracts = Catalog::builtin();
    let bodies = receiver.bodies();
    let rejection = Envelope::own(&bodies[0])
        .and_then(|envelope| contracts.validate(envelope))
        .err()
        .unwrap();
    assert_eq!(
        fault.expected().to_string(),
        format!("dead_lettered {}", rejection.code.code())
    );
}

#[tokio::test]
async fn what_is_no_payment_is_422_and_announced_to_nobody() {
    let receiver = Receiver::verifying().await;
    let lacking = json!({"payment_id": "p"});
    for request in [
        with("amount", 0),
        with("amount", "ten"),
        with("currency", "eur"),
        with("payment_id", ""),
        with("tip", 1),
        lacking,
    ] {
        let (status, answer) = authorize(config(&receiver.url, &[]), &request).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{request}");
        assert!(answer["detail"].is_string());
    }
    assert_eq!(receiver.bodies().len(), 0);
}

#[tokio::test]
async fn a_delivery_that_fails_is_502_with_attempts_and_last_status() {
    let receiver =
        Receiver::start(|_, _, _| problem(StatusCode::SERVICE_UNAVAILABLE, "draining")).await;
    let (status, answer) =
        authorize(config(&receiver.url, &["--max-attempts=3"]), &payment()).await;
    let detail = &answer["detail"];
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(
        (&detail["status"], &detail["attempts"]),
        (&json!("delivery_failed"), &json!(3))
    );
    assert_eq!(
        (&detail["last_status_code"], &detail["webhook_url"]),
        (&json!(503), &json!(receiver.url))
    );
    assert_eq!(receiver.bodies().len(), 3);

    let nobody = sandbox::harness::free_address();
    let (status, answer) = authorize(
        config(&format!("http://{nobody}/x"), &["--max-attempts=2"]),
        &payment(),
    )
    .await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(
        (
            &answer["detail"]["attempts"],
            &answer["detail"]["last_status_code"]
        ),
        (&json!(2), &Value::Null)
    );
}

#[tokio::test]
async fn a_retry_waits_as_long_as_the_receiver_asks_and_sends_the_same_bytes() {
    let receiver = Receiver::start(|before, _, _| match before {
        0 => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "1")],
        )
            .into_response(),
        1 => StatusCode::TOO_MANY_REQUESTS.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let delivered = deliverer(&receiver.url)
        .deliver(&event(), None, &mut fastrand::Rng::with_seed(1))
        .await;
    assert!(delivered.ok);
    assert_eq!(delivered.statuses, [Some(503), Some(429), Some(200)]);
    assert_eq!(delivered.waits.len(), 2);
    assert_eq!(delivered.waits[0], Duration::from_secs(1));
    assert!(
        delivered.waits[1] < Duration::from_secs(1),
        "the second answer asked for nothing"
    );
    assert!(receiver.bodies().iter().all(|body| body == "{}"));
}

#[tokio::test]
async fn a_redirect_is_no_acceptance_and_a_refusal_asked_for_is_not_repeated() {
    let receiver = Receiver::start(|_, headers, _| match headers.get("x-provider-signature") {
        Some(_) => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
        None => StatusCode::OK.into_response(),
    })
    .await;
    let delivered = deliverer(&receiver.url)
        .deliver(&event(), None, &mut fastrand::Rng::with_seed(1))
        .await;
    assert!(!delivered.ok);
    assert_eq!(delivered.statuses, [Some(302); 4]);

    let edge = Receiver::verifying().await;
    let delivered = deliverer(&edge.url)
        .deliver(
            &event(),
            Some(Fault::BadSignature),
            &mut fastrand::Rng::with_seed(1),
        )
        .await;
    assert_eq!(
        (delivered.attempts, delivered.code.as_deref()),
        (1, Some("signature_mismatch"))
    );
}

#[test]
fn a_setting_that_cannot_work_is_named() {
    let url = "http://127.0.0.1:1/x";
    for (flag, setting) in [
        ("--corruption-rate=0.9", "--fault"),
        ("--auto-stream-rps=inf", "--auto-stream-rps"),
        ("--auto-stream-amount=-1", "--auto-stream-amount"),
        ("--webhook-timeout-seconds=nan", "--webhook-timeout-seconds"),
    ] {
        let config =
            Cli::try_parse_from(["simulator", "--webhook-url", url, "--fault=burst=0.2", flag])
                .unwrap()
                .config;
        assert_eq!(config.check().unwrap_err().setting, setting);
    }
    // The original took these for its environment.
    for (text, enabled) in [
        ("1", true),
        ("yes", true),
        ("on", true),
        ("true", true),
        ("0", false),
        ("off", false),
    ] {
        assert_eq!(
            config(url, &[&format!("--auto-stream-enabled={text}")]).auto_stream_enabled,
            enabled,
            "{text}"
        );
    }
}
