//! Times: as vendors write them, as microseconds since the epoch.

use crate::RejectionCode;
use crate::event::money::Decimal;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A rule that is broken, and how.
type Broken = (RejectionCode, String);

/// RFC 3339 with its zone. Digits beyond microseconds are cut; a leap second (:60) counts as the second before.
/// A time whose year in UTC is not 1 to 9999 is refused: it cannot be written as RFC 3339 again, and PostgreSQL has no year 0.
pub(crate) fn rfc3339(text: &str) -> Result<i64, Broken> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let Some(time) = parse(text) else {
        return if !text.ends_with(['Z', 'z']) && parse(&format!("{text}Z")).is_some() {
            let detail = format!("{:?} has no zone; end it with Z or an offset", shown(text));
            Err((RejectionCode::TimestampWithoutZone, detail))
        } else {
            let detail = format!(
                "{:?} is not RFC 3339, such as 2026-11-21T10:00:00Z",
                shown(text)
            );
            Err((RejectionCode::InvalidTimestamp, detail))
        };
    };
    let micros = i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).ok();
    micros
        .filter(|micros| is_in_calendar(*micros))
        .ok_or_else(|| out_of_range(text))
}

/// A number of units since the epoch, of which a second has `per_second`: exact, with digits beyond microseconds cut.
pub(crate) fn unix(text: &str, per_second: u32) -> Result<i64, Broken> {
    let number = match Decimal::parse(text) {
        Ok(number) => number,
        Err(RejectionCode::AmountOutOfRange | RejectionCode::AmountTooPrecise) => {
            return Err(out_of_range(text));
        }
        Err(_) => {
            let detail = format!(
                "{:?} is not a number of seconds or milliseconds",
                shown(text)
            );
            return Err((RejectionCode::InvalidTimestamp, detail));
        }
    };
    let micros_each = i128::from(1_000_000 / per_second.max(1));
    let micros = number.unscaled.checked_mul(micros_each).and_then(|scaled| {
        let scale = 10_i128.checked_pow(number.scale)?;
        i64::try_from(scaled.div_euclid(scale)).ok()
    });
    micros
        .filter(|micros| is_in_calendar(*micros))
        .ok_or_else(|| out_of_range(text))
}

fn is_in_calendar(micros: i64) -> bool {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
        .ok()
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        .is_some_and(|time| (1..=9999).contains(&time.year()))
}

fn out_of_range(text: &str) -> Broken {
    let detail = format!("{:?} is not in the years 1 to 9999, in UTC", shown(text));
    (RejectionCode::TimeOutOfRange, detail)
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    #[test]
    fn unix_times_are_exact_to_the_microsecond() {
        for (text, per_second, micros) in [
            ("1700000000", 1, 1_700_000_000_000_000),
            ("1700000000.123456", 1, 1_700_000_000_123_456),
            ("1700000000.1234569", 1, 1_700_000_000_123_456),
            ("-0.0000001", 1, -1),
            ("1.7e9", 1, 1_700_000_000_000_000),
            ("1700000000123", 1000, 1_700_000_000_123_000),
            ("1700000000123.4567", 1000, 1_700_000_000_123_456),
            ("0", 1, 0),
        ] {
            assert_eq!(unix(text, per_second), Ok(micros), "{text}");
        }
        for (text, code) in [
            ("soon", RejectionCode::InvalidTimestamp),
            ("2026-01-02T03:04:05Z", RejectionCode::InvalidTimestamp),
            ("1700000000000", RejectionCode::TimeOutOfRange),
            ("1e40", RejectionCode::TimeOutOfRange),
            ("1e-45", RejectionCode::TimeOutOfRange),
        ] {
            assert_eq!(unix(text, 1).unwrap_err().0, code, "{text}");
        }
    }
}
