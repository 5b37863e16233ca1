//! Names and meanings of this role's metrics.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

pub(crate) const INDEXED: &str = "eventflow_recovery_dead_letters_indexed_total";
pub(crate) const FAILED_AGAIN: &str = "eventflow_recovery_dead_letters_failed_again_total";
pub(crate) const COPIES: &str = "eventflow_recovery_dead_letter_copies_total";
pub(crate) const SANITIZED: &str = "eventflow_recovery_dead_letters_sanitized_total";
pub(crate) const TRANSACTION_SECONDS: &str =
    "eventflow_recovery_index_transaction_duration_seconds";
pub(crate) const BY_STATE: &str = "eventflow_recovery_dead_letters";
pub(crate) const OPEN: &str = "eventflow_recovery_dead_letters_open";
pub(crate) const INDEX_BYTES: &str = "eventflow_recovery_index_bytes";
pub(crate) const OVER_LIMIT: &str = "eventflow_recovery_index_over_limit";
pub(crate) const DROPPED: &str = "eventflow_recovery_values_dropped_total";
pub(crate) const REJECTIONS_UNREADABLE: &str = "eventflow_recovery_rejections_unreadable_total";
pub(crate) const REJECTIONS_TRIMMED: &str = "eventflow_recovery_rejections_deleted_total";

/// Registers help texts and units, those of the role's parts too.
pub fn describe() {
    crate::audit::describe();
    crate::replay::runner::metrics::describe();
    crate::replay::policy::metrics::describe();
    describe_counter!(INDEXED, "New dead letters in the index");
    describe_counter!(
        FAILED_AGAIN,
        "Dead letters that failed again after a replay"
    );
    describe_counter!(COPIES, "Further copies of indexed dead letters");
    describe_counter!(
        SANITIZED,
        "Dead letters indexed without their texts, which PostgreSQL refused"
    );
    describe_counter!(
        REJECTIONS_UNREADABLE,
        "Records of the topic of refused requests that are none, and were skipped"
    );
    describe_counter!(
        REJECTIONS_TRIMMED,
        "Refused requests that retention deleted"
    );
    // At zero: a series that begins with its first dead letters hides them from `increase`.
    [
        INDEXED,
        FAILED_AGAIN,
        COPIES,
        SANITIZED,
        REJECTIONS_UNREADABLE,
        REJECTIONS_TRIMMED,
    ]
    .into_iter()
    .for_each(|name| counter!(name).increment(0));
    describe_histogram!(
        TRANSACTION_SECONDS,
        Unit::Seconds,
        "Duration of one indexing transaction"
    );
    describe_gauge!(BY_STATE, "Dead letters, by state");
    describe_gauge!(
        OPEN,
        "Open dead letters, by code; other: all codes that are not EventFlow's"
    );
    describe_gauge!(
        INDEX_BYTES,
        Unit::Bytes,
        "Bytes of the index in use: values and headers kept, and its rows"
    );
    describe_gauge!(
        OVER_LIMIT,
        "1 while the index is over its size limit and only open dead letters are left, which are never dropped"
    );
    describe_counter!(
        DROPPED,
        "Dead letters, resolved or discarded, whose value and headers retention dropped"
    );
}
