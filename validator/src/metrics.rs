//! Names and meanings of this role's metrics; what the loop counts (forwarded, dead letters by code) is in `runtime::metrics`.

use metrics::{Unit, describe_histogram};

pub(crate) const BATCH_SECONDS: &str = "eventflow_validator_batch_check_duration_seconds";

/// Registers help texts and units.
pub fn describe() {
    describe_histogram!(
        BATCH_SECONDS,
        Unit::Seconds,
        "Checking and encoding one batch, without publishing"
    );
}
