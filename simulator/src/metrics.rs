//! Names and meanings of this role's metrics; the first are the original's.

use metrics::{Unit, describe_counter, describe_histogram};

/// Authorize requests, by `result`.
pub const AUTHORIZE_REQUESTS: &str = "eventflow_simulator_authorize_requests_total";
/// Delivery attempts, by `result` and `status_class`.
pub const WEBHOOK_ATTEMPTS: &str = "eventflow_simulator_webhook_attempts_total";
/// Retries.
pub const WEBHOOK_RETRIES: &str = "eventflow_simulator_webhook_retries_total";
/// Injected faults, by `fault`.
pub const FAULTS: &str = "eventflow_simulator_faults_injected_total";
/// Duration of one attempt.
pub const WEBHOOK_LATENCY: &str = "eventflow_simulator_webhook_latency_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(AUTHORIZE_REQUESTS, "Authorize requests, by result");
    describe_counter!(WEBHOOK_ATTEMPTS, "Webhook delivery attempts, by result and status class");
    describe_counter!(WEBHOOK_RETRIES, "Webhook delivery retries");
    describe_counter!(FAULTS, "Faults injected on purpose, by fault");
    describe_histogram!(WEBHOOK_LATENCY, Unit::Seconds, "Duration of one webhook delivery attempt");
}
