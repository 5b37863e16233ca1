//! `POST /api/ingest`: a bare payment payload from a trusted caller becomes an envelope, as in the original. Needs an API key.

use crate::body::read_body;
use crate::error::ApiError;
use crate::publishing::{Accepted, Events};
use crate::{Edge, metrics};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use contracts::kafka::headers as h;
use runtime::clock::now_micros;
use runtime::publisher::{OutRecord, RecordHeaders};
use serde_json::value::RawValue;
use std::sync::Arc;

/// The source name of what comes in here.
pub(crate) const SOURCE: &str = "ingest";
/// Largest payload, in bytes.
const LIMIT: usize = 256 << 10;

/// `POST /api/ingest`: a bare payload under the API key, without a signature.
pub(crate) async fn receive(State(edge): State<Arc<Edge>>, request: Request<Body>) -> Response {
    let result = ingest(&edge, request).await;
    result.unwrap_or_else(|error| {
        ::metrics::counter!(metrics::REQUESTS, "source" => SOURCE, "code" => error.code())
            .increment(1);
        error.into_response()
    })
}

async fn ingest(edge: &Edge, request: Request<Body>) -> Result<Response, ApiError> {
    let key = edge.ingest_api_key.as_ref().ok_or(ApiError::IngestClosed)?;
    let _permit = edge
        .in_flight
        .try_acquire()
        .map_err(|_| ApiError::Overloaded)?;
    if edge.shutdown.is_cancelled() {
        return Err(ApiError::Draining);
    }
    let given = request
        .headers()
        .get("x-api-key")
        .ok_or(ApiError::BadApiKey)?;
    if !key.ct_eq(given.as_bytes()) {
        return Err(ApiError::BadApiKey);
    }
    let traceparent = runtime::traceparent::carry_or_make(
        request
            .headers()
            .get("traceparent")
            .map(axum::http::HeaderValue::as_bytes),
    );
    let body = read_body(edge, request.into_body(), LIMIT).await?;
    let payload: &RawValue =
        serde_json::from_slice(&body).map_err(|_| ApiError::MalformedPayload)?;
    if !payload.get().starts_with('{') {
        return Err(ApiError::MalformedPayload);
    }
    let event_id = uuid::Uuid::now_v7().to_string();
    let received_at = now_micros();
    let timestamp = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(received_at) * 1000)
        .ok()
        .and_then(|at| {
            at.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_default();
    // The payload's own text, so that an amount keeps its digits.
    let envelope = format!(
        r#"{{"event_id":"{event_id}","event_type":"payment.authorized.v1","schema_version":1,"source":"{SOURCE}","timestamp":"{timestamp}","payload":{}}}"#,
        payload.get()
    );
    #[derive(serde::Deserialize)]
    struct Entity {
        payment_id: Option<String>,
    }
    let entity = serde_json::from_str::<Entity>(payload.get())
        .ok()
        .and_then(|entity| entity.payment_id)
        .filter(|id| !id.is_empty());
    let received_at = received_at.to_string();
    let headers = RecordHeaders::new(6)
        .with(h::SOURCE, Some(SOURCE))
        .with(h::EVENT_ID, Some(&event_id))
        .with(h::RECEIVED_AT, Some(&received_at))
        .with(h::SCHEME, Some("api-key"))
        .with(h::CONTENT_TYPE, Some("application/json"))
        .with(h::TRACEPARENT, Some(&traceparent));
    let mut events = Events::of(edge, SOURCE, 1);
    let key = entity.as_deref().unwrap_or(&event_id).as_bytes();
    events.add(OutRecord {
        topic: &edge.topic,
        key: Some(key),
        value: Some(envelope.as_bytes()),
        headers,
    })?;
    events.settle(edge).await?;
    Ok(Json(Accepted::one(SOURCE, Some(&event_id))).into_response())
}
