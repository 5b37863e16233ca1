//! Names and meanings of this role's metrics.

use metrics::{Unit, describe_counter, describe_histogram};

/// Requests answered, by `source` and `code` (`accepted` or an error's code).
pub const REQUESTS: &str = "eventflow_producer_requests_total";
/// Events accepted, by `source`.
pub const EVENTS: &str = "eventflow_producer_events_accepted_total";
/// Events handed to the Kafka client and not answered 200, by `source`.
pub const UNCONFIRMED: &str = "eventflow_producer_events_unconfirmed_total";
/// From the request's headers to the answer.
pub const REQUEST_SECONDS: &str = "eventflow_producer_request_duration_seconds";
/// From hand-over to the Kafka client to the last acknowledgement.
pub const ACK_SECONDS: &str = "eventflow_producer_acknowledgement_duration_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by source and code");
    describe_counter!(EVENTS, "Events accepted, by source");
    describe_counter!(
        UNCONFIRMED,
        "Events handed to the Kafka client and not answered 200 (no acknowledgement in time, or the client went away), by source; they may be in the topic"
    );
    describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "From the request's headers to the answer");
    describe_histogram!(ACK_SECONDS, Unit::Seconds, "From hand-over to the Kafka client to the last acknowledgement");
}
