//! The events of one request: handed to the Kafka client, acknowledged, counted, answered.

use crate::error::ApiError;
use crate::{Edge, metrics};
use runtime::publisher::{Batch, OutRecord, PublishError};
use std::time::Instant;

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
            ::metrics::counter!(metrics::UNCONFIRMED, "source" => self.source.to_owned())
                .increment(self.events);
        }
    }
}

impl<'a> Events<'a> {
    /// At most `expected` events.
    pub(crate) fn of(edge: &Edge, source: &'a str, expected: usize) -> Self {
        Self {
            batch: edge.publisher.batch(expected),
            unconfirmed: Unconfirmed { source, events: 0 },
        }
    }

    pub(crate) fn add(&mut self, record: OutRecord<'_>) -> Result<(), PublishError> {
        self.batch.add(record)?;
        self.unconfirmed.events += 1;
        Ok(())
    }

    /// Waits for every acknowledgement.
    pub(crate) async fn settle(self, edge: &Edge) -> Result<(), ApiError> {
        let Self {
            batch,
            mut unconfirmed,
        } = self;
        let started = Instant::now();
        let failed = batch.wait(edge.publish_deadline).await;
        edge.meters.ack_seconds.record(started.elapsed());
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error.into());
        }
        edge.meters
            .accepted(unconfirmed.source, std::mem::take(&mut unconfirmed.events));
        Ok(())
    }
}

/// The answer to what was accepted.
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
