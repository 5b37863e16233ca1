//! Names and meanings of this role's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Events processed, by `event_type` and `partition`.
pub const PROCESSED: &str = "eventflow_analytics_events_processed_total";
/// Records that could not be read, by `code`.
pub const ERRORS: &str = "eventflow_analytics_errors_total";
/// From the event's own time to its processing.
pub const EVENT_AGE: &str = "eventflow_analytics_event_age_seconds";
/// Processing of one batch.
pub const PROCESSING: &str = "eventflow_analytics_processing_duration_seconds";
/// Events of the last full minute, by `event_type`.
pub const LAST_MINUTE_EVENTS: &str = "eventflow_analytics_last_minute_events";
/// Amount of the last full minute, by `event_type` and `currency`.
pub const LAST_MINUTE_AMOUNT: &str = "eventflow_analytics_last_minute_amount";
/// Refunded share of the last full minute's payments.
pub const REFUND_RATIO: &str = "eventflow_analytics_last_minute_refund_ratio";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(PROCESSED, "Events processed, by event type and partition");
    describe_counter!(ERRORS, "Records that could not be read, by code");
    describe_histogram!(EVENT_AGE, Unit::Seconds, "From the event's own time to its processing");
    describe_histogram!(PROCESSING, Unit::Seconds, "Processing of one batch");
    describe_gauge!(LAST_MINUTE_EVENTS, "Events of the last full minute, by event type");
    describe_gauge!(LAST_MINUTE_AMOUNT, "Amount of the last full minute, by event type and currency; exact figures are at /api/stats");
    describe_gauge!(REFUND_RATIO, "Refunds of the last full minute as a share of its authorizations and refunds");
}
