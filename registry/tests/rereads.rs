//! What the roles' client makes of a registry that lags, changes, or is the wrong one: only a record's own fault is a rejection.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use contracts::RejectionCode;
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};
use runtime::consumer::StageError;
use runtime::registry::{Registry, RegistryArgs, RegistryError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A registry whose schemas a test sets, and which counts what it is asked.
#[derive(Default)]
struct Stub {
    schemas: Mutex<HashMap<i32, String>>,
    asked: Mutex<usize>,
    down: Mutex<bool>,
}

impl Stub {
    async fn start() -> (Arc<Self>, Registry) {
        let stub = Arc::new(Self::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/schemas/ids/{id}", get(schema))
            .with_state(Arc::clone(&stub));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (stub, Registry::new(&RegistryArgs::at(url)).unwrap())
    }

    fn set(&self, id: i32, schema: impl Into<String>) {
        self.schemas.lock().unwrap().insert(id, schema.into());
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

async fn schema(State(stub): State<Arc<Stub>>, Path(id): Path<i32>) -> (StatusCode, String) {
    *stub.asked.lock().unwrap() += 1;
    if *stub.down.lock().unwrap() {
        let problem = json!({"error_code": 50001, "message": "down"});
        return (StatusCode::INTERNAL_SERVER_ERROR, problem.to_string());
    }
    match stub.schemas.lock().unwrap().get(&id) {
        Some(schema) => (StatusCode::OK, json!({"schema": schema}).to_string()),
        None => (
            StatusCode::NOT_FOUND,
            json!({"error_code": 40403, "message": "Schema not found"}).to_string(),
        ),
    }
}

fn avsc() -> String {
    let contracts = Catalog::builtin();
    contracts
        .contract("payment.authorized.v1")
        .unwrap()
        .record_avsc
        .clone()
}

/// The record with an optional field more.
fn extended() -> String {
    let mut record: Value = serde_json::from_str(&avsc()).unwrap();
    let fields = record["fields"][3]["type"]["fields"]
        .as_array_mut()
        .unwrap();
    fields.push(json!({"name": "note", "type": ["null", "string"], "default": null}));
    record.to_string()
}

fn framed(schema_id: i32) -> Vec<u8> {
    let mut value = Vec::new();
    framing::frame(schema_id, &mut value);
    let body = json!({"event_id": "e", "event_type": "payment.authorized.v1", "schema_version": 1,
        "timestamp": "2026-01-02T03:04:05Z",
        "payload": {"payment_id": "p", "order_id": "o", "amount": "1", "currency": "EUR", "provider_auth_id": "a"}});
    let contracts = Catalog::builtin();
    let body = body.to_string();
    contracts
        .validate(Envelope::own(body.as_bytes()).unwrap())
        .unwrap()
        .encode(&mut value);
    value
}

/// As [`extended`] writes it, with a note.
fn framed_with_note(schema_id: i32) -> Vec<u8> {
    let mut value = framed(schema_id);
    // Before the rest, which is null.
    value.truncate(value.len() - 1);
    value.extend_from_slice(&[2, 2, b'n', 0]);
    value
}

/// The payload, or the code of the rejection or of the wait.
async fn read(client: &mut Registry, value: &[u8], polled: Instant) -> Result<String, String> {
    match client.decode(value, polled).await {
        Ok(Ok(framed)) => Ok(framed.event.payload_json),
        Ok(Err(rejection)) => Err(rejection.code.code().to_owned()),
        Err(error) => Err(format!("waits: {}", StageError::from(error).code())),
    }
}

#[tokio::test]
async fn a_contract_that_changed_under_its_id_is_read_again_and_its_events_pass() {
    let (stub, mut client) = Stub::start().await;
    stub.set(1, avsc());
    let (old, new) = (framed(1), framed_with_note(1));
    assert!(read(&mut client, &old, Instant::now()).await.is_ok());
    stub.set(1, extended());
    let payload = read(&mut client, &new, Instant::now()).await.unwrap();
    assert!(payload.contains(r#""note":"n""#), "{payload}");
    assert_eq!(stub.asked(), 2);
    // What was written before it changed is still in the topic, perhaps between what was written after.
    for value in [&old, &new, &old] {
        assert!(read(&mut client, value, Instant::now()).await.is_ok());
    }
    assert_eq!(stub.asked(), 2);
}

#[tokio::test]
async fn broken_records_read_a_schema_once_a_batch_and_at_most_once_a_second() {
    let (stub, mut client) = Stub::start().await;
    stub.set(1, avsc());
    let mut broken = framed(1);
    broken.truncate(20);
    let started = Instant::now();
    for batch in 1..=3 {
        let polled = Instant::now();
        for _ in 0..100 {
            assert_eq!(
                read(&mut client, &broken, polled).await,
                Err("bad_datum".to_owned())
            );
            assert!(read(&mut client, &framed(1), polled).await.is_ok());
        }
        assert_eq!(stub.asked(), batch, "the first batch reads it anyway");
    }
    // A lower bound, which no slow machine breaks.
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn an_id_that_the_registry_does_not_have_yet_is_waited_for() {
    let (stub, mut client) = Stub::start().await;
    let value = framed(7);
    for _ in 0..2 {
        assert_eq!(
            read(&mut client, &value, Instant::now()).await,
            Err("waits: schema_not_found".to_owned())
        );
    }
    stub.set(7, avsc());
    assert!(read(&mut client, &value, Instant::now()).await.is_ok());
    assert_eq!(stub.asked(), 3);
    // No registry ever gives such an id, so none is asked.
    for id in [0, -1, i32::MIN] {
        let value = framed(id);
        let rejected = client.decode(&value, Instant::now()).await;
        assert_eq!(
            rejected.unwrap().unwrap_err().code,
            RejectionCode::UnknownSchemaId
        );
    }
    assert_eq!(stub.asked(), 3);
}

#[tokio::test]
async fn a_wrong_registry_and_one_that_is_down_are_no_fault_of_a_record() {
    let (stub, mut client) = Stub::start().await;
    stub.set(1, r#"{"type":"string"}"#);
    let error = client.decode(&framed(1), Instant::now()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unusable { id: 1, .. })
            && error.to_string().contains("--registry-url"),
        "{error}"
    );
    stub.set(1, avsc());
    assert!(read(&mut client, &framed(1), Instant::now()).await.is_ok());
    // It does not fit the schema that is known. Whether that changed only the registry knows.
    *stub.down.lock().unwrap() = true;
    assert_eq!(
        read(&mut client, &framed_with_note(1), Instant::now()).await,
        Err("waits: registry_unavailable".to_owned())
    );
    stub.schemas.lock().unwrap().clear();
    *stub.down.lock().unwrap() = false;
    assert_eq!(
        read(&mut client, &framed_with_note(1), Instant::now()).await,
        Err("waits: schema_not_found".to_owned())
    );
}
