//! The timeline of one event.

use super::text_enum::text_enum;
use super::{DeadLetterState, Time};
use serde::{Deserialize, Serialize};

text_enum! {
    /// What happened in one step.
    StepKind {
        /// The edge took it
        Received = "received",
        /// Kafka has it
        Published = "published",
        /// A stage rejected it
        DeadLettered = "dead_lettered",
        /// A person changed the value of its dead letter
        Edited = "edited",
        /// A person said that the vendor sent it although it was not verified
        Genuine = "genuine",
        /// Its dead letter was sent back
        Replayed = "replayed",
        /// It is a row
        Stored = "stored",
        /// Its row was given what another contract makes of it
        Retyped = "retyped",
        /// The same content came again
        Duplicate = "duplicate",
        /// A rule of its source filtered it
        Filtered = "filtered",
        /// A person discarded its dead letter
        Discarded = "discarded",
    }
}

/// What became of an event. In JSON its text: `stored`, `duplicate`, `filtered`, `dead_lettered (open)`, `in_flight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum TraceFate {
    /// It is a row
    Stored,
    /// Only a further delivery of what is a row
    Duplicate,
    /// A rule of its source says that it is not wanted
    Filtered,
    /// A dead letter, in this state
    DeadLettered(DeadLetterState),
    /// None of these yet
    InFlight,
}

impl std::fmt::Display for TraceFate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored => f.write_str("stored"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Filtered => f.write_str("filtered"),
            Self::DeadLettered(state) => write!(f, "dead_lettered ({state})"),
            Self::InFlight => f.write_str("in_flight"),
        }
    }
}

impl From<TraceFate> for String {
    fn from(fate: TraceFate) -> Self {
        fate.to_string()
    }
}

impl TryFrom<String> for TraceFate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let state = text
            .strip_prefix("dead_lettered (")
            .and_then(|rest| rest.strip_suffix(')'));
        match (text.as_str(), state) {
            ("stored", _) => Ok(Self::Stored),
            ("duplicate", _) => Ok(Self::Duplicate),
            ("filtered", _) => Ok(Self::Filtered),
            ("in_flight", _) => Ok(Self::InFlight),
            (_, Some(state)) => state.parse().map(Self::DeadLettered),
            (_, None) => Err(format!("{text:?} is not the fate of an event")),
        }
    }
}

/// One step in the timeline of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TraceStep {
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    pub what: StepKind,
    /// `topic:partition:offset`, or a table
    pub place: String,
    pub detail: String,
    /// Since the step before, in seconds
    pub delay_seconds: f64,
}

/// The timeline of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Timeline {
    pub event_id: Option<String>,
    pub source: Option<String>,
    pub entity_key: Option<String>,
    pub trace_id: Option<String>,
    pub fate: TraceFate,
    pub steps: Vec<TraceStep>,
    /// What verified it at the edge: scheme and secret id; and whether the stored raw bytes verify today
    pub signature: Option<String>,
    pub verified_again: Option<String>,
}

/// What was found for an event id, entity key, payment id or traceparent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Trace {
    pub asked: String,
    #[serde(rename = "stories")]
    pub timelines: Vec<Timeline>,
    /// There are more than are listed
    pub truncated: bool,
}
