//! The events of one request: handed to the Kafka client, acknowledged, counted, answered.

use crate::Edge;
use crate::error::ApiError;
use crate::metrics::{self, SourceMeter};
use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use contracts::webhook::source::Source;
use runtime::faults;
use runtime::publisher::{Batch, OutRecord, PublishError};
use std::time::{Duration, Instant};

/// The events of one request, from the Kafka client to their acknowledgements.
pub(crate) struct Events<'a> {
    batch: Batch,
    meter: &'a SourceMeter,
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
            ::metrics::counter!(metrics::UNCONFIRMED, "source" => self.source.to_owned())
                .increment(self.events);
        }
    }
}

impl<'a> Events<'a> {
    /// At most `expected` events.
    pub(crate) fn of(
        edge: &Edge,
        source: &'a str,
        meter: &'a SourceMeter,
        expected: usize,
    ) -> Self {
        Self {
            batch: edge.publisher.batch(expected),
            meter,
            unconfirmed: Unconfirmed { source, events: 0 },
        }
    }

    pub(crate) fn add(&mut self, record: OutRecord<'_>) -> Result<(), PublishError> {
        self.batch.add(record)?;
        self.unconfirmed.events += 1;
        Ok(())
    }

    /// Waits for every acknowledgement, as long as the vendor waits for the answer. The records stay with the Kafka client after that.
    pub(crate) async fn settle(self, edge: &Edge, deadline: Duration) -> Result<(), ApiError> {
        let Self {
            batch,
            meter,
            mut unconfirmed,
        } = self;
        faults::kill_point("edge_handed_over");
        if faults::planted("answer_before_ack") {
            return Ok(());
        }
        let started = Instant::now();
        let mut failed = batch.wait(deadline).await;
        if faults::planted("deadline_is_success") {
            failed.retain(|(_, error)| !matches!(error, PublishError::NotAcknowledged(_)));
        }
        let waited = started.elapsed();
        edge.meters.ack_seconds.record(waited);
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(ApiError::Publish { error, waited });
        }
        meter.accepted(std::mem::take(&mut unconfirmed.events));
        faults::kill_point("edge_acknowledged");
        Ok(())
    }
}

/// The answer to what was accepted: the source's own, where it has one.
pub(crate) fn success(source: &Source, accepted: Accepted<'_>) -> Response {
    let Some(answer) = &source.answer else {
        return Json(accepted).into_response();
    };
    let mut response = (answer.status, answer.body.clone()).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if let Some(kind) = &answer.content_type {
        headers.insert(header::CONTENT_TYPE, kind.clone());
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    }
    response
}

/// What was accepted.
#[derive(serde::Serialize)]
pub(crate) struct Accepted<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<Option<&'a str>>,
    source: &'a str,
}

impl<'a> Accepted<'a> {
    pub(crate) fn one(source: &'a str, event_id: Option<&'a str>) -> Self {
        Self {
            status: "accepted",
            accepted: None,
            event_id: Some(event_id),
            source,
        }
    }

    pub(crate) fn many(source: &'a str, events: usize) -> Self {
        Self {
            status: "accepted",
            accepted: Some(events),
            event_id: None,
            source,
        }
    }
}
