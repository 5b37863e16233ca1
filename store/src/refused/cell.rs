//! The values of a row as JSON that PostgreSQL's input functions read: one that it refuses fails by itself, inside the statement. In a
//! parameter's own format a text with U+0000 would fail before the statement begins, and all rows with it.

use serde_json::Value;
use time::{OffsetDateTime, UtcOffset};

/// A value of a column.
pub trait Cell {
    /// As `json_to_record` reads it.
    fn json(self) -> Value;
}

impl Cell for &str {
    fn json(self) -> Value {
        self.into()
    }
}

impl Cell for i32 {
    fn json(self) -> Value {
        self.into()
    }
}

impl Cell for i64 {
    fn json(self) -> Value {
        self.into()
    }
}

impl Cell for &[u8] {
    fn json(self) -> Value {
        ["\\x", &hex::encode(self)].concat().into()
    }
}

impl Cell for OffsetDateTime {
    fn json(self) -> Value {
        let at = self.to_offset(UtcOffset::UTC);
        // The year before 1 is 1 BC.
        let (year, era) = match at.year() {
            year @ 1.. => (year, ""),
            year => (1 - year, " BC"),
        };
        let (month, day) = (u8::from(at.month()), at.day());
        let (hour, minute, second) = at.to_hms();
        let micros = at.microsecond();
        format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}+00{era}"
        )
        .into()
    }
}

impl<T: Cell> Cell for Option<T> {
    fn json(self) -> Value {
        self.map_or(Value::Null, T::json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_postgresql_reads_them() {
        let at = |micros: i64| {
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).map(Cell::json)
        };
        assert_eq!(at(1).unwrap(), "1970-01-01 00:00:00.000001+00");
        assert_eq!(
            at(-62_198_755_200_000_000).unwrap(),
            "0002-01-01 00:00:00.000000+00 BC"
        );
        assert_eq!(Cell::json(&b"\x00\xff"[..]), "\\x00ff");
        assert_eq!(Cell::json(Some("a\0")).to_string(), r#""a\u0000""#);
        assert_eq!(Cell::json(None::<i64>), Value::Null);
    }
}
