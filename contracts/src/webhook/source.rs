//! Sources are data: a vendor is an entry of `sources.toml`.

pub use super::locator::Locator;

use super::scheme::{Freshness, Scheme};
use super::signature::{Key, SchemeError, Verifier};
use crate::Secret;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::{Table, Value};

/// Largest body of one event, in bytes, unless the source sets another.
const BODY_LIMIT_BYTES: usize = 256 << 10;
/// Most that may be configured for one event. A dead letter carries the body verbatim and headers with the reason, and both must fit into a
/// record of Kafka's default size (1,000,000 bytes at the client): what the edge accepts can always be dead-lettered.
const LARGEST_BODY_BYTES: usize = 900_000;
/// Largest body of a batch, in bytes, unless the source sets another.
const BATCH_LIMIT_BYTES: usize = 4 << 20;

/// The sources file cannot be used. Names the source and the field, and never a value that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A vendor.
#[derive(Debug)]
pub struct Source {
    /// The URL is `/api/webhooks/<name>`
    pub name: String,
    /// Verifies its requests
    pub verifier: Verifier,
    /// Name of the preset, or `custom`
    pub scheme_name: String,
    /// Where a body has the event id
    pub event_id: Locator,
    /// Where the key of its entity is (what keeps order)
    pub entity_key: Locator,
    /// Largest body of one event, in bytes
    pub body_limit_bytes: usize,
    /// Largest body of a batch, in bytes
    pub batch_limit_bytes: usize,
    /// Events accepted a second; `None` is unlimited
    pub quota_per_second: Option<u32>,
}

/// All vendors, by name.
#[derive(Debug)]
pub struct Sources(Vec<Source>);

/// Resolves a reference to its secret.
type Resolve<'a> = &'a dyn Fn(&str) -> Result<Secret, String>;

impl Sources {
    /// Parses `sources.toml`. `resolve` is given each secret's reference (`env:NAME`, `file:/path`).
    ///
    /// # Errors
    /// [`SourceError`] naming the source, the field and what is wrong with it.
    pub fn from_toml(
        text: &str,
        resolve: &dyn Fn(&str) -> Result<Secret, String>,
    ) -> Result<Self, SourceError> {
        // The parser's own display quotes the line, and a line may hold a secret that does not belong there.
        let mut file: Table = toml::from_str(text).map_err(|error| {
            let before = error
                .span()
                .map_or("", |span| text.get(..span.start).unwrap_or(""));
            SourceError(format!(
                "line {}: {}",
                before.matches('\n').count() + 1,
                error.message()
            ))
        })?;
        let tables = match file.remove("source") {
            Some(Value::Array(tables)) if !tables.is_empty() => tables,
            Some(_) | None => {
                return Err(SourceError(
                    "there is no source: start each one with [[source]]".to_owned(),
                ));
            }
        };
        refuse_rest(&file, "source").map_err(SourceError)?;
        let mut sources: Vec<Source> = Vec::with_capacity(tables.len());
        for (index, table) in tables.into_iter().enumerate() {
            let unnamed =
                |problem: String| SourceError(format!("source number {}: {problem}", index + 1));
            let Value::Table(mut table) = table else {
                return Err(unnamed("write it as [[source]]".to_owned()));
            };
            let name: String = required(&mut table, "name").map_err(unnamed)?;
            let bad = |problem: String| SourceError(format!("source {name:?}: {problem}"));
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            {
                return Err(bad(
                    "name: only lower-case letters, digits and hyphens".to_owned()
                ));
            }
            if sources.iter().any(|source| source.name == name) {
                return Err(bad("name: another source has it; choose another".to_owned()));
            }
            sources.push(Source::parse(name.clone(), table, resolve).map_err(bad)?);
        }
        Ok(Self(sources))
    }

    /// The one built-in source, `payment-authorized`, which signs as the original does.
    ///
    /// # Panics
    /// When the secret is empty; callers check that first.
    #[must_use]
    pub fn builtin(secret: &Secret) -> Self {
        let text = r#"
            [[source]]
            name = "payment-authorized"
            scheme = "eventflow"
            secrets = [{ id = "default", from = "builtin" }]
            event_id = "/event_id"
            entity_key = "/payload/payment_id"
        "#;
        Self::from_toml(text, &|_| Ok(secret.clone()))
            .unwrap_or_else(|problem| panic!("the built-in source: {problem}"))
    }

    /// The source with this name; `None` when the file has none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.0.iter().find(|source| source.name == name)
    }

    /// All of them, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }
}

impl Source {
    fn parse(name: String, mut table: Table, resolve: Resolve<'_>) -> Result<Self, String> {
        let (scheme_name, mut scheme) = parse_scheme(&mut table)?;
        if let Some(seconds) = optional(&mut table, "tolerance_seconds")? {
            if scheme.freshness.is_none() {
                return Err(
                    "tolerance_seconds: this scheme has no freshness rule; remove it".to_owned(),
                );
            }
            scheme.freshness = Some(Freshness {
                past_seconds: seconds,
                future_seconds: seconds,
            });
        }
        let keys = parse_secrets(&mut table, resolve)?;
        let public_url = optional(&mut table, "public_url")?;
        let event_id = parse_locator(&mut table, "event_id")?;
        let entity_key = parse_locator(&mut table, "entity_key")?;
        let body_limit_bytes =
            at_least_one(&mut table, "body_limit_bytes")?.unwrap_or(BODY_LIMIT_BYTES);
        if body_limit_bytes > LARGEST_BODY_BYTES {
            return Err(format!(
                "body_limit_bytes: must be at most {LARGEST_BODY_BYTES}, so that the event fits into a Kafka record with its headers"
            ));
        }
        let batch_limit_bytes = at_least_one(&mut table, "batch_limit_bytes")?
            .unwrap_or(BATCH_LIMIT_BYTES.max(body_limit_bytes));
        let quota_per_second = at_least_one(&mut table, "quota_per_second")?;
        refuse_rest(
            &table,
            "name, scheme, tolerance_seconds, secrets, public_url, event_id, entity_key, body_limit_bytes, batch_limit_bytes, \
             quota_per_second",
        )?;
        let verifier =
            Verifier::new(scheme, keys, public_url).map_err(|SchemeError(problem)| problem)?;
        Ok(Self {
            name,
            verifier,
            scheme_name,
            event_id,
            entity_key,
            body_limit_bytes,
            batch_limit_bytes,
            quota_per_second,
        })
    }
}

/// A preset by name, or a table that describes another scheme.
fn parse_scheme(table: &mut Table) -> Result<(String, Scheme), String> {
    match table.get("scheme") {
        Some(Value::String(name)) => {
            let name = name.clone();
            table.remove("scheme");
            let scheme = Scheme::preset(&name).ok_or_else(|| {
                format!(
                    "scheme: {name:?} is unknown; presets are {}",
                    Scheme::PRESETS.join(", ")
                )
            })?;
            Ok((name, scheme))
        }
        Some(_) | None => Ok(("custom".to_owned(), required(table, "scheme")?)),
    }
}

/// The secrets. No error shows their values: people do put the secret itself where its reference belongs.
fn parse_secrets(table: &mut Table, resolve: Resolve<'_>) -> Result<Vec<Key>, String> {
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
fn unix_seconds(value: &Value) -> Option<i64> {
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

/// One location or several, tried in order.
fn parse_locator(table: &mut Table, field: &str) -> Result<Locator, String> {
    let places: Vec<String> = match table.get(field) {
        Some(Value::String(location)) => {
            let location = location.clone();
            table.remove(field);
            vec![location]
        }
        Some(_) => required(table, field)?,
        None => Vec::new(),
    };
    Locator::parse(places).map_err(|problem| format!("{field}: {problem}"))
}

fn required<T: DeserializeOwned>(table: &mut Table, field: &str) -> Result<T, String> {
    optional(table, field)?.ok_or_else(|| format!("{field}: is missing"))
}

fn optional<T: DeserializeOwned>(table: &mut Table, field: &str) -> Result<Option<T>, String> {
    let value = table.remove(field).map(Value::try_into).transpose();
    value.map_err(|error| {
        format!(
            "{field}: {}",
            error.to_string().trim_end().replace('\n', ", ")
        )
    })
}

fn at_least_one<T: DeserializeOwned + PartialEq + From<u8>>(
    table: &mut Table,
    field: &str,
) -> Result<Option<T>, String> {
    match optional(table, field)? {
        Some(number) if number == T::from(0) => Err(format!("{field}: must be at least 1")),
        number => Ok(number),
    }
}

fn refuse_rest(table: &Table, known: &str) -> Result<(), String> {
    table.keys().next().map_or(Ok(()), |field| {
        Err(format!("unknown field {field:?}; known are {known}"))
    })
}
