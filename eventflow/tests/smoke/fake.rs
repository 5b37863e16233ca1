//! Edges that are wrong in one way each: every check of the edge can fail, and says what to do.

use crate::report::{detail, verdicts};
use crate::{SECRET, smoke};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, SignatureError, SignedRequest, Verifier};
use recovery::http::{ApiArgs, serve};
use sandbox::harness::free_address;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What it gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Nothing,
    /// It looks at no signature
    Credulous,
    /// It looks at no time stamp
    Timeless,
    /// It answers with an id of its own
    OtherId,
    /// It takes half of a batch
    HalfBatch,
    /// Its source sends no batches
    NoBatches,
    /// It says why it is not ready
    NotReady,
    /// The first two answers to each webhook are 503
    Busy,
    /// It never takes anything
    Unacknowledged,
    /// It sends everybody elsewhere
    Redirects,
    /// Nothing but webhooks is let through
    OnlyWebhooks,
}

fn refusal(status: u16, code: &str) -> Response {
    let problem = json!({"code": code, "detail": format!("because of \u{1b}[2J{code}")});
    (StatusCode::from_u16(status).unwrap(), axum::Json(problem)).into_response()
}

fn accepts(flaw: Flaw, asked: &AtomicU32, headers: &HeaderMap, body: &Bytes) -> Response {
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(SECRET),
        not_after: None,
    };
    let verifier = Verifier::new(Scheme::preset("eventflow").unwrap(), vec![key], None).unwrap();
    let verdict = verifier
        .verify(
            &SignedRequest::post(headers, body),
            runtime::clock::now_micros() / 1_000_000,
        )
        .map(drop);
    match (flaw, verdict) {
        (Flaw::Redirects, _) => {
            return (StatusCode::MOVED_PERMANENTLY, [("location", "/elsewhere")]).into_response();
        }
        (Flaw::Unacknowledged, _) => return refusal(503, "publish_not_acknowledged"),
        (Flaw::Busy, _) if asked.fetch_add(1, Ordering::Relaxed) % 3 < 2 => {
            return refusal(503, "overloaded");
        }
        (Flaw::Credulous, _) | (Flaw::Timeless, Err(SignatureError::TooOld)) | (_, Ok(())) => {}
        (_, Err(error)) => return refusal(401, error.code()),
    }
    axum::Json(match (flaw, serde_json::from_slice(body).unwrap()) {
        (Flaw::NoBatches, Value::Array(_)) => return refusal(403, "batches_off"),
        (Flaw::HalfBatch, Value::Array(events)) => {
            json!({"status": "accepted", "accepted": events.len() / 2})
        }
        (_, Value::Array(events)) => json!({"status": "accepted", "accepted": events.len()}),
        (Flaw::OtherId, _) => json!({"status": "accepted", "event_id": "another"}),
        (_, event) => json!({"status": "accepted", "event_id": event["event_id"]}),
    })
    .into_response()
}

fn edge(flaw: Flaw) -> Router {
    let asked = Arc::new(AtomicU32::new(0));
    let webhook =
        post(async move |headers: HeaderMap, body: Bytes| accepts(flaw, &asked, &headers, &body));
    let ready = move || async move {
        match flaw {
            Flaw::OnlyWebhooks => StatusCode::NOT_FOUND.into_response(),
            Flaw::NotReady => {
                let reasons = json!({"ready": false, "reasons": [{"check": "kafka", "reason": "no broker answers"}]});
                (StatusCode::SERVICE_UNAVAILABLE, axum::Json(reasons)).into_response()
            }
            _ => axum::Json(json!({"ready": true, "reasons": []})).into_response(),
        }
    };
    Router::new()
        .route("/ready", get(ready))
        .route("/api/webhooks/payment-authorized", webhook.clone())
        .route("/api/webhooks/payment-authorized/batch", webhook)
}

/// Serves an edge on a free port, until dropped.
async fn start(flaw: Flaw, args: ApiArgs) -> (u16, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, shutdown) = (
        listener.local_addr().unwrap().port(),
        CancellationToken::new(),
    );
    let stop = shutdown.clone();
    tokio::spawn(async move { serve(listener, edge(flaw), &args, stop).await });
    (port, shutdown.drop_guard())
}

const ENVIRONMENT: [(&str, &str); 1] = [("EVENTFLOW_WEBHOOK_SIGNING_SECRET", SECRET)];
const NEEDS: &str = "tampered skipped, stale skipped, stored skipped, duplicate skipped, corrupted skipped, batch skipped, audit skipped";
const UNSEEN: &str =
    "stored skipped, duplicate skipped, corrupted skipped, batch skipped, audit skipped";

#[tokio::test(flavor = "multi_thread")]
async fn every_check_of_the_edge_can_fail_and_says_what_to_do() {
    let accepted = "ready passed, accepted passed";
    for (flaw, code, expected, check, says) in [
        (
            Flaw::Nothing,
            0,
            format!("{accepted}, tampered passed, stale passed, {UNSEEN}"),
            "stored",
            "give --recovery-url",
        ),
        (
            Flaw::Busy,
            0,
            format!("{accepted}, tampered passed, stale passed, {UNSEEN}"),
            "accepted",
            "answered 200",
        ),
        (
            Flaw::Credulous,
            1,
            format!("{accepted}, tampered failed, stale failed, {UNSEEN}"),
            "tampered",
            "can be forged",
        ),
        (
            Flaw::Timeless,
            1,
            format!("{accepted}, tampered passed, stale failed, {UNSEEN}"),
            "stale",
            "can be posted again",
        ),
        (
            Flaw::OtherId,
            1,
            format!("ready passed, accepted failed, {NEEDS}"),
            "accepted",
            "check that --url is an EventFlow edge",
        ),
        (
            Flaw::Unacknowledged,
            1,
            format!("ready passed, accepted failed, {NEEDS}"),
            "accepted",
            "then Kafka",
        ),
        (
            Flaw::Redirects,
            1,
            format!("ready passed, accepted failed, {NEEDS}"),
            "accepted",
            "a redirect",
        ),
        (
            Flaw::HalfBatch,
            1,
            format!(
                "{accepted}, tampered passed, stale passed, {}",
                UNSEEN.replace("batch skipped", "batch failed")
            ),
            "batch",
            "did not accept 20 events",
        ),
        (
            Flaw::NoBatches,
            0,
            format!("{accepted}, tampered passed, stale passed, {UNSEEN}"),
            "batch",
            "sends no batches",
        ),
        (
            Flaw::OnlyWebhooks,
            0,
            format!("ready skipped, accepted passed, tampered passed, stale passed, {UNSEEN}"),
            "ready",
            "does not expose /ready (404)",
        ),
        (
            Flaw::NotReady,
            1,
            format!("ready failed, accepted passed, tampered passed, stale passed, {UNSEEN}"),
            "ready",
            "kafka: no broker answers",
        ),
    ] {
        let (port, _serving) = start(flaw, ApiArgs::default()).await;
        let output = smoke(
            &[
                &format!("--url=http://127.0.0.1:{port}"),
                "--deadline=8s",
                "--json",
            ],
            &ENVIRONMENT,
        )
        .await;
        let report = output.json(code);
        assert_eq!(verdicts(&report), expected, "{flaw:?}: {report:#}");
        assert!(
            detail(&report, check).contains(says),
            "{flaw:?}: {report:#}"
        );
        assert_eq!(
            report["verdict"],
            if code == 0 { "passed" } else { "failed" }
        );
        assert_eq!(
            output.err.lines().count() as i32,
            code,
            "one line on failure: {output:?}"
        );
        assert!(code == 0 || output.err.contains(check), "{output:?}");
        assert!(
            !output.err.contains('\u{1b}') && !output.out.contains('\u{1b}'),
            "{output:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_the_edges_fails_accepted_and_is_not_shown() {
    let (port, _serving) = start(Flaw::Nothing, ApiArgs::default()).await;
    let environment = [("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "LEAKED-other-secret")];
    let output = smoke(&[&format!("--url=http://127.0.0.1:{port}")], &environment).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(
        output.out.contains("FAILED   accepted") && output.out.contains("401 signature_mismatch"),
        "{output:?}"
    );
    assert!(
        output
            .out
            .contains("the edge's secret differs from EVENTFLOW_WEBHOOK_SIGNING_SECRET here"),
        "{output:?}"
    );
    assert!(
        output
            .out
            .lines()
            .last()
            .unwrap()
            .starts_with("FAILED: only 1 of 9 checks passed"),
        "the result is last: {output:?}"
    );
    assert!(output.err.ends_with("failed: accepted\n"), "{output:?}");
    assert!(
        !output.out.contains("LEAKED") && !output.err.contains("LEAKED"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_nobody_serves_fails_ready_within_the_deadline() {
    let free = format!("--url=http://{}", free_address());
    let report = smoke(&[&free, "--deadline=2s", "--json"], &ENVIRONMENT)
        .await
        .json(1);
    assert_eq!(
        verdicts(&report),
        format!("ready failed, accepted skipped, {NEEDS}")
    );
    let text = detail(&report, "ready");
    assert!(
        text.contains("cannot reach http://") && text.contains("the edge is running"),
        "{text}"
    );
    // One that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("--url=http://{}", silent.local_addr().unwrap());
    let report = smoke(&[&url, "--deadline=2s", "--json"], &ENVIRONMENT)
        .await
        .json(1);
    assert!(
        detail(&report, "ready").contains("no answer before the deadline"),
        "{report:#}"
    );
    assert!(report["seconds"].as_f64().unwrap() < 10.0, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_verified_by_the_authority_that_is_given() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let args = ApiArgs {
        tls_cert: Some(certificate.clone()),
        tls_key: Some(key),
        ..ApiArgs::default()
    };
    let (port, _serving) = start(Flaw::Nothing, args).await;
    let url = format!("--url=https://localhost:{port}");
    let ca = format!("--ca={}", certificate.display());
    assert_eq!(
        smoke(&[&url, &ca, "--json"], &ENVIRONMENT).await.json(0)["verdict"],
        "passed"
    );
    let stranger = smoke(&[&url, "--deadline=2s", "--json"], &ENVIRONMENT)
        .await
        .json(1);
    assert!(
        detail(&stranger, "ready").contains("give --ca-file"),
        "{stranger:#}"
    );
    // The certificate names localhost.
    let url = format!("--url=https://127.0.0.1:{port}");
    let other = smoke(&[&url, &ca, "--deadline=2s", "--json"], &ENVIRONMENT)
        .await
        .json(1);
    assert!(
        detail(&other, "ready").contains("must name this host"),
        "{other:#}"
    );
}
