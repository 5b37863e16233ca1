//! A replay: its job, its items, its dry run.

use super::text_enum::text_enum;
use super::{Selection, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
        /// A stage beside the path to a row can read it; only a replay shows whether it takes it
        Process = "process",
        /// A dead letter again
        Fail = "fail",
    }
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Job {
    pub id: String,
    pub state: JobState,
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

/// One dead letter of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct JobItem {
    pub letter: i64,
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
    pub would_store: i64,
    pub would_be_duplicate: i64,
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
    pub letter: i64,
    pub would: Prediction,
    pub code: Option<String>,
    pub detail: Option<String>,
    /// The row that would be stored
    pub row: Option<serde_json::Value>,
    /// JSON Patch from what is there (the stored row of the same event, or the value before an edit) to what would be
    pub diff: Option<serde_json::Value>,
}
