//! The edge on the embedded broker, and requests to it.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use clap::{Args, FromArgMatches};
use contracts::Secret;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use http_body_util::BodyExt;
use producer::{Config, Edge, app};
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use sandbox::broker::EmbeddedBroker;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) const PATH: &str = "/api/webhooks/payment-authorized";
pub(crate) const SECRET: &str = "top-secret-of-the-test";
pub(crate) const EVENT: &str =
    r#"{"event_id":"e-1","event_type":"payment.authorized.v1", "payload":{"payment_id":"p-1"}}"#;

pub(crate) fn now() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap()
}

pub(crate) fn config(flags: &[&str]) -> Config {
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

pub(crate) fn sign(body: &[u8], secret: &str, at: i64) -> Vec<(String, String)> {
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(secret),
        not_after: None,
    };
    Verifier::new(Scheme::preset("eventflow").unwrap(), vec![key], None)
        .unwrap()
        .sign(None, at, body, 0)
}

pub(crate) struct World {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) app: Router,
    pub(crate) publisher: Publisher,
    pub(crate) shutdown: CancellationToken,
}

pub(crate) async fn world(flags: &[&str], queue_records: usize) -> World {
    let broker = EmbeddedBroker::start(&[("events.raw.v1", 2), ("events.rejections.v1", 2)]);
    world_on(broker.unwrap(), flags, queue_records).await
}

/// On a broker that has the topics. Refused requests go to the broker that the flags name.
pub(crate) async fn world_on(
    broker: EmbeddedBroker,
    flags: &[&str],
    queue_records: usize,
) -> World {
    let (health, shutdown) = (Health::new(), CancellationToken::new());
    let config = config(flags);
    let settings = PublisherSettings {
        record_timeout: Duration::from_secs(60),
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

pub(crate) fn request(
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
    pub(crate) async fn ask(&self, request: Request<Body>) -> (u16, Value, Option<String>) {
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

    pub(crate) async fn post(&self, path: &str, body: &str) -> (u16, Value, Option<String>) {
        self.ask(request(
            path,
            body.as_bytes(),
            &sign(body.as_bytes(), SECRET, now()),
            &[],
        ))
        .await
    }
}
