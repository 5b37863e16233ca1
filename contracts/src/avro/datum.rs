//! Avro data, read by a plan compiled from the writer's schema.
//!
//! Our own reader, because apache-avro 0.22's generic path turns truncated data into null (avro-rs#664), leaves decimals as bytes, and
//! builds a tree; tests hold it against that crate. Source: Avro 1.12 specification, "Binary encoding".

use crate::event::money;
use crate::json::push_text;
use apache_avro::Schema;
use apache_avro::schema::InnerDecimalSchema;
use std::borrow::Cow;

/// Data or a schema that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatumError(pub String);

/// A validated event as consumers see it. Texts are the datum's own bytes wherever they can be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event<'a> {
    /// The envelope's `event_id`: with the source it says which event this is
    pub event_id: &'a str,
    /// The envelope's `event_type`: it names the contract
    pub event_type: &'a str,
    /// The envelope's `schema_version`; an Avro int as its decimal digits
    pub schema_version: Cow<'a, str>,
    /// The envelope's source field
    pub source: &'a str,
    /// Microseconds since the epoch
    pub occurred_at_micros: i64,
    /// Exact decimal text of `payload.amount`
    pub amount: Option<Cow<'a, str>>,
    /// `payload.currency`
    pub currency: Option<Cow<'a, str>>,
    /// `payload.payment_id`
    pub payment_id: Option<Cow<'a, str>>,
    /// The `payload` record as compact JSON; decimals are strings of their exact digits, times RFC 3339 in UTC
    pub payload_json: String,
}

#[derive(Debug, Clone)]
enum Node {
    Null,
    Boolean,
    Int,
    Text,
    Bytes,
    Decimal { scale: u32 },
    TimestampMicros,
    TimestampMillis,
    Enum(Vec<String>),
    Union(Vec<Node>),
    Array(Box<Node>),
    Record(Vec<(String, Node)>),
}

/// Reads data of one writer's schema.
#[derive(Debug, Clone)]
pub struct Decoder {
    fields: Vec<(String, Node)>,
}

/// Schemas nest at most this deep.
const MAX_DEPTH: usize = 16;

impl Decoder {
    /// Compiles a schema.
    ///
    /// # Errors
    /// No Avro, no record, or a type that is not supported (float and double among them: they cannot hold money).
    pub fn new(record_avsc: &str) -> Result<Self, DatumError> {
        let schema =
            Schema::parse_str(record_avsc).map_err(|error| DatumError(error.to_string()))?;
        match compile(&schema, 0)? {
            Node::Record(fields) => Ok(Self { fields }),
            _ => Err(DatumError("the schema is not a record".to_owned())),
        }
    }

    /// Reads one datum, all of it.
    ///
    /// # Errors
    /// Truncated or left-over bytes, and values the schema does not allow.
    pub fn decode<'a>(&self, datum: &'a [u8]) -> Result<Event<'a>, DatumError> {
        let mut reader = Reader { rest: datum };
        let mut event = Event::default();
        for (name, node) in &self.fields {
            match (name.as_str(), node) {
                ("timestamp", Node::TimestampMicros) => event.occurred_at_micros = reader.long()?,
                ("timestamp", Node::TimestampMillis) => {
                    event.occurred_at_micros = reader.long()?.saturating_mul(1000);
                }
                ("payload", Node::Record(fields)) => {
                    event.payload_json.reserve(datum.len() + 64);
                    let mut noted = [None, None, None];
                    reader.record(fields, &mut event.payload_json, &mut noted)?;
                    [event.amount, event.currency, event.payment_id] = noted;
                }
                ("event_id", Node::Text) => event.event_id = reader.text()?,
                ("event_type", Node::Text) => event.event_type = reader.text()?,
                ("source", Node::Text) => event.source = reader.text()?,
                ("schema_version", Node::Text) => {
                    event.schema_version = Cow::Borrowed(reader.text()?);
                }
                ("schema_version", Node::Int) => {
                    event.schema_version = Cow::Owned(reader.long()?.to_string());
                }
                (_, other) => drop(reader.json(other, &mut String::new())?),
            }
        }
        if reader.rest.is_empty() {
            Ok(event)
        } else {
            Err(DatumError(format!(
                "{} bytes follow the datum",
                reader.rest.len()
            )))
        }
    }
}

fn compile(schema: &Schema, depth: usize) -> Result<Node, DatumError> {
    if depth > MAX_DEPTH {
        return Err(DatumError(
            "the schema is nested deeper than 16 levels".to_owned(),
        ));
    }
    Ok(match schema {
        Schema::Null => Node::Null,
        Schema::Boolean => Node::Boolean,
        Schema::Int | Schema::Long => Node::Int,
        Schema::String => Node::Text,
        Schema::Bytes => Node::Bytes,
        Schema::Decimal(decimal) if matches!(decimal.inner, InnerDecimalSchema::Bytes) => {
            Node::Decimal {
                scale: u32::try_from(decimal.scale)
                    .map_err(|_| DatumError("scale is out of range".to_owned()))?,
            }
        }
        Schema::TimestampMicros => Node::TimestampMicros,
        Schema::TimestampMillis => Node::TimestampMillis,
        Schema::Enum(symbols) => Node::Enum(symbols.symbols.clone()),
        Schema::Union(union) => Node::Union(
            union
                .variants()
                .iter()
                .map(|variant| compile(variant, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        Schema::Array(array) => Node::Array(Box::new(compile(&array.items, depth + 1)?)),
        Schema::Record(record) => Node::Record(
            record
                .fields
                .iter()
                .map(|field| Ok((field.name.clone(), compile(&field.schema, depth + 1)?)))
                .collect::<Result<_, DatumError>>()?,
        ),
        other => {
            return Err(DatumError(format!(
                "Avro type {other:?} is not supported in contracts"
            )));
        }
    })
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DatumError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| DatumError("the data is truncated".to_owned()))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A zigzag varint of at most ten bytes.
    fn long(&mut self) -> Result<i64, DatumError> {
        let mut value: u64 = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(DatumError("a number is longer than ten bytes".to_owned()))
    }

    fn bytes(&mut self) -> Result<&'a [u8], DatumError> {
        let length = usize::try_from(self.long()?)
            .map_err(|_| DatumError("a length is negative".to_owned()))?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, DatumError> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| DatumError("a string is not UTF-8".to_owned()))
    }

    /// Writes a record as JSON and notes its amount, currency and payment id.
    fn record(
        &mut self,
        fields: &[(String, Node)],
        out: &mut String,
        noted: &mut [Option<Cow<'a, str>>; 3],
    ) -> Result<(), DatumError> {
        out.push('{');
        for (index, (name, node)) in fields.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            push_text(name, out);
            out.push(':');
            let text = self.json(node, out)?;
            match name.as_str() {
                "amount" => noted[0] = text,
                "currency" => noted[1] = text,
                "payment_id" => noted[2] = text,
                _ => {}
            }
        }
        out.push('}');
        Ok(())
    }

    /// Writes a value as JSON; gives back what was a string, an enum or a decimal.
    fn json(&mut self, node: &Node, out: &mut String) -> Result<Option<Cow<'a, str>>, DatumError> {
        match node {
            Node::Null => out.push_str("null"),
            Node::Boolean => out.push_str(match self.take(1)?[0] {
                0 => "false",
                1 => "true",
                _ => return Err(DatumError("a boolean is neither 0 nor 1".to_owned())),
            }),
            Node::Int => out.push_str(&self.long()?.to_string()),
            Node::Text => {
                let text = self.text()?;
                push_text(text, out);
                return Ok(Some(Cow::Borrowed(text)));
            }
            Node::Bytes => push_text(&hex::encode(self.bytes()?), out),
            Node::Decimal { scale } => {
                let text = money::text(decimal_from(self.bytes()?)?, *scale);
                push_text(&text, out);
                return Ok(Some(Cow::Owned(text)));
            }
            Node::TimestampMicros => push_time(self.long()?, out)?,
            Node::TimestampMillis => push_time(self.long()?.saturating_mul(1000), out)?,
            Node::Enum(symbols) => {
                let index = usize::try_from(self.long()?)
                    .ok()
                    .and_then(|index| symbols.get(index));
                let symbol =
                    index.ok_or_else(|| DatumError("an enum has no such symbol".to_owned()))?;
                push_text(symbol, out);
                return Ok(Some(Cow::Owned(symbol.clone())));
            }
            Node::Union(variants) => {
                let variant = usize::try_from(self.long()?)
                    .ok()
                    .and_then(|index| variants.get(index));
                return self.json(
                    variant.ok_or_else(|| DatumError("a union has no such branch".to_owned()))?,
                    out,
                );
            }
            Node::Array(item) => self.array(item, out)?,
            Node::Record(fields) => self.record(fields, out, &mut [None, None, None])?,
        }
        Ok(None)
    }

    /// Writes an array: blocks of a count and as many items, until a count of zero.
    fn array(&mut self, item: &Node, out: &mut String) -> Result<(), DatumError> {
        out.push('[');
        let mut first = true;
        loop {
            let mut count = self.long()?;
            if count == 0 {
                break;
            }
            if count < 0 {
                // A negative count is followed by the block's size in bytes.
                self.long()?;
                count = count
                    .checked_neg()
                    .ok_or_else(|| DatumError("a block count is out of range".to_owned()))?;
            }
            for _ in 0..count {
                if !std::mem::replace(&mut first, false) {
                    out.push(',');
                }
                let before = self.rest.len();
                self.json(item, out)?;
                if self.rest.len() == before {
                    return Err(DatumError("an array has items without bytes".to_owned()));
                }
            }
        }
        out.push(']');
        Ok(())
    }
}

fn push_time(micros: i64, out: &mut String) -> Result<(), DatumError> {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
        .map_err(|_| DatumError("a time is out of range".to_owned()))?;
    let text = time
        .format(&time::format_description::well_known::Rfc3339)
        .map_err(|error| DatumError(error.to_string()))?;
    push_text(&text, out);
    Ok(())
}

fn decimal_from(bytes: &[u8]) -> Result<i128, DatumError> {
    if bytes.is_empty() || bytes.len() > 16 {
        return Err(DatumError(format!(
            "a decimal has {} bytes, not 1 to 16",
            bytes.len()
        )));
    }
    let fill = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [fill; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    Ok(i128::from_be_bytes(wide))
}

/// Appends a zigzag varint.
pub(crate) fn push_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends bytes with their length.
pub(crate) fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    push_long(i64::try_from(bytes.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(bytes);
}

/// Appends a decimal: its shortest two's complement, big-endian.
pub(crate) fn push_decimal(unscaled: i128, out: &mut Vec<u8>) {
    let wide = unscaled.to_be_bytes();
    let fill = if unscaled < 0 { 0xff } else { 0 };
    let mut start = 0;
    while start < 15 && wide[start] == fill && (wide[start + 1] & 0x80 == 0) == (fill == 0) {
        start += 1;
    }
    push_bytes(&wide[start..], out);
}
