//! Where a process can be made to end.

/// A point between two steps that must survive a crash in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// As `EVENTFLOW_KILL_AT` names it
    pub name: &'static str,
    /// Between what and what
    pub sentence: &'static str,
    /// The role, or all roles that consume (`stage`)
    pub stage: &'static str,
}

const fn point(name: &'static str, stage: &'static str, sentence: &'static str) -> Point {
    Point {
        name,
        sentence,
        stage,
    }
}

/// All of them, along the path of an event.
pub const POINTS: &[Point] = &[
    point(
        "edge_handed_over",
        "producer",
        "the record is with the Kafka client, and not acknowledged",
    ),
    point(
        "edge_acknowledged",
        "producer",
        "the record is acknowledged, and the vendor not answered",
    ),
    point(
        "batch_handled",
        "stage",
        "a batch has its outcomes, and nothing of it is published",
    ),
    point(
        "batch_acknowledged",
        "stage",
        "what a batch made is acknowledged, and the stage has not settled it",
    ),
    point(
        "batch_settled",
        "stage",
        "a batch is settled, and its offsets are not stored in the client",
    ),
    point(
        "offsets_stored",
        "stage",
        "offsets are stored in the client, and not committed to Kafka",
    ),
    point(
        "rows_in_transaction",
        "persistence",
        "rows and offsets are in a transaction that is not committed",
    ),
    point(
        "rows_committed",
        "persistence",
        "rows are committed, and their dead letters not published",
    ),
    point(
        "index_in_transaction",
        "recovery",
        "dead letters are in a transaction that is not committed",
    ),
    point(
        "index_committed",
        "recovery",
        "dead letters are indexed, and Kafka's offsets not committed",
    ),
    point(
        "replay_claimed",
        "recovery",
        "a chunk of a replay is claimed, and nothing of it is sent",
    ),
    point(
        "replay_handed_over",
        "recovery",
        "a chunk of a replay is with the Kafka client, and not acknowledged",
    ),
    point(
        "replay_acknowledged",
        "recovery",
        "a chunk of a replay is acknowledged, and nobody has noted it",
    ),
    point(
        "replay_outcome_in_transaction",
        "recovery",
        "the outcomes of replays are in a transaction that is not committed",
    ),
    point(
        "audit_checkpoint_taken",
        "recovery",
        "a checkpoint of the audit is taken, and not reached",
    ),
    point(
        "audit_page_in_transaction",
        "recovery",
        "a page of the audit is in a transaction that is not committed",
    ),
];
