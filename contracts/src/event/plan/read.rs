//! From a payload to slots: one pass over the JSON.

use super::{Field, Node, Object, Shape, Slot, Write};
use crate::event::schema::Type;
use crate::json::{self, Name, push_token};
use crate::{Rejection, RejectionCode};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Objects with more fields than this are searched by halves.
const MANY: usize = 16;

/// One step into a payload.
#[derive(Debug)]
pub(super) enum Step<'p, 'a> {
    Field(&'p str),
    Key(Cow<'a, str>),
    Index(usize),
}

/// What is known of one payload.
#[derive(Debug)]
pub(super) struct State<'p, 'a> {
    pub(super) slots: Vec<Slot<'a>>,
    /// Where reading or checking is
    pub(super) path: Vec<Step<'p, 'a>>,
    /// Where the fields of the objects around it begin
    pub(super) around: Vec<usize>,
    /// What is not declared: pointers and values, as written
    pub(super) rest: Vec<(String, &'a str)>,
    /// The first field that a closed object does not allow
    pub(super) unknown: Option<String>,
    /// The payload's pointer
    at: &'p str,
    /// It is read within a value that is kept whole
    whole: bool,
    rejection: Option<Rejection>,
}

impl<'a> State<'_, 'a> {
    /// The pointer into the payload.
    pub(super) fn place(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) => push_token(name, &mut pointer),
                Step::Key(name) => push_token(name, &mut pointer),
                Step::Index(index) => push_token(&index.to_string(), &mut pointer),
            }
        }
        pointer
    }

    /// The pointer into the body.
    pub(super) fn pointer(&self) -> String {
        format!("{}{}", self.at, self.place())
    }

    /// Keeps a value as the vendor wrote it.
    pub(super) fn keep(&mut self, value: &'a str) {
        if !self.whole {
            let pointer = self.place();
            self.rest.push((pointer, value));
        }
    }

    /// Notes the first broken rule; reading ends.
    fn refuse<E: serde::de::Error>(&mut self, code: RejectionCode, detail: &str) -> E {
        let pointer = Some(self.pointer());
        self.rejection
            .get_or_insert_with(|| Rejection::new(code, pointer, detail));
        E::custom(detail)
    }
}

/// Reads a payload. The root's slot is the first.
pub(super) fn read<'p, 'a>(
    root: &'p Node,
    text: &'a str,
    at: &'p str,
) -> Result<State<'p, 'a>, Rejection> {
    let mut state = State {
        slots: vec![Slot::Missing],
        path: Vec::new(),
        around: Vec::new(),
        rest: Vec::new(),
        unknown: None,
        at,
        whole: false,
        rejection: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let fill = Fill {
        node: root,
        slot: 0,
        state: &mut state,
    };
    if let Err(error) = fill.deserialize(&mut json).and_then(|()| json.end()) {
        return Err(state.rejection.unwrap_or_else(|| {
            if serde_json::from_str::<IgnoredAny>(text).is_ok() {
                return Rejection::new(
                    RejectionCode::WrongType,
                    Some(at.to_owned()),
                    "a number or string that cannot be read stands where an object or array must be",
                );
            }
            let place = format!("line {} column {}", error.line(), error.column());
            Rejection::new(RejectionCode::NotJson, None, format!("not JSON at {place}"))
        }));
    }
    Ok(state)
}

/// Reads one value into its slot.
struct Fill<'p, 's, 'a> {
    node: &'p Node,
    slot: usize,
    state: &'s mut State<'p, 'a>,
}

impl<'a> DeserializeSeed<'a> for Fill<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let structured = matches!(
            self.node.shape,
            Shape::Object(_) | Shape::Map(_) | Shape::Array { .. }
        );
        if structured && (self.node.write != Write::Whole || self.state.whole) {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(deserializer)?;
        if !structured {
            if self.node.write == Write::Whole {
                self.state.keep(raw.get());
            }
            self.state.slots[self.slot] = match self.node.shape {
                Shape::Raw(_) => Slot::Other(type_of(raw)),
                Shape::Object(_) | Shape::Map(_) | Shape::Array { .. } | Shape::Value(_) => {
                    slot(raw)
                }
            };
            return Ok(());
        }
        self.state.keep(raw.get());
        self.state.whole = true;
        let read = Fill {
            node: self.node,
            slot: self.slot,
            state: &mut *self.state,
        }
        .deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        self.state.whole = false;
        read.map_err(serde::de::Error::custom)
    }
}

impl<'a> Fill<'_, '_, 'a> {
    fn note<E>(self, what: Slot<'a>) -> Result<(), E> {
        self.state.slots[self.slot] = what;
        Ok(())
    }
}

impl<'a> Visitor<'a> for Fill<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { node, slot, state } = self;
        let object = match &node.shape {
            Shape::Object(object) => object,
            Shape::Map(values) => return read_map(values, slot, state, map),
            Shape::Raw(_) | Shape::Array { .. } | Shape::Value(_) => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                state.slots[slot] = Slot::Other(Type::Object);
                return Ok(());
            }
        };
        let first = state.slots.len();
        state
            .slots
            .resize(first + object.fields.len(), Slot::Missing);
        state.slots[slot] = Slot::Object(first);
        while let Some(Name(key)) = map.next_key()? {
            let Some((index, Field { name, node, .. })) = object.field(&key) else {
                let value: &RawValue = map.next_value()?;
                state.path.push(Step::Key(key));
                if object.closed && state.unknown.is_none() {
                    state.unknown = Some(state.place());
                }
                state.keep(value.get());
                state.path.pop();
                continue;
            };
            state.path.push(Step::Field(name));
            let slot = first + index;
            if state.slots[slot] != Slot::Missing {
                return Err(state.refuse(RejectionCode::DuplicateField, "appears more than once"));
            }
            map.next_value_seed(Fill {
                node,
                slot,
                state: &mut *state,
            })?;
            state.path.pop();
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut items: S) -> Result<(), S::Error> {
        let Self { node, slot, state } = self;
        let Shape::Array { items: item, .. } = &node.shape else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            state.slots[slot] = Slot::Other(Type::Array);
            return Ok(());
        };
        let mut read = Vec::new();
        loop {
            let slot = state.slots.len();
            state.slots.push(Slot::Missing);
            state.path.push(Step::Index(read.len()));
            let more = items.next_element_seed(Fill {
                node: item,
                slot,
                state: &mut *state,
            })?;
            state.path.pop();
            if more.is_none() {
                break;
            }
            read.push(std::mem::replace(&mut state.slots[slot], Slot::Missing));
        }
        state.slots[slot] = Slot::List(state.slots.len(), read.len());
        state.slots.append(&mut read);
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.note(Slot::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.note(Slot::Other(Type::Boolean))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.note(Slot::Other(Type::Number))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.note(Slot::Other(Type::Number))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.note(Slot::Other(Type::Number))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.note(Slot::Other(Type::String))
    }
}

/// Reads an object whose names are data: what it holds is put in the order of the names, so that theirs in the body does not count.
fn read_map<'p, 'a, M: MapAccess<'a>>(
    values: &'p Node,
    slot: usize,
    state: &mut State<'p, 'a>,
    mut map: M,
) -> Result<(), M::Error> {
    let mut entries: Vec<(Cow<'a, str>, Slot<'a>)> = Vec::new();
    while let Some(Name(key)) = map.next_key()? {
        if key.contains('\0') {
            return Err(state.refuse(RejectionCode::NulCharacter, "has a name with U+0000"));
        }
        let at = state.slots.len();
        state.slots.push(Slot::Missing);
        state.path.push(Step::Key(key.clone()));
        map.next_value_seed(Fill {
            node: values,
            slot: at,
            state: &mut *state,
        })?;
        state.path.pop();
        entries.push((key, std::mem::replace(&mut state.slots[at], Slot::Missing)));
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(twice) = entries.windows(2).find(|two| two[0].0 == two[1].0) {
        state.path.push(Step::Key(twice[0].0.clone()));
        return Err(state.refuse(RejectionCode::DuplicateField, "appears more than once"));
    }
    state.slots[slot] = Slot::List(state.slots.len(), 2 * entries.len());
    for (key, value) in entries {
        state.slots.push(Slot::Text(key));
        state.slots.push(value);
    }
    Ok(())
}

impl Object {
    fn field(&self, name: &str) -> Option<(usize, &Field)> {
        let index = if self.fields.len() <= MANY {
            self.fields.iter().position(|field| field.name == name)?
        } else {
            let found = self
                .by_name
                .binary_search_by(|index| self.fields[*index].name.as_str().cmp(name));
            self.by_name[found.ok()?]
        };
        Some((index, &self.fields[index]))
    }
}

fn type_of(raw: &RawValue) -> Type {
    match raw.get().as_bytes().first() {
        Some(b'"') => Type::String,
        Some(b't' | b'f') => Type::Boolean,
        Some(b'n') | None => Type::Null,
        Some(b'{') => Type::Object,
        Some(b'[') => Type::Array,
        Some(_) => match crate::event::money::Decimal::parse(raw.get()) {
            Ok(number) if number.scale == 0 => Type::Integer,
            Ok(_) | Err(_) => Type::Number,
        },
    }
}

/// What a raw JSON value is, before any rule.
fn slot(raw: &RawValue) -> Slot<'_> {
    match raw.get().as_bytes().first() {
        Some(b'"') => json::text(raw).map_or(Slot::BrokenText, Slot::Text),
        Some(b't') => Slot::Boolean(true),
        Some(b'f') => Slot::Boolean(false),
        Some(b'n') | None => Slot::Null,
        Some(b'{') => Slot::Other(Type::Object),
        Some(b'[') => Slot::Other(Type::Array),
        Some(_) => Slot::Number(raw.get()),
    }
}
