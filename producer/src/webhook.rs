//! `POST /api/webhooks/{source}` and `/batch`: verify, publish, await the acknowledgement, answer.

use crate::error::ApiError;
use crate::{Edge, metrics};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::headers as h;
use contracts::signature::Verdict;
use contracts::source::Source;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use runtime::publisher::{Batch, OutRecord, PublishError};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Receives one event.
pub async fn receive(State(edge): State<Arc<Edge>>, Path(name): Path<String>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let result = receive_one(&edge, &name, request).await;
    answer(&edge, &name, started, result)
}

/// Receives many events under one signature. 200 only when every one is acknowledged.
pub async fn receive_batch(State(edge): State<Arc<Edge>>, Path(name): Path<String>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let result = receive_many(&edge, &name, request).await;
    answer(&edge, &name, started, result)
}

fn answer(edge: &Edge, name: &str, started: Instant, result: Result<Response, ApiError>) -> Response {
    // Only configured names become labels: the path is the client's.
    let source = edge.sources.get(name).map_or_else(|| "unknown".to_owned(), |source| source.name.clone());
    let code = result.as_ref().map_or_else(ApiError::code, |_| "accepted");
    ::metrics::counter!(metrics::REQUESTS, "source" => source, "code" => code).increment(1);
    ::metrics::histogram!(metrics::REQUEST_SECONDS).record(started.elapsed());
    result.unwrap_or_else(|error| {
        tracing::debug!(event = "request_refused", code = error.code());
        error.into_response()
    })
}

async fn receive_one(edge: &Edge, name: &str, request: Request<Body>) -> Result<Response, ApiError> {
    let source = edge.sources.get(name).ok_or(ApiError::UnknownSource)?;
    let _permit = edge.in_flight.try_acquire().map_err(|_| ApiError::Overloaded)?;
    let (headers, body) = read(edge, source, request, source.body_limit_bytes).await?;
    let verdict = verify(edge, source, &headers, &body)?;
    edge.quotas.admit(&source.name, 1)?;
    let event_id = source.event_id.find(&headers, &body);
    let context = Context::new(source, &headers, &verdict, None);
    let mut events = Events::of(edge, &source.name, 1);
    context.publish(&mut events, edge, &body, event_id.as_deref())?;
    events.settle(edge).await?;
    Ok(Json(serde_json::json!({"status": "accepted", "event_id": event_id, "source": source.name})).into_response())
}

async fn receive_many(edge: &Edge, name: &str, request: Request<Body>) -> Result<Response, ApiError> {
    let source = edge.sources.get(name).ok_or(ApiError::UnknownSource)?;
    let _permit = edge.in_flight.try_acquire().map_err(|_| ApiError::Overloaded)?;
    let (headers, body) = read(edge, source, request, source.batch_limit_bytes).await?;
    let verdict = verify(edge, source, &headers, &body)?;
    let events = split(&body)?;
    if events.len() > edge.batch_max_events {
        return Err(ApiError::TooManyEvents(edge.batch_max_events));
    }
    edge.quotas.admit(&source.name, events.len())?;
    // A part cannot be verified alone: each says which signed body it is a part of.
    let whole = format!("sha256:{}", hex::encode(Sha256::digest(&body)));
    let context = Context::new(source, &headers, &verdict, Some(&whole));
    let mut published = Events::of(edge, &source.name, events.len());
    for event in &events {
        context.publish(&mut published, edge, event, source.event_id.find(&headers, event).as_deref())?;
    }
    published.settle(edge).await?;
    Ok(Json(serde_json::json!({"status": "accepted", "accepted": events.len(), "source": source.name})).into_response())
}

/// The cheap checks, then the body within its limits of size and time.
async fn read(edge: &Edge, source: &Source, request: Request<Body>, limit: usize) -> Result<(HeaderMap, Bytes), ApiError> {
    let ambiguous =
        request.extensions().get::<crate::server::AmbiguousLength>().is_some_and(crate::server::AmbiguousLength::seen);
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    if ambiguous || (headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING)) {
        return Err(ApiError::AmbiguousLength);
    }
    if edge.shutdown.is_cancelled() {
        return Err(ApiError::Draining);
    }
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::UnsupportedEncoding);
    }
    source.verifier.precheck(&headers).map_err(|error| edge.quotas.failed(&source.name, error.into()))?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::BodyTooLarge(limit));
    }
    let body = read_body(edge, body, limit).await?;
    Ok((headers, body))
}

/// The whole body, or why not.
pub(crate) async fn read_body(edge: &Edge, body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(edge.body_timeout, Limited::new(body, limit).collect()).await;
    let body = match collected {
        Err(_) => return Err(ApiError::BodyTimeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(ApiError::BodyTooLarge(limit)),
        Ok(Err(_)) => return Err(ApiError::BrokenBody),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    if body.is_empty() { Err(ApiError::EmptyBody) } else { Ok(body) }
}

fn verify<'a>(edge: &'a Edge, source: &'a Source, headers: &HeaderMap, body: &[u8]) -> Result<Verdict<'a>, ApiError> {
    source
        .verifier
        .verify(headers, body, now_micros() / 1_000_000)
        .map_err(|error| edge.quotas.failed(&source.name, error.into()))
}

/// The events of one request, from the Kafka client to their acknowledgements.
pub(crate) struct Events<'a> {
    batch: Batch,
    unconfirmed: Unconfirmed<'a>,
}

/// Events that may be in the topic without a 200: counted however the request ends, also when its client goes away in the middle.
struct Unconfirmed<'a> {
    source: &'a str,
    events: u64,
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if self.events > 0 {
            ::metrics::counter!(metrics::UNCONFIRMED, "source" => self.source.to_owned()).increment(self.events);
        }
    }
}

impl<'a> Events<'a> {
    pub(crate) fn of(edge: &Edge, source: &'a str, expected: usize) -> Self {
        Self { batch: edge.publisher.batch(expected), unconfirmed: Unconfirmed { source, events: 0 } }
    }

    pub(crate) fn add(&mut self, record: OutRecord<'_>) -> Result<(), PublishError> {
        self.batch.add(record)?;
        self.unconfirmed.events += 1;
        Ok(())
    }

    /// Waits for every acknowledgement.
    pub(crate) async fn settle(self, edge: &Edge) -> Result<(), ApiError> {
        let Self { batch, mut unconfirmed } = self;
        let started = Instant::now();
        let failed = batch.wait(edge.publish_deadline).await;
        ::metrics::histogram!(metrics::ACK_SECONDS).record(started.elapsed());
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error.into());
        }
        let accepted = std::mem::take(&mut unconfirmed.events);
        ::metrics::counter!(metrics::EVENTS, "source" => unconfirmed.source.to_owned()).increment(accepted);
        Ok(())
    }
}

/// NDJSON, or a JSON array, by its first byte. The parts are the body's own bytes.
fn split(body: &[u8]) -> Result<Vec<&[u8]>, ApiError> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        let parts: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| ApiError::MalformedBatch(error.to_string()))?;
        let parts: Vec<_> = parts.into_iter().map(|part| part.get().as_bytes()).collect();
        return if parts.is_empty() { Err(ApiError::EmptyBody) } else { Ok(parts) };
    }
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { Err(ApiError::EmptyBody) } else { Ok(lines) }
}

/// What all records of one request have in common.
struct Context<'a> {
    source: &'a Source,
    headers: &'a HeaderMap,
    secret_id: &'a str,
    received_at: String,
    traceparent: String,
    whole: Option<&'a str>,
}

impl<'a> Context<'a> {
    fn new(source: &'a Source, headers: &'a HeaderMap, verdict: &'a Verdict<'_>, whole: Option<&'a str>) -> Self {
        Self {
            source,
            headers,
            secret_id: verdict.secret_id,
            received_at: now_micros().to_string(),
            traceparent: runtime::traceparent::carry_or_make(headers.get("traceparent").map(header::HeaderValue::as_bytes)),
            whole,
        }
    }

    fn publish(&self, events: &mut Events<'_>, edge: &Edge, body: &[u8], event_id: Option<&str>) -> Result<(), ApiError> {
        let entity_key: Option<Cow<'_, str>> = self.source.entity_key.find(self.headers, body);
        let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(12);
        headers.push((h::SOURCE, self.source.name.as_bytes()));
        if let Some(event_id) = event_id {
            headers.push((h::EVENT_ID, event_id.as_bytes()));
        }
        headers.push((h::RECEIVED_AT, self.received_at.as_bytes()));
        headers.push((h::SCHEME, self.source.scheme_name.as_bytes()));
        headers.push((h::SECRET_ID, self.secret_id.as_bytes()));
        for name in self.source.verifier.signature_headers() {
            if let Some(value) = self.headers.get(name) {
                headers.push((name, value.as_bytes()));
            }
        }
        if let Some(whole) = self.whole {
            headers.push((h::BATCH, whole.as_bytes()));
        }
        if let Some(content_type) = self.headers.get(header::CONTENT_TYPE) {
            headers.push((h::CONTENT_TYPE, content_type.as_bytes()));
        }
        headers.push((h::TRACEPARENT, self.traceparent.as_bytes()));
        // Events of one entity keep their order; without a key a record goes to any partition, never to one hot one.
        let key = entity_key.as_deref().or(event_id).map(str::as_bytes);
        events.add(OutRecord { topic: &edge.topic, key, value: Some(body), headers: &headers })?;
        Ok(())
    }
}

/// Microseconds since the epoch.
pub(crate) fn now_micros() -> i64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
