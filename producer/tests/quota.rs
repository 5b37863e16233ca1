//! Quotas on the embedded broker: what counts against a source, what does not, and what a vendor over its quota is told.

#![allow(clippy::unwrap_used, reason = "a test")]

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use clap::{Args, FromArgMatches};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use producer::{Config, Edge, app};
use runtime::admin::read_all;
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use sandbox::broker::EmbeddedBroker;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const DEADLINE: Duration = Duration::from_secs(60);
const SECRET: &str = "top-secret-of-the-quota-test";

struct World {
    broker: EmbeddedBroker,
    app: Router,
}

/// What was answered: status, code (or `accepted`), and seconds to wait.
type Answer = (u16, String, Option<u64>);

/// Three sources: `small` may post `quota` events a second, `free` as many as it likes, and `silent` does not say how many.
async fn world(quota: u32, failures_per_second: u32) -> World {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let mut sources = tempfile::NamedTempFile::new().unwrap();
    for (name, quota) in [
        ("small", format!("quota_per_second = {quota}")),
        ("free", "quota_per_second = \"unlimited\"".to_owned()),
        ("silent", String::new()),
    ] {
        let from = secret.path().display();
        writeln!(
            sources,
            "[[source]]\nname = \"{name}\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"k\", from = \"file:{from}\" }}]\nevent = {{ entity = \"/event_id\" }}\nbatches = true\n{quota}"
        )
        .unwrap();
    }
    let command = Config::augment_args(clap::Command::new("producer"));
    let flags = [
        "producer",
        "--sources",
        sources.path().to_str().unwrap(),
        "--failures-per-second",
    ];
    let config = Config::from_arg_matches(
        &command.get_matches_from([&flags[..], &[&failures_per_second.to_string()]].concat()),
    );
    let broker = EmbeddedBroker::start(&[("events.raw.v1", 2)]).unwrap();
    let health = Health::new();
    let publisher =
        Publisher::new(&broker.kafka(), &PublisherSettings::stage("test"), &health).unwrap();
    publisher
        .warm_up(&["events.raw.v1"], Duration::from_secs(20))
        .await;
    assert!(publisher.is_warm());
    let edge = Edge::new(&config.unwrap(), publisher, CancellationToken::new()).unwrap();
    World {
        broker,
        app: app(Arc::new(edge), health),
    }
}

impl World {
    async fn post(&self, path: &str, body: &str, secret: &str) -> Answer {
        let key = Key {
            id: "k".to_owned(),
            secret: Secret::new(secret),
            not_after: None,
        };
        let verifier =
            Verifier::new(Scheme::preset("eventflow").unwrap(), vec![key], None).unwrap();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("/api/webhooks/{path}"));
        for (name, value) in verifier.sign(None, i64::try_from(now).unwrap(), body.as_bytes(), 0) {
            request = request.header(name, value);
        }
        let asked = self
            .app
            .clone()
            .oneshot(request.body(Body::from(body.to_owned())).unwrap());
        let response = tokio::time::timeout(DEADLINE, asked)
            .await
            .unwrap()
            .unwrap();
        let status = response.status().as_u16();
        let wait = response
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().parse().unwrap());
        let body: Value =
            serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes())
                .unwrap();
        (
            status,
            body["code"].as_str().unwrap_or("accepted").to_owned(),
            wait,
        )
    }

    /// Many posts of one event each at once, counted by answer.
    async fn flood(&self, path: &str, posts: usize, secret: &str) -> BTreeMap<Answer, usize> {
        let bodies: Vec<String> = (0..posts)
            .map(|number| format!(r#"{{"event_id":"e-{number}"}}"#))
            .collect();
        let mut counts = BTreeMap::new();
        for answer in join_all(bodies.iter().map(|body| self.post(path, body, secret))).await {
            *counts.entry(answer).or_default() += 1;
        }
        counts
    }

    fn records(&self) -> usize {
        read_all(&self.broker.kafka(), "events.raw.v1")
            .unwrap()
            .len()
    }
}

fn count(answers: &BTreeMap<Answer, usize>, code: &str) -> usize {
    answers
        .iter()
        .filter(|((_, found, _), _)| found == code)
        .map(|(_, count)| count)
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_over_its_quota_is_told_429_and_when_to_come_back_and_another_source_is_not() {
    let world = world(2, 50).await;
    let (started, mut accepted) = (Instant::now(), 0);
    // A machine slow enough to refill the bucket between posts is asked again.
    loop {
        let answers = world.flood("small", 40, SECRET).await;
        assert_eq!(
            count(&answers, "accepted") + count(&answers, "over_quota"),
            40,
            "{answers:?}"
        );
        accepted += count(&answers, "accepted");
        for (status, code, wait) in answers.keys() {
            let expected = if code == "accepted" {
                (200, false)
            } else {
                (429, true)
            };
            assert_eq!(
                (*status, wait.is_some_and(|seconds| seconds >= 1)),
                expected,
                "{code} {wait:?}"
            );
        }
        if count(&answers, "over_quota") > 0 {
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{answers:?}");
    }
    let most = 2.0 * (1.0 + started.elapsed().as_secs_f64());
    assert!(
        (1..=most.ceil() as usize).contains(&accepted),
        "{accepted} of at most {most}"
    );
    assert_eq!(
        world.records(),
        accepted,
        "what is over the quota is not published"
    );
    let free = world.flood("free", 40, SECRET).await;
    assert_eq!(count(&free, "accepted"), 40, "{free:?}");
    // The bucket fills again: coming back later works.
    while world.post("small", "{}", SECRET).await.0 != 200 {
        assert!(
            started.elapsed() < 2 * DEADLINE,
            "the quota never comes back"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_signatures_is_answered_from_its_own_bucket_and_leaves_the_quota_whole() {
    let world = world(5, 3).await;
    let started = Instant::now();
    let forged = world.flood("small", 500, "not-the-secret").await;
    assert_eq!(
        count(&forged, "signature_mismatch") + count(&forged, "too_many_failures"),
        500,
        "{forged:?}"
    );
    let most = 3.0 * (1.0 + started.elapsed().as_secs_f64());
    assert!(
        (1..=most.ceil() as usize).contains(&count(&forged, "signature_mismatch")),
        "{forged:?}, at most {most}"
    );
    for (status, code, wait) in forged.keys() {
        let expected = if code == "signature_mismatch" {
            (401, None)
        } else {
            (429, Some(1))
        };
        assert_eq!((*status, *wait), expected, "{code}");
    }
    let authentic = world.flood("small", 5, SECRET).await;
    assert_eq!(
        count(&authentic, "accepted"),
        5,
        "the whole quota is there for who has the secret: {authentic:?}"
    );
    assert_eq!(world.records(), 5);
    // The other way round: a source over its quota still hears the truth about a bad signature.
    while count(&world.flood("small", 20, SECRET).await, "over_quota") == 0 {
        assert!(started.elapsed() < DEADLINE);
    }
    let (status, code, _) = world.post("small", "{}", "not-the-secret").await;
    assert!(
        ["signature_mismatch", "too_many_failures"].contains(&code.as_str()),
        "{status} {code}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_a_batch_counts_and_a_batch_that_can_never_fit_is_not_told_to_wait() {
    let world = world(3, 50).await;
    let batch = |events: usize| format!("[{}]", vec!["{}"; events].join(","));
    assert_eq!(
        world.post("small/batch", &batch(3), SECRET).await,
        (200, "accepted".to_owned(), None)
    );
    assert_eq!(world.records(), 3);
    let started = Instant::now();
    // Three a second: whole batches of three cannot all pass at once.
    loop {
        let bodies = vec![batch(3); 20];
        let answers = join_all(
            bodies
                .iter()
                .map(|body| world.post("small/batch", body, SECRET)),
        )
        .await;
        if let Some((status, _, wait)) = answers.iter().find(|(_, code, _)| code == "over_quota") {
            assert_eq!((*status, wait.is_some()), (429, true));
            break;
        }
        assert!(started.elapsed() < DEADLINE, "{answers:?}");
    }
    // Waiting would not help: it has to be sent in parts.
    assert_eq!(
        world.post("small/batch", &batch(4), SECRET).await,
        (400, "too_many_events".to_owned(), None)
    );
    assert_eq!(world.records() % 3, 0, "all of a batch or nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_names_no_quota_has_one() {
    let world = world(1, 50).await;
    let most = contracts::webhook::source::DEFAULT_QUOTA_PER_SECOND as usize;
    let batch = |events: usize| format!("[{}]", vec!["{}"; events].join(","));
    let posts = |source: &'static str| {
        let (world, body) = (&world, batch(1000));
        async move { world.post(&format!("{source}/batch"), &body, SECRET).await }
    };
    let started = Instant::now();
    let mut events = 0;
    // A machine slow enough to refill the bucket between posts is asked again.
    loop {
        let (status, code, wait) = posts("silent").await;
        if code == "over_quota" {
            assert_eq!((status, wait.is_some()), (429, true));
            break;
        }
        assert_eq!(status, 200, "{code}");
        events += 1000;
        assert!(started.elapsed() < DEADLINE, "{events} events");
    }
    let allowed = most as f64 * (1.0 + started.elapsed().as_secs_f64());
    assert!(events as f64 <= allowed, "{events} of at most {allowed}");
    assert!(events >= most, "all of the first second at once: {events}");
    assert_eq!(posts("free").await.0, 200);
}
