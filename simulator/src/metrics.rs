//! Names and meanings of this role's metrics; all but [`FAULTS`] are the original's.

use crate::event::Fault;
use metrics::{Unit, describe_counter, describe_histogram};

/// Authorize requests, by `result`.
pub const AUTHORIZE_REQUESTS: &str = "eventflow_simulator_authorize_requests_total";
/// Delivery attempts, by `result` and `status_class`.
pub const WEBHOOK_ATTEMPTS: &str = "eventflow_simulator_webhook_attempts_total";
/// Retries.
pub const WEBHOOK_RETRIES: &str = "eventflow_simulator_webhook_retries_total";
/// Corrupted payloads, by `mode`.
pub const PAYLOAD_CORRUPTED: &str = "eventflow_simulator_payload_corrupted_total";
/// Duplicates sent.
pub const DUPLICATE_EVENTS: &str = "eventflow_simulator_duplicate_events_total";
/// Deliveries of the stream, by `result`.
pub const AUTO_STREAM_EVENTS: &str = "eventflow_simulator_auto_stream_events_total";
/// Injected faults, by `fault`.
pub const FAULTS: &str = "eventflow_simulator_faults_injected_total";
/// Duration of one attempt.
pub const WEBHOOK_LATENCY: &str = "eventflow_simulator_webhook_latency_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(AUTHORIZE_REQUESTS, "Authorize requests, by result");
    describe_counter!(
        WEBHOOK_ATTEMPTS,
        "Webhook delivery attempts, by result and status class"
    );
    describe_counter!(WEBHOOK_RETRIES, "Webhook delivery retries");
    describe_counter!(PAYLOAD_CORRUPTED, "Payloads corrupted on purpose, by mode");
    describe_counter!(DUPLICATE_EVENTS, "Duplicates sent on purpose");
    describe_counter!(
        AUTO_STREAM_EVENTS,
        "Deliveries of the auto-stream, by result"
    );
    describe_counter!(FAULTS, "Faults injected on purpose, by fault");
    describe_histogram!(
        WEBHOOK_LATENCY,
        Unit::Seconds,
        "Duration of one webhook delivery attempt"
    );
}

/// Counts a fault that is about to be sent.
pub(crate) fn count_fault(fault: Fault) {
    metrics::counter!(FAULTS, "fault" => fault.name()).increment(1);
    if Fault::CORRUPTIONS.contains(&fault) {
        metrics::counter!(PAYLOAD_CORRUPTED, "mode" => fault.name()).increment(1);
    }
    if fault == Fault::Duplicate {
        metrics::counter!(DUPLICATE_EVENTS).increment(1);
    }
}
