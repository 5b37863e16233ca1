//! Names and meanings of automatic recovery's metrics.

use metrics::{describe_counter, describe_gauge};

pub(crate) const DECISIONS: &str = "eventflow_recovery_policy_decisions_total";
pub(crate) const STOPPED: &str = "eventflow_recovery_policy_stopped";

/// Registers help texts.
pub(crate) fn describe() {
    describe_counter!(
        DECISIONS,
        "Open dead letters that a policy decided on, by policy and decision (replayed, would_fail)"
    );
    describe_gauge!(
        STOPPED,
        "1 while a policy has stopped because its replays failed again, by policy"
    );
}
