//! A schema registry that can be told to fail, and validated records as the validator makes them.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::SystemTime;

/// The contracts' schemas by id, over real HTTP.
pub(crate) struct Schemas {
    pub(crate) url: String,
    pub(crate) down: Arc<AtomicBool>,
}

impl Schemas {
    pub(crate) async fn start() -> Self {
        let down = Arc::new(AtomicBool::new(false));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/schemas/ids/{id}", get(schema))
            .with_state(Arc::clone(&down));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, down }
    }
}

async fn schema(State(down): State<Arc<AtomicBool>>, Path(id): Path<i32>) -> Response {
    if down.load(Ordering::SeqCst) {
        return (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({"error_code": 50001, "message": "down"}).to_string(),
        )
            .into_response();
    }
    let contracts = Catalog::builtin();
    match contracts
        .iter()
        .find(|contract| contract.schema_id == Some(id))
    {
        Some(contract) => json!({"schema": contract.record_avsc})
            .to_string()
            .into_response(),
        None => (
            StatusCode::NOT_FOUND,
            json!({"error_code": 40403, "message": "schema not found"}).to_string(),
        )
            .into_response(),
    }
}

/// A framed event with an id of its own.
pub(crate) fn framed(event_type: &str, amount: &str, currency: &str) -> Vec<u8> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let event_id = format!("evt-{:08}", MADE.fetch_add(1, Ordering::Relaxed));
    let contracts = Catalog::builtin();
    let body = json!({
        "event_id": event_id, "event_type": event_type, "schema_version": 1, "source": "test", "timestamp": "2026-01-02T03:04:05Z",
        "payload": {
            "payment_id": "pay", "order_id": "ord", "refund_id": "ref", "provider_auth_id": "auth", "reason": null,
            "amount": amount, "currency": currency,
        },
    })
    .to_string();
    let validated = contracts
        .validate(Envelope::own(body.as_bytes()).unwrap())
        .unwrap();
    let mut value = Vec::new();
    framing::frame(validated.contract().schema_id.unwrap(), &mut value);
    validated.encode(&mut value);
    value
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap()
}
