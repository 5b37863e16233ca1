//! Names and meanings of this role's metrics.

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use std::collections::HashMap;

pub(crate) const REQUESTS: &str = "eventflow_producer_requests_total";
/// Events accepted, by `source`.
pub const EVENTS: &str = "eventflow_producer_events_accepted_total";
/// Events handed to the Kafka client and not answered 200, by `source`.
pub const UNCONFIRMED: &str = "eventflow_producer_events_unconfirmed_total";
pub(crate) const REQUEST_SECONDS: &str = "eventflow_producer_request_duration_seconds";
pub(crate) const ACK_SECONDS: &str = "eventflow_producer_acknowledgement_duration_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by source and code");
    describe_counter!(EVENTS, "Events accepted, by source");
    describe_counter!(
        UNCONFIRMED,
        "Events handed to the Kafka client and not answered 200 (no acknowledgement in time, or the client went away), by source; they may be in the topic"
    );
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "From the request's headers to the answer"
    );
    describe_histogram!(
        ACK_SECONDS,
        Unit::Seconds,
        "From hand-over to the Kafka client to the last acknowledgement"
    );
}

/// What every accepted request touches, looked up once: by its name and labels a metric costs more than the HMAC.
pub(crate) struct Meters {
    pub(crate) request_seconds: Histogram,
    pub(crate) ack_seconds: Histogram,
    accepted: HashMap<String, (Counter, Counter)>,
}

impl Meters {
    pub(crate) fn new<'a>(sources: impl Iterator<Item = &'a str>) -> Self {
        // The recorder first: a handle created before it counts into the void.
        runtime::telemetry::metrics_handle();
        let meters = |name: String| {
            let requests = counter!(REQUESTS, "source" => name.clone(), "code" => "accepted");
            let events = counter!(EVENTS, "source" => name.clone());
            // At zero: a series that begins with its first event hides it from `increase`.
            counter!(UNCONFIRMED, "source" => name.clone()).increment(0);
            (name, (requests, events))
        };
        let accepted = sources.map(str::to_owned).map(meters).collect();
        Self {
            request_seconds: histogram!(REQUEST_SECONDS),
            ack_seconds: histogram!(ACK_SECONDS),
            accepted,
        }
    }

    /// One accepted request with this many events.
    pub(crate) fn accepted(&self, source: &str, events: u64) {
        if let Some((requests, accepted)) = self.accepted.get(source) {
            requests.increment(1);
            accepted.increment(events);
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}
