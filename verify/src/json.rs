//! JSON whose numbers keep their digits, and the rule by which a stored value is the one that was sent.
//!
//! Own code on purpose: the stages have their own, and a fault there must show here.

use crate::number::Exact;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use time::format_description::well_known::Rfc3339;

/// Deeper JSON is refused by every contract.
const DEPTH: usize = 200;
/// A value. The last three come of Avro alone, whose types have no digits to compare.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it is written
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// Microseconds since the epoch
    Time(i64),
    /// Days since the epoch
    Date(i32),
    Double(f64),
}

impl Json {
    /// Reads a text; `None` where it is not JSON.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        read(serde_json::from_str(text).ok()?, 0)
    }

    /// The member of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                let mut found = members.iter().filter(|(own, _)| own == name);
                found.next().map(|(_, value)| value)
            }
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// This value and all in it, those nearest to the top first.
    pub(crate) fn all(&self) -> Vec<&Self> {
        let mut all = vec![self];
        let mut next = 0;
        while let Some(value) = all.get(next).copied() {
            next += 1;
            match value {
                Self::Array(items) => all.extend(items),
                Self::Object(members) => all.extend(members.iter().map(|(_, value)| value)),
                _ => {}
            }
        }
        all
    }

    /// A number, or a text that is one.
    pub(crate) fn number(&self) -> Option<Exact> {
        match self {
            Self::Number(text) | Self::Text(text) => Exact::parse(text),
            _ => None,
        }
    }
}

fn read(raw: &RawValue, depth: usize) -> Option<Json> {
    let text = raw.get();
    if depth > DEPTH {
        return None;
    }
    Some(match text.as_bytes().first()? {
        b'{' => {
            let Members(members) = serde_json::from_str(text).ok()?;
            let read = |(name, value)| Some((name, read(value, depth + 1)?));
            Json::Object(members.into_iter().map(read).collect::<Option<_>>()?)
        }
        b'[' => {
            let Items(items) = serde_json::from_str(text).ok()?;
            let read = |item| read(item, depth + 1);
            Json::Array(items.into_iter().map(read).collect::<Option<_>>()?)
        }
        b'"' => Json::Text(serde_json::from_str(text).ok()?),
        b't' => Json::Bool(true),
        b'f' => Json::Bool(false),
        b'n' => Json::Null,
        _ => Json::Number(text.to_owned()),
    })
}

struct Members<'a>(Vec<(String, &'a RawValue)>);
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Read)
    }
}

impl<'de> serde::Deserialize<'de> for Items<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        from.deserialize_seq(Read)
    }
}

/// The pieces of an array at a pointer, each the body's own bytes.
pub(crate) fn items<'a>(body: &'a str, pointer: &str) -> Option<Vec<&'a str>> {
    let mut found: &RawValue = serde_json::from_str(body).ok()?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let Members(members) = serde_json::from_str(found.get()).ok()?;
        (_, found) = members.into_iter().find(|(name, _)| *name == token)?;
    }
    let Items(items) = serde_json::from_str(found.get()).ok()?;
    Some(items.into_iter().map(RawValue::get).collect())
}

/// What differs between a stored value and the one that was sent, as JSON pointers with both values. What is missing is as good as null: a
/// record has every field of its contract.
pub(crate) fn differences(stored: &Json, sent: &Json) -> Vec<String> {
    let mut found = Vec::new();
    compare(stored, sent, &mut String::new(), &mut found);
    found
}

fn compare(stored: &Json, sent: &Json, at: &mut String, found: &mut Vec<String>) {
    match (stored, sent) {
        (Json::Object(before), Json::Object(after)) => {
            let added = after.iter().filter(|(name, _)| stored.get(name).is_none());
            for (name, _) in before.iter().chain(added) {
                let length = at.len();
                at.push('/');
                at.push_str(&name.replace('~', "~0").replace('/', "~1"));
                let null = Json::Null;
                let (stored, sent) = (stored.get(name), sent.get(name));
                compare(stored.unwrap_or(&null), sent.unwrap_or(&null), at, found);
                at.truncate(length);
            }
        }
        (Json::Array(before), Json::Array(after)) if before.len() == after.len() => {
            for (index, (stored, sent)) in before.iter().zip(after).enumerate() {
                let length = at.len();
                at.push_str(&format!("/{index}"));
                compare(stored, sent, at, found);
                at.truncate(length);
            }
        }
        (stored, sent) if is_same(stored, sent) => {}
        (stored, sent) => found.push(format!("{at}: {stored} stored, {sent} sent")),
    }
}

/// Two values without others in them. A stored amount is a text of its digits, in major units, and a stored time is in UTC.
fn is_same(stored: &Json, sent: &Json) -> bool {
    if stored == sent {
        return true;
    }
    match (stored, sent) {
        (Json::Time(micros), Json::Text(sent)) => micros_of(sent) == Some(*micros),
        (Json::Date(days), Json::Text(sent)) => days_of(sent) == Some(*days),
        // The same digits are the same double.
        (Json::Double(stored), Json::Number(sent)) => sent.parse() == Ok(*stored),
        (Json::Text(before), Json::Text(after)) if micros_of(before).is_some() => {
            micros_of(before) == micros_of(after)
        }
        (stored, sent) => match (stored.number(), sent.number()) {
            (Some(before), Some(after)) => {
                before == after || matches!(stored, Json::Text(_)) && before.is_major_of(&after)
            }
            (_, _) => false,
        },
    }
}

/// A time of RFC 3339 in microseconds since the epoch; further digits are cut.
pub(crate) fn micros_of(text: &str) -> Option<i64> {
    let time = time::OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).ok()
}

fn days_of(text: &str) -> Option<i32> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let date = time::Date::parse(text, format).ok()?;
    Some(date.to_julian_day() - time::macros::date!(1970 - 01 - 01).to_julian_day())
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Array(items) => write!(f, "an array of {}", items.len()),
            Self::Object(members) => write!(f, "an object of {}", members.len()),
            Self::Time(micros) => write!(f, "{micros} microseconds"),
            Self::Date(days) => write!(f, "day {days}"),
            Self::Double(value) => value.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(stored: &str, sent: &str) -> bool {
        let parse = |text: &str| Json::parse(text).unwrap();
        !differences(&parse(stored), &parse(sent)).is_empty()
    }

    #[test]
    fn numbers_are_the_same_by_their_digits() {
        for (stored, sent) in [
            ("49.90", "49.9"),
            ("\"49.9000\"", "49.90"),
            ("\"49.9\"", "\"49.90\""),
            ("1e2", "100"),
            ("0.0", "-0"),
            ("\"49.90\"", "4990"),
            ("\"4.99\"", "\"4990\""),
            ("12345678901234567890.12", "12345678901234567890.120"),
        ] {
            assert!(!differ(stored, sent), "{stored} {sent}");
        }
        for (stored, sent) in [
            ("49.9", "49.91"),
            ("49.90", "4990"),
            ("\"4991\"", "4990"),
            ("0.1", "0.1000000000000000055511151231257827"),
            ("12345678901234567890", "12345678901234567891"),
            ("-1", "1"),
            ("\"1\"", "\"one\""),
            ("1", "true"),
        ] {
            assert!(differ(stored, sent), "{stored} {sent}");
        }
    }

    #[test]
    fn what_is_missing_is_null_and_what_is_added_differs() {
        assert!(!differ(r#"{"a":1,"b":null}"#, r#"{"a":1}"#));
        assert!(!differ(
            r#"{"a":[{"b":"x"}]}"#,
            r#"{"a":[{"b":"x","c":null}]}"#
        ));
        for (stored, sent) in [
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
            (r#"{"a":1,"b":2}"#, r#"{"a":1}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":[1]}"#, r#"{"a":[1,2]}"#),
            (r#"{"a":{}}"#, r#"{"a":[]}"#),
        ] {
            assert!(differ(stored, sent), "{stored} {sent}");
        }
        let (stored, sent) = (
            Json::parse(r#"{"a":{"b/c":1}}"#),
            Json::parse(r#"{"a":{"b/c":2}}"#),
        );
        let found = differences(&stored.unwrap(), &sent.unwrap());
        assert_eq!(found, ["/a/b~1c: 1 stored, 2 sent"]);
    }

    #[test]
    fn times_are_the_same_in_any_zone() {
        assert!(!differ(
            "\"2026-01-15T11:00:00.5Z\"",
            "\"2026-01-15T12:00:00.500+01:00\""
        ));
        assert!(differ(
            "\"2026-01-15T11:00:00.5Z\"",
            "\"2026-01-15T12:00:00.500Z\""
        ));
        assert!(is_same(
            &Json::Date(1),
            &Json::Text("1970-01-02".to_owned())
        ));
        assert!(is_same(
            &Json::Time(-1),
            &Json::Text("1969-12-31T23:59:59.999999Z".to_owned())
        ));
    }

    #[test]
    fn items_are_the_bodys_own_bytes() {
        let body = r#"{"x":[ ], "list/1" : [ {"n": 1.50 } ,2]}"#;
        assert_eq!(items(body, "/list~11"), Some(vec![r#"{"n": 1.50 }"#, "2"]));
        assert_eq!(items("[1]", ""), Some(vec!["1"]));
        assert_eq!(items("{}", "/a"), None);
    }

    #[test]
    fn deep_json_is_refused() {
        let deep = format!("{}{}", "[".repeat(DEPTH + 2), "]".repeat(DEPTH + 2));
        assert_eq!(Json::parse(&deep), None);
    }
}
