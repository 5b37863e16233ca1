//! Slots as Avro.

use super::{Node, Object, Rule, Shape, Slot, Write, WriteNumber, WriteText};
use crate::avro::datum::{push_bytes, push_decimal, push_fixed_decimal, push_length, push_long};

/// Appends the payload's record. A payload that is no object with declared fields has none: all of it is in the rest.
pub(super) fn payload(root: &Node, slots: &[Slot<'_>], out: &mut Vec<u8>) {
    if root.write != Write::Whole {
        value(root, &slots[0], slots, out);
    }
}

fn value(node: &Node, slot: &Slot<'_>, slots: &[Slot<'_>], out: &mut Vec<u8>) {
    match node.write {
        Write::Whole => return,
        Write::Plain => {}
        Write::OrNull(null) if matches!(slot, Slot::Missing | Slot::Null) => {
            push_long(null, out);
            return;
        }
        Write::OrNull(null) => push_long(1 - null, out),
    }
    match (&node.shape, slot) {
        (Shape::Object(object), Slot::Object(first)) => fields(object, *first, slots, out),
        (Shape::Array { items, .. }, Slot::List(first, count)) => {
            if *count > 0 {
                push_length(*count, out);
                for slot in &slots[*first..first + count] {
                    value(items, slot, slots, out);
                }
            }
            push_long(0, out);
        }
        (Shape::Map(values), Slot::List(first, count)) => {
            if *count > 0 {
                push_length(count / 2, out);
                for entry in slots[*first..first + count].chunks_exact(2) {
                    if let Slot::Text(name) = &entry[0] {
                        push_bytes(name.as_bytes(), out);
                    }
                    value(values, &entry[1], slots, out);
                }
            }
            push_long(0, out);
        }
        (Shape::Value(rule), slot) => scalar(rule, slot, out),
        // The rules let nothing else pass.
        (Shape::Raw(_) | Shape::Object(_) | Shape::Map(_) | Shape::Array { .. }, _) => {}
    }
}

fn fields(object: &Object, first: usize, slots: &[Slot<'_>], out: &mut Vec<u8>) {
    for index in &object.order {
        let field = &object.fields[*index];
        value(&field.node, &slots[first + index], slots, out);
    }
}

fn scalar(rule: &Rule, slot: &Slot<'_>, out: &mut Vec<u8>) {
    match (slot, rule) {
        (
            Slot::Text(text),
            Rule::Text {
                write: WriteText::Enum(symbols),
                ..
            },
        ) => {
            let index = symbols.iter().position(|symbol| symbol == text);
            push_length(index.unwrap_or_default(), out);
        }
        (Slot::Text(text), _) => push_bytes(text.as_bytes(), out),
        (Slot::Boolean(value), _) => out.push(u8::from(*value)),
        (Slot::Long(value), _) => push_long(*value, out),
        (Slot::Double(value), _) => out.extend_from_slice(&value.to_le_bytes()),
        (
            Slot::Decimal(value),
            Rule::Amount {
                size: Some(size), ..
            }
            | Rule::Number {
                write:
                    WriteNumber::Decimal {
                        size: Some(size), ..
                    },
                ..
            },
        ) => push_fixed_decimal(*value, *size, out),
        (Slot::Decimal(value), _) => push_decimal(*value, out),
        (
            Slot::Missing
            | Slot::Null
            | Slot::Number(_)
            | Slot::BrokenText
            | Slot::Object(_)
            | Slot::List(..)
            | Slot::Other(_),
            _,
        ) => {}
    }
}
