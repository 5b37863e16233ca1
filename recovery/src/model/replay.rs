//! A replay: its job, its items, its dry run.

use super::text_enum::text_enum;
use super::{Selection, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

text_enum! {
    /// What a job sends.
    JobKind {
        /// Dead letters, to the stage that failed
        Replay = "replay",
        /// Raw records of stored events, to be validated by today's contracts
        Revalidation = "revalidation",
    }
}

impl JobKind {
    /// One of its items, in words.
    #[must_use]
    pub fn item(self) -> &'static str {
        match self {
            Self::Replay => "dead letter",
            Self::Revalidation => "event",
        }
    }
}

text_enum! {
    /// Where a replay stands.
    JobState {
        /// Its dead letters are frozen; nothing is sent
        Planned = "planned",
        /// Sends
        Running = "running",
        /// Sends no more until resumed
        Paused = "paused",
        /// Sends no more for good
        Stopped = "stopped",
        /// Every item has its outcome
        Finished = "finished",
    }
}

text_enum! {
    /// Where one dead letter of a replay stands.
    ItemState {
        /// Not sent yet
        Pending = "pending",
        /// Claimed for sending; it may have been sent
        Sending = "sending",
        /// The broker has it
        Sent = "sent",
        /// Its event is a row now
        Stored = "stored",
        /// Its event was stored before
        Duplicate = "duplicate",
        /// A rule of its source says that it is not wanted
        Filtered = "filtered",
        /// Its row is typed by another contract now
        Retyped = "retyped",
        /// A stage beside the path to a row has read it, and it is no dead letter again
        Processed = "processed",
        /// A dead letter again, or impossible to send
        Failed = "failed",
        /// Left alone, with the reason as its code
        Skipped = "skipped",
    }
}

text_enum! {
    /// What today's checks expect of a replay.
    Prediction {
        /// A new row
        Store = "store",
        /// The same content as a row
        Duplicate = "duplicate",
        /// A rule of its source would filter it
        Filter = "filter",
        /// Its row would be typed by a contract that says more
        Retype = "retype",
        /// Its row would stay as it is
        Unchanged = "unchanged",
        /// A stage beside the path to a row can read it; only a replay shows whether it takes it
        Process = "process",
        /// A dead letter again
        Fail = "fail",
    }
}

/// A replay or a revalidation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Job {
    pub id: String,
    #[serde(default = "of_dead_letters")]
    pub kind: JobKind,
    pub state: JobState,
    /// Of a revalidation: of stored events, by source, event type and when the edge received them
    pub selection: Selection,
    pub reason: String,
    pub created_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: Time,
    pub policy: Option<String>,
    pub approved_by: Option<String>,
    pub needs_confirmation: bool,
    pub needs_approval: bool,
    pub rate: f64,
    /// Why it cannot go on just now
    pub blocked: Option<String>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<Time>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<Time>,
    pub items: i64,
    /// Items by state
    pub by_state: BTreeMap<ItemState, i64>,
    /// Failed and skipped ones by code
    pub by_code: BTreeMap<String, i64>,
    /// Seconds until all is sent at this rate
    pub eta_seconds: Option<f64>,
    /// No running recovery role was seen lately: it waits for one
    pub no_role: bool,
}

/// What all jobs of an older role are.
fn of_dead_letters() -> JobKind {
    JobKind::Replay
}

/// One dead letter of a replay, or one event of a revalidation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct JobItem {
    /// Of a replay
    pub letter: Option<i64>,
    /// Of a revalidation: the raw record, `partition:offset`
    #[serde(default)]
    pub raw: Option<String>,
    pub event_id: Option<String>,
    pub state: ItemState,
    pub code: Option<String>,
    pub detail: Option<String>,
    /// What the dry run expects
    pub would: Option<Prediction>,
    pub would_code: Option<String>,
    pub would_detail: Option<String>,
}

/// What today's checks say of a selection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DryRun {
    pub job: String,
    #[serde(default = "of_dead_letters")]
    pub kind: JobKind,
    pub would_store: i64,
    pub would_be_duplicate: i64,
    #[serde(default)]
    pub would_be_filtered: i64,
    /// Rows that would be typed by a contract that says more
    #[serde(default)]
    pub would_retype: i64,
    /// Rows that would stay as they are
    #[serde(default)]
    pub would_be_unchanged: i64,
    #[serde(default)]
    pub would_process: i64,
    pub would_fail: i64,
    /// By code
    pub would_fail_by_code: BTreeMap<String, i64>,
    /// The first few of each outcome, with what would be stored
    pub samples: Vec<DryRunSample>,
}

/// What today's checks say of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DryRunSample {
    /// Of a replay
    pub letter: Option<i64>,
    /// Of a revalidation: the raw record, `partition:offset`
    #[serde(default)]
    pub raw: Option<String>,
    /// Of a revalidation
    #[serde(default)]
    pub event_id: Option<String>,
    pub would: Prediction,
    pub code: Option<String>,
    pub detail: Option<String>,
    /// The row that would be stored
    pub row: Option<serde_json::Value>,
    /// JSON Patch from what is there (the stored row of the same event, or the value before an edit) to what would be
    pub diff: Option<serde_json::Value>,
}
