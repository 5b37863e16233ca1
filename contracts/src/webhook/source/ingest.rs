//! `[ingest]` of a sources file: what becomes of the bare payloads that trusted callers post.

use super::fields::{optional, refuse_rest};
use super::{BUILTIN, INGEST, SourceError, parse_file};
use crate::event::Mapping;
use toml::{Table, Value};

/// What the edge makes of a bare payload: an event in EventFlow's own envelope, of the source `ingest`.
#[derive(Debug)]
pub struct Ingest {
    /// Of a payload that is posted without one
    pub event_type: String,
    /// How the envelope is read: its own places, and the entity that the table names
    pub event: Mapping,
}

impl Ingest {
    /// That of a sources file; the built-in one where the file has none.
    ///
    /// # Errors
    /// [`SourceError`] naming the key and what is wrong with it.
    pub fn of_file(text: &str) -> Result<Self, SourceError> {
        let table = match parse_file(text)?.remove(INGEST) {
            Some(table) => Some(table),
            None => parse_file(BUILTIN)?.remove(INGEST),
        };
        let bad = |problem: String| SourceError(format!("{INGEST}: {problem}"));
        match table {
            Some(Value::Table(table)) => Self::parse(table).map_err(bad),
            Some(_) | None => Err(bad("write it as a table: [ingest]".to_owned())),
        }
    }

    fn parse(mut table: Table) -> Result<Self, String> {
        let event_type: Option<String> = optional(&mut table, "event_type")?;
        let event_type = event_type.filter(|name| !name.trim().is_empty());
        // The other places are those of the envelope, which the edge writes.
        let entity = table.remove("entity");
        refuse_rest(&table, "event_type, entity")?;
        let event = entity.map(|place| ("entity".to_owned(), place));
        Ok(Self {
            event_type: event_type.ok_or("event_type: is missing")?,
            event: Mapping::parse(event.into_iter().collect(), None)?,
        })
    }
}
