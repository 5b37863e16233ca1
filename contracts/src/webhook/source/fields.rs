//! The fields of a source, each with what it refuses.

use super::{DEFAULT_QUOTA_PER_SECOND, Resolve};
use crate::webhook::preset;
use crate::webhook::signature::Key;
use serde::de::DeserializeOwned;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::{Table, Value};

/// Longest answer deadline that may be configured. No vendor waits longer.
const MOST_ANSWER_DEADLINE_MS: u64 = 60_000;
/// How long a vendor may send the same body again, unless the source says otherwise: GitHub delivers again for three days, others give up sooner.
const RESEND_HOURS: u32 = 72;
/// The longest that may be configured: thirty days.
const MOST_RESEND_HOURS: u32 = 720;

/// The source over what its preset brings, and what to call its scheme: `preset` brings a whole file, `scheme` by a name only the scheme of
/// that preset.
pub(super) fn with_preset(mut table: Table) -> Result<(String, Table), String> {
    let mut name = "custom".to_owned();
    let mut base = Table::new();
    match table.remove("preset") {
        Some(Value::String(preset)) => {
            base = preset::table(&preset).map_err(|problem| format!("preset: {problem}"))?;
            name = preset;
        }
        Some(_) => return Err("preset: write the name of one, as \"stripe\"".to_owned()),
        None => {}
    }
    if let Some(Value::String(scheme)) = table.get("scheme") {
        let own = preset::table(scheme).map_err(|problem| format!("scheme: {problem}"))?;
        name.clone_from(scheme);
        base.remove("scheme");
        table.remove("scheme");
        base.extend(own.into_iter().filter(|(key, _)| key == "scheme"));
    }
    base.remove("event");
    Ok((name, preset::merge(table, base)))
}

/// How long the vendor waits for an answer, less a margin.
pub(super) fn answer_deadline(table: &mut Table) -> Result<Option<Duration>, String> {
    let ms: Option<u64> = at_least_one(table, "answer_deadline_ms")?;
    if ms.is_some_and(|ms| ms > MOST_ANSWER_DEADLINE_MS) {
        return Err(format!(
            "answer_deadline_ms: must be at most {MOST_ANSWER_DEADLINE_MS}"
        ));
    }
    Ok(ms.map(Duration::from_millis))
}

/// How long the same body may come again: only a scheme without a signed time needs to know.
pub(super) fn resend_horizon(
    table: &mut Table,
    signs_time: bool,
) -> Result<Option<Duration>, String> {
    let hours: Option<u32> = optional(table, "resend_hours")?;
    match hours {
        Some(_) if signs_time => Err(
            "resend_hours: this scheme signs the time, which tells a repeat; remove it".to_owned(),
        ),
        Some(hours) if hours > MOST_RESEND_HOURS => {
            Err(format!("resend_hours: must be at most {MOST_RESEND_HOURS}"))
        }
        Some(0) => Ok(None),
        _ if signs_time => Ok(None),
        hours => Ok(Some(Duration::from_secs(
            u64::from(hours.unwrap_or(RESEND_HOURS)) * 3600,
        ))),
    }
}

/// The secrets. No error shows their values: people do put the secret itself where its reference belongs.
pub(super) fn parse_secrets(table: &mut Table, resolve: Resolve<'_>) -> Result<Vec<Key>, String> {
    let shape = || {
        "secrets: a list of { id = \"...\", from = \"env:NAME or file:/path\" } with at least one in it".to_owned()
    };
    let Some(Value::Array(entries)) = table.remove("secrets") else {
        return Err(shape());
    };
    if entries.is_empty() {
        return Err(shape());
    }
    let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
    for entry in entries {
        let Value::Table(mut entry) = entry else {
            return Err(shape());
        };
        let (Some(Value::String(id)), Some(Value::String(from))) =
            (entry.remove("id"), entry.remove("from"))
        else {
            return Err(shape());
        };
        let bad = |problem: &str| format!("secrets: {id:?}: {problem}");
        let not_after = match entry.remove("not_after") {
            None => None,
            Some(value) => Some(unix_seconds(&value).ok_or_else(|| {
                bad("not_after: write a time with its zone, as 2030-01-01T00:00:00Z")
            })?),
        };
        refuse_rest(&entry, "id, from, not_after").map_err(|problem| bad(&problem))?;
        if id.trim().is_empty() || keys.iter().any(|key| key.id == id) {
            return Err(bad("each id must be unique and not blank"));
        }
        let secret = resolve(&from).map_err(|problem| bad(&problem))?;
        keys.push(Key {
            id,
            secret,
            not_after,
        });
    }
    Ok(keys)
}

/// A time, written as text or as TOML's own.
pub(super) fn unix_seconds(value: &Value) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Datetime(time) => time.to_string(),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Array(_)
        | Value::Table(_) => return None,
    };
    OffsetDateTime::parse(&text, &Rfc3339)
        .ok()
        .map(OffsetDateTime::unix_timestamp)
}

/// A number of events, or `"unlimited"`, which has to be said.
pub(super) fn parse_quota(table: &mut Table) -> Result<Option<u32>, String> {
    if table.get("quota_per_second").and_then(Value::as_str) == Some("unlimited") {
        table.remove("quota_per_second");
        return Ok(None);
    }
    let quota = at_least_one(table, "quota_per_second")
        .map_err(|problem| format!("{problem}; write a number of events, or \"unlimited\""))?;
    Ok(Some(quota.unwrap_or(DEFAULT_QUOTA_PER_SECOND)))
}

pub(super) fn required<T: DeserializeOwned>(table: &mut Table, field: &str) -> Result<T, String> {
    optional(table, field)?.ok_or_else(|| format!("{field}: is missing"))
}

pub(super) fn optional<T: DeserializeOwned>(
    table: &mut Table,
    field: &str,
) -> Result<Option<T>, String> {
    let value = table.remove(field).map(Value::try_into).transpose();
    value.map_err(|error| {
        format!(
            "{field}: {}",
            error.to_string().trim_end().replace('\n', ", ")
        )
    })
}

pub(super) fn at_least_one<T: DeserializeOwned + PartialEq + From<u8>>(
    table: &mut Table,
    field: &str,
) -> Result<Option<T>, String> {
    match optional(table, field)? {
        Some(number) if number == T::from(0) => Err(format!("{field}: must be at least 1")),
        number => Ok(number),
    }
}

pub(super) fn refuse_rest(table: &Table, known: &str) -> Result<(), String> {
    table.keys().next().map_or(Ok(()), |field| {
        Err(format!("unknown field {field:?}; known are {known}"))
    })
}
