//! Where an event's envelope is in a request: its id, type, time, entity and payload. Data of a source (`[source.event]`), compiled once.
//!
//! The validator applies it to the raw record alone, so that a mapping changed later and a replay put everything right. The body is
//! checked once; then one walk finds all places ([`places`]), and the payload is a slice of the body, which its contract walks through.

mod parse;
mod pattern;
mod places;
mod written;

pub use pattern::Unknown;
pub use written::{TimeWritten, Written};

use super::locator::{Look, Pointer};
use super::{Locator, time};
use crate::{Rejection, RejectionCode};
use http::HeaderName;
use pattern::{Pattern, UnknownTypes};
use places::{Found, Places};
use std::borrow::Cow;

/// Headers of a request or a raw record: a reference to them.
pub trait HeaderValues<'a> {
    /// The value of the one header with this lower-case name; `None` when there is none, there are several, or it is not UTF-8.
    fn one(&self, name: &str) -> Option<&'a str>;
}

/// No headers.
impl<'a> HeaderValues<'a> for () {
    fn one(&self, _: &str) -> Option<&'a str> {
        None
    }
}

impl<'a> HeaderValues<'a> for &'a http::HeaderMap {
    fn one(&self, name: &str) -> Option<&'a str> {
        let mut values = self.get_all(name).iter();
        let value = std::str::from_utf8(values.next()?.as_bytes()).ok()?;
        values.next().is_none().then_some(value)
    }
}

/// Names and values, as a record has them.
impl<'a, N: AsRef<str>, V: AsRef<[u8]>> HeaderValues<'a> for &'a [(N, Option<V>)] {
    fn one(&self, name: &str) -> Option<&'a str> {
        let mut values = self.iter().filter(|(other, _)| other.as_ref() == name);
        let (_, value) = values.next()?;
        match values.next() {
            Some(_) => None,
            None => std::str::from_utf8(value.as_ref()?.as_ref()).ok(),
        }
    }
}

/// Where the envelope of a source's events is.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// Which event it is
    pub id: Locator,
    /// What its events keep their order by; the id where there is none
    pub entity: Locator,
    /// What kind of event it is, in the vendor's words
    pub event_type: Locator,
    time: Vec<Time>,
    /// The contract's version, where the vendor says one
    version: Locator,
    /// `None` is the whole body
    payload: Option<Pointer>,
    payload_at: String,
    contract: Template,
    unknown: UnknownTypes,
    filter: Vec<Pattern>,
    places: Places,
    /// Its source or its preset says where things are; otherwise they are where EventFlow's own envelope has them
    is_given: bool,
}

/// Where a time is.
#[derive(Debug, Clone)]
enum Time {
    /// When the edge received it
    Received,
    At {
        place: Locator,
        unit: TimeUnit,
    },
}

/// How a time is written.
#[derive(Debug, Clone, Copy)]
enum TimeUnit {
    Rfc3339,
    /// Numbers, or texts of them, since the epoch: so many a second
    Unix {
        per_second: u32,
    },
}

/// A name with the event type in some places.
#[derive(Debug, Clone)]
struct Template(Vec<String>);

impl Template {
    fn fill<'a>(&self, event_type: &Cow<'a, str>) -> Cow<'a, str> {
        match self.0.as_slice() {
            [before, after] if before.is_empty() && after.is_empty() => event_type.clone(),
            parts => Cow::Owned(parts.join(event_type)),
        }
    }
}

/// What a mapping found of one event. Texts are the body's own bytes wherever they can be.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// Which event it is: not blank, at most 256 characters
    pub id: Cow<'a, str>,
    /// What kind of event it is, in the vendor's words
    pub event_type: Cow<'a, str>,
    /// When it happened, in microseconds since the epoch; of a filtered event without a time, when it was received, or 0
    pub time_micros: i64,
    /// What its events keep their order by
    pub entity: Option<Cow<'a, str>>,
    /// JSON, as it stands in the body
    pub payload: &'a str,
    /// Where the payload is in the body, as a JSON pointer
    pub payload_at: &'a str,
    /// The name of its contract, which may name a version: `payment.authorized` or `payment.authorized.v1`
    pub contract: Cow<'a, str>,
    /// The contract's version, where the vendor says one
    pub version: Option<Cow<'a, str>>,
    /// Where its type is, for an error
    pub(crate) type_at: &'a Locator,
    pub(crate) version_at: &'a Locator,
    /// What becomes of it when it has no contract
    pub unknown: Unknown,
    /// The rule of its source that filters it
    pub filtered: Option<&'a str>,
}

/// What a contract is written from.
#[derive(Debug, Clone)]
pub struct Sample<'a> {
    /// What kind of event it is, in the vendor's words
    pub event_type: Cow<'a, str>,
    /// The name of its contract, which may name a version
    pub contract: Cow<'a, str>,
    /// JSON, as it stands in the body
    pub payload: &'a str,
}

/// The parts of one event: what a walk through its body found.
struct Read<'a, H> {
    headers: H,
    found: Found<'a>,
}

impl<'a, H: HeaderValues<'a>> Look<'a> for Read<'a, H> {
    fn header(&self, name: &HeaderName) -> Option<&'a str> {
        self.headers.one(name.as_str())
    }

    fn pointer(&self, pointer: &Pointer) -> Option<&'a str> {
        self.found[pointer.slot]
    }
}

impl Mapping {
    /// Whether its source, or the source's preset, says where things are. Otherwise events are read in EventFlow's own envelope, in which no
    /// other vendor's are.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.is_given
    }

    /// Whether a body is an object in another envelope than EventFlow's own: two of id, type and payload are not where that has them.
    #[must_use]
    pub fn is_other_envelope(body: &[u8]) -> bool {
        let own = Self::own();
        let payload = own.payload.as_ref().and_then(|payload| {
            crate::json::find(&payload.path, serde_json::Deserializer::from_slice(body))
        });
        let there = [
            own.id.find((), body).is_some(),
            own.event_type.find((), body).is_some(),
            payload.is_some(),
        ];
        body.trim_ascii_start().starts_with(b"{")
            && there.into_iter().filter(|is_there| *is_there).count() < 2
    }

    /// The headers that are places, or parts of one.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let times = self.time.iter().filter_map(|one| match one {
            Time::Received => None,
            Time::At { place, .. } => Some(place),
        });
        [&self.id, &self.entity, &self.event_type, &self.version]
            .into_iter()
            .chain(times)
            .flat_map(Locator::headers)
    }

    /// Finds an event's envelope. `received_at` is when the edge received it, in microseconds since the epoch.
    ///
    /// # Errors
    /// What cannot be read (no UTF-8, no JSON, too deep, a place that is there twice); then what was not found, or is not what it must be:
    /// type, id, version, time, payload.
    pub fn find<'a>(
        &'a self,
        headers: impl HeaderValues<'a>,
        received_at: Option<i64>,
        body: &'a [u8],
    ) -> Result<Envelope<'a>, Rejection> {
        let text = text_of(body)?;
        crate::json::check_depth(body)?;
        let found = self.places.read(text)?;
        let read = Read { headers, found };
        let event_type = need(&read, &self.event_type, RejectionCode::NoEventType)?;
        let id = need(&read, &self.id, RejectionCode::NoEventId)?;
        let filtered = self.filter.iter().find(|one| one.matches(&event_type));
        let filtered = filtered.map(Pattern::text);
        let time_micros = match self.time(&read, received_at) {
            Err(_) if filtered.is_some() => received_at.unwrap_or_default(),
            time => time?,
        };
        let payload = match self.payload(&read, text) {
            Err(_) if filtered.is_some() => "null",
            payload => payload?,
        };
        let version = self.version.look_up(&read, &mut None);
        Ok(Envelope {
            contract: self.contract.fill(&event_type),
            unknown: self.unknown.of(&event_type),
            id,
            event_type,
            time_micros,
            entity: self.entity.look_up(&read, &mut None).map(|one| one.text),
            payload,
            payload_at: &self.payload_at,
            version: version.map(|one| one.text),
            type_at: &self.event_type,
            version_at: &self.version,
            filtered,
        })
    }

    /// Finds what a contract is written from: a request without its id, its time and most headers will do. `event_type` is said by a
    /// person, where the request does not say it.
    ///
    /// # Errors
    /// As [`Mapping::find`], of type and payload.
    pub fn sample<'a>(
        &self,
        headers: impl HeaderValues<'a>,
        event_type: Option<&'a str>,
        body: &'a [u8],
    ) -> Result<Sample<'a>, Rejection> {
        let text = text_of(body)?;
        crate::json::check_depth(body)?;
        let found = self.places.read(text)?;
        let read = Read { headers, found };
        let event_type = match event_type {
            Some(given) => Cow::Borrowed(given),
            None => need(&read, &self.event_type, RejectionCode::NoEventType)?,
        };
        Ok(Sample {
            contract: self.contract.fill(&event_type),
            event_type,
            payload: self.payload(&read, text)?,
        })
    }

    fn payload<'a, H: HeaderValues<'a>>(
        &self,
        read: &Read<'a, H>,
        text: &'a str,
    ) -> Result<&'a str, Rejection> {
        let Some(pointer) = &self.payload else {
            return Ok(text.trim_ascii());
        };
        match read.pointer(pointer) {
            None | Some("null") => {
                let at = Some(self.payload_at.clone());
                Err(Rejection::new(
                    RejectionCode::MissingField,
                    at,
                    "is required",
                ))
            }
            Some(payload) => Ok(payload),
        }
    }

    /// Where the entity is when the event stands in EventFlow's own envelope, as far as it is in the payload.
    #[must_use]
    pub fn entity_in_own_envelope(&self) -> Locator {
        let from = self
            .payload
            .as_ref()
            .map_or(&[][..], |payload| &payload.path);
        let own = Self::own().payload.as_ref();
        let to = own.map_or(&[][..], |payload| &payload.path);
        self.entity.moved(from, to)
    }

    fn time<'a, H: HeaderValues<'a>>(
        &self,
        read: &Read<'a, H>,
        received_at: Option<i64>,
    ) -> Result<i64, Rejection> {
        let mut flaw = None;
        for one in &self.time {
            match one {
                Time::Received => {
                    if let Some(micros) = received_at {
                        return Ok(micros);
                    }
                }
                Time::At { place, unit } => {
                    let Some(found) = place.look_up(read, &mut flaw) else {
                        continue;
                    };
                    let micros = match unit {
                        TimeUnit::Rfc3339 => time::rfc3339(&found.text),
                        TimeUnit::Unix { per_second } => time::unix(&found.text, *per_second),
                    };
                    return micros.map_err(|(code, detail)| {
                        Rejection::new(code, place.pointers().nth(found.place), detail)
                    });
                }
            }
        }
        Err(flaw.unwrap_or_else(|| {
            let places: Vec<String> = self.time.iter().map(Time::to_string).collect();
            let pointer = self.time.iter().find_map(|one| match one {
                Time::Received => None,
                Time::At { place, .. } => place.pointers().next(),
            });
            not_found(RejectionCode::NoEventTime, pointer, &places.join(" or "))
        }))
    }
}

impl<'a> Envelope<'a> {
    /// The envelope of a body in EventFlow's own form.
    ///
    /// # Errors
    /// As [`Mapping::find`].
    pub fn own(body: &'a [u8]) -> Result<Self, Rejection> {
        Mapping::own().find((), None, body)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Received => f.write_str("the time it was received"),
            Self::At { place, .. } => place.fmt(f),
        }
    }
}

fn text_of(body: &[u8]) -> Result<&str, Rejection> {
    if body.is_empty() {
        let detail = "the record has no value";
        return Err(Rejection::new(RejectionCode::EmptyBody, None, detail));
    }
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("byte {} is not UTF-8", error.valid_up_to());
        Rejection::new(RejectionCode::NotUtf8, None, detail)
    })
}

fn need<'a, H: HeaderValues<'a>>(
    read: &Read<'a, H>,
    locator: &Locator,
    code: RejectionCode,
) -> Result<Cow<'a, str>, Rejection> {
    let mut flaw = None;
    match locator.look_up(read, &mut flaw) {
        Some(found) => Ok(found.text),
        None => Err(flaw
            .unwrap_or_else(|| not_found(code, locator.pointers().next(), &locator.to_string()))),
    }
}

fn not_found(code: RejectionCode, pointer: Option<String>, places: &str) -> Rejection {
    Rejection::new(code, pointer, format!("nothing is at {places}"))
}
