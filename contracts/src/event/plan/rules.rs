//! The rules of a contract, over the slots of one payload.

mod values;

use super::read::{State, Step};
use super::{CurrencyAt, Node, Object, Rule, Shape, Slot, Write, WriteText};
use crate::RejectionCode;
use crate::event::locator::BROKEN_TEXT;
use crate::event::money::check_amount;
use crate::event::schema::{TextKind, Type};
use crate::event::time::rfc3339;
use std::borrow::Cow;
use values::{among, check_length, check_text, in_case, integer_slot, number_slot, parse_date};

/// A rule that is broken, and how. Where is the path of the state.
pub(super) type Broken = (RejectionCode, String);

/// Checks the value in a slot and all that is in it; answers the first rule that is broken.
pub(super) fn check<'p, 'a>(
    node: &'p Node,
    slot: usize,
    required: bool,
    state: &mut State<'p, 'a>,
) -> Result<(), Broken> {
    match &state.slots[slot] {
        Slot::Missing if required => {
            return Err((RejectionCode::MissingField, "is required".to_owned()));
        }
        Slot::Missing => return Ok(()),
        // Null is as good as missing, unless the schema gives it a meaning.
        Slot::Null if node.nullable || !required => return Ok(()),
        Slot::Null => {
            return Err((
                RejectionCode::MissingField,
                "is required, and not null".to_owned(),
            ));
        }
        _ => {}
    }
    match (&node.shape, &state.slots[slot]) {
        (Shape::Raw(types), Slot::Other(found)) => {
            let fits = types.has(*found)
                || (*found == Type::Integer && types.has(Type::Number))
                || (*found == Type::Null && (node.nullable || !required));
            if fits {
                Ok(())
            } else {
                wrong_type(&node.shape)
            }
        }
        (Shape::Object(object), Slot::Object(first)) => fields(object, *first, state),
        (Shape::Array { items, least, most }, Slot::List(first, count)) => {
            let (first, count) = (*first, *count);
            check_length(count, *least, *most, "has", "items")?;
            for index in 0..count {
                state.path.push(Step::Index(index));
                item(items, first + index, state)?;
                state.path.pop();
            }
            Ok(())
        }
        (Shape::Map(values), Slot::List(first, count)) => {
            for at in (*first..first + count).step_by(2) {
                let Slot::Text(name) = &state.slots[at] else {
                    continue;
                };
                state.path.push(Step::Key(name.clone()));
                item(values, at + 1, state)?;
                state.path.pop();
            }
            Ok(())
        }
        (Shape::Value(rule), _) => {
            if let Some(replaced) = apply(rule, node, slot, state)? {
                state.slots[slot] = replaced;
            }
            Ok(())
        }
        (Shape::Raw(_) | Shape::Object(_) | Shape::Array { .. } | Shape::Map(_), _) => {
            wrong_type(&node.shape)
        }
    }
}

/// An item of a list, which cannot be missing.
fn item<'p>(node: &'p Node, slot: usize, state: &mut State<'p, '_>) -> Result<(), Broken> {
    if state.slots[slot] == Slot::Null && !node.nullable {
        return wrong_type(&node.shape);
    }
    check(node, slot, true, state)
}

fn fields<'p>(object: &'p Object, first: usize, state: &mut State<'p, '_>) -> Result<(), Broken> {
    state.around.push(first);
    for (index, field) in object.fields.iter().enumerate() {
        state.path.push(Step::Field(&field.name));
        check(&field.node, first + index, field.required, state)?;
        state.path.pop();
    }
    state.around.pop();
    Ok(())
}

/// Applies one rule to a value that is there; answers what the slot becomes, where it changes.
fn apply<'a>(
    rule: &Rule,
    node: &Node,
    at: usize,
    state: &mut State<'_, 'a>,
) -> Result<Option<Slot<'a>>, Broken> {
    match (rule, &state.slots[at]) {
        (_, Slot::BrokenText) => Err((RejectionCode::UnpairedSurrogate, BROKEN_TEXT.to_owned())),
        // PostgreSQL stores no such text. JSON has the character only as an escape, so a borrowed text is without.
        (_, Slot::Text(Cow::Owned(text))) if text.contains('\0') => {
            Err((RejectionCode::NulCharacter, "contains U+0000".to_owned()))
        }
        (
            Rule::Text {
                text: schema,
                write,
            },
            Slot::Text(text),
        ) => {
            check_text(text, schema)?;
            let long = match schema.kind {
                TextKind::Time => rfc3339(text)?,
                TextKind::Date => parse_date(text)?,
                TextKind::Plain | TextKind::Id | TextKind::Currency(_) | TextKind::Uuid => 0,
            };
            Ok(match write {
                WriteText::Days | WriteText::Micros => Some(Slot::Long(long)),
                WriteText::Text | WriteText::Enum(_) => None,
            })
        }
        (
            Rule::Amount {
                number,
                text,
                rule,
                currency,
                size: _,
            },
            value,
        ) => {
            let amount = match value {
                Slot::Number(amount) if *number => *amount,
                Slot::Text(amount) if *text => amount,
                _ => return wrong_type(&node.shape),
            };
            let currency = currency.and_then(|at| currency_of(at, state));
            let unscaled = check_amount(amount, currency.as_deref(), rule)?;
            Ok(Some(Slot::Decimal(unscaled)))
        }
        (
            Rule::Number {
                integer,
                bounds,
                allowed,
                write,
            },
            Slot::Number(text),
        ) => {
            let text: &'a str = text;
            if *integer {
                return integer_slot(text, bounds, allowed.as_deref(), *write).map(Some);
            }
            let (slot, exact) = number_slot(text, bounds, allowed.as_deref(), *write)?;
            if !exact && node.write != Write::Whole {
                // The row has it digit for digit all the same.
                state.keep(text);
            }
            Ok(Some(slot))
        }
        (Rule::Boolean { allowed }, Slot::Boolean(value)) => {
            among(value, allowed.as_deref())?;
            Ok(None)
        }
        (Rule::Text { .. } | Rule::Number { .. } | Rule::Boolean { .. }, _) => {
            wrong_type(&node.shape)
        }
    }
}

fn wrong_type<T>(expected: &Shape) -> Result<T, Broken> {
    let detail = format!("must be {}", expected.name());
    Err((RejectionCode::WrongType, detail))
}

/// The currency of an amount, in capital letters.
fn currency_of(at: CurrencyAt, state: &State<'_, '_>) -> Option<String> {
    let around = state.around.len().checked_sub(1 + at.out)?;
    match &state.slots[state.around[around] + at.field] {
        Slot::Text(text) => in_case(text, at.case).map(Cow::into_owned),
        _ => None,
    }
}
