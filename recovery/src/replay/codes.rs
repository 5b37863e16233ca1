//! Why an item of a replay was skipped or failed, beside the rejection with which its stage failed it again.

/// Code and meaning, one line each, in the order in which they are decided.
pub const ITEM_CODES: [(&str, &str); 16] = [
    ("not_open", "Skipped: resolved or discarded meanwhile"),
    ("being_replayed", "Skipped: another replay has sent it"),
    (
        "changed_since_planned",
        "Skipped: edited since the selection was frozen; plan it again",
    ),
    (
        "not_genuine",
        "Skipped: unverified, and nobody has said that it is genuine; see eventflow dlq genuine",
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
    (
        "row_gone",
        "Skipped, of a revalidation: its row is not there any more",
    ),
    (
        "retyped_before",
        "Skipped, of a revalidation: its row has another contract since it was selected",
    ),
    (
        "raw_record_gone",
        "Skipped, of a revalidation: Kafka does not have its raw record any more; its row stays as it is",
    ),
    (
        "filtered",
        "Skipped, of a revalidation: its source filters it today; its row stays as it is",
    ),
    (
        "edited",
        "Skipped, of a revalidation: its row is of an edit, which its raw record would undo",
    ),
    (
        "unchanged",
        "Skipped, of a revalidation: today's contracts say no more of it than the one that its row has",
    ),
    (
        "not_retyped",
        "Failed, of a revalidation: the stages have read it, and its row is as it was; give all roles the same contracts and sources, and plan it again",
    ),
];
