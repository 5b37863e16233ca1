//! What is refused is written for people to look at: the facts, never a secret; bounded by source; and no answer waits for it.

use crate::world::{EVENT, SECRET, World, now, request, sign, world_on};
use contracts::webhook::refused::RefusedRequest;
use runtime::admin::read_all;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness;
use std::io::Write;
use std::time::Duration;
use tempfile::NamedTempFile;

const TOPIC: &str = "events.rejections.v1";
const DEADLINE: Duration = Duration::from_secs(60);

fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(&[("events.raw.v1", 2), (TOPIC, 2)]).unwrap()
}

/// An edge of two vendors, of which one lets be captured what is refused.
async fn edge(
    rejections: &EmbeddedBroker,
    flags: &[&str],
) -> (World, NamedTempFile, NamedTempFile) {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let mut sources = NamedTempFile::new().unwrap();
    let secrets = format!(
        "secrets = [{{ id = \"k\", from = \"file:{}\" }}]",
        secret.path().display()
    );
    let text = format!(
        "[[source]]\nname = \"acme\"\nscheme = \"eventflow\"\n{secrets}\n\
         [[source]]\nname = \"curious\"\nscheme = \"eventflow\"\n{secrets}\ncapture_rejected = {{ bytes = 100, hours = 24 }}\n"
    );
    sources.write_all(text.as_bytes()).unwrap();
    let file = format!("--sources={}", sources.path().display());
    let brokers = format!("--kafka-brokers={}", rejections.kafka().kafka_brokers);
    let flags = [&[file.as_str(), brokers.as_str()], flags].concat();
    (world_on(broker(), &flags, 1000).await, secret, sources)
}

fn written(broker: &EmbeddedBroker) -> Vec<RefusedRequest> {
    let records = read_all(&broker.kafka(), TOPIC).unwrap();
    let read = |record: &runtime::admin::OwnedRecord| {
        let refused: RefusedRequest =
            serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        assert_eq!(record.key.as_deref(), Some(refused.source.as_bytes()));
        refused
    };
    records.iter().map(read).collect()
}

async fn until_written(broker: &EmbeddedBroker, many: usize) -> Vec<RefusedRequest> {
    harness::wait_for(DEADLINE, async || {
        let written = written(broker);
        if written.len() >= many {
            Ok(written)
        } else {
            Err(format!("{} of {many} written", written.len()))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_written_with_its_facts_and_without_a_secret() {
    let rejections = broker();
    let (world, ..) = edge(&rejections, &[]).await;
    let headers = [
        ("user-agent", "Acme/1.0"),
        ("authorization", "Bearer s3cr3t-token"),
        ("cookie", "session=s3cr3t-cookie"),
        ("x-acme-event", "paid"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ];
    let post = async |path: &str, body: &str, secret: &str, at: i64| {
        let signed = sign(body.as_bytes(), secret, at);
        let (status, answer, _) = world
            .ask(request(path, body.as_bytes(), &signed, &headers))
            .await;
        (
            status,
            answer["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let wrong = "another-secret";
    assert_eq!(
        post("/api/webhooks/acme", EVENT, wrong, now()).await,
        (401, "signature_mismatch".to_owned())
    );
    assert_eq!(
        post("/api/webhooks/curious", EVENT, SECRET, now() - 1000).await,
        (401, "timestamp_too_old".to_owned())
    );
    let long = format!("{EVENT}{}", " ".repeat(100));
    assert_eq!(
        post("/api/webhooks/curious", &long, wrong, now()).await.0,
        401
    );
    assert_eq!(
        post("/api/webhooks/s3cr3t-path", EVENT, wrong, now()).await,
        (404, "unknown_source".to_owned())
    );
    let (status, ..) = world
        .ask(request("/api/webhooks/acme", EVENT.as_bytes(), &[], &[]))
        .await;
    assert_eq!(status, 400);
    let (status, ..) = world
        .ask(request(
            "/api/ingest",
            b"{}",
            &[("x-api-key".to_owned(), "s3cr3t-key".to_owned())],
            &[],
        ))
        .await;
    assert_eq!(status, 401);

    let all = until_written(&rejections, 6).await;
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("s3cr3t") && !text.contains(SECRET), "{text}");
    let one = |source: &str, code: &str| {
        let mut found = all
            .iter()
            .filter(|refused| refused.source == source && refused.code == code);
        let one = found
            .next()
            .unwrap_or_else(|| panic!("{source} {code}: {text}"));
        assert!(found.next().is_none(), "{text}");
        one
    };
    let mismatch = one("acme", "signature_mismatch");
    assert_eq!(mismatch.status, 401);
    assert_eq!(mismatch.scheme.as_deref(), Some("eventflow"));
    assert_eq!(mismatch.user_agent.as_deref(), Some("Acme/1.0"));
    assert!(mismatch.skew_seconds.unwrap().abs() < 60);
    assert_eq!(mismatch.body_bytes, Some(EVENT.len() as u64));
    assert_eq!(mismatch.body_sha256.as_ref().map(String::len), Some(64));
    assert_eq!(
        mismatch.trace_id.as_deref(),
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    assert_eq!(mismatch.captured, None, "this source does not say so");
    assert!(mismatch.parts.iter().all(|part| part.times == 1));

    let stale = one("curious", "timestamp_too_old");
    assert!((-1060..-940).contains(&stale.skew_seconds.unwrap()));
    let captured = stale.captured.as_ref().unwrap();
    assert_eq!(captured.body.as_deref(), Some(EVENT.as_bytes()));
    assert!(
        captured
            .headers
            .contains(&("x-acme-event".into(), "paid".into()))
    );
    let kept = captured.until - stale.time;
    assert_eq!(kept.whole_hours(), 24);

    let large = one("curious", "signature_mismatch");
    let captured = large.captured.as_ref().unwrap();
    assert_eq!(captured.body, None, "half a body cannot be verified");
    assert_eq!(large.body_bytes, Some(long.len() as u64));

    let missing = one("acme", "missing_signature_header");
    assert!(missing.parts.iter().all(|part| part.times == 0));
    assert_eq!((missing.body_bytes, missing.skew_seconds), (None, None));
    let unknown = one("unknown", "unknown_source");
    assert_eq!((unknown.scheme.as_deref(), unknown.parts.len()), (None, 0));
    one("ingest", "bad_api_key");
}

/// P11: however many strangers knock at one source, what another source's vendor does wrong is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_at_one_source_leaves_room_for_another_and_is_counted() {
    let rejections = broker();
    let (world, ..) = edge(&rejections, &["--failures-per-second=1000000"]).await;
    let knock = async |path: &str| {
        let (status, ..) = world.ask(request(path, EVENT.as_bytes(), &[], &[])).await;
        assert_eq!(status, 400);
    };
    let posted = 500;
    for _ in 0..posted {
        knock("/api/webhooks/acme").await;
    }
    knock("/api/webhooks/curious").await;
    harness::until("the other source's is written", DEADLINE, async || {
        written(&rejections)
            .iter()
            .any(|refused| refused.source == "curious")
    })
    .await;
    // Each that is written tells of those that were left out before it.
    let told = harness::wait_for(DEADLINE, async || {
        knock("/api/webhooks/acme").await;
        let of_acme: Vec<_> = written(&rejections)
            .into_iter()
            .filter(|refused| refused.source == "acme")
            .collect();
        let left_out: u64 = of_acme.iter().map(|refused| refused.left_out).sum();
        match left_out {
            0 => Err(format!("{} written, none left out", of_acme.len())),
            _ => Ok((of_acme.len(), left_out)),
        }
    })
    .await;
    assert!(told.0 < posted / 2, "{told:?}: the flood is sampled");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_waits_for_a_broker_that_is_silent_about_refused_requests() {
    let rejections = broker();
    let (world, ..) = edge(&rejections, &["--rejections-per-second=1000"]).await;
    rejections.set_up(false);
    let body = "x".repeat(100);
    for index in 0..200 {
        let signed = sign(body.as_bytes(), "another-secret", now());
        let path = "/api/webhooks/curious";
        let (status, ..) = world
            .ask(request(path, body.as_bytes(), &signed, &[]))
            .await;
        assert!([401, 429].contains(&status), "{status}");
        if index % 20 == 0 {
            let accepted = world.post("/api/webhooks/acme", EVENT).await;
            assert_eq!(accepted.0, 200, "{accepted:?}");
        }
    }
    // Nobody has had any of them.
    rejections.set_up(true);
    let lately = until_written(&rejections, 1).await;
    assert_eq!(lately[0].source, "curious");
}
