//! `POST /api/ingest`: a bare payload of a trusted caller becomes an event in an envelope. Needs an API key.

use crate::Edge;
use crate::body::{check_length, read_body};
use crate::error::ApiError;
use crate::publishing::{Accepted, Events};
use crate::rejections::Refused;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use contracts::kafka::headers as h;
use runtime::clock::now_micros;
use runtime::publisher::{OutRecord, RecordHeaders};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The source name of what comes in here.
pub(crate) const SOURCE: &str = contracts::webhook::source::INGEST;
/// Largest payload, in bytes.
pub(crate) const LIMIT: usize = 256 << 10;

/// EventFlow's own.
#[derive(Serialize)]
struct Envelope<'a> {
    event_id: &'a str,
    event_type: &'a str,
    timestamp: &'a str,
    payload: &'a RawValue,
}

/// `POST /api/ingest` and `/api/ingest/{event_type}`: a bare payload under the API key, without a signature.
pub(crate) async fn receive(
    State(edge): State<Arc<Edge>>,
    event_type: Option<Path<String>>,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    let event_type = event_type.as_ref().map(|Path(name)| name.as_str());
    let result = ingest(&edge, event_type, &head, body).await;
    result.unwrap_or_else(|error| {
        let refused = Refused {
            source: None,
            name: SOURCE,
            head: &head,
            body: None,
            peer: edge.proxies.client(&head.extensions, &head.headers),
        };
        edge.refused(&refused, &error);
        error.into_response()
    })
}

async fn ingest(
    edge: &Edge,
    event_type: Option<&str>,
    head: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let key = edge.ingest_api_key.as_ref().ok_or(ApiError::IngestClosed)?;
    check_length(&head.extensions, &head.headers)?;
    if edge.shutdown.is_cancelled() {
        return Err(ApiError::Draining);
    }
    let given = head.headers.get("x-api-key").ok_or(ApiError::BadApiKey)?;
    if !key.ct_eq(given.as_bytes()) {
        return Err(ApiError::BadApiKey);
    }
    let traceparent = runtime::traceparent::carry_or_make(
        head.headers
            .get("traceparent")
            .map(axum::http::HeaderValue::as_bytes),
    );
    let mut charge = edge.open(&head.extensions, &head.headers)?;
    // The key came with the head: nobody else gets this far.
    charge.verified();
    let body = read_body(&mut charge, edge.pace, body, LIMIT).await?;
    let _permit = edge.admit()?;
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
    let vendors = edge.vendors();
    let described = vendors.sources.ingest();
    let event_type = event_type.unwrap_or(&described.event_type);
    // The payload's own text, so that an amount keeps its digits.
    let envelope = serde_json::to_vec(&Envelope {
        event_id: &event_id,
        event_type,
        timestamp: &timestamp,
        payload,
    })
    .map_err(|_| ApiError::MalformedPayload)?;
    let entity = described.event.entity.locate(&head.headers, &envelope);
    let received_at = received_at.to_string();
    let headers = RecordHeaders::new(6)
        .with(h::SOURCE, Some(SOURCE))
        .with(h::EVENT_ID, Some(&event_id))
        .with(h::RECEIVED_AT, Some(&received_at))
        .with(h::SCHEME, Some("api-key"))
        .with(h::CONTENT_TYPE, Some("application/json"))
        .with(h::TRACEPARENT, Some(&traceparent));
    let mut events = Events::of(edge, SOURCE, &edge.meters.ingest, 1);
    let key = entity
        .as_ref()
        .map_or(event_id.as_str(), |entity| &*entity.text);
    events.add(OutRecord {
        topic: &edge.topic,
        key: Some(key.as_bytes()),
        value: Some(&envelope),
        headers,
    })?;
    events.settle(edge, edge.publish_deadline).await?;
    Ok(Json(Accepted::one(SOURCE, Some(&event_id))).into_response())
}
