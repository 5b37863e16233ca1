//! Names and meanings of this role's metrics.

use metrics::{Unit, counter, describe_counter, describe_histogram};

/// Rows inserted.
pub const STORED: &str = "eventflow_persistence_events_stored_total";
pub(crate) const DUPLICATES: &str = "eventflow_persistence_events_duplicate_total";
pub(crate) const CONFLICTS: &str = "eventflow_persistence_events_conflicting_total";
pub(crate) const REFUSED: &str = "eventflow_persistence_rows_refused_total";
pub(crate) const AGE_SECONDS: &str = "eventflow_persistence_webhook_to_row_seconds";
pub(crate) const TRANSACTION_SECONDS: &str = "eventflow_persistence_transaction_duration_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(STORED, "Rows inserted, one per event");
    describe_counter!(
        DUPLICATES,
        "Further deliveries of stored events, same content"
    );
    describe_counter!(
        CONFLICTS,
        "Deliveries of a stored event's id with other content, dead-lettered"
    );
    describe_counter!(REFUSED, "Rows PostgreSQL refused, dead-lettered");
    // At zero: a series that begins with its first rows hides them from `increase`.
    [STORED, DUPLICATES, CONFLICTS, REFUSED]
        .into_iter()
        .for_each(|name| counter!(name).increment(0));
    describe_histogram!(
        AGE_SECONDS,
        Unit::Seconds,
        "From the webhook's receipt at the edge to the committed row; replays left out"
    );
    describe_histogram!(
        TRANSACTION_SECONDS,
        Unit::Seconds,
        "Duration of one storing transaction"
    );
}
