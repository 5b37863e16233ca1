//! Dead letters counted: by what they have in common, and over the whole index.

use super::Time;
use serde::{Deserialize, Serialize};

/// What a number of dead letters have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct DeadLetterGroup {
    pub id: i64,
    pub stage: String,
    pub code: String,
    pub source: String,
    pub event_type: String,
    pub open: i64,
    pub replaying: i64,
    pub resolved: i64,
    pub discarded: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_seen: Option<Time>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_seen: Option<Time>,
    /// One of them
    pub sample: Option<i64>,
}

/// Totals of the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct IndexStats {
    pub open: i64,
    pub replaying: i64,
    pub resolved: i64,
    pub discarded: i64,
    pub by_code: std::collections::BTreeMap<String, i64>,
    pub by_stage: std::collections::BTreeMap<String, i64>,
    pub by_source: std::collections::BTreeMap<String, i64>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub oldest_open: Option<Time>,
    /// Records of the dead-letter topic not indexed yet, as last measured by the running role; none when that is more than a minute ago
    pub index_lag: Option<i64>,
    /// Seconds since then
    #[serde(default)]
    pub index_lag_age_seconds: Option<f64>,
    /// Bytes the index takes in the database
    pub index_bytes: i64,
}
