//! Why an item of a replay was skipped or failed, beside the rejection with which its stage failed it again.

/// Code and meaning, one line each, in the order in which they are decided.
pub const ITEM_CODES: [(&str, &str); 8] = [
    ("not_open", "Skipped: resolved or discarded meanwhile"),
    ("being_replayed", "Skipped: another replay has sent it"),
    (
        "changed_since_planned",
        "Skipped: edited since the selection was frozen; plan it again",
    ),
    ("value_dropped", "Skipped: retention dropped its value"),
    (
        "destination_unknown",
        "Skipped: it failed in a consumer group without a retry topic; export it",
    ),
    (
        "not_replayable",
        "Skipped: its raw record is not known, or it was replayed too often to count; export it",
    ),
    (
        "record_too_large",
        "Failed: with its headers it is larger than the broker accepts; raise max.message.bytes of the retry topic, or discard it",
    ),
    (
        "replay_lost",
        "Failed: sent, but gone from the retry topic before its stage read it; replay it again",
    ),
];
