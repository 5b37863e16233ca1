//! What becomes of a row, given what is stored. Pure: persistence does it, a dry run predicts it, and both ask here.

use crate::row::{EventRow, RawPosition};
use runtime::faults;
use std::collections::HashMap;

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is the row of its event
    Stored,
    /// This very raw record is stored already
    StoredBefore,
    /// This very raw record is stored under a contract that says less: its row is typed by this one
    Retyped,
    /// Its event is stored, from another raw record with the same content
    Duplicate,
    /// Its signed body is stored already, under this other id, which the signature does not cover: somebody sent it once more
    Copy(String),
    /// Its event is stored with other content, or its raw record is another event: a sentence
    Conflict(String),
    /// PostgreSQL refuses its content: a sentence
    Refused(String),
}

/// The fate of a raw record that is no dead letter, as the column `fate` of persistence's view `event_fates` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum RecordedFate {
    /// It has a row
    Stored,
    /// A further delivery of an event that has a row
    Duplicate,
    /// A rule of its source says that it is not wanted
    Filtered,
}

impl RecordedFate {
    /// As the column has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Filtered => "filtered",
        }
    }
}

/// What is stored of a row's event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The raw record it was made from
    pub raw: RawPosition,
    /// Pointers to where its content differs from the row's, as far as they are known; `None`: it is the same content
    pub differences: Option<Vec<String>>,
    /// The contract that its row has; `None` in rows of version 0.1
    pub contract: Option<String>,
    /// Its row is not what its raw record says, but what a person made of it
    pub edited: bool,
}

/// The fate of a row of whose event this is stored; `None` when it is new.
///
/// An edit is a person's: what is stored may be its raw record's own content, or another edit's. Otherwise the same raw record is the same
/// event, though a later contract may encode it differently: by one that says more its row is typed again, unless it is an edit. Never by one that
/// says less, so that whoever is late turns nothing back.
#[must_use]
pub fn decide(row: &EventRow<'_>, stored: Option<&Stored>) -> Fate {
    let Some(stored) = stored else {
        return Fate::Stored;
    };
    let Stored {
        raw, differences, ..
    } = stored;
    match (*raw == row.raw, differences) {
        (true, Some(pointers)) if row.edited_by.is_some() => Fate::Conflict(format!(
            "raw record {raw} is stored with other content than this edit of it{}",
            named(pointers)
        )),
        (true, _)
            if row.edited_by.is_none()
                && !stored.edited
                && row.says_more_than(stored.contract.as_deref()) =>
        {
            Fate::Retyped
        }
        (true, _) => Fate::StoredBefore,
        (false, None) => Fate::Duplicate,
        (false, _) if faults::planted("content_not_compared") => Fate::Duplicate,
        (false, Some(pointers)) => Fate::Conflict(format!(
            "event {} of source {} is stored with other content, from raw record {raw}{}",
            row.event.event_id,
            row.source,
            named(pointers)
        )),
    }
}

/// Most pointers that a conflict names.
const MAX_NAMED: usize = 5;

/// What differs. The values are not named: who may read a detail need not be allowed to read the payload.
fn named(pointers: &[String]) -> String {
    let shown = pointers.iter().take(MAX_NAMED).map(String::as_str);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match pointers.len() {
        0 => String::new(),
        1..=MAX_NAMED => format!("; different: {shown}"),
        all => format!("; different: {shown} and {} more", all - MAX_NAMED),
    }
}

/// Which event (source, event id) each raw record is: those of the database, and then those of the batch.
#[derive(Debug, Default)]
pub struct RawEvents(HashMap<RawPosition, (String, String)>);

impl RawEvents {
    /// As the database knows them.
    pub fn known(events: impl IntoIterator<Item = RawEvent>) -> Self {
        let entry = |event: RawEvent| (event.raw, (event.source, event.event_id));
        Self(events.into_iter().map(entry).collect())
    }

    /// Why a row may not be inserted: it is a replay, and its raw record is another event already. An edit may change a record's id, and one
    /// raw record must not become two rows by it. Rows that are no replays are never refused here.
    pub fn conflict(&mut self, row: &EventRow<'_>) -> Option<String> {
        let conflict = self.conflict_of_refused(row);
        self.0.entry(row.raw.clone()).or_insert_with(|| row.key());
        conflict
    }

    /// As [`Self::conflict`], for a row PostgreSQL refuses: its raw record does not become its event.
    #[must_use]
    pub fn conflict_of_refused(&self, row: &EventRow<'_>) -> Option<String> {
        let (source, id) = self.0.get(&row.raw)?;
        let same = source == row.source && id == row.event.event_id;
        (row.replayed && !same).then(|| {
            format!(
                "raw record {} is event {id} of source {source} already",
                row.raw
            )
        })
    }
}

/// A raw record and the event it is, stored or delivered again.
#[derive(Debug, Clone, sqlx::FromRow)]
#[allow(missing_docs, reason = "columns of the view event_fates")]
pub struct RawEvent {
    #[sqlx(flatten)]
    pub raw: RawPosition,
    pub source: String,
    pub event_id: String,
}
