//! What is asked and answered: the HTTP API's JSON, and the command line's words.

use runtime::config::parse_duration;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A time, RFC 3339 in JSON.
pub type Time = OffsetDateTime;

/// Where a dead letter stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Waits for somebody
    Open,
    /// Sent back, its outcome not known yet
    Replaying,
    /// A replay of it was stored or found a duplicate
    Resolved,
    /// A person said why it will not be replayed
    Discarded,
}

/// Which dead letters: all conditions must hold; several values of one are alternatives. The same words in every command and query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Dead letter, by its number
    #[arg(
        long = "id",
        value_name = "NUMBER",
        help_heading = "Which dead letters",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id: Vec<i64>,
    /// Group, by its number (dlq groups)
    #[arg(
        long,
        value_name = "NUMBER",
        help_heading = "Which dead letters",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<i64>,
    /// State; open ones unless told
    #[arg(
        long,
        value_enum,
        help_heading = "Which dead letters",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<State>,
    /// Code
    #[arg(long, help_heading = "Which dead letters", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// Stage
    #[arg(long, help_heading = "Which dead letters", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stage: Vec<String>,
    /// Source (vendor)
    #[arg(long, help_heading = "Which dead letters", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// Event type
    #[arg(long, help_heading = "Which dead letters", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_type: Vec<String>,
    /// Event id
    #[arg(long, help_heading = "Which dead letters")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Entity key (payment id)
    #[arg(long, help_heading = "Which dead letters")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_key: Option<String>,
    /// Failed at this time or later: RFC 3339, or an age as 90s, 30m, 2h, 7d
    #[arg(long, help_heading = "Which dead letters", value_parser = parse_time)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub since: Option<Time>,
    /// Failed before this time: RFC 3339, or an age
    #[arg(long, help_heading = "Which dead letters", value_parser = parse_time)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    pub until: Option<Time>,
    /// Words in the detail, whatever their case
    #[arg(long, help_heading = "Which dead letters")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// At most so many, the newest first
    #[arg(long, help_heading = "Which dead letters")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A time as people write it: RFC 3339, or an age such as `2h` before now.
///
/// # Errors
/// What it must look like.
pub fn parse_time(text: &str) -> Result<Time, String> {
    if let Ok(time) = Time::parse(text, &time::format_description::well_known::Rfc3339) {
        return Ok(time);
    }
    let age = parse_duration(text).ok();
    age.and_then(|age| Time::now_utc().checked_sub(age.try_into().ok()?))
        .ok_or_else(|| {
            "neither RFC 3339 (2026-11-21T10:00:00Z) nor an age (90s, 30m, 2h, 7d)".to_owned()
        })
}

impl Selection {
    /// Whether anything but state and limit narrows it.
    #[must_use]
    pub fn has_filter(&self) -> bool {
        let Self {
            state: _, limit: _, ..
        } = self;
        *self
            != Self {
                state: self.state.clone(),
                limit: self.limit,
                ..Self::default()
            }
    }
}

/// What a number of dead letters have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Group {
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

/// One dead letter, in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Letter {
    pub id: i64,
    pub state: State,
    pub group: i64,
    pub stage: String,
    pub code: String,
    pub source: String,
    pub event_type: String,
    pub event_id: Option<String>,
    pub entity_key: Option<String>,
    pub detail: String,
    pub consumer_group: String,
    pub disposition: String,
    pub attempts: i32,
    pub replay_count: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub first_failed_at: Time,
    #[serde(with = "time::serde::rfc3339")]
    pub last_failed_at: Time,
    /// `topic:partition:offset` it comes from
    pub origin: String,
    /// Edited since it failed
    pub edited: bool,
    pub job: Option<String>,
    /// `stored` or `duplicate`, once resolved
    pub resolution: Option<String>,
    pub reason: Option<String>,
}

/// A value's bytes as people can read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Body {
    /// UTF-8, verbatim
    Text {
        /// The text
        text: String,
    },
    /// Framed Avro, decoded to the envelope it was made from
    Avro {
        /// Schema id
        schema_id: i32,
        /// JSON
        text: String,
    },
    /// Anything else
    Binary {
        /// Base64
        base64: String,
    },
    /// Kafka's null
    Null,
    /// Dropped by the index's limits
    Dropped {
        /// How many bytes it had
        bytes: i32,
    },
}

/// Everything about one dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LetterDetail {
    #[serde(flatten)]
    pub letter: Letter,
    pub family: String,
    pub trace_id: Option<String>,
    /// Partition and offset in the dead-letter topic
    pub dlq: (i32, i64),
    pub key: Option<String>,
    pub value: Body,
    pub value_sha256: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    pub service_version: Option<String>,
    pub failures: Vec<Failure>,
    pub edits: Vec<Edit>,
}

/// An earlier verdict on a dead event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Failure {
    pub stage: String,
    pub code: String,
    pub detail: String,
    pub replay_count: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub failed_at: Time,
    pub dlq: (i32, i64),
}

/// What a person made of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Edit {
    pub id: i64,
    pub edited_by: String,
    #[serde(with = "time::serde::rfc3339")]
    pub edited_at: Time,
    pub reason: String,
    /// JSON Patch (RFC 6902) from the original
    pub patch: serde_json::Value,
}

/// A page of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Letters {
    pub letters: Vec<Letter>,
    /// How many match in all, as far as it is cheap to know; none: more than are listed
    pub total: Option<i64>,
    /// When the newest dead letter was settled: "no open dead letters; last one resolved 3 h ago"
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_settled_at: Option<Time>,
}

/// Sums over the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Stats {
    pub open: i64,
    pub replaying: i64,
    pub resolved: i64,
    pub discarded: i64,
    pub by_code: std::collections::BTreeMap<String, i64>,
    pub by_stage: std::collections::BTreeMap<String, i64>,
    pub by_source: std::collections::BTreeMap<String, i64>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub oldest_open: Option<Time>,
    /// Records of the dead-letter topic not indexed yet, where that can be known
    pub index_lag: Option<i64>,
    /// Bytes the index takes in the database
    pub index_bytes: i64,
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
    /// Items by state: pending, sending, sent, stored, duplicate, failed, skipped
    pub by_state: std::collections::BTreeMap<String, i64>,
    /// Failed and skipped ones by code
    pub by_code: std::collections::BTreeMap<String, i64>,
    /// Seconds until all is sent at this rate
    pub eta_seconds: Option<f64>,
    /// No running recovery role was seen lately: it waits for one
    pub no_role: bool,
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum JobState {
    Planned,
    Running,
    Paused,
    Stopped,
    Finished,
}

/// One dead letter of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Item {
    pub letter: i64,
    pub event_id: Option<String>,
    /// pending, sending, sent, stored, duplicate, processed, failed, skipped
    pub state: String,
    pub code: Option<String>,
    pub detail: Option<String>,
    /// The dry run's verdict: store, duplicate, fail
    pub would: Option<String>,
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
    pub would_fail: i64,
    /// By code
    pub would_fail_by_code: std::collections::BTreeMap<String, i64>,
    /// The first few of each verdict, with what would be stored
    pub samples: Vec<DryRunItem>,
}

/// What today's checks say of one dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DryRunItem {
    pub letter: i64,
    /// store, duplicate, fail
    pub would: String,
    pub code: Option<String>,
    pub detail: Option<String>,
    /// The row that would be stored
    pub row: Option<serde_json::Value>,
    /// JSON Patch from what is there (the stored row of the same event, or the value before an edit) to what would be
    pub diff: Option<serde_json::Value>,
}

/// One step in the story of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Step {
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    /// received, published, dead_lettered, edited, replayed, stored, duplicate, discarded
    pub what: String,
    /// `topic:partition:offset`, or a table
    pub place: String,
    pub detail: String,
    /// Since the step before, in seconds
    pub delay_seconds: f64,
}

/// The story of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Story {
    pub event_id: Option<String>,
    pub source: Option<String>,
    pub entity_key: Option<String>,
    pub trace_id: Option<String>,
    /// stored, duplicate, dead_lettered (with its state), in_flight
    pub fate: String,
    pub steps: Vec<Step>,
    /// What verified it at the edge: scheme and secret id; and the verdict on the stored raw bytes today
    pub signature: Option<String>,
    pub verified_again: Option<String>,
}

/// What was found for an event id, entity key, payment id or traceparent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Trace {
    pub asked: String,
    pub stories: Vec<Story>,
    /// More than are told
    pub truncated: bool,
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
    /// By state
    pub dead_lettered: std::collections::BTreeMap<String, i64>,
    pub in_flight: i64,
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
    /// gap or double_fate
    pub kind: String,
    pub detail: String,
}

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
    /// Where in the JSON, as a pointer; what is there; the rule it breaks
    pub pointer: Option<String>,
    pub value: Option<String>,
    pub rule: Option<String>,
    /// Today's checks: would it pass now?
    pub today: String,
    #[serde(with = "time::serde::rfc3339::option")]
    pub began_at: Option<Time>,
    /// Open ones of its group
    pub like_it: i64,
    /// What to do next, one sentence each, with the command to type
    pub next: Vec<String>,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LogEntry {
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    pub who: String,
    pub action: String,
    pub job: Option<String>,
    pub letter: Option<i64>,
    pub reason: String,
    pub counts: serde_json::Value,
}
