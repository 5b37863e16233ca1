//! Keywords without a plan, judged by the crate jsonschema: only in contracts that use them, over the same payload.
//!
//! Its cost is bounded: patterns run on the engine `regex`, which takes time in proportion to the text (so they have no look-around and no
//! references back), a schema has no recursion, and a body is at most 128 levels deep. No number is judged through a float that does not
//! hold it.

use super::{Node, Plan, Shape};
use crate::event::money::Decimal;
use crate::json::Json;
use crate::{Rejection, RejectionCode};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

/// Largest compiled pattern, and its cache of states, in bytes.
const PATTERN_BYTES: usize = 1 << 20;
/// Digits of a number that a double holds, whatever they are.
const DOUBLE_DIGITS: usize = 15;

/// The judge of one contract.
pub(crate) struct Judge {
    validator: Validator,
    /// A rule compares numbers
    counts: bool,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge").finish_non_exhaustive()
    }
}

impl Judge {
    /// Compiles what jsonschema must judge.
    ///
    /// # Errors
    /// What it cannot use.
    pub(crate) fn new(schema: &Json) -> Result<Self, String> {
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(false)
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(PATTERN_BYTES)
                    .dfa_size_limit(PATTERN_BYTES),
            )
            .build(&schema.value())
            .map_err(|error| {
                format!(
                    "schema.json: {}: {error} (a pattern has no look-around and no references back, so that its cost is bounded)",
                    error.schema_path()
                )
            })?;
        let text = schema.to_string();
        let counting = [
            "\"minimum\"",
            "\"maximum\"",
            "\"exclusiveMinimum\"",
            "\"exclusiveMaximum\"",
            "\"multipleOf\"",
            "\"const\"",
            "\"enum\"",
            "\"uniqueItems\"",
            "\"integer\"",
        ];
        let counts = counting.iter().any(|keyword| text.contains(keyword));
        Ok(Self { validator, counts })
    }

    /// Judges a payload that satisfies the plan.
    ///
    /// # Errors
    /// `schema_violation` with the keyword, `invalid_format`, or `number_out_of_range` for a number that cannot be judged exactly.
    pub(crate) fn check(&self, plan: &Plan, payload: &str, at: &str) -> Result<(), Rejection> {
        if self.counts {
            check_digits(payload, at)?;
        }
        // It was read once, so it can be again.
        let mut value: Value = serde_json::from_str(payload).unwrap_or_default();
        drop_missing(&mut value, &plan.root);
        let Err(error) = self.validator.validate(&value) else {
            return Ok(());
        };
        let keyword = error.kind().keyword().to_owned();
        let code = match keyword.as_str() {
            "format" => RejectionCode::InvalidFormat,
            _ => RejectionCode::SchemaViolation,
        };
        let pointer = Some(format!("{at}{}", error.instance_path()));
        Err(Rejection::new(code, pointer, detail(&keyword, &error)))
    }
}

/// What is wrong, without the value: a body does not belong into a list of dead letters.
fn detail(keyword: &str, error: &ValidationError<'_>) -> String {
    format!("{keyword}: {}", error.masked_with("the value"))
}

/// Takes out the nulls that count as missing, as the plan does.
fn drop_missing(value: &mut Value, node: &Node) {
    match (value, &node.shape) {
        (Value::Object(members), Shape::Object(object)) => {
            for field in &object.fields {
                let optional = !field.node.nullable && !takes_null(&field.node);
                match members.get_mut(&field.name) {
                    Some(Value::Null) if optional => drop(Map::remove(members, &field.name)),
                    Some(value) => drop_missing(value, &field.node),
                    None => {}
                }
            }
        }
        (Value::Object(members), Shape::Map(values)) => {
            members
                .values_mut()
                .for_each(|value| drop_missing(value, values));
        }
        (Value::Array(values), Shape::Array { items, .. }) => {
            values
                .iter_mut()
                .for_each(|value| drop_missing(value, items));
        }
        (_, _) => {}
    }
}

fn takes_null(node: &Node) -> bool {
    matches!(&node.shape, Shape::Raw(types) if types.has(crate::event::schema::Type::Null))
}

/// Each number is a 64-bit integer, or has no more digits than a double surely holds.
fn check_digits(payload: &str, at: &str) -> Result<(), Rejection> {
    let mut rest = payload;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[start..];
        if rest.starts_with('"') {
            let length = crate::json::string_length(rest);
            rest = &rest[length..];
            continue;
        }
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let number = &rest[..end.unwrap_or(rest.len())];
        if !is_exact(number) {
            let shown: String = number.chars().take(40).collect();
            return Err(Rejection::new(
                RejectionCode::NumberOutOfRange,
                Some(at.to_owned()),
                format!(
                    "{shown} has more than {DOUBLE_DIGITS} digits, and a rule of this contract compares numbers that it cannot compare exactly"
                ),
            ));
        }
        rest = &rest[number.len()..];
    }
    Ok(())
}

fn is_exact(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    Decimal::parse(number).is_ok_and(|decimal| {
        decimal
            .unscaled
            .unsigned_abs()
            .to_string()
            .trim_end_matches('0')
            .len()
            <= DOUBLE_DIGITS
            && decimal.scale <= 300
    })
}
