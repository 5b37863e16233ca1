//! Numbers and times of a datum as JSON writes them.

use super::DatumError;
use super::read::fault;
use crate::json::push_text;
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime, Time};

pub(super) fn push_number(value: i64, out: &mut String) {
    out.push_str(&value.to_string());
}

/// A float as the shortest digits that read back as it, without `.0`; JSON has no other ones, so those are the words that Avro's JSON
/// encoding has for them.
pub(super) fn push_float(value: f64, shortest: &serde_json::Result<String>, out: &mut String) {
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        });
    } else if let Ok(text) = shortest {
        out.push_str(text.strip_suffix(".0").unwrap_or(text));
    }
}

pub(super) fn push_date(days: i32, out: &mut String) -> Result<(), DatumError> {
    let date = Date::from_ordinal_date(1970, 1)
        .ok()
        .and_then(|epoch| epoch.checked_add(Duration::days(i64::from(days))))
        .filter(|date| (1..=9999).contains(&date.year()))
        .ok_or_else(|| fault("a date is not in the years 1 to 9999"))?;
    let (year, month, day) = date.to_calendar_date();
    push_text(&format!("{year:04}-{:02}-{day:02}", u8::from(month)), out);
    Ok(())
}

pub(super) fn push_time_of_day(nanos: Option<i64>, out: &mut String) -> Result<(), DatumError> {
    const DAY: i64 = 86_400_000_000_000;
    let nanos = nanos
        .filter(|nanos| (0..DAY).contains(nanos))
        .ok_or_else(|| fault("a time of day is not within a day"))?;
    let time = Time::MIDNIGHT + Duration::nanoseconds(nanos);
    let mut text = format!(
        "{:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    );
    if time.nanosecond() > 0 {
        let fraction = format!(".{:09}", time.nanosecond());
        text.push_str(fraction.trim_end_matches('0'));
    }
    push_text(&text, out);
    Ok(())
}

pub(super) fn push_instant(nanos: i128, local: bool, out: &mut String) -> Result<(), DatumError> {
    let out_of_range = || fault("a time is out of range");
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| out_of_range())?;
    let text = time.format(&Rfc3339).map_err(|_| out_of_range())?;
    push_text(
        if local {
            text.trim_end_matches('Z')
        } else {
            &text
        },
        out,
    );
    Ok(())
}
