//! Sources are data: a vendor is an entry of `sources.toml`.

mod fields;
mod ingest;
mod receiving;
mod trust;
mod words;

use super::answer::SuccessAnswer;
use super::body::BodyForm;
use super::handshake::Handshakes;
use super::kept::KeptHeaders;
use super::preset;
use super::refused::CaptureRejected;
use super::scheme::{Freshness, Scheme};
use super::signature::{Key, SchemeError, Verifier};
use super::unproven::Trust;
use crate::Secret;
use crate::event::{Locator, Mapping};
use fields::{
    answer_deadline, at_least_one, optional, parse_quota, parse_secrets, refuse_rest, required,
    resend_horizon, with_preset,
};
use http::{HeaderName, header};
pub use ingest::Ingest;
use receiving::{check_many, parse_answer, parse_body, parse_handshakes};
use std::time::Duration;
use toml::{Table, Value};
use trust::parse_trust;
pub use words::{InEffect, in_effect};

/// Largest body of one event, in bytes, unless the source sets another.
const BODY_LIMIT_BYTES: usize = 256 << 10;
/// Most that may be configured for one event. A dead letter carries the body verbatim and headers with the reason, and both must fit into a
/// record of Kafka's default size (1,000,000 bytes at the client): what the edge accepts can always be dead-lettered.
const LARGEST_BODY_BYTES: usize = 900_000;
/// Largest body of a batch, in bytes, unless the source sets another.
const BATCH_LIMIT_BYTES: usize = 4 << 20;
/// Events accepted a second unless the source sets another quota. Far more than most vendors send, and a small part of what one edge and the
/// stages behind it can do: one vendor that sends without end does not use up what is there for all.
pub const DEFAULT_QUOTA_PER_SECOND: u32 = 2000;

/// The sources file of the built-in source.
pub const BUILTIN: &str = r#"
    [[source]]
    name = "payment-authorized"
    scheme = "eventflow"
    secrets = [{ id = "default", from = "builtin" }]
    event = { entity = "/payload/payment_id" }
    batches = true
    quota_per_second = "unlimited" # there is no other source

    [ingest]
    event_type = "payment.authorized.v1"
    entity = "/payload/payment_id"
"#;
/// The source name of what comes in by `/api/ingest`.
pub const INGEST: &str = "ingest";

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
    /// Where the envelope of its events is
    pub event: Mapping,
    /// Which headers travel with its raw records
    pub kept_headers: KeptHeaders,
    /// How its bodies hold events
    pub body: BodyForm,
    /// What it asks before it sends events
    pub handshakes: Handshakes,
    /// What it hears of an accepted event; `None` is EventFlow's own answer
    pub answer: Option<SuccessAnswer>,
    /// Largest body of one event, in bytes
    pub body_limit_bytes: usize,
    /// Whether it sends batches, to `/api/webhooks/<name>/batch`
    pub batches: bool,
    /// Largest body with several events, in bytes
    pub batch_limit_bytes: usize,
    /// Events accepted a second, by each edge process; `None` is unlimited
    pub quota_per_second: Option<u32>,
    /// How long a request may wait for its acknowledgement: how long this vendor waits for an answer, less a margin; `None` is the process's
    pub answer_deadline: Option<Duration>,
    /// How long the same body counts as sent again, where the scheme signs no time; `None` where the signed time tells a repeat, or
    /// where different events may have the same body (`resend_hours = 0`)
    pub resend_horizon: Option<Duration>,
    /// What is done with webhooks that are not proven
    pub trust: Trust,
    /// What may be captured of its refused requests; `None` is nothing but facts
    pub capture_rejected: Option<CaptureRejected>,
    /// What the verifier was made of, to try it in other ways ([`diagnose`](super::diagnose))
    pub(super) keys: Vec<Key>,
    pub(super) public_url: Option<String>,
    signed: Signed,
}

/// What the signature covers besides the body.
#[derive(Debug)]
struct Signed {
    /// Of the places of the event id, from the first
    event_id: usize,
    /// Of the places of the entity key
    entity_key: usize,
    /// All places of the event type
    event_type: bool,
    time: bool,
}

/// All vendors, by name, and what trusted callers post.
#[derive(Debug)]
pub struct Sources {
    vendors: Vec<Source>,
    ingest: Ingest,
}

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
        let mut vendors: Vec<Source> = Vec::new();
        for (name, table) in entries(text)? {
            let bad = |problem: String| SourceError(format!("source {name:?}: {problem}"));
            vendors.push(Source::parse(name.clone(), table, resolve).map_err(bad)?);
        }
        let ingest = Ingest::of_file(text)?;
        Ok(Self { vendors, ingest })
    }

    /// Parses `sources.toml` and reads no secret: for whoever looks at sources. They verify nothing.
    ///
    /// # Errors
    /// As [`Sources::from_toml`], but for what is wrong with a secret.
    pub fn described(text: &str) -> Result<Self, SourceError> {
        Self::from_toml(text, &|_| Ok(Secret::unread()))
    }

    /// The one built-in source, `payment-authorized`, which signs as the original does.
    ///
    /// # Panics
    /// When the secret is empty; callers check that first.
    #[must_use]
    pub fn builtin(secret: &Secret) -> Self {
        Self::from_toml(BUILTIN, &|_| Ok(secret.clone()))
            .unwrap_or_else(|problem| panic!("the built-in source: {problem}"))
    }

    /// The source with this name; `None` when the file has none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.vendors.iter().find(|source| source.name == name)
    }

    /// What becomes of what comes in by `/api/ingest`.
    #[must_use]
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// All of them, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.vendors.iter()
    }
}

impl IntoIterator for Sources {
    type Item = Source;
    type IntoIter = std::vec::IntoIter<Source>;

    fn into_iter(self) -> Self::IntoIter {
        self.vendors.into_iter()
    }
}

fn parse_file(text: &str) -> Result<Table, SourceError> {
    // The parser's own display quotes the line, and a line may hold a secret that does not belong there.
    toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .map_or("", |span| text.get(..span.start).unwrap_or(""));
        SourceError(format!(
            "line {}: {}",
            before.matches('\n').count() + 1,
            error.message()
        ))
    })
}

/// The name and the rest of each `[[source]]` of a file.
pub(crate) fn entries(text: &str) -> Result<Vec<(String, Table)>, SourceError> {
    let mut file = parse_file(text)?;
    file.remove(INGEST);
    let tables = match file.remove("source") {
        Some(Value::Array(tables)) if !tables.is_empty() => tables,
        Some(_) | None => {
            return Err(SourceError(
                "there is no source: start each one with [[source]]".to_owned(),
            ));
        }
    };
    refuse_rest(&file, "source").map_err(SourceError)?;
    let mut entries: Vec<(String, Table)> = Vec::with_capacity(tables.len());
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
        if name == INGEST {
            return Err(bad(
                "name: it is that of what comes in by /api/ingest; choose another".to_owned(),
            ));
        }
        if entries.iter().any(|(other, _)| *other == name) {
            return Err(bad("name: another source has it; choose another".to_owned()));
        }
        entries.push((name, table));
    }
    Ok(entries)
}

/// How the bodies of a source hold events: its own keys, over those of its preset.
pub(crate) fn parse_body_form(table: Table) -> Result<BodyForm, String> {
    let (_, mut table) = with_preset(table)?;
    let limit_bytes = at_least_one(&mut table, "body_limit_bytes")?.unwrap_or(BODY_LIMIT_BYTES);
    parse_body(&mut table, limit_bytes)
}

/// The mapping of a source: its table `event`, over that of its preset.
pub(crate) fn parse_event(table: &mut Table) -> Result<Mapping, String> {
    let (event, preset) = event_tables(table)?;
    Mapping::parse(event, preset.as_ref()).map_err(|problem| format!("event: {problem}"))
}

/// The table `event` of a source, which is taken out of it, and that of its preset.
fn event_tables(table: &mut Table) -> Result<(Table, Option<Table>), String> {
    let event: Table = optional(table, "event")?.unwrap_or_default();
    let preset = match table.get("preset").and_then(Value::as_str) {
        Some(name) => preset::table(name)
            .map_err(|problem| format!("preset: {problem}"))?
            .remove("event"),
        None => None,
    };
    match preset {
        Some(Value::Table(preset)) => Ok((event, Some(preset))),
        Some(_) | None => Ok((event, None)),
    }
}

impl Source {
    fn parse(name: String, mut table: Table, resolve: Resolve<'_>) -> Result<Self, String> {
        let event = parse_event(&mut table)?;
        let (scheme_name, mut table) = with_preset(table)?;
        let mut scheme: Scheme = required(&mut table, "scheme")?;
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
        let resend_horizon = resend_horizon(&mut table, scheme.freshness.is_some())?;
        let trust = parse_trust(&mut table, scheme.freshness.is_some())?;
        let keys = parse_secrets(&mut table, resolve)?;
        let public_url: Option<String> = optional(&mut table, "public_url")?;
        let body_limit_bytes =
            at_least_one(&mut table, "body_limit_bytes")?.unwrap_or(BODY_LIMIT_BYTES);
        if body_limit_bytes > LARGEST_BODY_BYTES {
            return Err(format!(
                "body_limit_bytes: must be at most {LARGEST_BODY_BYTES}, so that the event fits into a Kafka record with its headers"
            ));
        }
        let batches = optional(&mut table, "batches")?.unwrap_or(false);
        let batch_limit_bytes = at_least_one(&mut table, "batch_limit_bytes")?;
        let body = parse_body(&mut table, body_limit_bytes)?;
        check_many(&body, batches, &event.id)?;
        if !batches && !body.has_items() && batch_limit_bytes.is_some() {
            return Err(
                "batch_limit_bytes: this source sends no batches; set batches = true".to_owned(),
            );
        }
        let handshakes = parse_handshakes(&mut table, &keys, resolve)?;
        let answer = parse_answer(&mut table)?;
        let batch_limit_bytes =
            batch_limit_bytes.unwrap_or(BATCH_LIMIT_BYTES.max(body_limit_bytes));
        let quota_per_second = parse_quota(&mut table)?;
        let answer_deadline = answer_deadline(&mut table)?;
        let keep_headers: Option<Vec<String>> = optional(&mut table, "keep_headers")?;
        let drop_headers: Vec<String> = optional(&mut table, "drop_headers")?.unwrap_or_default();
        let capture_rejected: Option<CaptureRejected> = optional(&mut table, "capture_rejected")?;
        if let Some(capture) = &capture_rejected {
            capture.check()?;
        }
        refuse_rest(
            &table,
            "name, preset, scheme, tolerance_seconds, secrets, public_url, event, body_limit_bytes, batches, batch_limit_bytes, \
             quota_per_second, answer_deadline_ms, resend_hours, stale, mode, onboarding_until, unproven_per_second, keep_headers, \
             drop_headers, body, items, gzip, handshake, verify_token, answer, capture_rejected",
        )?;
        let verifier = Verifier::new(scheme, keys.clone(), public_url.clone())
            .map_err(|SchemeError(problem)| problem)?;
        let kept_headers = KeptHeaders::new(
            needed_headers(&verifier, &event),
            verifier.secret_headers().cloned().collect(),
            keep_headers.as_deref(),
            &drop_headers,
        )?;
        let signed_places = |locator: &Locator| {
            locator.signed_places(
                |header| verifier.signs(header),
                |path| verifier.signs_pointer(path),
            )
        };
        let signed = Signed {
            event_id: signed_places(&event.id),
            entity_key: signed_places(&event.entity),
            event_type: signed_places(&event.event_type) == event.event_type.len(),
            time: verifier.signs_time(),
        };
        Ok(Self {
            name,
            signed,
            verifier,
            scheme_name,
            event,
            kept_headers,
            body,
            handshakes,
            answer,
            body_limit_bytes,
            batches,
            batch_limit_bytes,
            quota_per_second,
            answer_deadline,
            resend_horizon,
            trust,
            capture_rejected,
            keys,
            public_url,
        })
    }

    /// Whether one of its requests can have several events.
    #[must_use]
    pub fn takes_many(&self) -> bool {
        self.batches || self.body.has_items()
    }

    /// What the signature of an event does not cover, by the places where its id and key were found: whoever has the signed body may have
    /// written it. Names of `event_id`, `event_type`, `entity_key` and `time`, separated by commas; `None` where all is signed.
    #[must_use]
    pub fn unsigned(&self, event_id: Option<usize>, entity_key: Option<usize>) -> Option<String> {
        let beyond =
            |place: Option<usize>, signed: usize| place.is_some_and(|place| place >= signed);
        let open = [
            (beyond(event_id, self.signed.event_id), "event_id"),
            (!self.signed.event_type, "event_type"),
            (beyond(entity_key, self.signed.entity_key), "entity_key"),
            (!self.signed.time, "time"),
        ];
        let names: Vec<_> = open
            .into_iter()
            .filter_map(|(is_open, name)| is_open.then_some(name))
            .collect();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// How long another delivery of the same signed body is a copy of an event whose id was found at this place; `None` where it is another event:
    /// its id is signed, or no memory of bodies is kept, or nothing of the body is signed.
    #[must_use]
    pub fn copy_horizon(&self, event_id: Option<usize>) -> Option<Duration> {
        let signs_body = self.verifier.secret_headers().next().is_none();
        let unsigned = event_id.is_some_and(|place| place >= self.signed.event_id);
        self.resend_horizon.filter(|_| unsigned && signs_body)
    }

    /// Whether a signed body may be taken for a copy of an event under another id, whatever is posted.
    #[must_use]
    pub fn may_be_copied(&self) -> bool {
        self.copy_horizon(self.event.id.last_place()).is_some()
    }

    /// Another scheme with these secrets; `None` where it cannot work.
    pub(super) fn verifier_of(&self, scheme: Scheme, keys: Vec<Key>) -> Option<Verifier> {
        Verifier::new(scheme, keys, self.public_url.clone()).ok()
    }

    /// Its own scheme and secrets, for another URL; `None` where it cannot work.
    pub(super) fn verifier_at(&self, url: &str) -> Option<Verifier> {
        let scheme = self.verifier.scheme().clone();
        Verifier::new(scheme, self.keys.clone(), Some(url.to_owned())).ok()
    }

    /// The URL that its vendor signs, where it signs one.
    #[must_use]
    pub fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    /// What the signature may not cover, whatever is posted.
    #[must_use]
    pub fn may_be_unsigned(&self) -> Option<String> {
        self.unsigned(self.event.id.last_place(), self.event.entity.last_place())
    }
}

/// What a raw record must have, so that it can be verified and read again: each once, the content type last.
fn needed_headers(verifier: &Verifier, event: &Mapping) -> Vec<HeaderName> {
    let mut needed: Vec<HeaderName> = Vec::new();
    let all = verifier.signature_headers().chain(event.headers());
    for name in all.chain([&header::CONTENT_TYPE]) {
        if !needed.contains(name) {
            needed.push(name.clone());
        }
    }
    needed
}
