//! The pipeline as it is now: its roles, what flows, and what needs a person.

use super::Time;
use super::text_enum::text_enum;
use serde::{Deserialize, Serialize};

text_enum! {
    /// What a role is in the pipeline.
    RoleKind {
        /// It takes webhooks
        Edge = "edge",
        /// It reads a topic and gives each record an outcome
        Stage = "stage",
        /// This one
        Recovery = "recovery",
        /// Events do not pass it: the registry, the simulator
        Beside = "beside",
    }
}

text_enum! {
    /// How a role is.
    RoleState {
        /// All its instances can do their job
        Ready = "ready",
        /// Some instances can do their job
        PartlyReady = "partly_ready",
        /// No instance can
        NotReady = "not_ready",
        /// No instance answers
        Silent = "silent",
        /// Nobody said where it is
        NotConfigured = "not_configured",
        /// It was not asked yet
        Unknown = "unknown",
    }
}

text_enum! {
    /// What needs a person.
    AttentionKind {
        /// The audit found a raw record without a fate, or with two
        Unaccounted = "unaccounted",
        /// The breaker holds a stage
        BreakerOpen = "breaker_open",
        /// A role cannot do its job
        NotReady = "not_ready",
        /// A role does not answer
        Silent = "silent",
        /// Most of what a source sends is dead-lettered
        SourceFails = "source_fails",
        /// Dead letters that wait for a person's word that they are genuine
        Unproven = "unproven",
        /// A role works, and says that somebody must put something right
        Warning = "warning",
    }
}

/// The pipeline now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Now {
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    /// When the roles were last looked at; none: not yet, or this is no running role
    #[serde(with = "time::serde::rfc3339::option")]
    pub looked_at: Option<Time>,
    /// The most important first
    pub attention: Vec<Attention>,
    pub sources: Vec<SourceNow>,
    /// In the order in which an event passes them, then those beside the path
    pub roles: Vec<RoleNow>,
    pub topics: Vec<TopicNow>,
    pub fates: FatesNow,
    pub dead_letters: DeadLettersNow,
    /// Seconds of one value of every `history`
    pub history_seconds: f64,
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Attention {
    pub kind: AttentionKind,
    /// Role or source
    pub of: Option<String>,
    pub what: String,
    /// What to do
    pub next: String,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct RoleNow {
    pub name: String,
    pub kind: RoleKind,
    pub reads: Vec<String>,
    pub writes: Vec<String>,
    /// Every event passes it on its way to its row
    pub on_path: bool,
    /// It makes the rows
    pub stores: bool,
    pub state: RoleState,
    /// Why it is not ready
    pub reasons: Vec<String>,
    pub warnings: Vec<String>,
    /// That answer
    pub instances: u32,
    /// Records settled a second; of the edge: events accepted
    pub rate: Option<f64>,
    /// Records dead-lettered a second; of the edge: requests refused
    pub failed_rate: Option<f64>,
    /// Age of the oldest record that is not settled
    pub lag_seconds: Option<f64>,
    pub breaker_open: bool,
    /// `rate` in the last hour, the oldest first
    pub history: Vec<f64>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TopicNow {
    pub name: String,
    /// Records written a second, as far as their writers count them
    pub rate: Option<f64>,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SourceNow {
    pub name: String,
    /// Events accepted a second
    pub rate: Option<f64>,
    /// Events accepted since this process began to look, at most in the last hour
    pub accepted: u64,
    /// Requests refused in the same time, by code, the most frequent first
    pub refused: Vec<(String, u64)>,
    /// From a request's headers to its answer
    pub answer_seconds: Option<Quantiles>,
    /// From the receipt of an event to its row
    pub row_seconds: Option<Quantiles>,
    /// When it last sent an event that was accepted
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_seen: Option<Time>,
    /// Stages in which most of what it sends fails
    pub fails_in: Vec<String>,
    /// `rate` in the last hour, the oldest first
    pub history: Vec<f64>,
}

/// Of the last five minutes, as exact as the buckets of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
}

/// Every raw record by its fate: accepted = stored + duplicate + filtered + dead-lettered + in flight, when nothing is unaccounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct FatesNow {
    pub accepted: i64,
    pub stored: i64,
    pub duplicate: i64,
    pub filtered: i64,
    pub dead_lettered: i64,
    pub in_flight: i64,
    pub gaps: i64,
    pub double_fates: i64,
    /// Seconds since the audit last moved forward
    pub checkpoint_age_seconds: Option<f64>,
}

/// The index of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DeadLettersNow {
    pub open: i64,
    pub replaying: i64,
    /// Records of the dead-letter topic not indexed yet
    pub index_lag: Option<i64>,
}
