//! Names and meanings of the runner's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Items of replays, by `outcome` (sent, stored, duplicate, failed, lost, skipped, released).
pub const REPLAYED: &str = "eventflow_recovery_replayed_total";
/// One chunk: from its claim to its last acknowledgement.
pub const CHUNK_SECONDS: &str = "eventflow_recovery_replay_chunk_duration_seconds";
/// Replays this instance is sending now.
pub const JOBS: &str = "eventflow_recovery_replays_running";
/// Waits because the destination, the broker or the database was not usable, by `code`.
pub const WAITS: &str = "eventflow_recovery_replay_waits_total";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(REPLAYED, "Items of replays, by outcome");
    describe_histogram!(CHUNK_SECONDS, Unit::Seconds, "One chunk of a replay, from its claim to its last acknowledgement");
    describe_gauge!(JOBS, "Replays this instance is sending now");
    describe_counter!(WAITS, "Waits of replays because the destination, the broker or the database was not usable, by code");
}
