//! Names and meanings of the runner's metrics.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// Items of replays, by `outcome` ([`OUTCOMES`]).
pub(crate) const REPLAYED: &str = "eventflow_recovery_replayed_total";
const OUTCOMES: [&str; 11] = [
    "sent",
    "stored",
    "duplicate",
    "filtered",
    "retyped",
    "not_retyped",
    "processed",
    "failed",
    "lost",
    "skipped",
    "released",
];
pub(crate) const CHUNK_SECONDS: &str = "eventflow_recovery_replay_chunk_duration_seconds";
pub(crate) const JOBS: &str = "eventflow_recovery_replays_running";
pub(crate) const WAITS: &str = "eventflow_recovery_replay_waits_total";

/// Registers help texts and units.
pub(crate) fn describe() {
    describe_counter!(REPLAYED, "Items of replays, by outcome");
    // At zero: a series that begins with its first item hides it from `increase`.
    OUTCOMES
        .iter()
        .for_each(|outcome| counter!(REPLAYED, "outcome" => *outcome).increment(0));
    describe_histogram!(
        CHUNK_SECONDS,
        Unit::Seconds,
        "One chunk of a replay, from its claim to its last acknowledgement"
    );
    describe_gauge!(JOBS, "Replays this instance is sending now");
    describe_counter!(
        WAITS,
        "Waits of replays because the stage, its retry topic, Kafka or the database was missing or down, by code"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use store::fate::RecordedFate;

    #[test]
    fn every_outcome_is_counted_from_the_start() {
        let sources = [
            include_str!("claim.rs"),
            include_str!("lost.rs"),
            include_str!("outcome.rs"),
            include_str!("send.rs"),
        ];
        let counted = sources
            .iter()
            .flat_map(|text| text.split("names::REPLAYED, \"outcome\" => \"").skip(1));
        let counted = counted.map(|rest| rest.split('"').next().unwrap_or_default());
        let by_fate = [
            RecordedFate::Stored,
            RecordedFate::Duplicate,
            RecordedFate::Filtered,
        ];
        let counted: BTreeSet<&str> = counted
            .chain(by_fate.into_iter().map(RecordedFate::as_str))
            .collect();
        assert_eq!(counted, OUTCOMES.into());
    }
}
