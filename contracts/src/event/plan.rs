//! A contract's payload compiled: what each value must be, and how it is written as Avro.
//!
//! A payload is read in one pass into slots, without a tree: an object has a slot for each declared field, a list those of its items behind
//! each other. The rules are then applied slot by slot, and the slots written in the order of the record. What the contract does not declare
//! is kept as the vendor wrote it ([`rest`]).

mod compile;
mod fields;
mod read;
mod rest;
mod rules;
mod slow;
mod write;

pub(crate) use compile::{Compiled, compile};
pub use fields::{DeclaredField, FieldKind};
pub(crate) use slow::Judge;

use crate::event::money::{AmountRule, Decimal};
use crate::event::schema::{Bounds, Case, TextSchema, Type, Types};
use crate::{Rejection, RejectionCode};
use std::borrow::Cow;

/// A value between reading and writing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Slot<'a> {
    Missing,
    Null,
    /// A JSON string
    Text(Cow<'a, str>),
    /// A JSON number, as written
    Number(&'a str),
    Boolean(bool),
    /// A JSON string with half a surrogate pair: no rule takes it
    BrokenText,
    /// An object: where its fields' slots begin
    Object(usize),
    /// The items of an array, or of a map each name and value in the order of the names: where they begin, and how many slots
    List(usize, usize),
    /// Of a value that is kept whole, or of one of the wrong type
    Other(Type),
    /// After its rules: an integer, a day, or a time in microseconds since the epoch
    Long(i64),
    /// After its rules: a decimal at the record's scale
    Decimal(i128),
    /// After its rules
    Double(f64),
}

/// A value of the payload.
#[derive(Debug)]
struct Node {
    nullable: bool,
    shape: Shape,
    write: Write,
}

#[derive(Debug)]
enum Shape {
    Raw(Types),
    Object(Object),
    Map(Box<Node>),
    Array {
        items: Box<Node>,
        least: usize,
        most: usize,
    },
    Value(Rule),
}

/// Whether and how the record has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    /// Not: it is kept as the vendor wrote it
    Whole,
    Plain,
    /// In a union with null, which is this branch
    OrNull(i64),
}

#[derive(Debug)]
struct Object {
    /// In the order in which they are checked
    fields: Vec<Field>,
    /// Their indexes by name, of objects with many
    by_name: Vec<usize>,
    /// Their indexes in the order of the record
    order: Vec<usize>,
    /// Other fields are refused
    closed: bool,
}

#[derive(Debug)]
struct Field {
    name: String,
    required: bool,
    node: Node,
}

/// What a value of a plain type must be.
#[derive(Debug)]
enum Rule {
    Text {
        text: TextSchema,
        write: WriteText,
    },
    Number {
        integer: bool,
        bounds: Bounds,
        allowed: Option<Vec<Decimal>>,
        write: WriteNumber,
    },
    Amount {
        number: bool,
        text: bool,
        rule: AmountRule,
        currency: Option<CurrencyAt>,
        /// Bytes of a fixed
        size: Option<usize>,
    },
    Boolean {
        allowed: Option<Vec<bool>>,
    },
}

#[derive(Debug)]
enum WriteText {
    Text,
    Enum(Vec<String>),
    /// Days since the epoch
    Days,
    Micros,
}

#[derive(Debug, Clone, Copy)]
enum WriteNumber {
    Int,
    Long,
    Double,
    Decimal {
        precision: u32,
        scale: u32,
        size: Option<usize>,
    },
}

/// Where an amount's currency is: in the object around it, or one further out.
#[derive(Debug, Clone, Copy)]
struct CurrencyAt {
    /// How many objects further out
    out: usize,
    field: usize,
    case: Case,
}

/// The compiled payload of a contract.
#[derive(Debug)]
pub(crate) struct Plan {
    root: Node,
}

/// A payload that satisfies its contract.
#[derive(Debug)]
pub(crate) struct Satisfied<'a> {
    slots: Vec<Slot<'a>>,
    /// What the contract does not declare: the text of one JSON object, or nothing
    pub(crate) rest: Option<String>,
}

impl Plan {
    /// Reads a payload, applies the rules, and keeps what is not declared. `at` is the payload's pointer in the body, for rejections.
    ///
    /// # Errors
    /// The first rule it breaks: what cannot be read first, then field after field in the order of the schema, then what no field declares.
    pub(crate) fn check<'a>(&self, text: &'a str, at: &str) -> Result<Satisfied<'a>, Rejection> {
        let mut state = read::read(&self.root, text, at)?;
        let broken = rules::check(&self.root, 0, true, &mut state);
        broken.map_err(|(code, detail)| Rejection::new(code, Some(state.pointer()), detail))?;
        if let Some(pointer) = state.unknown {
            return Err(Rejection::new(
                RejectionCode::UnknownField,
                Some(format!("{at}{pointer}")),
                "is not in the contract, which allows no others",
            ));
        }
        let rest = rest::text(state.rest, at)?;
        Ok(Satisfied {
            slots: state.slots,
            rest,
        })
    }

    /// Appends the payload's Avro. Slots hold what the rules left: every required one is filled.
    pub(crate) fn encode(&self, satisfied: &Satisfied<'_>, out: &mut Vec<u8>) {
        write::payload(&self.root, &satisfied.slots, out);
    }
}

impl Shape {
    /// For people.
    fn name(&self) -> String {
        match self {
            Self::Raw(types) => types.names(),
            Self::Object(_) | Self::Map(_) => "an object".to_owned(),
            Self::Array { .. } => "an array".to_owned(),
            Self::Value(Rule::Text { .. }) => "a string".to_owned(),
            Self::Value(Rule::Number { integer: true, .. }) => "an integer".to_owned(),
            Self::Value(Rule::Number { .. }) => "a number".to_owned(),
            Self::Value(Rule::Boolean { .. }) => "true or false".to_owned(),
            Self::Value(Rule::Amount { number, text, .. }) => match (number, text) {
                (true, true) => "a number, or a string of one",
                (true, false) => "a number",
                (false, _) => "a string with a number",
            }
            .to_owned(),
        }
    }
}
