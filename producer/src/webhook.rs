//! `/api/webhooks/{source}` and `/batch`: verify, publish, await the acknowledgement, answer.

use crate::Edge;
use crate::batch;
use crate::error::ApiError;
use crate::handshake;
use crate::proof::{Admitted, Proof};
use crate::publishing::{Accepted, Events, success};
use crate::reading::{Received, open, read};
use crate::records::{Part, common_headers, publish};
use crate::rejections::{Refused, name_of};
use crate::repeats::{self, PostedTo};
use crate::vendors::Vendors;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::request::Parts as Head;
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::kafka::headers as h;
use contracts::webhook::body::Parts;
use contracts::webhook::source::Source;
use runtime::publisher::RecordHeaders;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// Receives the event, or the events, of one body.
pub(crate) async fn receive(
    State(edge): State<Arc<Edge>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (started, vendors) = (Instant::now(), edge.vendors());
    let (head, body) = request.into_parts();
    let mut read = None;
    let result = receive_one(&edge, &vendors, &name, (&head, body), &mut read).await;
    let seen = (&head, read.as_deref());
    answer(&edge, &vendors, &name, seen, started, result)
}

/// Receives many events under one signature. 200 only when every one is acknowledged.
pub(crate) async fn receive_batch(
    State(edge): State<Arc<Edge>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (started, vendors) = (Instant::now(), edge.vendors());
    let (head, body) = request.into_parts();
    let mut read = None;
    let result = receive_many(&edge, &vendors, &name, (&head, body), &mut read).await;
    let seen = (&head, read.as_deref());
    answer(&edge, &vendors, &name, seen, started, result)
}

/// Another method than POST: a handshake of a source that is asked by GET, or refused.
pub(crate) async fn other_method(
    State(edge): State<Arc<Edge>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let (started, vendors) = (Instant::now(), edge.vendors());
    let (head, _) = request.into_parts();
    let result = handshake::by_get(&vendors, &name, &head);
    let refused = result.is_err();
    let seen = (&head, None);
    let mut response = answer(&edge, &vendors, &name, seen, started, result);
    if refused {
        let source = vendors.sources.get(&name);
        handshake::allow(source, response.headers_mut());
    }
    response
}

fn answer(
    edge: &Edge,
    vendors: &Vendors,
    name: &str,
    (head, body): (&Head, Option<&[u8]>),
    started: Instant,
    result: Result<Response, ApiError>,
) -> Response {
    let source = vendors.sources.get(name);
    let seconds = source.map_or(&edge.meters.unknown_seconds, |source| {
        &vendors.meter(source).request_seconds
    });
    seconds.record(started.elapsed());
    result.unwrap_or_else(|error| {
        let refused = Refused {
            source,
            name: name_of(source),
            head,
            body,
            peer: edge.proxies.client(&head.extensions, &head.headers),
        };
        edge.refused(&refused, &error);
        tracing::debug!(event = "request_refused", code = error.code());
        error.into_response()
    })
}

async fn receive_one(
    edge: &Edge,
    vendors: &Vendors,
    name: &str,
    (head, body): (&Head, Body),
    read_body: &mut Option<Bytes>,
) -> Result<Response, ApiError> {
    let source = vendors.sources.get(name).ok_or(ApiError::UnknownSource)?;
    if let Some(answered) = handshake::unsigned_post(vendors, source, head) {
        return answered;
    }
    let limit = match source.body.has_items() {
        true => source.batch_limit_bytes,
        false => source.body_limit_bytes,
    };
    let mut received = read(edge, vendors, source, (head, body), limit).await?;
    *read_body = Some(received.body.clone());
    let proof = Proof::of(vendors, source, &received.signed())?;
    let admitted = proof.admit(edge, vendors, source, &mut received, PostedTo::Single)?;
    let opened = open(source, &received.body, &mut received.charge)?;
    let body = &received.body;
    if let Proof::Verified(verdict) = &proof
        && let Some(answered) =
            handshake::signed(vendors, source, head, opened.as_deref(), verdict.secret_id)
    {
        return answered;
    }
    if source.body.has_items()
        && let Some(plain) = &opened
    {
        match source.body.parts(plain, edge.batch_max_events) {
            Parts::Events(events) => {
                let request = (vendors, source, &received);
                return publish_all(edge, request, &proof, admitted, &events).await;
            }
            Parts::TooMany => return Err(ApiError::TooManyEvents(edge.batch_max_events)),
            // One record and no event: the validator says so.
            Parts::None => {}
        }
    }
    proof.admit_events(vendors, source, 1)?;
    let common = common_headers(source, head, &proof);
    let json = opened.as_deref().unwrap_or_default();
    let event_id = source.event.id.locate(&head.headers, json);
    let mut events = Events::of(edge, &source.name, vendors.meter(source), 1);
    publish(
        edge,
        source,
        &head.headers,
        common,
        &mut events,
        Part {
            value: body,
            json,
            digest: admitted.body.as_ref().map(repeats::Body::digest),
            item: 0,
        },
        event_id.as_ref(),
    )?;
    events.settle(edge, edge.deadline_of(source)).await?;
    proof.count(source, 1);
    if let Some(seen) = admitted.body {
        seen.accepted(true, Instant::now());
    }
    let event_id = event_id.map(|found| found.text);
    Ok(success(
        source,
        Accepted::one(&source.name, event_id.as_deref()),
    ))
}

async fn receive_many(
    edge: &Edge,
    vendors: &Vendors,
    name: &str,
    (head, body): (&Head, Body),
    read_body: &mut Option<Bytes>,
) -> Result<Response, ApiError> {
    let source = vendors.sources.get(name).ok_or(ApiError::UnknownSource)?;
    if !source.batches {
        return Err(ApiError::BatchesOff);
    }
    let limit = source.batch_limit_bytes;
    let mut received = read(edge, vendors, source, (head, body), limit).await?;
    *read_body = Some(received.body.clone());
    let proof = Proof::of(vendors, source, &received.signed())?;
    let admitted = proof.admit(edge, vendors, source, &mut received, PostedTo::Batch)?;
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let events = batch::split(content_type, &received.body)?;
    if events.len() > edge.batch_max_events {
        return Err(ApiError::TooManyEvents(edge.batch_max_events));
    }
    let request = (vendors, source, &received);
    publish_all(edge, request, &proof, admitted, &events).await
}

/// The events of one signed body, all or nothing.
async fn publish_all(
    edge: &Edge,
    (vendors, source, received): (&Vendors, &Source, &Received<'_>),
    proof: &Proof<'_>,
    admitted: Admitted<'_>,
    events: &[&[u8]],
) -> Result<Response, ApiError> {
    let Received { head, body, .. } = received;
    if events
        .iter()
        .any(|event| event.len() > source.body_limit_bytes)
    {
        return Err(ApiError::EventTooLarge(source.body_limit_bytes));
    }
    // An empty array is a request of its own, too: it takes one.
    proof.admit_events(vendors, source, events.len().max(1))?;
    // A part cannot be verified alone: each names the signed body it is a part of.
    let whole = format!("sha256:{}", hex::encode(Sha256::digest(body)));
    let common: RecordHeaders = common_headers(source, head, proof).with(h::BATCH, Some(&whole));
    let meter = vendors.meter(source);
    let mut published = Events::of(edge, &source.name, meter, events.len());
    let digest = admitted.body.as_ref().map(repeats::Body::digest);
    for (item, event) in events.iter().copied().enumerate() {
        let event_id = source.event.id.locate(&head.headers, event);
        publish(
            edge,
            source,
            &head.headers,
            common.clone(),
            &mut published,
            Part {
                value: event,
                json: event,
                digest,
                item,
            },
            event_id.as_ref(),
        )?;
    }
    published.settle(edge, edge.deadline_of(source)).await?;
    proof.count(source, events.len());
    if let Some(seen) = admitted.body {
        let is_the_body = events
            .first()
            .is_some_and(|first| *first == body.trim_ascii());
        seen.accepted(is_the_body, Instant::now());
    }
    Ok(success(source, Accepted::many(&source.name, events.len())))
}
