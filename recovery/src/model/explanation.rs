//! A dead letter in plain words.

use super::Time;
use serde::{Deserialize, Serialize};

/// A dead letter in plain words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Explanation {
    pub letter: i64,
    pub code: String,
    /// The code in one line
    pub meaning: String,
    /// What the stage said
    pub detail: String,
    /// Where in the JSON, as a pointer; what is there, or the object that lacks it, bounded; the rule it breaks
    pub pointer: Option<String>,
    pub value: Option<String>,
    pub rule: Option<String>,
    /// Today's checks: would it pass now?
    pub today: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub began_at: Option<Time>,
    /// Open dead letters of its group
    pub like_it: i64,
    /// What to do next, one sentence each, with the command to type
    pub next: Vec<String>,
}
