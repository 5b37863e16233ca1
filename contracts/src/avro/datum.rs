//! Avro data, read by a plan compiled from the writer's schema.
//!
//! Our own reader, because apache-avro 0.22's generic path turns truncated data into null (avro-rs#664), leaves decimals as bytes, and
//! builds a tree; tests hold it against that crate. It reads every type and logical type, so a record of another writer is read too.
//! As JSON: decimals are strings of their exact digits, times RFC 3339 in UTC, bytes and fixed hexadecimal, a duration an object, and a
//! float that JSON has no number for `"NaN"`, `"Infinity"` or `"-Infinity"`. Source: Avro 1.12 specification.

mod node;
mod read;
mod rest;
mod value;
mod words;
mod write;

pub(crate) use write::{push_bytes, push_decimal, push_fixed_decimal, push_length, push_long};

use crate::event::Role;
use apache_avro::Schema;
use node::{Node, Nodes, Unit};
use read::{Reader, fault};
use rest::Rest;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use value::Writer;

/// Data or a schema that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatumError(pub String);

/// A validated event as consumers see it. Texts are the datum's own bytes wherever they can be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event<'a> {
    /// The vendor's event id: with the source it says which event this is
    pub event_id: &'a str,
    /// The vendor's event type
    pub event_type: &'a str,
    /// Microseconds since the epoch
    pub occurred_at_micros: i64,
    /// Exact decimal text, in major units, of the first field with the role
    pub amount: Option<Cow<'a, str>>,
    /// ISO 4217 in capital letters: the first field with the role
    pub currency: Option<Cow<'a, str>>,
    /// What the event is about: the first field with the role
    pub entity: Option<Cow<'a, str>>,
    /// What kind of event it is: the first field with the role, or what the contract says of all its events
    pub kind: Option<Cow<'a, str>>,
    /// The payload as compact JSON: the declared fields, and what the contract does not declare
    pub payload_json: String,
    /// Pointers into the payload: what says something of the delivery and is no content ([`content`](super::content))
    pub delivery: Arc<[String]>,
}

/// Reads data of one writer's schema.
#[derive(Debug, Clone)]
pub struct Decoder {
    nodes: Nodes,
    root: usize,
    delivery: Arc<[String]>,
    /// The kind of all events of the contract
    kind: Option<String>,
}

impl Decoder {
    /// Compiles a schema.
    ///
    /// # Errors
    /// No Avro, or no record.
    pub fn new(record_avsc: &str) -> Result<Self, DatumError> {
        let schema = Schema::parse_str(record_avsc).map_err(|error| fault(error.to_string()))?;
        let (nodes, root) = node::compile(&schema)?;
        let meaning = match &schema {
            Schema::Record(record) => record.attributes.get(Role::ATTRIBUTE),
            _ => None,
        };
        let texts = |name: &str| meaning.and_then(|meaning| meaning.get(name));
        Ok(Self {
            kind: texts("kind").and_then(Value::as_str).map(str::to_owned),
            delivery: texts("delivery")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|pointer| pointer.as_str().map(str::to_owned))
                .collect(),
            nodes,
            root,
        })
    }

    /// Reads one datum, all of it.
    ///
    /// # Errors
    /// Truncated or left-over bytes, and values the schema does not allow.
    pub fn decode<'a>(&self, datum: &'a [u8]) -> Result<Event<'a>, DatumError> {
        let mut writer = Writer::new(&self.nodes, Reader { rest: datum }, None);
        let mut event = Event {
            delivery: Arc::clone(&self.delivery),
            ..Event::default()
        };
        let (mut payload, mut rest) = (None, None);
        for field in &self.nodes.records[self.root] {
            match (field.name.as_str(), &field.node) {
                ("timestamp", Node::Timestamp { unit, local: false }) => {
                    let count = writer.reader.long()?;
                    event.occurred_at_micros = match unit {
                        Unit::Millis => count.saturating_mul(1000),
                        Unit::Micros => count,
                        Unit::Nanos => count.div_euclid(1000),
                    };
                }
                ("event_id", Node::Text) => event.event_id = writer.reader.text()?,
                ("event_type", Node::Text) => event.event_type = writer.reader.text()?,
                ("payload", node) => {
                    payload = Some((node, writer.reader.rest));
                    writer.out.reserve(datum.len() + 64);
                    writer.value(node)?;
                    event.payload_json = std::mem::take(&mut writer.out);
                }
                ("rest", Node::Union(_) | Node::Text) => {
                    rest = writer.value(&field.node)?;
                    writer.out.clear();
                }
                (_, other) => {
                    let noted = std::mem::take(&mut writer.noted);
                    writer.value(other)?;
                    writer.out.clear();
                    writer.noted = noted;
                }
            }
        }
        if !writer.reader.rest.is_empty() {
            return Err(fault(format!(
                "{} bytes follow the datum",
                writer.reader.rest.len()
            )));
        }
        let mut noted = writer.noted;
        if let (Some(Cow::Borrowed(text)), Some((node, bytes))) = (rest, payload) {
            let rest = Rest::read(text)?;
            event.payload_json = match rest.value("") {
                Some(whole) => whole.to_owned(),
                None => {
                    let mut again = Writer::new(&self.nodes, Reader { rest: bytes }, Some(&rest));
                    again.out.reserve(datum.len() + 64);
                    again.value(node)?;
                    noted = again.noted;
                    again.out
                }
            };
        }
        event.amount = noted.amount;
        event.currency = noted.currency.map(in_capitals);
        event.entity = noted.entity;
        event.kind = noted.kind.or_else(|| self.kind.clone().map(Cow::Owned));
        Ok(event)
    }
}

fn in_capitals(currency: Cow<'_, str>) -> Cow<'_, str> {
    if currency.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Cow::Owned(currency.to_ascii_uppercase())
    } else {
        currency
    }
}
