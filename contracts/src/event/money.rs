//! Money is decimal from end to end: digits and a scale, never a float.

mod amount;

pub(crate) use amount::{AmountRule, check_amount, check_bounds};

use crate::RejectionCode;
use std::cmp::Ordering;
use std::fmt;
use std::sync::LazyLock;

/// ISO 4217 currencies with other than two minor digits, and all active ones with two.
const ZERO: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
const TWO: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY COP \
    COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD \
    KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON \
    RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG";
const THREE: &str = "BHD IQD JOD KWD LYD OMR TND";
const FOUR: &str = "CLF UYW";

/// Fraction digits of an ISO 4217 currency; `None` for anything but an active, uppercase code.
#[must_use]
pub fn minor_digits(currency: &str) -> Option<u32> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    static DIGITS: LazyLock<Vec<Option<u32>>> = LazyLock::new(|| {
        let mut table = vec![None; 26 * 26 * 26];
        for (list, digits) in [(TWO, 2), (ZERO, 0), (THREE, 3), (FOUR, 4)] {
            list.split_ascii_whitespace()
                .for_each(|code| table[index_of(code.as_bytes())] = Some(digits));
        }
        table
    });
    DIGITS[index_of(currency.as_bytes())]
}

/// The index of three uppercase letters in a table of all of them.
fn index_of(code: &[u8]) -> usize {
    code.iter()
        .fold(0, |index, letter| index * 26 + usize::from(letter - b'A'))
}

/// An exact decimal: `unscaled` / 10^`scale`, without trailing zeros in the fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// All digits
    pub unscaled: i128,
    /// Fraction digits
    pub scale: u32,
}

impl Decimal {
    /// Reads a JSON number's text (or the same in a string) digit for digit: sign, digits, fraction, exponent.
    ///
    /// # Errors
    /// `invalid_amount` for anything else, `amount_out_of_range` beyond 38 digits.
    pub fn parse(text: &str) -> Result<Self, RejectionCode> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (
                &rest[..at],
                rest[at + 1..]
                    .parse::<i32>()
                    .map_err(|_| exponent_fault(&rest[at + 1..]))?,
            ),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(RejectionCode::InvalidAmount),
            None => (mantissa, ""),
        };
        if whole.is_empty()
            || !whole
                .bytes()
                .chain(fraction.bytes())
                .all(|byte| byte.is_ascii_digit())
        {
            return Err(RejectionCode::InvalidAmount);
        }
        let fraction = fraction.trim_end_matches('0');
        let mut unscaled: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            unscaled = unscaled
                .checked_mul(10)
                .and_then(|n| n.checked_add(i128::from(digit - b'0')))
                .ok_or(RejectionCode::AmountOutOfRange)?;
        }
        if unscaled == 0 {
            return Ok(Self {
                unscaled: 0,
                scale: 0,
            });
        }
        let mut scale = i64::try_from(fraction.len())
            .map_err(|_| RejectionCode::AmountOutOfRange)?
            - i64::from(exponent);
        while scale < 0 {
            unscaled = unscaled
                .checked_mul(10)
                .ok_or(RejectionCode::AmountOutOfRange)?;
            scale += 1;
        }
        while scale > 0 && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        let scale = u32::try_from(scale).map_err(|_| RejectionCode::AmountTooPrecise)?;
        Ok(Self {
            unscaled: if negative { -unscaled } else { unscaled },
            scale,
        })
    }

    /// The same number with exactly `scale` fraction digits; `None` when that would lose digits or overflow.
    #[must_use]
    pub fn rescaled(self, scale: u32) -> Option<i128> {
        10_i128
            .checked_pow(scale.checked_sub(self.scale)?)?
            .checked_mul(self.unscaled)
    }
}

fn exponent_fault(text: &str) -> RejectionCode {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if numeric {
        RejectionCode::AmountOutOfRange
    } else {
        RejectionCode::InvalidAmount
    }
}

/// By value, exactly.
impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.rescaled(scale), other.rescaled(scale)) {
            (Some(one), Some(other)) => one.cmp(&other),
            // Too large at that scale, which is the other's own: its sign says where it is.
            (None, _) => self.unscaled.cmp(&0),
            (_, None) => 0.cmp(&other.unscaled),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.unscaled, self.scale))
    }
}

/// The text of `unscaled` / 10^`scale`, without trailing zeros in the fraction.
#[must_use]
pub fn text(unscaled: i128, scale: u32) -> String {
    place_point(unscaled < 0, &unscaled.unsigned_abs().to_string(), scale)
}

/// Digits with a point before the last `scale` of them, without trailing zeros in the fraction.
pub(crate) fn place_point(negative: bool, digits: &str, scale: u32) -> String {
    let scale = scale as usize;
    let padded = if digits.len() <= scale {
        format!("{digits:0>width$}", width = scale + 1)
    } else {
        digits.to_owned()
    };
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let fraction = fraction.trim_end_matches('0');
    let sign = if negative { "-" } else { "" };
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_taken_digit_for_digit() {
        for (given, exact) in [
            ("0.1", "0.1"),
            ("12345678901.2345", "12345678901.2345"),
            ("1e2", "100"),
            ("49.90", "49.9"),
            ("1E+2", "100"),
            ("12.5e-1", "1.25"),
            ("0", "0"),
            ("-0.50", "-0.5"),
            ("100", "100"),
            (
                "79228162514264337593543950336",
                "79228162514264337593543950336",
            ),
            (
                "0.10000000000000000000000001",
                "0.10000000000000000000000001",
            ),
        ] {
            let decimal = Decimal::parse(given).unwrap();
            assert_eq!(text(decimal.unscaled, decimal.scale), exact, "{given}");
        }
        for bad in [
            "", "-", ".", "1.", ".5", "1e", "1,5", "0x1", "NaN", "1 ", "１", "+1", "1e1e1", "1.-2",
        ] {
            assert_eq!(
                Decimal::parse(bad),
                Err(RejectionCode::InvalidAmount),
                "{bad}"
            );
        }
        for huge in [
            "1e99",
            "1e99999999999",
            "999999999999999999999999999999999999999999",
        ] {
            assert_eq!(
                Decimal::parse(huge),
                Err(RejectionCode::AmountOutOfRange),
                "{huge}"
            );
        }
    }

    #[test]
    fn decimals_are_ordered_by_value() {
        let decimal = |text| Decimal::parse(text).unwrap();
        let huge = "99999999999999999999999999999999999999";
        for (less, more) in [
            ("1", "1.5"),
            ("-2", "-1.5"),
            ("0.1", "0.11"),
            ("0.00000000001", huge),
            ("-99999999999999999999999999999999999999", "0.00000000001"),
            ("9", "10"),
        ] {
            assert!(decimal(less) < decimal(more), "{less} {more}");
            assert!(decimal(more) > decimal(less), "{less} {more}");
        }
        assert_eq!(decimal("1.50").cmp(&decimal("15e-1")), Ordering::Equal);
    }
}
