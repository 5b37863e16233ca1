//! Decimal numbers of any length, compared by their digits.

/// Powers of ten between a major and a minor unit of money: ISO 4217 has up to 4, tokens up to 18.
const MINOR: std::ops::RangeInclusive<i64> = 1..=18;

/// A decimal number of any length: its significant digits and the power of ten of the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exact {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Exact {
    /// Reads digits with an optional sign, point and exponent; nothing else is a number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, power) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, power)) => (mantissa, power.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || mantissa.ends_with('.')
        {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let significant = all.trim_end_matches('0');
        let dropped = i64::try_from(all.len() - significant.len()).ok()?;
        let digits = significant.trim_start_matches('0').to_owned();
        let is_zero = digits.is_empty();
        let exponent = power
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(dropped)?;
        Some(Self {
            negative: text.starts_with('-') && !is_zero,
            digits,
            exponent: if is_zero { 0 } else { exponent },
        })
    }

    /// Whether the other counts hundredths, thousandths or the like of this.
    pub(crate) fn is_major_of(&self, minor: &Self) -> bool {
        let same = self.negative == minor.negative && self.digits == minor.digits;
        same && minor.exponent >= 0 && MINOR.contains(&(minor.exponent - self.exponent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_number_is_one() {
        for text in [
            "", "-", ".5", "5.", "1e", "1x", "0x1", "NaN", "+1", "1_000", "--1",
        ] {
            assert_eq!(Exact::parse(text), None, "{text}");
        }
        let (minor, major) = (Exact::parse("4990").unwrap(), Exact::parse("49.9").unwrap());
        assert!(major.is_major_of(&minor) && !minor.is_major_of(&major));
        assert!(!major.is_major_of(&Exact::parse("-4990").unwrap()));
    }
}
