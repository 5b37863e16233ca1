//! JSON whose numbers stay as they are written: an amount must not pass through a float (P7), not even in a document that is only patched.
//!
//! Every number becomes a string that begins with a mark, and is a number again when the document is written. A string that begins with the
//! mark gets a second one, so that none is taken for a number.

use contracts::json::{push_text, string_length};
use serde_json::Value;

/// A character for private use; no standard gives it a meaning.
const MARK: char = '\u{e000}';

/// Reads a document, its numbers as marked strings.
pub(super) fn read(text: &str) -> Result<Value, serde_json::Error> {
    // Valid first: what follows looks at single characters only.
    serde_json::from_str::<serde::de::IgnoredAny>(text)?;
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let length = string_length(rest);
                let (string, begins) = (&rest[..length], rest[1..].starts_with(MARK));
                let escaped = rest
                    .get(1..7)
                    .is_some_and(|start| start.eq_ignore_ascii_case("\\ue000"));
                out.push('"');
                if begins || escaped {
                    out.push(MARK);
                }
                out.push_str(&string[1..]);
                length
            }
            '-' | '0'..='9' => {
                let length = rest
                    .find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'))
                    .unwrap_or(rest.len());
                out.push('"');
                out.push(MARK);
                out.push_str(&rest[..length]);
                out.push('"');
                length
            }
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    serde_json::from_str(&out)
}

/// Writes a document that was [`read`]: every number as it was.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    push(value, &mut out);
    out
}

fn push(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => push_marked(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            out.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                // Names were marked like strings, when they began with the mark.
                push_marked(name, out);
                out.push(':');
                push(field, out);
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
    }
}

fn push_marked(text: &str, out: &mut String) {
    match text.strip_prefix(MARK) {
        Some(twice) if twice.starts_with(MARK) => push_text(twice, out),
        Some(number) => out.push_str(number),
        None => push_text(text, out),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_digit_of_a_number_is_lost() {
        let text = r#"{"a":[0.1000,-12345678901234567890.12345,1E+400,"2"],"b":{"c":null,"d":true,"n":"é\n\"7"}}"#;
        assert_eq!(write(&read(text).unwrap()), text);
    }

    #[test]
    fn a_string_that_looks_like_a_marked_number_stays_a_string() {
        for text in [
            "{\"\u{e000}1\":\"\u{e000}12\"}",
            "[\"\u{e000}\u{e000}x\",\"\u{e000}\"]",
        ] {
            assert_eq!(write(&read(text).unwrap()), text);
        }
        assert_eq!(write(&read("[\"\\uE0001\"]").unwrap()), "[\"\u{e000}1\"]");
        assert!(read("{\"a\":01}").is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\u{e000}\\\\\"a1é\\-\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[\u{e000}a1\"\\\\]{0,3}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_document_comes_back(document in json()) {
            let text = document.to_string();
            prop_assert_eq!(serde_json::from_str::<Value>(&write(&read(&text).unwrap())).unwrap(), document);
        }
    }
}
