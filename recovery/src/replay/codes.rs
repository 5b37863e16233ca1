//! Why an item of a replay was skipped or failed, beside the rejection with which its stage failed it again.

/// Code and meaning, one line each, in the order in which they are decided.
pub const ITEM_CODES: [(&str, &str); 8] = [
    ("not_open", "Skipped: settled meanwhile"),
    ("being_replayed", "Skipped: another replay has sent it"),
    (
        "changed_since_planned",
        "Skipped: edited since the selection was frozen; plan it again",
    ),
    (
        "value_dropped",
        "Skipped: the limits of the index dropped its value",
    ),
    (
        "destination_unknown",
        "Skipped: it failed in a group that is not EventFlow's; export it",
    ),
    (
        "not_replayable",
        "Skipped: its raw record is not known, or its replays cannot be counted on; export it",
    ),
    (
        "record_too_large",
        "Failed: with its headers it is larger than the broker takes",
    ),
    (
        "replay_lost",
        "Failed: sent, and gone from the retry topic before its stage read it; replay it again",
    ),
];
