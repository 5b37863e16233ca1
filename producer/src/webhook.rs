//! `POST /api/webhooks/{source}` and `/batch`: verify, publish, await the acknowledgement, answer.

use crate::body::read_body;
use crate::error::ApiError;
use crate::publishing::{Accepted, Events};
use crate::{Edge, metrics};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::kafka::headers as h;
use contracts::webhook::signature::SignatureVerdict;
use contracts::webhook::source::Source;
use runtime::clock::now_micros;
use runtime::publisher::{OutRecord, RecordHeaders};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

/// Receives one event.
pub(crate) async fn receive(
    State(edge): State<Arc<Edge>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let started = Instant::now();
    let result = receive_one(&edge, &name, request).await;
    answer(&edge, &name, started, result)
}

/// Receives many events under one signature. 200 only when every one is acknowledged.
pub(crate) async fn receive_batch(
    State(edge): State<Arc<Edge>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let started = Instant::now();
    let result = receive_many(&edge, &name, request).await;
    answer(&edge, &name, started, result)
}

fn answer(
    edge: &Edge,
    name: &str,
    started: Instant,
    result: Result<Response, ApiError>,
) -> Response {
    edge.meters.request_seconds.record(started.elapsed());
    result.unwrap_or_else(|error| {
        // Only configured names become labels: the path is the client's.
        let source = edge
            .sources
            .get(name)
            .map_or_else(|| "unknown".to_owned(), |source| source.name.clone());
        ::metrics::counter!(metrics::REQUESTS, "source" => source, "code" => error.code())
            .increment(1);
        tracing::debug!(event = "request_refused", code = error.code());
        error.into_response()
    })
}

async fn receive_one(
    edge: &Edge,
    name: &str,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let source = edge.sources.get(name).ok_or(ApiError::UnknownSource)?;
    let _permit = edge
        .in_flight
        .try_acquire()
        .map_err(|_| ApiError::Overloaded)?;
    let (headers, body) = read(edge, source, request, source.body_limit_bytes).await?;
    let verdict = verify(edge, source, &headers, &body)?;
    edge.quotas.admit(&source.name, 1)?;
    let common = common_headers(source, &headers, &verdict);
    let event_id = source.event_id.find(&headers, &body);
    let mut events = Events::of(edge, &source.name, 1);
    publish(
        edge,
        source,
        &headers,
        common,
        &mut events,
        &body,
        event_id.as_deref(),
    )?;
    events.settle(edge).await?;
    Ok(Json(Accepted::one(&source.name, event_id.as_deref())).into_response())
}

async fn receive_many(
    edge: &Edge,
    name: &str,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let source = edge.sources.get(name).ok_or(ApiError::UnknownSource)?;
    let _permit = edge
        .in_flight
        .try_acquire()
        .map_err(|_| ApiError::Overloaded)?;
    let (headers, body) = read(edge, source, request, source.batch_limit_bytes).await?;
    let verdict = verify(edge, source, &headers, &body)?;
    let events = split(&body)?;
    if events.len() > edge.batch_max_events {
        return Err(ApiError::TooManyEvents(edge.batch_max_events));
    }
    if events
        .iter()
        .any(|event| event.len() > source.body_limit_bytes)
    {
        return Err(ApiError::EventTooLarge(source.body_limit_bytes));
    }
    edge.quotas.admit(&source.name, events.len())?;
    // A part cannot be verified alone: each names the signed body it is a part of.
    let whole = format!("sha256:{}", hex::encode(Sha256::digest(&body)));
    let common = common_headers(source, &headers, &verdict).with(h::BATCH, Some(&whole));
    let mut published = Events::of(edge, &source.name, events.len());
    for event in &events {
        let event_id = source.event_id.find(&headers, event);
        publish(
            edge,
            source,
            &headers,
            common.clone(),
            &mut published,
            event,
            event_id.as_deref(),
        )?;
    }
    published.settle(edge).await?;
    Ok(Json(Accepted::many(&source.name, events.len())).into_response())
}

/// The cheap checks, then the body within its limits of size and time.
async fn read(
    edge: &Edge,
    source: &Source,
    request: Request<Body>,
    limit: usize,
) -> Result<(HeaderMap, Bytes), ApiError> {
    let ambiguous = request
        .extensions()
        .get::<runtime::http::AmbiguousLength>()
        .is_some_and(runtime::http::AmbiguousLength::seen);
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    if ambiguous
        || (headers.contains_key(header::CONTENT_LENGTH)
            && headers.contains_key(header::TRANSFER_ENCODING))
    {
        return Err(ApiError::AmbiguousLength);
    }
    if edge.shutdown.is_cancelled() {
        return Err(ApiError::Draining);
    }
    if headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(ApiError::UnsupportedEncoding);
    }
    source
        .verifier
        .precheck(&headers)
        .map_err(|error| edge.quotas.failed(&source.name, error.into()))?;
    let declared = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::BodyTooLarge(limit));
    }
    let body = read_body(edge, body, limit).await?;
    Ok((headers, body))
}

fn verify<'a>(
    edge: &'a Edge,
    source: &'a Source,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<SignatureVerdict<'a>, ApiError> {
    source
        .verifier
        .verify(headers, body, now_micros() / 1_000_000)
        .map_err(|error| edge.quotas.failed(&source.name, error.into()))
}

/// NDJSON, or a JSON array, by its first byte. The parts are the body's own bytes.
fn split(body: &[u8]) -> Result<Vec<&[u8]>, ApiError> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        let parts: Vec<&RawValue> = serde_json::from_slice(body)
            .map_err(|error| ApiError::MalformedBatch(error.to_string()))?;
        let parts: Vec<_> = parts
            .into_iter()
            .map(|part| part.get().as_bytes())
            .collect();
        return if parts.is_empty() {
            Err(ApiError::EmptyBody)
        } else {
            Ok(parts)
        };
    }
    let ends = memchr::memchr_iter(b'\n', body).chain([body.len()]);
    let lines = ends.scan(0, |start, end| {
        Some(&body[std::mem::replace(start, end)..end])
    });
    let lines: Vec<_> = lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        Err(ApiError::EmptyBody)
    } else {
        Ok(lines)
    }
}

/// The headers that all records of one request have in common.
fn common_headers(
    source: &Source,
    headers: &HeaderMap,
    verdict: &SignatureVerdict<'_>,
) -> RecordHeaders {
    let traceparent = runtime::traceparent::carry_or_make(
        headers
            .get("traceparent")
            .map(header::HeaderValue::as_bytes),
    );
    let mut common = RecordHeaders::new(12)
        .with(h::SOURCE, Some(&source.name))
        .with(h::RECEIVED_AT, Some(&now_micros().to_string()))
        .with(h::SCHEME, Some(&source.scheme_name))
        .with(h::SECRET_ID, Some(verdict.secret_id))
        .with(h::TRACEPARENT, Some(&traceparent));
    for name in source.verifier.signature_headers() {
        if let Some(value) = headers.get(name) {
            common = common.with(name.as_str(), Some(value));
        }
    }
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        common = common.with(h::CONTENT_TYPE, Some(content_type));
    }
    common
}

/// Hands one event to the Kafka client.
fn publish(
    edge: &Edge,
    source: &Source,
    headers: &HeaderMap,
    common: RecordHeaders,
    events: &mut Events<'_>,
    body: &[u8],
    event_id: Option<&str>,
) -> Result<(), ApiError> {
    let entity_key: Option<Cow<'_, str>> = source.entity_key.find(headers, body);
    let headers = if event_id.is_some() {
        common.with(h::EVENT_ID, event_id)
    } else {
        common
    };
    // Events of one entity keep their order; without a key a record goes to any partition, never to one hot one.
    let key = entity_key.as_deref().or(event_id).map(str::as_bytes);
    events.add(OutRecord {
        topic: &edge.topic,
        key,
        value: Some(body),
        headers,
    })?;
    Ok(())
}
