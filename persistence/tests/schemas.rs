//! A registry that lags behind, or whose contract changed, costs a wait and no dead letter.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};
use contracts::kafka::headers;
use persistence::handler::Persistence;
use persistence::writer::Writer;
use runtime::consumer::{Handler, Outcome, Record, StageError};
use runtime::health::Health;
use runtime::registry::{Registry, RegistryArgs};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::database;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "events.validated.v1";

type Schemas = Arc<Mutex<HashMap<String, String>>>;

/// A registry with these schemas, by id.
async fn registry(schemas: Schemas) -> String {
    let by_id = move |axum::extract::Path(id): axum::extract::Path<String>| {
        let schema = schemas.lock().unwrap().get(&id).cloned();
        std::future::ready(match schema {
            Some(schema) => (
                axum::http::StatusCode::OK,
                json!({"schema": schema}).to_string(),
            ),
            None => (
                axum::http::StatusCode::NOT_FOUND,
                json!({"error_code": 40403, "message": "Schema not found"}).to_string(),
            ),
        })
    };
    let app = axum::Router::new().route("/schemas/ids/{id}", axum::routing::get(by_id));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn framed(schema_id: i32, event_id: &str) -> Vec<u8> {
    let mut value = Vec::new();
    framing::frame(schema_id, &mut value);
    let body = json!({"event_id": event_id, "event_type": "payment.authorized.v1", "schema_version": 1,
        "timestamp": "2026-01-02T03:04:05Z",
        "payload": {"payment_id": "p", "order_id": "o", "amount": "1", "currency": "EUR", "provider_auth_id": "a"}});
    let body = body.to_string();
    Catalog::builtin()
        .validate(Envelope::own(body.as_bytes()).unwrap())
        .unwrap()
        .encode(&mut value);
    value
}

/// One batch of these values, from this offset on.
async fn handle(
    mut stage: Persistence,
    first: i64,
    values: Vec<Vec<u8>>,
) -> (Persistence, Result<Vec<Outcome>, StageError>) {
    tokio::task::spawn_blocking(move || {
        let raws: Vec<String> = (first..)
            .zip(&values)
            .map(|(offset, _)| format!("0:{offset}"))
            .collect();
        let headers: Vec<_> = raws
            .iter()
            .map(|raw| {
                [
                    (headers::SOURCE, Some(&b"s"[..])),
                    (headers::RAW, Some(raw.as_bytes())),
                ]
            })
            .collect();
        let batch: Vec<Record<'_>> = (first..)
            .zip(values.iter().zip(&headers))
            .map(|(offset, (value, headers))| {
                Record::new(TOPIC, 0, offset, 0, Some(b"k"), Some(value), headers)
            })
            .collect();
        let outcomes = stage.handle(&batch);
        (stage, outcomes)
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_new_or_changed_is_waited_for_and_its_events_are_stored() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let url = database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    let (health, never) = (Health::new(), CancellationToken::new());
    let store = Writer::open(&Secret::new(url), &broker.kafka(), &health, &never)
        .await
        .unwrap()
        .unwrap();
    let contracts = Catalog::builtin();
    let avsc = &contracts
        .contract("payment.authorized.v1")
        .unwrap()
        .record_avsc;
    let schemas = Schemas::default();
    schemas.lock().unwrap().insert("1".to_owned(), avsc.clone());
    let known = Registry::new(&RegistryArgs::at(registry(Arc::clone(&schemas)).await)).unwrap();
    let mut stage = Persistence::new(store, known, "g", tokio::runtime::Handle::current());
    tokio::task::block_in_place(|| stage.positions(&[(TOPIC.to_owned(), 0)])).unwrap();

    // The validator registered 9; this registry has not heard of it. Nothing of the batch is stored, nothing is dead-lettered.
    let batch = vec![framed(1, "a"), framed(9, "b")];
    let (stage, outcomes) = handle(stage, 0, batch.clone()).await;
    let error = outcomes.unwrap_err();
    assert!(
        !error.must_stop() && error.code() == "schema_not_found",
        "{error}"
    );
    schemas.lock().unwrap().insert("9".to_owned(), avsc.clone());
    let (stage, outcomes) = handle(stage, 0, batch).await;
    let outcomes = outcomes.unwrap();
    assert!(
        matches!(outcomes.as_slice(), [Outcome::Done, Outcome::Done]),
        "{outcomes:?}"
    );

    // An optional field is added under the same id, and events have it before persistence knows.
    let mut record: Value = serde_json::from_str(avsc).unwrap();
    record["fields"][3]["type"]["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "note", "type": ["null", "string"], "default": null}));
    schemas
        .lock()
        .unwrap()
        .insert("1".to_owned(), record.to_string());
    let mut extended = framed(1, "c");
    // Before the rest, which is null.
    extended.truncate(extended.len() - 1);
    extended.extend_from_slice(&[2, 2, b'n', 0]);
    let (_, outcomes) = handle(stage, 2, vec![extended]).await;
    let outcomes = outcomes.unwrap();
    assert!(
        matches!(outcomes.as_slice(), [Outcome::Done]),
        "{outcomes:?}"
    );
    let notes: Vec<Option<String>> =
        sqlx::query_scalar("SELECT payload->>'note' FROM persistence.events ORDER BY event_id")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(notes, [None, None, Some("n".to_owned())]);
}
