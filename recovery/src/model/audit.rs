//! The fate of every raw record, counted.

use super::text_enum::text_enum;
use super::{DeadLetterState, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

text_enum! {
    /// What is wrong with a raw record, or with its topic.
    FindingKind {
        /// It has no fate
        Gap = "gap",
        /// It has two
        DoubleFate = "double_fate",
        /// Its partition ends before an offset that was accounted for
        EndBehind = "end_behind",
        /// Of the topic as a whole: Kafka may remove records before anybody has read them
        Compacted = "compacted",
    }
}

/// The fate of every raw record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Audit {
    pub topic: String,
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    /// Partition, first offset, offset up to which all were looked at, end of the topic
    pub partitions: Vec<(i32, i64, i64, i64)>,
    pub records: i64,
    pub stored: i64,
    pub duplicate: i64,
    #[serde(default)]
    pub filtered: i64,
    /// By state
    pub dead_lettered: BTreeMap<DeadLetterState, i64>,
    pub in_flight: i64,
    /// Offsets that were gone from the topic when the audit first looked at it: nothing is known of them
    #[serde(default)]
    pub unseen: i64,
    /// Offsets without a record: markers and aborted records of transactions
    #[serde(default)]
    pub absent: i64,
    pub gaps: i64,
    pub double_fates: i64,
    /// The first hundred
    pub findings: Vec<Finding>,
    /// Seconds since the audit last moved forward
    pub checkpoint_age_seconds: Option<f64>,
}

/// A raw record without a fate, or with two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Finding {
    pub partition: i32,
    pub offset: i64,
    pub kind: FindingKind,
    pub detail: String,
}

/// The audit by partition and hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AuditHours {
    pub topic: String,
    /// When each hour begins, the oldest first
    pub hours: Vec<Hour>,
    pub partitions: Vec<AuditPartition>,
}

/// When an hour begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hour(#[serde(with = "time::serde::rfc3339")] pub Time);

/// A partition of the raw topic, hour by hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AuditPartition {
    pub partition: i32,
    pub cells: Vec<AuditCell>,
}

/// An hour of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AuditCell {
    /// Offsets received in it
    pub from: i64,
    pub to: i64,
    /// Of these, not examined yet
    pub unexamined: i64,
    pub gaps: i64,
    pub double_fates: i64,
}
