//! The rules of a contract, over the slots of one body.

use super::{Kind, Object, Rule, Slot};
use crate::event::money::{check_amount, minor_digits};
use crate::{Rejection, RejectionCode};
use std::borrow::Cow;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// What is wrong with a string that is no text.
pub(super) const BROKEN_TEXT: &str =
    "escapes one half of a surrogate pair without the other, so it is no text";

pub(super) fn check_presence(object: &Object, slots: &[Slot<'_>]) -> Result<(), Rejection> {
    for field in &object.fields {
        match &field.kind {
            Kind::Value { slot, .. } if field.required && slots[*slot] == Slot::Missing => {
                return Err(Rejection::new(
                    RejectionCode::MissingField,
                    Some(field.pointer.clone()),
                    "is required",
                ));
            }
            Kind::Value { .. } => {}
            Kind::Object(inner) => check_presence(inner, slots)?,
        }
    }
    Ok(())
}

pub(super) fn check_rules(object: &Object, slots: &mut [Slot<'_>]) -> Result<(), Rejection> {
    for field in &object.fields {
        match &field.kind {
            Kind::Object(inner) => check_rules(inner, slots)?,
            Kind::Value { slot, rule } => {
                if let Some(replaced) = check(rule, *slot, slots).map_err(|mut rejection| {
                    rejection.pointer = Some(field.pointer.clone());
                    rejection
                })? {
                    slots[*slot] = replaced;
                }
            }
        }
    }
    Ok(())
}

/// Applies one rule; answers what the slot becomes, where it changes.
fn check<'a>(rule: &Rule, at: usize, slots: &[Slot<'a>]) -> Result<Option<Slot<'a>>, Rejection> {
    let reject = |code, detail: String| Err(Rejection::new(code, None, detail));
    let wrong = |expected: &str| {
        Err(Rejection::new(
            RejectionCode::WrongType,
            None,
            format!("must be {expected}"),
        ))
    };
    match &slots[at] {
        Slot::Missing => return Ok(None),
        Slot::BrokenText => {
            return reject(RejectionCode::UnpairedSurrogate, BROKEN_TEXT.to_owned());
        }
        // PostgreSQL stores no such text. JSON has the character only as an escape, so a borrowed text is without.
        Slot::Text(Cow::Owned(text)) if text.contains('\0') => {
            return reject(RejectionCode::NulCharacter, "contains U+0000".to_owned());
        }
        Slot::Text(_)
        | Slot::Number(_)
        | Slot::Boolean(_)
        | Slot::Other
        | Slot::Long(_)
        | Slot::Decimal(_) => {}
    }
    match rule {
        Rule::Text {
            blank,
            max_length,
            allowed,
        } => {
            let Slot::Text(text) = &slots[at] else {
                return wrong("a string");
            };
            if !blank && text.trim().is_empty() {
                return reject(RejectionCode::BlankField, "is blank".to_owned());
            }
            if let Some(most) = max_length
                && text.len() > *most
            {
                return reject(
                    RejectionCode::TooLong,
                    format!("is {} bytes long; at most {most} are allowed", text.len()),
                );
            }
            if let Some(allowed) = allowed
                && !allowed.iter().any(|value| value == text)
            {
                return reject(
                    RejectionCode::ValueNotAllowed,
                    format!("must be one of {allowed:?}"),
                );
            }
            Ok(None)
        }
        Rule::Currency => {
            let Slot::Text(text) = &slots[at] else {
                return wrong("a string");
            };
            if minor_digits(text).is_none() {
                let shown: String = text.chars().take(20).collect();
                return reject(
                    RejectionCode::UnknownCurrency,
                    format!("{shown:?} is not an uppercase ISO 4217 currency code"),
                );
            }
            Ok(None)
        }
        Rule::Amount {
            currency,
            precision,
            scale,
        } => {
            let text = match &slots[at] {
                Slot::Number(text) => *text,
                Slot::Text(text) => text,
                Slot::Missing
                | Slot::Boolean(_)
                | Slot::BrokenText
                | Slot::Other
                | Slot::Long(_)
                | Slot::Decimal(_) => {
                    return wrong("a number, or a string of one");
                }
            };
            let currency = currency.and_then(|slot| match &slots[slot] {
                Slot::Text(text) => Some(&**text),
                Slot::Missing
                | Slot::Number(_)
                | Slot::Boolean(_)
                | Slot::BrokenText
                | Slot::Other
                | Slot::Long(_)
                | Slot::Decimal(_) => None,
            });
            check_amount(text, currency, *precision, *scale)
                .map(|unscaled| Some(Slot::Decimal(unscaled)))
        }
        Rule::Time => {
            let Slot::Text(text) = &slots[at] else {
                return wrong("a string");
            };
            Ok(Some(Slot::Long(parse_time(text)?)))
        }
        Rule::Integer { version } => {
            let Slot::Number(text) = &slots[at] else {
                return wrong("an integer");
            };
            let Ok(number) = text.parse::<i64>() else {
                return wrong("an integer");
            };
            if version.is_some_and(|version| version != number) {
                return reject(
                    RejectionCode::UnsupportedSchemaVersion,
                    format!("is {number}; it must be {}", version.unwrap_or_default()),
                );
            }
            Ok(Some(Slot::Long(number)))
        }
        Rule::Boolean => match &slots[at] {
            Slot::Boolean(_) => Ok(None),
            Slot::Missing
            | Slot::Text(_)
            | Slot::Number(_)
            | Slot::BrokenText
            | Slot::Other
            | Slot::Long(_)
            | Slot::Decimal(_) => wrong("true or false"),
        },
    }
}

/// RFC 3339 with its zone, as microseconds since the epoch. Digits beyond microseconds are cut; a leap second (:60) counts as the second before.
/// A time whose year in UTC is not 1 to 9999 is refused: it cannot be written as RFC 3339 again, and PostgreSQL has no year 0.
fn parse_time(text: &str) -> Result<i64, Rejection> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let shown = || text.chars().take(40).collect::<String>();
    let reject = |code, detail| Err(Rejection::new(code, None, detail));
    let Some(time) = parse(text) else {
        return if !text.ends_with(['Z', 'z']) && parse(&format!("{text}Z")).is_some() {
            let detail = format!("{:?} has no zone; end it with Z or an offset", shown());
            reject(RejectionCode::TimestampWithoutZone, detail)
        } else {
            let detail = format!(
                "{:?} is not RFC 3339, such as 2026-11-21T10:00:00Z",
                shown()
            );
            reject(RejectionCode::InvalidTimestamp, detail)
        };
    };
    let in_range = time
        .checked_to_offset(UtcOffset::UTC)
        .is_some_and(|time| (1..=9999).contains(&time.year()));
    match i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)) {
        Ok(micros) if in_range => Ok(micros),
        Ok(_) | Err(_) => {
            let detail = format!("{:?} is not in the years 1 to 9999, in UTC", shown());
            reject(RejectionCode::TimeOutOfRange, detail)
        }
    }
}
