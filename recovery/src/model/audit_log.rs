//! Who did what, when and why.

use super::Time;
use serde::{Deserialize, Serialize};

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AuditLogEntry {
    /// Its place in the log, and its hash, which covers the entry before it
    pub seq: i64,
    pub hash: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    pub who: String,
    pub action: String,
    pub job: Option<String>,
    pub letter: Option<i64>,
    pub reason: String,
    pub counts: serde_json::Value,
}

/// Whether the audit log is as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLogCheck {
    /// Entries that are, from the first on
    pub entries: i64,
    /// Number of the last of them
    pub seq: Option<i64>,
    /// Its hash, in hexadecimal
    pub hash: Option<String>,
    /// The first that is not
    pub broken: Option<BrokenEntry>,
}

/// An entry that does not follow the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenEntry {
    /// Its number
    pub seq: i64,
    /// What that means
    pub problem: String,
}
