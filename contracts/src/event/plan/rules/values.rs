//! What a text or a number must be.

use super::Broken;
use crate::RejectionCode;
use crate::event::money::{Decimal, check_bounds, minor_digits};
use crate::event::plan::{Slot, WriteNumber};
use crate::event::schema::{Bounds, Case, TextKind, TextSchema};
use std::borrow::Cow;
use std::fmt;
use time::{Date, Month};

/// A currency's code in capital letters; `None` where its letters are not as the schema says.
pub(super) fn in_case(text: &str, case: Case) -> Option<Cow<'_, str>> {
    let lower = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
    match case {
        Case::Upper if lower => None,
        Case::Lower if upper => None,
        Case::Upper => Some(Cow::Borrowed(text)),
        Case::Lower | Case::Any => Some(Cow::Owned(text.to_ascii_uppercase())),
    }
}

pub(super) fn check_length(
    length: usize,
    least: usize,
    most: usize,
    verb: &str,
    of: &str,
) -> Result<(), Broken> {
    if length < least {
        let detail = format!("{verb} {length} {of}; at least {least} are needed");
        Err((RejectionCode::TooShort, detail))
    } else if length > most {
        let detail = format!("{verb} {length} {of}; at most {most} are allowed");
        Err((RejectionCode::TooLong, detail))
    } else {
        Ok(())
    }
}

pub(super) fn check_text(text: &str, schema: &TextSchema) -> Result<(), Broken> {
    let TextSchema {
        kind,
        least,
        most,
        allowed,
    } = schema;
    let shown = || text.chars().take(40).collect::<String>();
    if *kind == TextKind::Id && text.trim().is_empty() {
        return Err((RejectionCode::BlankField, "is blank".to_owned()));
    }
    // A text has no more characters than bytes: few must be counted.
    if *least > 0 || text.len() > *most {
        check_length(text.chars().count(), *least, *most, "has", "characters")?;
    }
    if let TextKind::Currency(case) = kind
        && in_case(text, *case).is_none_or(|code| minor_digits(&code).is_none())
    {
        let letters = match case {
            Case::Upper => "an uppercase ISO 4217 currency code",
            Case::Lower => "a lowercase ISO 4217 currency code",
            Case::Any => "an ISO 4217 currency code",
        };
        let detail = format!("{:?} is not {letters}", shown());
        return Err((RejectionCode::UnknownCurrency, detail));
    }
    if *kind == TextKind::Uuid && !is_uuid(text) {
        let detail = format!("{:?} is not a uuid: 8-4-4-4-12 hexadecimal digits", shown());
        return Err((RejectionCode::InvalidFormat, detail));
    }
    match allowed {
        Some(allowed) if !allowed.iter().any(|one| one == text) => not_allowed(allowed),
        Some(_) | None => Ok(()),
    }
}

/// RFC 4122's text form.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

pub(super) fn among<T: PartialEq + fmt::Debug>(
    value: &T,
    allowed: Option<&[T]>,
) -> Result<(), Broken> {
    match allowed {
        Some(allowed) if !allowed.contains(value) => not_allowed(allowed),
        Some(_) | None => Ok(()),
    }
}

fn not_allowed<T: fmt::Debug>(allowed: &[T]) -> Result<(), Broken> {
    let detail = match allowed {
        [only] => format!("must be {only:?}"),
        several => format!("must be one of {several:?}"),
    };
    Err((RejectionCode::ValueNotAllowed, detail))
}

/// A number is one of those that the schema lists.
fn among_numbers(number: Decimal, allowed: Option<&[Decimal]>) -> Result<(), Broken> {
    match allowed {
        Some(allowed) if !allowed.contains(&number) => {
            let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            let words = if allowed.len() == 1 { "" } else { "one of " };
            let detail = format!("must be {words}{}", allowed.join(", "));
            Err((RejectionCode::ValueNotAllowed, detail))
        }
        Some(_) | None => Ok(()),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A JSON number without a fraction (2.0 and 2e3 have none), of 32 bits (an Avro int), 64, or the digits of a decimal.
pub(super) fn integer_slot<'a>(
    text: &str,
    bounds: &Bounds,
    allowed: Option<&[Decimal]>,
    write: WriteNumber,
) -> Result<Slot<'a>, Broken> {
    let out_of_range = |of: &str| {
        let detail = format!("{} does not fit into {of}", shown(text));
        Err((RejectionCode::IntegerOutOfRange, detail))
    };
    // Nearly all are written plainly.
    let number = match text.parse::<i64>() {
        Ok(number) => Decimal {
            unscaled: number.into(),
            scale: 0,
        },
        Err(_) => match Decimal::parse(text) {
            Ok(decimal) if decimal.scale == 0 => decimal,
            Err(RejectionCode::AmountOutOfRange) => return out_of_range("38 digits"),
            Ok(_) | Err(_) => {
                return Err((RejectionCode::WrongType, "must be an integer".to_owned()));
            }
        },
    };
    check_bounds(number, bounds, &shown(text))?;
    among_numbers(number, allowed)?;
    match write {
        WriteNumber::Decimal { precision, .. } => {
            let limit = 10_i128.checked_pow(precision).unwrap_or(i128::MAX);
            if number.unscaled.unsigned_abs() < limit.unsigned_abs() {
                Ok(Slot::Decimal(number.unscaled))
            } else {
                out_of_range(&format!("{precision} digits"))
            }
        }
        WriteNumber::Int if i32::try_from(number.unscaled).is_err() => out_of_range("32 bits"),
        WriteNumber::Int | WriteNumber::Long | WriteNumber::Double => {
            match i64::try_from(number.unscaled) {
                Ok(number) => Ok(Slot::Long(number)),
                Err(_) => out_of_range("64 bits"),
            }
        }
    }
}

/// A JSON number, and whether the slot has all its digits.
pub(super) fn number_slot<'a>(
    text: &str,
    bounds: &Bounds,
    allowed: Option<&[Decimal]>,
    write: WriteNumber,
) -> Result<(Slot<'a>, bool), Broken> {
    let out_of_range = |what: &str| {
        let detail = format!("{} {what}", shown(text));
        Err((RejectionCode::NumberOutOfRange, detail))
    };
    let decimal = Decimal::parse(text).ok();
    let judged = bounds.least.is_some()
        || bounds.most.is_some()
        || bounds.multiple_of.is_some()
        || allowed.is_some();
    match decimal {
        Some(decimal) if judged => {
            check_bounds(decimal, bounds, &shown(text))?;
            among_numbers(decimal, allowed)?;
        }
        None if judged => return out_of_range("has more than 38 digits, too many to be judged"),
        Some(_) | None => {}
    }
    if let WriteNumber::Decimal {
        precision, scale, ..
    } = write
    {
        let limit = 10_i128.checked_pow(precision).unwrap_or(i128::MAX);
        let fits = decimal
            .and_then(|decimal| decimal.rescaled(scale))
            .filter(|unscaled| unscaled.unsigned_abs() < limit.unsigned_abs());
        return match fits {
            Some(unscaled) => Ok((Slot::Decimal(unscaled), true)),
            None => out_of_range(&format!(
                "does not fit into {precision} digits, {scale} of them after the point"
            )),
        };
    }
    let Some(double) = text.parse::<f64>().ok().filter(|double| double.is_finite()) else {
        return out_of_range("is larger than a double");
    };
    let back = serde_json::to_string(&double).ok();
    let exact = decimal.is_some() && back.and_then(|back| Decimal::parse(&back).ok()) == decimal;
    Ok((Slot::Double(double), exact))
}

/// RFC 3339's full-date, as days since the epoch.
pub(super) fn parse_date(text: &str) -> Result<i64, Broken> {
    let digits = |range| -> Option<u16> {
        let part: &str = text.get(range)?;
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| digits)
    };
    let parse = || {
        let dashes =
            text.len() == 10 && &text.as_bytes()[4..5] == b"-" && &text.as_bytes()[7..8] == b"-";
        let year = digits(0..4).filter(|year| dashes && *year > 0)?;
        let month = Month::try_from(u8::try_from(digits(5..7)?).ok()?).ok()?;
        let day = u8::try_from(digits(8..10)?).ok()?;
        Date::from_calendar_date(year.into(), month, day).ok()
    };
    let date = parse().ok_or_else(|| {
        let detail = format!("{:?} is not a date, such as 2026-11-21", shown(text));
        (RejectionCode::InvalidFormat, detail)
    })?;
    Ok(i64::from(date.to_julian_day()) - 2_440_588)
}
