//! Which dead letters a command or a query is about.

use super::{DeadLetterState, Time};
use runtime::config::parse_duration;
use runtime::text::quoted;
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;

/// Which dead letters: all conditions must hold; several values of one are alternatives. The same words in every command and query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Numbers of dead letters, comma separated
    #[arg(
        long = "id",
        value_name = "NUMBER",
        help_heading = "Which dead letters",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub id: Vec<i64>,
    /// Numbers of groups (see eventflow dlq groups), comma separated
    #[arg(
        long,
        value_name = "NUMBER",
        help_heading = "Which dead letters",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<i64>,
    /// States, comma separated [default: open]
    #[arg(
        long,
        value_enum,
        help_heading = "Which dead letters",
        value_delimiter = ','
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<DeadLetterState>,
    /// Codes, comma separated, such as missing_field
    #[arg(long, help_heading = "Which dead letters", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code: Vec<String>,
    /// Stages, comma separated, such as validator
    #[arg(long, help_heading = "Which dead letters", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stage: Vec<String>,
    /// Sources (vendors), comma separated
    #[arg(long, help_heading = "Which dead letters", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// Event types, comma separated
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
    /// Failed at this time or later: RFC 3339, or an age such as 90s, 30m, 2h, 7d
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
    /// Text in the detail, ignoring case
    #[arg(long, help_heading = "Which dead letters")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// At most this many, the newest first
    #[arg(long, help_heading = "Which dead letters")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A time as people write it: RFC 3339, or an age such as `2h` before now.
///
/// # Errors
/// What it must look like.
pub fn parse_time(text: &str) -> Result<Time, String> {
    if let Ok(time) = Time::parse(text, &Rfc3339) {
        return Ok(time);
    }
    let age = parse_duration(text).ok();
    age.and_then(|age| Time::from(runtime::clock::now()).checked_sub(age.try_into().ok()?))
        .ok_or_else(|| {
            "write RFC 3339 (2026-11-21T10:00:00Z) or an age (90s, 30m, 2h, 7d)".to_owned()
        })
}

impl Selection {
    /// As the words of a query.
    #[must_use]
    pub fn to_query(&self) -> Vec<(&'static str, String)> {
        fn join<T: ToString>(values: &[T]) -> Option<String> {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            (!texts.is_empty()).then(|| texts.join(","))
        }
        // A time that RFC 3339 cannot write is left for the API to refuse.
        let written = |time: Time| time.format(&Rfc3339).unwrap_or_else(|_| time.to_string());
        let words = [
            ("id", join(&self.id)),
            ("group", join(&self.group)),
            ("state", join(&self.state)),
            ("code", join(&self.code)),
            ("stage", join(&self.stage)),
            ("source", join(&self.source)),
            ("event_type", join(&self.event_type)),
            ("event_id", self.event_id.clone()),
            ("entity_key", self.entity_key.clone()),
            ("since", self.since.map(written)),
            ("until", self.until.map(written)),
            ("contains", self.contains.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        words
            .into_iter()
            .filter_map(|(word, value)| Some((word, value?)))
            .collect()
    }

    /// As flags of the command line, each with a space before it.
    #[must_use]
    pub fn to_flags(&self) -> String {
        self.to_query()
            .into_iter()
            .map(|(word, value)| format!(" --{} {}", word.replace('_', "-"), quoted(&value)))
            .collect()
    }

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
