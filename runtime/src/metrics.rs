//! Names and meanings of the metrics every role has. Listed once; roles add theirs in their own `metrics.rs`.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

// Counted by one role and shown by recovery, which reads the others' metrics (recovery/src/now).

/// Events accepted by the edge, by `source`.
pub const EVENTS_ACCEPTED: &str = "eventflow_producer_events_accepted_total";
/// Requests the edge answered, by `source` and `code`.
pub const REQUESTS: &str = "eventflow_producer_requests_total";
/// From a request's headers to the edge's answer, by `source`.
pub const REQUEST_SECONDS: &str = "eventflow_producer_request_duration_seconds";
/// When a secret last verified a request, by `source` and `secret`.
pub const SECRET_MATCHED: &str = "eventflow_producer_secret_last_matched_seconds";
/// Rows inserted by persistence.
pub const EVENTS_STORED: &str = "eventflow_persistence_events_stored_total";
/// From the webhook's receipt at the edge to its row, by `source`.
pub const ROW_SECONDS: &str = "eventflow_persistence_webhook_to_row_seconds";

pub(crate) const RECORDS_CONSUMED: &str = "eventflow_consumer_records_consumed_total";
/// Records this stage has settled, by `stage` and `outcome` (done, forwarded, dead_lettered).
pub const RECORDS_SETTLED: &str = "eventflow_consumer_records_settled_total";
pub(crate) const DEAD_LETTERS: &str = "eventflow_consumer_dead_letters_total";
/// By `stage` and `code`.
pub(crate) const REVALIDATIONS_REFUSED: &str = "eventflow_consumer_revalidations_refused_total";
/// Age of the oldest record that is not settled, by `stage`.
pub const LAG_SECONDS: &str = "eventflow_consumer_lag_seconds";
pub(crate) const BATCH_SECONDS: &str = "eventflow_consumer_batch_duration_seconds";
pub(crate) const BATCH_RECORDS: &str = "eventflow_consumer_batch_records";
pub(crate) const WAITS: &str = "eventflow_consumer_waits_total";
/// 1 while the breaker holds the stage, by `stage`.
pub const BREAKER_OPEN: &str = "eventflow_consumer_breaker_open";
/// By `stage`.
pub(crate) const BREAKER_RELEASES: &str = "eventflow_consumer_breaker_releases_total";
/// 1 while more of a source's latest records are dead-lettered than allowed, by `stage` and `source`.
pub const SOURCE_OVER_RATIO: &str = "eventflow_consumer_source_over_dead_letter_ratio";
pub(crate) const PARTITIONS: &str = "eventflow_consumer_partitions_assigned";
/// By `stage` and `outcome` (committed, aborted, in_doubt).
pub(crate) const TRANSACTIONS: &str = "eventflow_consumer_transactions_total";
pub(crate) const COMMIT_FAILURES: &str = "eventflow_consumer_commit_failures_total";
pub(crate) const PUBLISHED: &str = "eventflow_publisher_records_published_total";
pub(crate) const PUBLISH_FAILURES: &str = "eventflow_publisher_failures_total";
pub(crate) const PUBLISH_QUEUE: &str = "eventflow_publisher_queue_records";
/// Records handed to the Kafka client without a delivery report, that nobody waits for any more.
pub(crate) const UNCONFIRMED: &str = "eventflow_publisher_unconfirmed_records";
pub(crate) const READY: &str = "eventflow_ready";
/// By `what` (sources).
pub(crate) const RELOAD_REFUSED: &str = "eventflow_reload_refused";
/// By `what` and `outcome` (taken, refused).
pub(crate) const RELOADS: &str = "eventflow_reloads_total";
pub(crate) const CONNECTIONS_REFUSED: &str = "eventflow_http_connections_refused_total";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(
        CONNECTIONS_REFUSED,
        "Connections closed at once because their address has its share of them"
    );
    describe_counter!(RECORDS_CONSUMED, "Records taken from Kafka, by stage");
    describe_counter!(RECORDS_SETTLED, "Records settled, by stage and outcome");
    describe_counter!(DEAD_LETTERS, "Records dead-lettered, by stage and code");
    describe_counter!(
        REVALIDATIONS_REFUSED,
        "Copies of stored events that a revalidation sent and a stage refused, by stage and code; their rows stay as they are"
    );
    describe_gauge!(
        LAG_SECONDS,
        Unit::Seconds,
        "Age of the oldest record that is not settled; 0 when caught up, by stage"
    );
    describe_histogram!(
        BATCH_SECONDS,
        Unit::Seconds,
        "From a batch's first record to its last acknowledgement, by stage"
    );
    describe_histogram!(BATCH_RECORDS, "Records in a batch, by stage");
    describe_counter!(
        WAITS,
        "Waits because the broker, registry or database was down, by stage and code"
    );
    describe_gauge!(
        BREAKER_OPEN,
        "1 while the breaker is open and holds the stage, by stage"
    );
    describe_counter!(
        BREAKER_RELEASES,
        "Holds that ended because they lasted as long as allowed, by stage"
    );
    describe_gauge!(
        SOURCE_OVER_RATIO,
        "1 while more of a source's latest records are dead-lettered than allowed, by stage and source"
    );
    describe_gauge!(PARTITIONS, "Partitions assigned, by stage");
    describe_counter!(
        COMMIT_FAILURES,
        "Offset commits that failed (retried with the next batch), by stage"
    );
    describe_counter!(
        TRANSACTIONS,
        "Kafka transactions of exactly-once delivery, by stage and outcome: committed, aborted, or in_doubt when the commit failed and the group's offsets had to be asked"
    );
    describe_counter!(
        PUBLISHED,
        "Records acknowledged by all in-sync replicas, by client"
    );
    describe_counter!(
        PUBLISH_FAILURES,
        "Records refused or not acknowledged in time, by code"
    );
    describe_gauge!(
        PUBLISH_QUEUE,
        "Records queued or in flight in the Kafka client"
    );
    describe_gauge!(
        UNCONFIRMED,
        "Records queued or in flight that nobody waits for any more: their deadline was over or the client was gone, and they may still be acknowledged"
    );
    describe_gauge!(READY, "1 when the role is ready");
    describe_gauge!(
        RELOAD_REFUSED,
        "1 while files that changed cannot be used and what they held before stays in use, by what"
    );
    describe_counter!(
        RELOADS,
        "Files that changed, by what and outcome (taken, refused)"
    );
}
