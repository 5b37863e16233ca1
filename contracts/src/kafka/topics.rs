//! Topics: the only place a name is spelled. Names are configuration; these are the defaults.

/// Webhook bodies, verbatim.
pub const RAW: &str = "events.raw.v1";
/// Confluent-framed Avro, one record type an event type.
pub const VALIDATED: &str = "events.validated.v1";
/// Records that failed by their own fault, verbatim.
pub const DLQ: &str = "events.dlq.v1";
/// Requests that the edge refused, as JSON ([`RefusedRequest`](crate::webhook::refused::RefusedRequest)).
pub const REJECTIONS: &str = "events.rejections.v1";

/// Where replays for one consuming group go.
#[must_use]
pub fn retry(group: &str) -> String {
    format!("events.retry.{group}.v1")
}
