//! A datum's values as JSON.

use super::DatumError;
use super::node::{Field, Node, Nodes, Unit};
use super::read::{Reader, decimal_text, fault};
use super::rest::Rest;
use super::words::{push_date, push_float, push_instant, push_number, push_time_of_day};
use crate::event::Role;
use crate::json::push_text;
use std::borrow::Cow;

/// Data nests at most this deep, as JSON bodies do.
const MAX_DEPTH: usize = 128;
/// Longest JSON made of one datum.
const MAX_JSON_BYTES: usize = 16 << 20;
/// Most items of one datum that take no bytes, such as nulls: a few bytes can claim any number of them.
const MAX_EMPTY_ITEMS: u64 = 10_000;

/// What the row has in columns, by role: the first value of the payload that is there, outside lists.
#[derive(Debug, Default)]
pub(super) struct Noted<'a> {
    pub(super) amount: Option<Cow<'a, str>>,
    pub(super) currency: Option<Cow<'a, str>>,
    pub(super) entity: Option<Cow<'a, str>>,
    pub(super) kind: Option<Cow<'a, str>>,
}

impl<'a> Noted<'a> {
    fn note(&mut self, role: Role, text: Cow<'a, str>) {
        let place = match role {
            Role::Amount => &mut self.amount,
            Role::Currency => &mut self.currency,
            Role::Entity => &mut self.entity,
            Role::Kind => &mut self.kind,
            Role::Id | Role::Delivery => return,
        };
        place.get_or_insert(text);
    }
}

/// Writes what a reader reads as JSON.
pub(super) struct Writer<'n, 'r, 'a> {
    pub(super) nodes: &'n Nodes,
    pub(super) reader: Reader<'a>,
    pub(super) out: String,
    pub(super) noted: Noted<'a>,
    /// What the contract does not declare, to be put back
    pub(super) rest: Option<&'r Rest<'a>>,
    /// Where it is, as a pointer; kept only when there is something to put back
    at: String,
    depth: usize,
    lists: usize,
    empty_items: u64,
}

impl<'n, 'r, 'a> Writer<'n, 'r, 'a> {
    pub(super) fn new(nodes: &'n Nodes, reader: Reader<'a>, rest: Option<&'r Rest<'a>>) -> Self {
        Self {
            nodes,
            reader,
            out: String::new(),
            noted: Noted::default(),
            rest,
            at: String::new(),
            depth: 0,
            lists: 0,
            empty_items: 0,
        }
    }

    /// Writes a value; gives back its text where a role may want it: of a string, an enum or a decimal.
    pub(super) fn value(&mut self, node: &'n Node) -> Result<Option<Cow<'a, str>>, DatumError> {
        match node {
            Node::Null => self.out.push_str("null"),
            Node::Boolean => {
                let value = self.reader.boolean()?;
                self.out.push_str(if value { "true" } else { "false" });
            }
            Node::Int => push_number(i64::from(self.reader.int()?), &mut self.out),
            Node::Long => push_number(self.reader.long()?, &mut self.out),
            Node::Float => {
                let value = f32::from_le_bytes(self.reader.array()?);
                push_float(
                    f64::from(value),
                    &serde_json::to_string(&value),
                    &mut self.out,
                );
            }
            Node::Double => {
                let value = f64::from_le_bytes(self.reader.array()?);
                push_float(value, &serde_json::to_string(&value), &mut self.out);
            }
            Node::Text => {
                let text = self.reader.text()?;
                push_text(text, &mut self.out);
                return Ok(Some(Cow::Borrowed(text)));
            }
            Node::Bytes => push_text(&hex::encode(self.reader.bytes()?), &mut self.out),
            Node::Fixed(size) => push_text(&hex::encode(self.reader.take(*size)?), &mut self.out),
            Node::Decimal { scale, size } => {
                let bytes = match size {
                    Some(size) => self.reader.take(*size)?,
                    None => self.reader.bytes()?,
                };
                return Ok(Some(self.decimal(decimal_text(bytes, *scale)?)));
            }
            Node::BigDecimal => {
                let mut inner = Reader {
                    rest: self.reader.bytes()?,
                };
                let bytes = inner.bytes()?;
                let scale = u32::try_from(inner.long()?)
                    .ok()
                    .filter(|scale| *scale <= 1000);
                let scale = scale.ok_or_else(|| fault("a big-decimal's scale is out of range"))?;
                return Ok(Some(self.decimal(decimal_text(bytes, scale)?)));
            }
            Node::Uuid { fixed } => {
                let bytes = if *fixed {
                    self.reader.take(16)?
                } else {
                    self.reader.bytes()?
                };
                if bytes.len() != 16 {
                    return Err(fault("a uuid has not 16 bytes"));
                }
                let digits = hex::encode(bytes);
                let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
                push_text(&parts.join("-"), &mut self.out);
            }
            Node::Date => {
                let days = self.reader.int()?;
                push_date(days, &mut self.out)?;
            }
            Node::Time(unit) => {
                let nanos = match unit {
                    Unit::Millis => i64::from(self.reader.int()?).checked_mul(1_000_000),
                    Unit::Micros => self.reader.long()?.checked_mul(1000),
                    Unit::Nanos => Some(self.reader.long()?),
                };
                push_time_of_day(nanos, &mut self.out)?;
            }
            Node::Timestamp { unit, local } => {
                let count = i128::from(self.reader.long()?);
                let nanos = match unit {
                    Unit::Millis => count * 1_000_000,
                    Unit::Micros => count * 1000,
                    Unit::Nanos => count,
                };
                push_instant(nanos, *local, &mut self.out)?;
            }
            Node::Duration => {
                let mut part = || Ok(u32::from_le_bytes(self.reader.array()?));
                let (months, days, millis) = (part()?, part()?, part()?);
                self.out.push_str(&format!(
                    r#"{{"months":{months},"days":{days},"millis":{millis}}}"#
                ));
            }
            Node::Enum(symbols) => {
                let symbol = self.reader.choice(symbols, "an enum has no such symbol")?;
                push_text(symbol, &mut self.out);
                return Ok(Some(Cow::Owned(symbol.clone())));
            }
            Node::Union(variants) => {
                let variant = self.reader.choice(variants, "a union has no such branch")?;
                return self.value(variant);
            }
            Node::Array(item) => self.nested(|writer| writer.array(item))?,
            Node::Map(values) => self.nested(|writer| writer.map(values))?,
            Node::Record(at) => {
                let fields = &self.nodes.records[*at];
                self.nested(|writer| writer.record(fields))?;
            }
        }
        Ok(None)
    }

    fn decimal(&mut self, text: String) -> Cow<'a, str> {
        push_text(&text, &mut self.out);
        Cow::Owned(text)
    }

    /// One level deeper, within bounds.
    fn nested(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), DatumError>,
    ) -> Result<(), DatumError> {
        if self.depth >= MAX_DEPTH {
            return Err(fault(format!("nested more than {MAX_DEPTH} levels deep")));
        }
        self.depth += 1;
        write(self)?;
        self.depth -= 1;
        if self.out.len() > MAX_JSON_BYTES {
            return Err(fault("the JSON would be longer than 16 MiB"));
        }
        Ok(())
    }

    fn record(&mut self, fields: &'n [Field]) -> Result<(), DatumError> {
        self.out.push('{');
        let mut first = true;
        for field in fields {
            let at = self.begin_member(&field.name, &mut first);
            let start = self.out.len();
            let text = self.replaced(at, &field.node)?;
            if let (Some(role), 0) = (field.role, self.lists) {
                // An integer names an entity too.
                let written = || Some(&self.out[start..]).filter(|json| *json != "null");
                let text = text.or_else(|| written().map(|json| Cow::Owned(json.to_owned())));
                text.into_iter()
                    .for_each(|text| self.noted.note(role, text));
            }
        }
        let rest = self.rest.map_or(&[][..], |rest| rest.members(&self.at));
        for (name, value) in rest {
            if fields.iter().all(|field| field.name != *name) {
                separate(&mut first, &mut self.out);
                push_text(name, &mut self.out);
                self.out.push(':');
                self.out.push_str(value);
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn array(&mut self, item: &'n Node) -> Result<(), DatumError> {
        self.out.push('[');
        self.lists += 1;
        let (mut first, mut index) = (true, 0_usize);
        self.blocks(|writer| {
            separate(&mut first, &mut writer.out);
            let at = writer.at.len();
            if writer.rest.is_some() {
                writer.step(&index.to_string());
            }
            index += 1;
            writer.replaced(at, item).map(drop)
        })?;
        self.lists -= 1;
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, values: &'n Node) -> Result<(), DatumError> {
        self.out.push('{');
        self.lists += 1;
        let mut first = true;
        self.blocks(|writer| {
            let name = writer.reader.text()?;
            let at = writer.begin_member(name, &mut first);
            writer.replaced(at, values).map(drop)
        })?;
        self.lists -= 1;
        self.out.push('}');
        Ok(())
    }

    /// Calls for each item of an array or map: blocks of a count and as many items, until a count of zero.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), DatumError>,
    ) -> Result<(), DatumError> {
        loop {
            let count = self.reader.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let before = self.reader.rest.len();
                item(self)?;
                if self.reader.rest.len() == before {
                    self.empty_items += 1;
                    if self.empty_items > MAX_EMPTY_ITEMS {
                        return Err(fault(format!(
                            "has more than {MAX_EMPTY_ITEMS} items without bytes"
                        )));
                    }
                }
                if self.out.len() > MAX_JSON_BYTES {
                    return Err(fault("the JSON would be longer than 16 MiB"));
                }
            }
        }
    }

    /// Writes a member's name, and steps to it.
    fn begin_member(&mut self, name: &str, first: &mut bool) -> usize {
        separate(first, &mut self.out);
        push_text(name, &mut self.out);
        self.out.push(':');
        self.step(name)
    }

    /// Steps down to a member; gives back where it was.
    fn step(&mut self, token: &str) -> usize {
        let before = self.at.len();
        if self.rest.is_some() {
            crate::json::push_token(token, &mut self.at);
        }
        before
    }

    /// Writes a value, or what stands for it among what is put back; steps up to `at`.
    fn replaced(&mut self, at: usize, node: &'n Node) -> Result<Option<Cow<'a, str>>, DatumError> {
        let start = self.out.len();
        let text = self.value(node)?;
        if let Some(verbatim) = self.rest.and_then(|rest| rest.value(&self.at)) {
            self.out.truncate(start);
            self.out.push_str(verbatim);
        }
        self.at.truncate(at);
        Ok(text)
    }
}

fn separate(first: &mut bool, out: &mut String) {
    if !std::mem::replace(first, false) {
        out.push(',');
    }
}
