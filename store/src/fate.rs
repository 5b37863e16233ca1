//! What becomes of a row, given what is stored. Pure: persistence does it, a dry run predicts it, and both ask here.

use crate::row::{EventRow, RawPosition};
use std::collections::HashMap;

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is the row of its event
    Stored,
    /// This very raw record is stored already
    StoredBefore,
    /// Its event is stored, from another raw record with the same content
    Duplicate,
    /// Its event is stored with other content, or its raw record is another event: a sentence
    Conflict(String),
    /// PostgreSQL refuses its content: a sentence
    Refused(String),
}

/// The fate of a raw record that came to a row or to a recorded duplicate, as the column `fate` of persistence's view `event_fates` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum RecordedFate {
    /// It has a row
    Stored,
    /// A further delivery of an event that has a row
    Duplicate,
}

impl RecordedFate {
    /// As the column has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What is stored of a row's event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 of its Avro
    pub content_hash: Vec<u8>,
    /// The raw record it was made from
    pub raw: RawPosition,
}

/// The fate of a row of whose event this is stored; `None` when it is new.
///
/// An edit is a person's: what is stored may be its raw record's own content, or another edit's. Otherwise the same raw record is the same
/// event, though a later contract may encode it differently.
#[must_use]
pub fn decide(row: &EventRow<'_>, stored: Option<&Stored>) -> Fate {
    let Some(Stored { content_hash, raw }) = stored else {
        return Fate::Stored;
    };
    let same_content = content_hash == &row.content_hash;
    match (*raw == row.raw, same_content) {
        (true, false) if row.edited => Fate::Conflict(format!(
            "raw record {}:{} is stored with other content than this edit of it",
            raw.0, raw.1
        )),
        (true, _) => Fate::StoredBefore,
        (false, true) => Fate::Duplicate,
        (false, false) => Fate::Conflict(format!(
            "event {} of source {} is stored with other content, from raw record {}:{}",
            row.event.event_id, row.source, raw.0, raw.1
        )),
    }
}

/// Which event (source, event id) each raw record is: those of the database, and then those of the batch.
#[derive(Debug, Default)]
pub struct RawEvents(HashMap<RawPosition, (String, String)>);

impl RawEvents {
    /// As the database knows them.
    pub fn known(events: impl IntoIterator<Item = RawEvent>) -> Self {
        let entry = |event: RawEvent| {
            let raw = (event.raw_partition, event.raw_offset);
            (raw, (event.source, event.event_id))
        };
        Self(events.into_iter().map(entry).collect())
    }

    /// Why a row may not be inserted: it is a replay, and its raw record is another event already. An edit may change a record's id, and one
    /// raw record must not become two rows by it. Rows that are no replays are never refused here.
    pub fn conflict(&mut self, row: &EventRow<'_>) -> Option<String> {
        let (source, id) = self.0.entry(row.raw).or_insert_with(|| row.key());
        let same = source == row.source && id == row.event.event_id;
        let (partition, offset) = row.raw;
        (row.replayed && !same).then(|| {
            format!("raw record {partition}:{offset} is event {id} of source {source} already")
        })
    }
}

/// A raw record and the event it is, stored or delivered again.
#[derive(Debug, Clone, sqlx::FromRow)]
#[allow(missing_docs, reason = "columns of the view event_fates")]
pub struct RawEvent {
    pub raw_partition: i32,
    pub raw_offset: i64,
    pub source: String,
    pub event_id: String,
}
