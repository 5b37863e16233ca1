//! Names and meanings of this role's metrics.

use metrics::{Unit, counter, describe_counter, describe_histogram};

/// Rows inserted.
pub const STORED: &str = runtime::metrics::EVENTS_STORED;
pub(crate) const DUPLICATES: &str = "eventflow_persistence_events_duplicate_total";
pub(crate) const COPIES: &str = "eventflow_persistence_events_copied_total";
pub(crate) const FILTERED: &str = "eventflow_persistence_events_filtered_total";
pub(crate) const RETYPED: &str = "eventflow_persistence_rows_retyped_total";
pub(crate) const CONFLICTS: &str = "eventflow_persistence_events_conflicting_total";
pub(crate) const REFUSED: &str = "eventflow_persistence_rows_refused_total";
pub(crate) use runtime::metrics::ROW_SECONDS;
pub(crate) const TRANSACTION_SECONDS: &str = "eventflow_persistence_transaction_duration_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(STORED, "Rows inserted, one per event");
    describe_counter!(
        DUPLICATES,
        "Further deliveries of stored events, same content"
    );
    describe_counter!(
        COPIES,
        "Of the duplicates, signed bodies that came again under another id, which their signature does not cover"
    );
    describe_counter!(FILTERED, "Events that a rule of their source filters");
    describe_counter!(
        RETYPED,
        "Rows of the generic contract or an older version, typed by a contract that says more"
    );
    describe_counter!(
        CONFLICTS,
        "Deliveries of a stored event's id with other content, dead-lettered"
    );
    describe_counter!(REFUSED, "Rows PostgreSQL refused, dead-lettered");
    // At zero: a series that begins with its first rows hides them from `increase`.
    [
        STORED, DUPLICATES, COPIES, FILTERED, RETYPED, CONFLICTS, REFUSED,
    ]
    .into_iter()
    .for_each(|name| counter!(name).increment(0));
    describe_histogram!(
        ROW_SECONDS,
        Unit::Seconds,
        "From the webhook's receipt at the edge to the committed row, by source; replays left out"
    );
    describe_histogram!(
        TRANSACTION_SECONDS,
        Unit::Seconds,
        "Duration of one storing transaction"
    );
}
