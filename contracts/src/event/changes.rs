//! What changed between two versions of a contract, where, and whom it breaks.
//!
//! Of a payload's schema: backward means that what the old version let pass, the new one lets pass; forward, that what the new version lets
//! pass, the old one would have. Of the record: backward means that consumers with the new record read what was written with the old one;
//! forward, that consumers with the old record read what is written with the new one. A field that the old version did not declare had any
//! value; declaring it breaks nobody, since that is what new versions are for.

mod payload;
mod record;

use super::Contract;
use super::schema::without_notes;
use std::fmt;

/// Who must not be broken by a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compatibility {
    /// Nothing is asked
    None,
    /// The new version takes what the old one took
    Backward,
    /// The old version takes what the new one takes
    Forward,
    /// Both
    Full,
}

/// Whom a change breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaks {
    /// Nobody
    Nobody,
    /// Whoever has the new version and meets what the old one let pass
    Backward,
    /// Whoever has the old version and meets what the new one lets pass
    Forward,
    /// Both
    Both,
    /// It cannot be decided: a keyword that only jsonschema judges has another value
    Undecided,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `schema.json`, `record.avsc` or `schema-id`
    pub file: &'static str,
    /// The place in the payload (of `record.avsc` in the record) as a JSON pointer; `*` is every item of a list. Empty is the whole
    pub pointer: String,
    /// For people
    pub detail: String,
    /// Whom it breaks
    pub breaks: Breaks,
}

impl Compatibility {
    /// All, from the weakest on.
    pub const ALL: [Self; 4] = [Self::None, Self::Backward, Self::Forward, Self::Full];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Full => "full",
        }
    }

    /// Whether a change is one that may not be.
    #[must_use]
    pub fn forbids(self, breaks: Breaks) -> bool {
        let (backward, forward) = match self {
            Self::None => (false, false),
            Self::Backward => (true, false),
            Self::Forward => (false, true),
            Self::Full => (true, true),
        };
        (backward && breaks.backward()) || (forward && breaks.forward())
    }
}

impl Breaks {
    /// It surely breaks backward compatibility.
    #[must_use]
    pub fn backward(self) -> bool {
        matches!(self, Self::Backward | Self::Both)
    }

    /// It surely breaks forward compatibility.
    #[must_use]
    pub fn forward(self) -> bool {
        matches!(self, Self::Forward | Self::Both)
    }

    /// Its name, which does not change.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Both => "both",
            Self::Undecided => "undecided",
        }
    }

    fn of(backward: bool, forward: bool) -> Self {
        match (backward, forward) {
            (false, false) => Self::Nobody,
            (true, false) => Self::Backward,
            (false, true) => Self::Forward,
            (true, true) => Self::Both,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() {
            "/"
        } else {
            &self.pointer
        };
        write!(f, "{} {pointer}: {}", self.file, self.detail)?;
        match self.breaks {
            Breaks::Nobody => Ok(()),
            Breaks::Backward | Breaks::Forward => write!(f, " (breaks {})", self.breaks.name()),
            Breaks::Both => write!(f, " (breaks backward and forward)"),
            Breaks::Undecided => write!(f, " (cannot be decided; look at it)"),
        }
    }
}

/// What changed from one version to another: of the payload in the order of the new schema, then of the record.
#[must_use]
pub fn changes(old: &Contract, new: &Contract) -> Vec<Change> {
    let mut found = payload::changes(&old.schema_json, &new.schema_json);
    found.extend(record_changes(&old.record_avsc, &new.record_avsc));
    found
}

/// What changed from one Avro record to another, where that breaks a reader.
#[must_use]
pub fn record_changes(old_avsc: &str, new_avsc: &str) -> Vec<Change> {
    record::changes(old_avsc, new_avsc)
}

/// What changed in a version that was published, which may only get other notes (titles, descriptions, comments) and examples: nothing, if
/// that is all.
#[must_use]
pub fn changes_in_place(published: &Contract, now: &Contract) -> Vec<Change> {
    let mut found = Vec::new();
    let rules = |contract: &Contract| without_notes(&contract.schema_json);
    let same_record =
        super::compatibility::AvroSchema::new(&published.record_avsc).and_then(|old| {
            Ok(old.is_same_as(&super::compatibility::AvroSchema::new(&now.record_avsc)?))
        });
    if rules(published) != rules(now) || same_record != Ok(true) {
        found = changes(published, now);
        if found.is_empty() {
            found.push(Change {
                file: "schema.json",
                pointer: String::new(),
                detail: "has its rules in another order, which is the order of the record and of the checks".to_owned(),
                breaks: Breaks::Nobody,
            });
        }
    }
    if let (Some(old), id) = (published.schema_id, now.schema_id)
        && id != Some(old)
    {
        found.push(Change {
            file: "schema-id",
            pointer: String::new(),
            detail: match id {
                Some(id) => format!("was {old}, is {id}: records in topics name {old}"),
                None => format!("was {old}, is gone: records in topics name {old}"),
            },
            breaks: Breaks::Both,
        });
    }
    found
}
