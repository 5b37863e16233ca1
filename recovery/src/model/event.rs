//! Accepted events, each with its fate.

use super::text_enum::text_enum;
use super::trace::{Timeline, TraceFate};
use super::{Payload, Time, parse_time};
use serde::{Deserialize, Serialize};

text_enum! {
    /// A fate that events are filtered by.
    EventFate {
        /// It is a row
        Stored = "stored",
        /// A further delivery of what is a row
        Duplicate = "duplicate",
        /// A rule of its source says that it is not wanted
        Filtered = "filtered",
        /// A dead letter that is not resolved
        DeadLettered = "dead_lettered",
    }
}

impl clap::ValueEnum for EventFate {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}

/// Which events: all conditions must hold; several values of one are alternatives. The same words in the command and the query.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct EventFilter {
    /// Event id, entity key (payment id), traceparent or trace id
    #[arg(value_name = "WHAT")]
    pub q: Option<String>,
    /// Sources (vendors), comma separated
    #[arg(long, value_delimiter = ',')]
    pub source: Vec<String>,
    /// Event types, comma separated; duplicates do not keep theirs, and are left out
    #[arg(long, value_delimiter = ',')]
    pub event_type: Vec<String>,
    /// Fates, comma separated [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub fate: Vec<EventFate>,
    /// A field of the stored payload, as /customer/email=a@b.c; repeatable. A number in the path is any element of a list. Only stored
    /// events have one
    #[arg(long, value_name = "/PATH=VALUE")]
    pub field: Vec<String>,
    /// Received at this time or later: RFC 3339, or an age such as 90s, 30m, 2h, 7d
    #[arg(long, value_parser = parse_time)]
    pub since: Option<Time>,
    /// Received before this time: RFC 3339, or an age
    #[arg(long, value_parser = parse_time)]
    pub until: Option<Time>,
    /// At most this many, the newest first
    #[arg(long)]
    pub limit: Option<u32>,
}

/// A page of events, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EventPage {
    pub events: Vec<EventSummary>,
    /// `before` of the page after this one; none: there is no more
    pub next: Option<String>,
    /// All that was received since then was searched, and no further: filters match little. The next page searches on
    #[serde(with = "time::serde::rfc3339::option")]
    pub searched_to: Option<Time>,
}

/// One accepted event, or a further delivery of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EventSummary {
    /// Of its raw record: `partition:offset`, and which topic of that name, where there were several
    pub raw: String,
    /// When it was received, or where that is not known, when it got its fate
    #[serde(with = "time::serde::rfc3339")]
    pub at: Time,
    #[serde(with = "time::serde::rfc3339")]
    pub settled_at: Time,
    pub fate: TraceFate,
    pub source: String,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub entity_key: Option<String>,
    pub trace_id: Option<String>,
    /// Number of its dead letter
    pub letter: Option<i64>,
    /// Of its dead letter: what failed; of a filtered one: the rule
    pub why: Option<String>,
}

/// Everything about one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EventDetail {
    pub raw: String,
    pub timeline: Timeline,
    /// What the vendor sent; none: Kafka has it no more, and no dead letter has it
    pub received: Option<ReceivedRecord>,
    /// What is stored of it
    pub row: Option<StoredRow>,
    /// Numbers of its dead letters
    pub letters: Vec<i64>,
}

/// The raw record: the signed bytes, verbatim, and the headers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ReceivedRecord {
    pub key: Option<String>,
    pub value: Payload,
    pub headers: Vec<(String, Option<String>)>,
    /// A command that sends the same bytes with the same headers again, as the vendor did
    pub curl: Option<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
#[allow(missing_docs)]
pub struct StoredRow {
    pub source: String,
    pub event_id: String,
    pub event_type: String,
    pub contract: Option<String>,
    pub entity_key: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: Time,
    #[serde(with = "time::serde::rfc3339::option")]
    pub received_at: Option<Time>,
    #[serde(with = "time::serde::rfc3339")]
    pub stored_at: Time,
    pub amount: Option<String>,
    pub currency: Option<String>,
    pub schema_id: i32,
    pub secret_id: Option<String>,
    pub trace_id: Option<String>,
    pub edited_by: Option<String>,
    /// JSON, as PostgreSQL writes it
    pub payload: String,
}
