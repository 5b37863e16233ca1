//! A dead letter, alone and in a page.

use super::Time;
use super::text_enum::text_enum;
use serde::{Deserialize, Serialize};

text_enum! {
    /// Where a dead letter stands.
    #[derive(clap::ValueEnum)]
    DeadLetterState {
        /// Not decided yet
        Open = "open",
        /// Sent back, its outcome not known yet
        Replaying = "replaying",
        /// A replay of it was stored or found a duplicate
        Resolved = "resolved",
        /// A person said why it will not be replayed
        Discarded = "discarded",
    }
}

text_enum! {
    /// What resolved a dead letter.
    Resolution {
        /// Its event is a row
        Stored = "stored",
        /// Its event was stored before, with the same content
        Duplicate = "duplicate",
        /// A stage beside the path to a row has read its replay
        Processed = "processed",
    }
}

text_enum! {
    /// Whose dead-letter headers a record carries.
    #[derive(Default)]
    Format {
        /// This pipeline's
        Eventflow = "eventflow",
        /// None that is known: kept and shown, but not replayed
        #[default]
        Unknown = "unknown",
    }
}

/// One dead letter, in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct DeadLetter {
    pub id: i64,
    pub state: DeadLetterState,
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
    /// Once resolved
    pub resolution: Option<Resolution>,
    pub reason: Option<String>,
    /// What its edge could not prove: stale or unverified
    pub unproven: Option<String>,
    /// Who said that the vendor sent it although it was not verified
    pub genuine_by: Option<String>,
    /// How they know
    pub genuine_reason: Option<String>,
}

/// A value's bytes as people can read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Payload {
    /// UTF-8, verbatim
    Text {
        /// Verbatim
        text: String,
    },
    /// Framed Avro, decoded to the envelope it was made from
    Avro {
        /// The writer's schema: its id in the schema registry
        schema_id: i32,
        /// The envelope as JSON
        text: String,
    },
    /// Anything else
    Binary {
        /// Its bytes in base64 (RFC 4648, section 4), padded
        base64: String,
    },
    /// Kafka's null
    Null,
    /// Dropped by retention
    Dropped {
        /// How many bytes it had
        bytes: i32,
    },
}

/// Everything about one dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DeadLetterDetail {
    #[serde(flatten)]
    pub letter: DeadLetter,
    pub family: Format,
    pub trace_id: Option<String>,
    /// Partition and offset in the dead-letter topic
    pub dlq: (i32, i64),
    pub key: Option<String>,
    pub value: Payload,
    pub value_sha256: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
    pub service_version: Option<String>,
    pub failures: Vec<EarlierFailure>,
    pub edits: Vec<Edit>,
}

/// An earlier failure of a dead letter that was replayed since, or a further copy of its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EarlierFailure {
    pub stage: String,
    pub code: String,
    pub detail: String,
    pub replay_count: i32,
    #[serde(with = "time::serde::rfc3339")]
    pub failed_at: Time,
    pub dlq: (i32, i64),
}

/// An edited value.
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
pub struct DeadLetterPage {
    pub letters: Vec<DeadLetter>,
    /// How many match in all, as far as it is cheap to know; none: more than are listed
    pub total: Option<i64>,
    /// When a dead letter was last resolved or discarded: "no open dead letters; last one resolved or discarded 3 h ago"
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_settled_at: Option<Time>,
}

/// What an edit or a patch did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditSummary {
    /// Dead letters whose value changed
    pub changed: u64,
    /// Dead letters that had this value already
    pub unchanged: u64,
}

/// What an edit would make of a dead letter's value. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EditPreview {
    pub letter: i64,
    /// The value as text: what a replay would send now, and after the edit
    pub before: String,
    pub after: String,
    /// They differ
    pub changes: bool,
    /// Why it would be refused
    pub refused: Option<Refusal>,
}

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Refusal {
    pub code: String,
    /// The code in one line
    pub meaning: String,
    /// Where in the JSON, as a pointer
    pub pointer: Option<String>,
    pub detail: String,
}

/// What a patch would make of a selection. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchPreview {
    /// How many dead letters it would be applied to
    pub selected: i64,
    /// The newest of them, each with the patch applied
    pub previews: Vec<EditPreview>,
}
