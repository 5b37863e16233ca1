//! The raw records of a request.

use crate::Edge;
use crate::error::ApiError;
use crate::metrics;
use crate::proof::Proof;
use crate::publishing::Events;
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, header};
use contracts::event::Located;
use contracts::kafka::headers as h;
use contracts::webhook::source::Source;
use runtime::clock::now_micros;
use runtime::faults;
use runtime::publisher::{OutRecord, RecordHeaders};

/// The headers that all records of one request have in common: ours, then the vendor's.
pub(crate) fn common_headers(source: &Source, head: &Head, proof: &Proof<'_>) -> RecordHeaders {
    let headers = &head.headers;
    let traceparent = runtime::traceparent::carry_or_make(
        headers
            .get("traceparent")
            .map(header::HeaderValue::as_bytes),
    );
    let mut common = RecordHeaders::new(headers.len() + 10)
        .with(h::SOURCE, Some(&source.name))
        .with(h::RECEIVED_AT, Some(&now_micros().to_string()))
        .with(h::SCHEME, Some(&source.scheme_name))
        .with(h::TRACEPARENT, Some(&traceparent));
    common = proof.headers(common);
    if let Some(query) = head.uri.query()
        && source.verifier.signs_query()
    {
        common = common.with(h::QUERY, Some(query));
    }
    let mut kept = source.kept_headers.of(headers);
    if faults::planted("vendor_headers_dropped") {
        kept.headers.clear();
    }
    for (name, value) in kept.headers {
        common = common.with(name.as_str(), Some(value));
    }
    if kept.left_out > 0 {
        ::metrics::counter!(metrics::HEADERS_LEFT_OUT, "source" => source.name.clone())
            .increment(kept.left_out as u64);
        common = common.with(h::LEFT_OUT, Some(&kept.left_out.to_string()));
    }
    common
}

/// One event of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// Its record's value
    pub(crate) value: &'a [u8],
    /// The JSON that its id and key are found in
    pub(crate) json: &'a [u8],
    /// Digest of the signed body, where one is kept
    pub(crate) digest: Option<[u8; 32]>,
    /// Its place in the body, from 0 on
    pub(crate) item: usize,
}

/// Hands one event to the Kafka client.
pub(crate) fn publish(
    edge: &Edge,
    source: &Source,
    headers: &HeaderMap,
    common: RecordHeaders,
    events: &mut Events<'_>,
    part: Part<'_>,
    event_id: Option<&Located<'_>>,
) -> Result<(), ApiError> {
    let entity_key = source.event.entity.locate(headers, part.json);
    let place = |found: &Located<'_>| found.place;
    let unsigned = source.unsigned(event_id.map(place), entity_key.as_ref().map(place));
    let mut headers = common;
    if let Some(found) = event_id {
        headers = headers.with(h::EVENT_ID, Some(&*found.text));
    }
    if let Some(names) = unsigned {
        headers = headers.with(h::UNSIGNED, Some(&names));
    }
    if let Some(body) = signed_body(source, event_id.map(place), part) {
        headers = headers.with(h::SIGNED_BODY, Some(&body.to_string()));
    }
    // Events of one entity keep their order; without a key a record goes to any partition, never to one hot one.
    let key = entity_key.as_ref().or(event_id);
    let key = key.map(|found| found.text.as_bytes());
    let rewritten = match faults::planted("raw_json_rewritten") {
        true => serde_json::from_slice::<serde_json::Value>(part.json).ok(),
        false => None,
    };
    let rewritten = rewritten.map(|json| json.to_string());
    let value = rewritten.as_ref().map_or(part.value, String::as_bytes);
    events.add(OutRecord {
        topic: &edge.topic,
        key,
        value: Some(value),
        headers,
    })?;
    Ok(())
}

/// How a copy of an event under another id is known, where its id is not signed.
fn signed_body(source: &Source, event_id: Option<usize>, part: Part<'_>) -> Option<h::SignedBody> {
    let horizon = source.copy_horizon(event_id)?;
    let horizon = i64::try_from(horizon.as_micros()).ok()?;
    Some(h::SignedBody {
        until_micros: now_micros().saturating_add(horizon),
        item: i32::try_from(part.item).ok()?,
        digest: part.digest?,
    })
}
