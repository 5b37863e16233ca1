//! The rules of an amount, and of any number with bounds.

use super::{Decimal, minor_digits};
use crate::RejectionCode as Code;
use crate::event::schema::{Bounds, Unit};

/// A rule that is broken, and how.
type Broken = (Code, String);

/// What an amount must be.
#[derive(Debug)]
pub(crate) struct AmountRule {
    pub(crate) bounds: Bounds,
    pub(crate) unit: Unit,
    /// Digits of the record's decimal, and how many of them are after the point
    pub(crate) precision: u32,
    pub(crate) scale: u32,
}

/// Applies the rules of an amount in its currency: positive unless the schema has a lower bound of its own, within the schema's bounds as it
/// is written, no more significant fraction digits than the currency has (49.900 EUR is 49.9 and fine), and within the record's digits.
/// Gives the amount in major units, at the record's scale.
///
/// # Errors
/// The rule it breaks.
pub(crate) fn check_amount(
    amount: &str,
    currency: Option<&str>,
    rule: &AmountRule,
) -> Result<i128, Broken> {
    let shown: String = amount.chars().take(64).collect();
    let decimal =
        Decimal::parse(amount).map_err(|code| (code, format!("{}: {shown:?}", code.meaning())))?;
    if rule.bounds.least.is_none() && decimal.unscaled <= 0 {
        let detail = format!("{shown} must be above zero");
        return Err((Code::AmountNotPositive, detail));
    }
    check_bounds(decimal, &rule.bounds, &shown)?;
    let decimal = in_major_units(decimal, currency, &rule.unit, &shown)?;
    if let (Unit::Major, Some(currency)) = (&rule.unit, currency)
        && let Some(digits) = minor_digits(currency)
        && decimal.scale > digits
    {
        let detail = format!("{shown} has more than the {digits} fraction digits of {currency}");
        return Err((Code::AmountTooPrecise, detail));
    }
    if decimal.scale > rule.scale {
        let detail = format!("{shown} has more than {} fraction digits", rule.scale);
        return Err((Code::AmountTooPrecise, detail));
    }
    let limit = 10_i128.checked_pow(rule.precision).unwrap_or(i128::MAX);
    decimal
        .rescaled(rule.scale)
        .filter(|unscaled| unscaled.checked_abs().is_some_and(|size| size < limit))
        .ok_or_else(|| {
            let detail = format!(
                "{shown} does not fit into {} digits, {} of them after the point",
                rule.precision, rule.scale
            );
            (Code::AmountOutOfRange, detail)
        })
}

fn in_major_units(
    decimal: Decimal,
    currency: Option<&str>,
    unit: &Unit,
    shown: &str,
) -> Result<Decimal, Broken> {
    let digits = match unit {
        Unit::Major => return Ok(decimal),
        Unit::Fixed(digits) => *digits,
        Unit::Minor(own) => {
            let known = currency.and_then(|currency| {
                let own = own.iter().find(|(code, _)| code == currency);
                own.map(|(_, digits)| *digits)
                    .or_else(|| minor_digits(currency))
            });
            known.ok_or_else(|| {
                let detail = format!("{shown} counts minor units, but of no known currency");
                (Code::UnknownCurrency, detail)
            })?
        }
    };
    if decimal.scale > 0 {
        let detail = format!("{shown} counts minor units, so it must be a whole number");
        return Err((Code::AmountTooPrecise, detail));
    }
    let mut major = Decimal {
        unscaled: decimal.unscaled,
        scale: digits,
    };
    while major.scale > 0 && major.unscaled % 10 == 0 {
        major.unscaled /= 10;
        major.scale -= 1;
    }
    Ok(major)
}

/// Applies the bounds of a number.
///
/// # Errors
/// `number_too_small`, `number_too_large`, `not_a_multiple`.
pub(crate) fn check_bounds(number: Decimal, bounds: &Bounds, shown: &str) -> Result<(), Broken> {
    if let Some(least) = bounds.least
        && (number < least.at || (least.exclusive && number == least.at))
    {
        let words = if least.exclusive { "above" } else { "at least" };
        let detail = format!("{shown} must be {words} {}", least.at);
        return Err((Code::NumberTooSmall, detail));
    }
    if let Some(most) = bounds.most
        && (number > most.at || (most.exclusive && number == most.at))
    {
        let words = if most.exclusive { "below" } else { "at most" };
        let detail = format!("{shown} must be {words} {}", most.at);
        return Err((Code::NumberTooLarge, detail));
    }
    if let Some(of) = bounds.multiple_of {
        let scale = number.scale.max(of.scale);
        let (Some(number), Some(unit)) = (number.rescaled(scale), of.rescaled(scale)) else {
            let detail = format!("{shown} has too many digits to be compared with {of}");
            return Err((Code::NumberOutOfRange, detail));
        };
        if number % unit != 0 {
            return Err((
                Code::NotAMultiple,
                format!("{shown} is no multiple of {of}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::schema::Bound;

    fn rule(unit: Unit, least: Option<&str>) -> AmountRule {
        let least = least.map(|text| Bound {
            at: Decimal::parse(text).unwrap(),
            exclusive: false,
        });
        AmountRule {
            bounds: Bounds {
                least,
                ..Bounds::default()
            },
            unit,
            precision: 28,
            scale: 4,
        }
    }

    #[test]
    fn a_currency_bounds_the_fraction() {
        let code = |amount, currency| {
            check_amount(amount, Some(currency), &rule(Unit::Major, None)).map_err(|(code, _)| code)
        };
        assert_eq!(code("49.90", "EUR"), Ok(499_000));
        assert_eq!(code("49.900", "EUR"), Ok(499_000));
        assert_eq!(code("49.901", "EUR"), Err(Code::AmountTooPrecise));
        assert_eq!(code("1.5", "JPY"), Err(Code::AmountTooPrecise));
        assert_eq!(code("1.234", "KWD"), Ok(12_340));
        assert_eq!(code("12345678901.2345", "CLF"), Ok(123_456_789_012_345));
        assert_eq!(code("0.00", "EUR"), Err(Code::AmountNotPositive));
        assert_eq!(code("-1", "EUR"), Err(Code::AmountNotPositive));
        assert_eq!(code("1e24", "EUR"), Err(Code::AmountOutOfRange));
        assert_eq!(
            code("999999999999999999999999", "EUR"),
            Ok(9_999_999_999_999_999_999_999_990_000)
        );
        for bad in ["eur", "EU", "XXX", "EURO", "ZZZ", "É1"] {
            assert_eq!(minor_digits(bad), None, "{bad}");
        }
    }

    #[test]
    fn minor_units_are_what_the_currency_says_or_the_vendor() {
        let minor = rule(Unit::Minor(vec![("MGA".to_owned(), 0)]), Some("-1000000"));
        let of =
            |amount, currency| check_amount(amount, currency, &minor).map_err(|(code, _)| code);
        assert_eq!(of("4990", Some("EUR")), Ok(499_000));
        assert_eq!(of("4990", Some("JPY")), Ok(49_900_000));
        assert_eq!(of("4990", Some("KWD")), Ok(49_900));
        assert_eq!(of("4990", Some("MGA")), Ok(49_900_000));
        assert_eq!(of("4990e0", Some("EUR")), Ok(499_000));
        assert_eq!(of("0", Some("EUR")), Ok(0));
        assert_eq!(of("-4990", Some("EUR")), Ok(-499_000));
        assert_eq!(of("-1000001", Some("EUR")), Err(Code::NumberTooSmall));
        assert_eq!(of("49.90", Some("EUR")), Err(Code::AmountTooPrecise));
        assert_eq!(of("4990", None), Err(Code::UnknownCurrency));
        assert_eq!(of("4990", Some("eur")), Err(Code::UnknownCurrency));
        let fixed = rule(Unit::Fixed(3), None);
        assert_eq!(check_amount("4990", None, &fixed), Ok(49_900));
    }
}
