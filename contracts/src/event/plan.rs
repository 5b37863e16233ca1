//! A contract compiled: which field goes into which slot, what it must be, and in which order slots are written as Avro.

mod compile;
mod read;
mod rules;

pub(crate) use compile::compile;
pub(crate) use read::{event_type, sniff_event_type};

use crate::avro::datum::{push_bytes, push_decimal, push_long};
use std::borrow::Cow;

/// A field's value between reading and writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot<'a> {
    /// Not there, or null
    Missing,
    /// A JSON string
    Text(Cow<'a, str>),
    /// A JSON number, as written
    Number(&'a str),
    /// A JSON boolean
    Boolean(bool),
    /// A JSON string with half a surrogate pair: no rule takes it
    BrokenText,
    /// An object or an array: no rule takes it
    Other,
    /// After its rules: an integer, or a time in microseconds since the epoch
    Long(i64),
    /// After its rules: an amount at the record's scale
    Decimal(i128),
}

/// One JSON object of the contract.
#[derive(Debug, Default)]
pub(crate) struct Object {
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    pointer: String,
    required: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Object(Object),
    Value { slot: usize, rule: Rule },
}

/// What a value must be.
#[derive(Debug)]
enum Rule {
    Text {
        blank: bool,
        max_length: Option<usize>,
        allowed: Option<Vec<String>>,
    },
    Currency,
    Amount {
        currency: Option<usize>,
        precision: u32,
        scale: u32,
    },
    Time,
    Integer {
        version: Option<i64>,
    },
    Boolean,
}

/// How a slot is written.
#[derive(Debug, Clone, Copy)]
struct Write {
    slot: usize,
    /// Index of null in the union, when the field may be null
    null_branch: Option<i64>,
}

/// A compiled contract.
#[derive(Debug)]
pub(crate) struct Plan {
    root: Object,
    slots: usize,
    writes: Vec<Write>,
    pub(crate) event_id: usize,
}

impl Plan {
    /// Appends the datum. Slots hold what the rules left: every required one is filled.
    pub(crate) fn encode(&self, slots: &[Slot<'_>], out: &mut Vec<u8>) {
        for write in &self.writes {
            let slot = &slots[write.slot];
            if let Some(null) = write.null_branch {
                let branch = if *slot == Slot::Missing {
                    null
                } else {
                    1 - null
                };
                push_long(branch, out);
            }
            match slot {
                Slot::Missing | Slot::BrokenText | Slot::Other => {}
                Slot::Text(text) => push_bytes(text.as_bytes(), out),
                Slot::Number(text) => push_bytes(text.as_bytes(), out),
                Slot::Boolean(value) => out.push(u8::from(*value)),
                Slot::Long(value) => push_long(*value, out),
                Slot::Decimal(value) => push_decimal(*value, out),
            }
        }
    }
}
