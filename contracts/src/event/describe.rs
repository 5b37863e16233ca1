//! A contract in words: its fields, what each must be, and the codes of what is not.

use super::Contract;
use super::money::Decimal;
use super::role::Role;
use super::schema::{
    self, AmountSchema, Bound, Bounds, Case, Payload, Schema, Shape, TextKind, TextSchema, Types,
    Unit,
};
use crate::RejectionCode as Code;
use std::collections::BTreeSet;
use std::fmt::Display;

/// A place in the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDescription {
    /// JSON pointer in the payload; `*` is every item of a list. Empty is the payload itself
    pub pointer: String,
    /// In words: `string`, `integer`, `amount in minor units`, `object`, …
    pub kind: String,
    /// It must be there, wherever what it is in is there
    pub required: bool,
    /// Null is a value, and not as good as missing
    pub nullable: bool,
    /// What it must be besides, in words
    pub rules: Vec<String>,
    /// Codes of what is not so. Those that any value can have (`nul_character`, `unpaired_surrogate`, `duplicate_field`, `too_deep`) are left out
    pub codes: BTreeSet<Code>,
}

impl Contract {
    /// Its fields at every depth, in the order in which they are checked, in words; the payload itself first.
    #[must_use]
    pub fn describe(&self) -> Vec<FieldDescription> {
        let mut fields = Vec::new();
        // It was read when it was compiled.
        if let Ok(payload) = schema::read(&self.schema_json) {
            push("", &payload.schema, true, &mut fields);
            push_slow(&payload, &mut fields);
        }
        fields
    }

    /// The codes with which a payload can break it. Those that any payload can have are left out, as of [`FieldDescription::codes`].
    #[must_use]
    pub fn codes(&self) -> BTreeSet<Code> {
        self.describe()
            .into_iter()
            .flat_map(|field| field.codes)
            .collect()
    }
}

fn push(pointer: &str, schema: &Schema, required: bool, fields: &mut Vec<FieldDescription>) {
    let mut field = FieldDescription {
        pointer: pointer.to_owned(),
        kind: kind(&schema.shape),
        required,
        nullable: schema.nullable,
        rules: Vec::new(),
        codes: BTreeSet::new(),
    };
    if required && !pointer.is_empty() && !pointer.ends_with("/*") {
        field.codes.insert(Code::MissingField);
    }
    if !matches!(schema.shape, Shape::Raw(Types::ANY)) {
        field.codes.insert(Code::WrongType);
    }
    if let Some(role @ (Role::Entity | Role::Kind | Role::Delivery)) = schema.role {
        field.rules.push(format!("x-eventflow {}", role.name()));
    }
    let index = fields.len();
    fields.push(field);
    let (mut rules, mut codes) = (Vec::new(), Vec::new());
    let at = |token: &str| {
        let mut below = pointer.to_owned();
        crate::json::push_token(token, &mut below);
        below
    };
    match &schema.shape {
        Shape::Raw(_) => {}
        Shape::Object(object) => {
            if object.closed {
                rules.push("no other fields".to_owned());
                codes.push(Code::UnknownField);
            }
            for field in &object.fields {
                push(&at(&field.name), &field.schema, field.required, fields);
            }
        }
        Shape::Map(values) => push(&at("*"), values, true, fields),
        Shape::Array(array) => {
            lengths(array.least, array.most, "items", &mut rules, &mut codes);
            push(&at("*"), &array.items, true, fields);
        }
        Shape::Text(text) => describe_text(text, &mut rules, &mut codes),
        Shape::Number(number) => {
            codes.push(if number.integer {
                Code::IntegerOutOfRange
            } else {
                Code::NumberOutOfRange
            });
            bounds(&number.bounds, &mut rules, &mut codes);
            one_of(number.allowed.as_deref(), &mut rules, &mut codes);
        }
        Shape::Amount(amount) => describe_amount(amount, &mut rules, &mut codes),
        Shape::Boolean { allowed } => one_of(allowed.as_deref(), &mut rules, &mut codes),
    }
    fields[index].rules.extend(rules);
    fields[index].codes.extend(codes);
}

/// What jsonschema judges: at the field's own place, or at the nearest one around it that is shown.
fn push_slow(payload: &Payload, fields: &mut [FieldDescription]) {
    for slow in &payload.slow_keywords {
        let around = fields.iter().enumerate().filter(|(_, field)| {
            slow.pointer
                .strip_prefix(&field.pointer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let Some((index, _)) = around.max_by_key(|(_, field)| field.pointer.len()) else {
            continue;
        };
        let value = slow.value.to_string();
        let shown: String = value.chars().take(60).collect();
        let more = if shown.len() < value.len() { "…" } else { "" };
        fields[index]
            .rules
            .push(format!("{} {shown}{more}", slow.keyword));
        fields[index].codes.insert(if slow.keyword == "format" {
            Code::InvalidFormat
        } else {
            Code::SchemaViolation
        });
    }
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Raw(types) if *types == Types::ANY => "anything, kept whole".to_owned(),
        Shape::Raw(types) => format!("{}, kept whole", types.names()),
        Shape::Object(_) => "object".to_owned(),
        Shape::Map(_) => "map".to_owned(),
        Shape::Array(_) => "array".to_owned(),
        Shape::Text(text) => match text.kind {
            TextKind::Plain => "string",
            TextKind::Id => "id",
            TextKind::Currency(_) => "currency",
            TextKind::Time => "date-time",
            TextKind::Date => "date",
            TextKind::Uuid => "uuid",
        }
        .to_owned(),
        Shape::Number(number) if number.integer => "integer".to_owned(),
        Shape::Number(_) => "number".to_owned(),
        Shape::Amount(amount) => match &amount.unit {
            Unit::Major => "amount".to_owned(),
            Unit::Minor(_) => "amount in minor units".to_owned(),
            Unit::Fixed(digits) => format!("amount in units of {digits} digits"),
        },
        Shape::Boolean { .. } => "boolean".to_owned(),
    }
}

fn describe_text(text: &TextSchema, rules: &mut Vec<String>, codes: &mut Vec<Code>) {
    match text.kind {
        TextKind::Plain => {}
        TextKind::Id => {
            rules.push("not blank".to_owned());
            codes.push(Code::BlankField);
        }
        TextKind::Currency(case) => {
            rules.push(
                match case {
                    Case::Upper => "ISO 4217 in capital letters",
                    Case::Lower => "ISO 4217 in lower-case letters",
                    Case::Any => "ISO 4217",
                }
                .to_owned(),
            );
            codes.push(Code::UnknownCurrency);
        }
        TextKind::Time => {
            rules.push("RFC 3339 with its zone".to_owned());
            codes.extend([
                Code::InvalidTimestamp,
                Code::TimestampWithoutZone,
                Code::TimeOutOfRange,
            ]);
        }
        TextKind::Date => {
            rules.push("as 2026-11-21".to_owned());
            codes.push(Code::InvalidFormat);
        }
        TextKind::Uuid => codes.push(Code::InvalidFormat),
    }
    lengths(text.least, text.most, "characters", rules, codes);
    one_of(text.allowed.as_deref(), rules, codes);
}

fn describe_amount(amount: &AmountSchema, rules: &mut Vec<String>, codes: &mut Vec<Code>) {
    if amount.text {
        codes.push(Code::InvalidAmount);
    }
    if amount.bounds.least.is_none() {
        rules.push("above zero".to_owned());
        codes.push(Code::AmountNotPositive);
    }
    bounds(&amount.bounds, rules, codes);
    codes.extend([Code::AmountTooPrecise, Code::AmountOutOfRange]);
}

fn lengths(least: usize, most: usize, of: &str, rules: &mut Vec<String>, codes: &mut Vec<Code>) {
    if least > 0 {
        rules.push(format!("at least {least} {of}"));
        codes.push(Code::TooShort);
    }
    if most < usize::MAX {
        rules.push(format!("at most {most} {of}"));
        codes.push(Code::TooLong);
    }
}

fn bounds(bounds: &Bounds, rules: &mut Vec<String>, codes: &mut Vec<Code>) {
    let mut say = |bound: Option<Bound>, open: &str, closed: &str, code| {
        if let Some(bound) = bound {
            let words = if bound.exclusive { open } else { closed };
            rules.push(format!("{words} {}", bound.at));
            codes.push(code);
        }
    };
    say(bounds.least, "above", "at least", Code::NumberTooSmall);
    say(bounds.most, "below", "at most", Code::NumberTooLarge);
    let multiple: Option<Decimal> = bounds.multiple_of;
    if let Some(of) = multiple {
        rules.push(format!("a multiple of {of}"));
        codes.push(Code::NotAMultiple);
    }
}

fn one_of<T: Display>(allowed: Option<&[T]>, rules: &mut Vec<String>, codes: &mut Vec<Code>) {
    if let Some(allowed) = allowed {
        let values: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        rules.push(format!("one of {}", values.join(", ")));
        codes.push(Code::ValueNotAllowed);
    }
}
