//! From a payload to slots: one walk through the JSON.

use super::{Field, Node, Object, Shape, Slot, Write};
use crate::event::schema::Type;
use crate::json::{Cursor, push_token, unquoted};
use crate::{Rejection, RejectionCode};
use std::borrow::Cow;

/// Objects with more fields than this are searched by halves.
const MANY: usize = 16;
/// Slots and steps of most payloads, so that their lists grow once.
const USUAL_SLOTS: usize = 32;
const USUAL_DEPTH: usize = 8;
const TWICE: &str = "appears more than once";
const BROKEN_NAME: &str =
    "has a name that escapes one half of a surrogate pair without the other, so it is no text";

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

    fn refusal(&self, code: RejectionCode, detail: &str) -> Rejection {
        Rejection::new(code, Some(self.pointer()), detail)
    }
}

/// Walks through a payload, which is JSON for certain. The root's slot is the first.
pub(super) fn read<'p, 'a>(
    root: &'p Node,
    text: &'a str,
    at: &'p str,
) -> Result<State<'p, 'a>, Rejection> {
    let mut state = State {
        slots: Vec::with_capacity(USUAL_SLOTS),
        path: Vec::with_capacity(USUAL_DEPTH),
        around: Vec::with_capacity(USUAL_DEPTH),
        rest: Vec::new(),
        unknown: None,
        at,
        whole: false,
    };
    state.slots.push(Slot::Missing);
    state.value(root, 0, &mut Cursor::new(text))?;
    Ok(state)
}

impl<'p, 'a> State<'p, 'a> {
    /// Steps over one value, into its slot.
    fn value(
        &mut self,
        node: &'p Node,
        slot: usize,
        cursor: &mut Cursor<'a>,
    ) -> Result<(), Rejection> {
        let keeps = node.write == Write::Whole && !self.whole;
        let mark = cursor.mark();
        self.whole |= keeps;
        self.slots[slot] = match (&node.shape, cursor.peek()) {
            (Shape::Object(object), b'{') => self.object(object, cursor)?,
            (Shape::Map(values), b'{') => self.map(values, cursor)?,
            (Shape::Array { items, .. }, b'[') => self.array(items, cursor)?,
            (Shape::Value(_), _) => scalar(cursor.value()),
            (Shape::Raw(_), _) => Slot::Other(type_of(cursor.value())),
            (Shape::Object(_) | Shape::Map(_) | Shape::Array { .. }, _) => {
                match type_of(cursor.value()) {
                    Type::Null => Slot::Null,
                    other => Slot::Other(other),
                }
            }
        };
        if keeps {
            self.whole = false;
            self.keep(cursor.since(mark));
        }
        Ok(())
    }

    fn object(
        &mut self,
        object: &'p Object,
        cursor: &mut Cursor<'a>,
    ) -> Result<Slot<'a>, Rejection> {
        let first = self.slots.len();
        let end = first + object.fields.len();
        self.slots.resize(end, Slot::Missing);
        cursor.enter();
        while let Some(key) = self.name(cursor)? {
            let Some((index, Field { name, node, .. })) = object.field(&key) else {
                let value = cursor.value();
                self.path.push(Step::Key(key));
                if object.closed && self.unknown.is_none() {
                    self.unknown = Some(self.place());
                }
                self.keep(value);
                self.path.pop();
                continue;
            };
            self.path.push(Step::Field(name));
            let slot = first + index;
            if self.slots[slot] != Slot::Missing {
                return Err(self.refusal(RejectionCode::DuplicateField, TWICE));
            }
            self.value(node, slot, cursor)?;
            self.path.pop();
        }
        Ok(Slot::Object(first))
    }

    fn array(&mut self, item: &'p Node, cursor: &mut Cursor<'a>) -> Result<Slot<'a>, Rejection> {
        let mut read = Vec::new();
        cursor.enter();
        while cursor.item() {
            self.path.push(Step::Index(read.len()));
            read.push(self.apart(item, cursor)?);
            self.path.pop();
        }
        let list = Slot::List(self.slots.len(), read.len());
        self.slots.append(&mut read);
        Ok(list)
    }

    /// Reads an object whose names are data: what it holds is put in the order of the names, so that theirs in the body does not count.
    fn map(&mut self, values: &'p Node, cursor: &mut Cursor<'a>) -> Result<Slot<'a>, Rejection> {
        let mut entries: Vec<(Cow<'a, str>, Slot<'a>)> = Vec::new();
        cursor.enter();
        while let Some(key) = self.name(cursor)? {
            if key.contains('\0') {
                return Err(self.refusal(RejectionCode::NulCharacter, "has a name with U+0000"));
            }
            self.path.push(Step::Key(key.clone()));
            let value = self.apart(values, cursor)?;
            self.path.pop();
            entries.push((key, value));
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(twice) = entries.windows(2).find(|two| two[0].0 == two[1].0) {
            self.path.push(Step::Key(twice[0].0.clone()));
            return Err(self.refusal(RejectionCode::DuplicateField, TWICE));
        }
        let list = Slot::List(self.slots.len(), 2 * entries.len());
        for (key, value) in entries {
            self.slots.extend([Slot::Text(key), value]);
        }
        Ok(list)
    }

    /// Reads a value whose slot has its place later.
    fn apart(&mut self, node: &'p Node, cursor: &mut Cursor<'a>) -> Result<Slot<'a>, Rejection> {
        let slot = self.slots.len();
        self.slots.push(Slot::Missing);
        self.value(node, slot, cursor)?;
        Ok(std::mem::replace(&mut self.slots[slot], Slot::Missing))
    }

    /// The name of the next member.
    fn name(&self, cursor: &mut Cursor<'a>) -> Result<Option<Cow<'a, str>>, Rejection> {
        let Some(quoted) = cursor.name() else {
            return Ok(None);
        };
        match unquoted(quoted) {
            Some(name) => Ok(Some(name)),
            None => Err(self.refusal(RejectionCode::UnpairedSurrogate, BROKEN_NAME)),
        }
    }
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

fn type_of(json: &str) -> Type {
    match json.as_bytes().first() {
        Some(b'"') => Type::String,
        Some(b't' | b'f') => Type::Boolean,
        Some(b'n') | None => Type::Null,
        Some(b'{') => Type::Object,
        Some(b'[') => Type::Array,
        Some(_) => match crate::event::money::Decimal::parse(json) {
            Ok(number) if number.scale == 0 => Type::Integer,
            Ok(_) | Err(_) => Type::Number,
        },
    }
}

/// What a value of a plain type is, before any rule.
fn scalar(json: &str) -> Slot<'_> {
    match json.as_bytes().first() {
        Some(b'"') => unquoted(json).map_or(Slot::BrokenText, Slot::Text),
        Some(b't') => Slot::Boolean(true),
        Some(b'f') => Slot::Boolean(false),
        Some(b'n') | None => Slot::Null,
        Some(b'{') => Slot::Other(Type::Object),
        Some(b'[') => Slot::Other(Type::Array),
        Some(_) => Slot::Number(json),
    }
}
