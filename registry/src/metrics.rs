//! Names and meanings of this role's metrics.

use metrics::describe_counter;

/// Requests answered, by `endpoint` (a route's template, or `none`) and `status`.
pub const REQUESTS: &str = "eventflow_registry_requests_total";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by endpoint and HTTP status");
}
