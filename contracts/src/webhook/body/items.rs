//! Several events in one signed body.

use crate::json;
use serde::de::{Deserializer as _, Error, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;
use std::fmt;

/// What a body's items are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parts<'b> {
    /// The events, each the body's own bytes; none where the array is empty
    Events(Vec<&'b [u8]>),
    /// More than one request may have
    TooMany,
    /// The body is not JSON as a whole, or has no array there
    None,
}

/// The items of the array at `pointer`, at most `most`. The whole body must be JSON: of what breaks off, nothing is taken.
pub(super) fn split<'b>(pointer: &[String], body: &'b [u8], most: usize) -> Parts<'b> {
    let Ok(whole) = serde_json::from_slice::<&RawValue>(body) else {
        return Parts::None;
    };
    let Some(array) = json::find(pointer, Deserializer::from_str(whole.get())) else {
        return Parts::None;
    };
    let mut too_many = false;
    let items = UpTo {
        most,
        too_many: &mut too_many,
    };
    match Deserializer::from_str(array.get()).deserialize_seq(items) {
        Ok(events) => Parts::Events(events),
        Err(_) if too_many => Parts::TooMany,
        Err(_) => Parts::None,
    }
}

/// Stops where there are too many: what is not read takes no memory.
struct UpTo<'m> {
    most: usize,
    too_many: &'m mut bool,
}

impl<'de> Visitor<'de> for UpTo<'_> {
    type Value = Vec<&'de [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = items.next_element::<&RawValue>()? {
            if events.len() == self.most {
                *self.too_many = true;
                return Err(A::Error::custom("too many"));
            }
            events.push(event.get().as_bytes());
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items<'b>(pointer: &[&str], body: &'b str, most: usize) -> Option<Vec<&'b str>> {
        let pointer: Vec<_> = pointer.iter().map(|&token| token.to_owned()).collect();
        let text = |event: &'b [u8]| std::str::from_utf8(event).unwrap();
        match split(&pointer, body.as_bytes(), most) {
            Parts::Events(events) => Some(events.into_iter().map(text).collect()),
            Parts::TooMany | Parts::None => None,
        }
    }

    #[test]
    fn each_item_is_the_bodys_own_bytes() {
        let adyen = r#"{"live":"false", "notificationItems" : [ {"n": 1.50 } ,{"n":"é"}, [] ]}"#;
        let expected = vec![r#"{"n": 1.50 }"#, r#"{"n":"é"}"#, "[]"];
        assert_eq!(items(&["notificationItems"], adyen, 3), Some(expected));
        assert_eq!(items(&[], "[1,\"a\"]", 3), Some(vec!["1", "\"a\""]));
        assert_eq!(
            items(&["data", "events"], r#"{"data":{"events":[]}}"#, 3),
            Some(vec![])
        );
    }

    #[test]
    fn what_has_no_such_array_has_no_items() {
        for body in [
            "",
            "{}",
            "[]",
            "not json",
            r#"{"a":{}}"#,
            r#"{"a":null}"#,
            r#"{"a":[{}]"#,
            r#"{"a":[{}]}{}"#,
            r#"{"a":[{},]}"#,
            r#"{"b":{"a":[1]}}"#,
        ] {
            assert_eq!(items(&["a"], body, 3), None, "{body}");
        }
        assert_eq!(
            split(&["a".to_owned()], b"{\"a\":[\"\xff\"]}", 3),
            Parts::None
        );
    }

    #[test]
    fn too_many_are_refused_before_they_are_read() {
        let body = format!("[{}1]", "1,".repeat(1_000_000));
        assert_eq!(split(&[], body.as_bytes(), 1000), Parts::TooMany);
        assert_eq!(items(&[], "[1,2,3]", 3).unwrap().len(), 3);
        assert_eq!(split(&[], b"[1,2,3,4]", 3), Parts::TooMany);
    }
}
