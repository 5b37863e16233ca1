//! What a source has in effect, its preset included, as it would be written in the file: for people who look at it.

use super::fields::with_preset;
use super::{SourceError, entries, event_tables};
use crate::event::Mapping;
use toml::{Table, Value};

/// Keys of a source that are in effect: its own, its preset's, and of the mapping the defaults. Nothing of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InEffect {
    /// How a body holds events, and what is answered: key and value
    pub form: Vec<(&'static str, String)>,
    /// Of `[source.event]`: `id = "/id"`
    pub mapping: Vec<String>,
    /// What is asked, and what is answered
    pub handshakes: Vec<String>,
}

/// Keys of the form, and what they are without a value.
const FORM: [(&str, Option<&str>); 5] = [
    ("body", Some("\"json\"")),
    ("items", None),
    ("gzip", None),
    ("answer", None),
    ("public_url", None),
];

/// In the order in which people ask for them.
const EVENT: [&str; 9] = [
    "id", "type", "time", "entity", "payload", "version", "contract", "unknown", "filter",
];

/// What a source of a file has in effect; `None` where the file has no such source.
///
/// # Errors
/// As [`Sources::described`](super::Sources::described), for what is wrong with the shape of the file.
pub fn in_effect(text: &str, name: &str) -> Result<Option<InEffect>, SourceError> {
    let Some((_, mut table)) = entries(text)?.into_iter().find(|(own, _)| own == name) else {
        return Ok(None);
    };
    let bad = |problem: String| SourceError(format!("source {name:?}: {problem}"));
    let (event, preset) = event_tables(&mut table).map_err(bad)?;
    let event = Mapping::keys(event, preset.as_ref()).map_err(bad)?;
    let (_, table) = with_preset(table).map_err(bad)?;
    let form = FORM.iter().filter_map(|(key, default)| {
        let value = table.get(*key).map(Value::to_string);
        Some((*key, value.or_else(|| default.map(str::to_owned))?))
    });
    let mapping = EVENT
        .iter()
        .filter_map(|key| Some(format!("{key} = {}", event.get(*key)?)));
    let has_token = table.contains_key("verify_token");
    let asked = table.get("handshake").and_then(Value::as_array);
    let asked = asked.into_iter().flatten().filter_map(Value::as_table);
    Ok(Some(InEffect {
        form: form.collect(),
        mapping: mapping.collect(),
        handshakes: asked.map(|one| handshake(one, has_token)).collect(),
    }))
}

fn handshake(one: &Table, has_token: bool) -> String {
    let key = |name: &str| one.get(name).map(Value::to_string);
    let method = one.get("method").and_then(Value::as_str).unwrap_or("POST");
    let is_signed = one.get("signed").and_then(Value::as_bool);
    let signed = match is_signed.unwrap_or(method == "POST") {
        true => "",
        false => ", not signed",
    };
    let when = key("when").unwrap_or_else(|| "always".to_owned());
    let answer = key("answer").unwrap_or_default();
    let off = match when.contains("verify_token") && !has_token {
        true => " (not answered: the source has no verify_token)",
        false => "",
    };
    format!("{method}{signed}, when {when}: answer {answer}{off}")
}
