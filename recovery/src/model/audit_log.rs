//! Who did what, when and why.

use super::Time;
use serde::{Deserialize, Serialize};

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AuditLogEntry {
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    pub who: String,
    pub action: String,
    pub job: Option<String>,
    pub letter: Option<i64>,
    pub reason: String,
    pub counts: serde_json::Value,
}
