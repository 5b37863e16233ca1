//! What a contract says of a payload's own fields, for whoever makes columns of them.

use super::{Node, Plan, Rule, Shape, WriteNumber, WriteText};
use crate::event::schema::TextKind;

/// A declared field of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeclaredField<'c> {
    /// Its name in the payload
    pub name: &'c str,
    /// What its value is, where there is one
    pub kind: FieldKind,
}

/// What the value of a field is in the JSON of a stored payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// A string
    Text,
    /// A string with a UUID
    Uuid,
    /// A string with a time, RFC 3339
    Time,
    /// A string with a day, `2026-11-21`
    Date,
    /// A number of at most 64 bits
    Integer,
    /// A number, or a string of exact digits, as amounts are
    Decimal,
    /// `true` or `false`
    Boolean,
    /// An object, a list, or what the contract says no type of
    Nested,
}

impl Plan {
    /// The fields of the payload, in the order of `schema.json`; none where the payload is no object with listed fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = DeclaredField<'_>> {
        let fields = match &self.root.shape {
            Shape::Object(object) => object.fields.as_slice(),
            Shape::Raw(_) | Shape::Map(_) | Shape::Array { .. } | Shape::Value(_) => &[],
        };
        fields.iter().map(|field| DeclaredField {
            name: &field.name,
            kind: kind(&field.node.shape),
        })
    }

    /// Whether a payload can have an amount that becomes the row's.
    pub(crate) fn has_amount(&self) -> bool {
        has_amount(&self.root)
    }
}

fn kind(shape: &Shape) -> FieldKind {
    match shape {
        Shape::Raw(_) | Shape::Object(_) | Shape::Map(_) | Shape::Array { .. } => FieldKind::Nested,
        Shape::Value(Rule::Boolean { .. }) => FieldKind::Boolean,
        Shape::Value(Rule::Amount { .. }) => FieldKind::Decimal,
        Shape::Value(Rule::Number { write, .. }) => match write {
            WriteNumber::Int | WriteNumber::Long => FieldKind::Integer,
            WriteNumber::Double | WriteNumber::Decimal { .. } => FieldKind::Decimal,
        },
        Shape::Value(Rule::Text { text, write }) => match (text.kind, write) {
            (TextKind::Time, WriteText::Micros | WriteText::Text) => FieldKind::Time,
            (TextKind::Date, WriteText::Days | WriteText::Text) => FieldKind::Date,
            (TextKind::Uuid, _) => FieldKind::Uuid,
            (_, _) => FieldKind::Text,
        },
    }
}

/// What is in a list is never the row's.
fn has_amount(node: &Node) -> bool {
    match &node.shape {
        Shape::Object(object) => object.fields.iter().any(|field| has_amount(&field.node)),
        Shape::Value(rule) => matches!(rule, Rule::Amount { .. }),
        Shape::Raw(_) | Shape::Map(_) | Shape::Array { .. } => false,
    }
}
