//! What texts and amounts make of their keywords, and which values and roles a type can have.

use crate::event::Role;
use crate::event::schema::keywords::check_format;
use crate::event::schema::numbers::decimal;
use crate::event::schema::read::{Keywords, Meaning};
use crate::event::schema::{AmountSchema, Case, Shape, TextKind, TextSchema, Type, Unit};
use crate::json::Json;

/// Longest id, in characters: (source, event id) is a key of an index, which takes at most 2,704 bytes.
pub(crate) const MAX_ID_LENGTH: usize = 256;

/// The type that all values of `const` or `enum` have; several where they differ.
pub(super) fn inferred(values: Option<&(&str, Vec<Json>)>) -> Vec<Type> {
    let mut types = Vec::new();
    for value in values.into_iter().flat_map(|(_, values)| values) {
        let one = match value {
            Json::Object(_) => Type::Object,
            Json::Array(_) => Type::Array,
            Json::Scalar(word) => match word.as_bytes().first() {
                Some(b'"') => Type::String,
                Some(b't' | b'f') => Type::Boolean,
                Some(b'n') | None => continue,
                Some(_) if decimal(value).is_some_and(|number| number.scale == 0) => Type::Integer,
                Some(_) => Type::Number,
            },
        };
        if !types.contains(&one) {
            types.push(one);
        }
    }
    match types.as_slice() {
        [Type::Integer, Type::Number] | [Type::Number, Type::Integer] => vec![Type::Number],
        // Their own members have no schema: they are compared whole.
        [Type::Object | Type::Array] => Vec::new(),
        _ => types,
    }
}

pub(super) fn amount(
    keywords: &mut Keywords<'_>,
    types: &[Type],
    meaning: Meaning,
) -> Result<Shape, String> {
    let number = types
        .iter()
        .any(|one| matches!(one, Type::Number | Type::Integer));
    let text = types.contains(&Type::String);
    let fits = |one: &Type| matches!(one, Type::Number | Type::Integer | Type::String);
    if types.is_empty() || !types.iter().all(fits) {
        return Err(keywords.fault(
            "type",
            "of an amount must be \"number\", \"integer\" or \"string\", or a list of them",
        ));
    }
    let unit = meaning.unit.unwrap_or(Unit::Major);
    if unit == Unit::Major && types == [Type::Integer] {
        return Err(keywords.fault(
            "x-eventflow",
            "says \"amount\" of an integer: say \"amount-minor\" if it counts cents, or make the type \"number\"",
        ));
    }
    Ok(Shape::Amount(AmountSchema {
        number,
        text,
        bounds: keywords.bounds()?,
        unit,
    }))
}

pub(super) fn text(
    keywords: &mut Keywords<'_>,
    meaning: &Meaning,
    values: Option<&(&'static str, Vec<Json>)>,
) -> Result<Shape, String> {
    let format = keywords.take("format");
    let mut kind = match meaning.role {
        Some(Role::Id | Role::Entity) => TextKind::Id,
        Some(Role::Currency) => TextKind::Currency(meaning.case.unwrap_or(Case::Upper)),
        Some(Role::Kind | Role::Delivery | Role::Amount) | None => TextKind::Plain,
    };
    if let Some(format) = format {
        let name = format.text().unwrap_or_default();
        check_format(&name).map_err(|problem| keywords.fault("format", problem))?;
        let planned = match name.as_str() {
            "date-time" => Some(TextKind::Time),
            "date" => Some(TextKind::Date),
            "uuid" => Some(TextKind::Uuid),
            _ => None,
        };
        match (planned, kind) {
            (Some(planned), TextKind::Plain) => kind = planned,
            // A uuid is not blank.
            (Some(TextKind::Uuid), TextKind::Id) => kind = TextKind::Uuid,
            (None, _) => keywords.slow.push(("format".to_owned(), format)),
            (Some(_), _) => {
                return Err(keywords.fault(
                    "format",
                    "cannot stand beside this x-eventflow; remove one of them",
                ));
            }
        }
    }
    keywords.leave(&["pattern"]);
    let least = keywords.length("minLength")?.unwrap_or(0);
    let most = keywords.length("maxLength")?;
    if kind == TextKind::Id && most.is_some_and(|most| most > MAX_ID_LENGTH) {
        let problem = format!("of an id is at most {MAX_ID_LENGTH}; lower it");
        return Err(keywords.fault("maxLength", problem));
    }
    let unbounded = if kind == TextKind::Id {
        MAX_ID_LENGTH
    } else {
        usize::MAX
    };
    Ok(Shape::Text(TextSchema {
        kind,
        least,
        most: most.unwrap_or(unbounded),
        allowed: allowed(keywords, values, "strings", Json::text)?,
    }))
}

pub(super) fn allowed<T>(
    keywords: &Keywords<'_>,
    values: Option<&(&'static str, Vec<Json>)>,
    what: &str,
    read: impl Fn(&Json) -> Option<T>,
) -> Result<Option<Vec<T>>, String> {
    let Some((keyword, values)) = values else {
        return Ok(None);
    };
    let values = values.iter().filter(|value| !value.is("null"));
    match values.map(read).collect::<Option<Vec<T>>>() {
        Some(values) if !values.is_empty() => Ok(Some(values)),
        Some(_) | None => Err(keywords.fault(
            keyword,
            format_args!("can allow {what} only here; write those, at least one"),
        )),
    }
}

/// A role is one that a value of this shape can have.
pub(super) fn check_role(
    keywords: &Keywords<'_>,
    shape: &Shape,
    role: Option<Role>,
) -> Result<(), String> {
    let fits = match (role, shape) {
        (None | Some(Role::Delivery), _) | (Some(_), Shape::Text(_)) => true,
        (Some(Role::Id | Role::Entity | Role::Kind), Shape::Number(number)) => number.integer,
        (Some(_), _) => false,
    };
    if fits {
        Ok(())
    } else {
        Err(keywords.fault(
            Role::ATTRIBUTE,
            "is not for this type; currencies are strings, ids, entities and kinds strings or integers, amounts numbers or strings",
        ))
    }
}
