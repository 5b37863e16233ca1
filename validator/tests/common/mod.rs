//! The stage as a process has it, on the embedded broker, with a schema registry whose answer is switched.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use clap::{Args, FromArgMatches};
use contracts::kafka::headers;
use contracts::kafka::topics;
use runtime::admin::{OwnedRecord, committed, read_all};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::wait_for;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The headers the edge gives a record, and two more that are not carried on.
pub(crate) const EDGE_HEADERS: [(&str, &[u8]); 9] = [
    (headers::SOURCE, b"payment-authorized"),
    (headers::EVENT_ID, b"e-1"),
    (headers::RECEIVED_AT, b"1700000000000000"),
    (headers::SCHEME, b"eventflow"),
    (headers::SECRET_ID, b"k"),
    ("x-provider-signature", b"\x01\xff not text"),
    (headers::BATCH, b"sha256:00"),
    (headers::CONTENT_TYPE, b"application/json"),
    (
        headers::TRACEPARENT,
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
];

/// A registry that remembers what was registered: ids from 41 on, in the order of asking.
#[derive(Default)]
pub(crate) struct Schemas {
    /// What it answers instead, while set.
    pub(crate) broken: Mutex<Option<(StatusCode, &'static str)>>,
    /// Subject and schema of each id.
    pub(crate) registered: Mutex<Vec<(String, String)>>,
    pub(crate) asked: Mutex<usize>,
}

impl Schemas {
    async fn start() -> (Arc<Self>, String) {
        let schemas = Arc::new(Self::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/subjects/{subject}/versions", post(register))
            .with_state(Arc::clone(&schemas));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (schemas, url)
    }

    /// The id under which a record name's schema was registered.
    pub(crate) fn id(&self, record_name: &str) -> i32 {
        let registered = self.registered.lock().unwrap();
        let subject = format!("{}-{record_name}", topics::VALIDATED);
        let place = registered.iter().position(|(found, _)| *found == subject);
        41 + i32::try_from(
            place.unwrap_or_else(|| panic!("{subject} was not registered: {registered:?}")),
        )
        .unwrap()
    }
}

async fn register(
    State(schemas): State<Arc<Schemas>>,
    Path(subject): Path<String>,
    body: String,
) -> (StatusCode, String) {
    *schemas.asked.lock().unwrap() += 1;
    if let Some((status, answer)) = *schemas.broken.lock().unwrap() {
        return (status, answer.to_owned());
    }
    let posted: Value = serde_json::from_str(&body).unwrap();
    let registration = (subject, posted["schema"].as_str().unwrap().to_owned());
    let mut registered = schemas.registered.lock().unwrap();
    let place = registered
        .iter()
        .position(|known| *known == registration)
        .unwrap_or_else(|| {
            registered.push(registration);
            registered.len() - 1
        });
    (StatusCode::OK, json!({"id": 41 + place}).to_string())
}

pub(crate) struct Stage {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) health: Health,
    publisher: Publisher,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Stage {
    pub(crate) async fn start(flags: &[&str], broken: Option<(StatusCode, &'static str)>) -> Self {
        let retry = [validator::GROUP, "another-group"].map(topics::retry);
        let live = [(topics::RAW, 2), (topics::VALIDATED, 2), (topics::DLQ, 1)];
        let all: Vec<_> = live
            .into_iter()
            .chain(retry.iter().map(|topic| (topic.as_str(), 1)))
            .collect();
        let broker = EmbeddedBroker::start(&all).unwrap();
        let (schemas, url) = Schemas::start().await;
        *schemas.broken.lock().unwrap() = broken;
        let command = validator::Config::augment_args(clap::Command::new("validator"));
        let all = [
            &["validator", "--registry-url", &url, "--breaker", "off"],
            flags,
        ]
        .concat();
        let mut config =
            validator::Config::from_arg_matches(&command.get_matches_from(all)).unwrap();
        config.common.kafka = broker.kafka();
        let (health, stop) = (Health::new(), CancellationToken::new());
        let publisher = Publisher::new(
            &broker.kafka(),
            &PublisherSettings::stage("test"),
            &Health::new(),
        )
        .unwrap();
        let (its_health, its_stop) = (health.clone(), stop.clone());
        let running =
            tokio::spawn(async move { validator::consume(&config, its_health, its_stop).await });
        Self {
            broker,
            schemas,
            health,
            publisher,
            stop,
            running,
        }
    }

    /// Publishes raw records as the edge would.
    pub(crate) async fn send(&self, values: &[Option<&[u8]>]) {
        let mut batch = self.publisher.batch(values.len());
        for value in values {
            let record = OutRecord {
                topic: topics::RAW,
                key: Some(b"pay-\xff"),
                value: *value,
                headers: EDGE_HEADERS.into_iter().collect(),
            };
            batch.add(record).unwrap();
        }
        assert_eq!(batch.wait(DEADLINE).await, vec![]);
    }

    /// Publishes a raw record with further headers.
    pub(crate) async fn send_marked(&self, value: &[u8], more: &[(&str, &[u8])]) {
        let record = OutRecord {
            topic: topics::RAW,
            key: Some(b"pay"),
            value: Some(value),
            headers: EDGE_HEADERS
                .into_iter()
                .chain(more.iter().copied())
                .collect(),
        };
        self.publisher.publish(record, DEADLINE).await.unwrap();
    }

    /// Publishes a replay of this raw record, as recovery does: with all of its headers, and those given.
    pub(crate) async fn replay(
        &self,
        group: &str,
        value: &[u8],
        raw: &str,
        more: &[(&str, &[u8])],
    ) {
        let headers = EDGE_HEADERS
            .into_iter()
            .chain([(headers::RAW, raw.as_bytes())])
            .chain(more.iter().copied());
        let topic = topics::retry(group);
        let record = OutRecord {
            topic: &topic,
            key: Some(b"pay"),
            value: Some(value),
            headers: headers.collect(),
        };
        self.publisher.publish(record, DEADLINE).await.unwrap();
    }

    pub(crate) fn read(&self, topic: &str) -> Vec<OwnedRecord> {
        read_all(&self.broker.kafka(), topic).unwrap()
    }

    /// How far the group has come in the raw topic.
    pub(crate) fn committed(&self) -> i64 {
        let all = committed(&self.broker.kafka(), "eventflow-validator", topics::RAW).unwrap();
        all.into_iter().filter_map(|(_, next)| next).sum()
    }

    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        wait_for(DEADLINE, async || {
            if done(self) {
                return Ok(());
            }
            assert!(
                !self.running.is_finished(),
                "{what}: the stage ended by itself"
            );
            let reasons = self.health.reasons();
            Err(format!("{what}; not ready because {reasons:?}"))
        })
        .await;
    }

    /// Waits until `/ready` would say that the stage waits, in these words.
    pub(crate) async fn until_it_waits(&self, says: &str) {
        let waits = |stage: &Self| {
            stage
                .health
                .reasons()
                .iter()
                .any(|(check, reason)| *check == "dependency" && reason.contains(says))
        };
        self.until(&format!("waits and says {says}"), waits).await;
    }

    pub(crate) async fn finish(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// A sound event with this id.
pub(crate) fn authorized(event_id: &str) -> Vec<u8> {
    json!({
        "event_id": event_id, "event_type": "payment.authorized.v1", "schema_version": 1,
        "timestamp": "2026-01-02T03:04:05.000006Z",
        "payload": {
            "payment_id": "pay", "order_id": "ord", "provider_auth_id": "auth", "amount": "12345678901.2345", "currency": "CLF",
        },
    })
    .to_string()
    .into_bytes()
}
