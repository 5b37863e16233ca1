//! `application/x-www-form-urlencoded`, read strictly: what two readers could take for two things is refused.
//!
//! Fields are separated by `&`, a name ends at the first `=`, `+` is a space and `%` begins two hexadecimal digits. What is decoded is UTF-8. A
//! byte that is no visible ASCII, a `%` without its digits and a field without a name are refused, never passed through or replaced.

use crate::{Rejection, RejectionCode, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most fields of a form. Vendors send some dozens.
const MOST_FIELDS: usize = 1000;

/// Most bytes that a form of so many bytes becomes: a quotation mark becomes two, and each field has a few around it.
pub(super) fn most_bytes(body_bytes: usize) -> usize {
    // Twice: the fields, and the object they are written into.
    4 * body_bytes + 256 * MOST_FIELDS.min(body_bytes / 2 + 1)
}

/// The value of the one field of this name. The other fields are read too, so that a malformed form never has a value.
pub(super) fn field(body: &[u8], name: &str) -> Result<Vec<u8>, Rejection> {
    let mut found = None;
    for pair in pairs(body)? {
        let (own, value) = pair?;
        if own == name && found.replace(value).is_some() {
            return Err(malformed(format!(
                "the field {name:?} appears more than once"
            )));
        }
    }
    let value = found.ok_or_else(|| malformed(format!("there is no field {name:?}")))?;
    Ok(value.into_owned().into_bytes())
}

/// The fields as a JSON object, ordered by their names: a text each, and an array of texts, in order, for a name that appears again.
pub(in crate::webhook) fn object(body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let mut fields: BTreeMap<Cow<'_, str>, Vec<Cow<'_, str>>> = BTreeMap::new();
    for pair in pairs(body)? {
        let (name, value) = pair?;
        fields.entry(name).or_default().push(value);
    }
    if fields.is_empty() {
        return Err(malformed("the form has no field".to_owned()));
    }
    let mut text = String::with_capacity(body.len() + 8 * fields.len() + 2);
    for (name, values) in &fields {
        text.push(if text.is_empty() { '{' } else { ',' });
        json::push_text(name, &mut text);
        text.push(':');
        match values.as_slice() {
            [value] => json::push_text(value, &mut text),
            values => {
                for (index, value) in values.iter().enumerate() {
                    text.push(if index == 0 { '[' } else { ',' });
                    json::push_text(value, &mut text);
                }
                text.push(']');
            }
        }
    }
    text.push('}');
    Ok(text.into_bytes())
}

/// A name and its value, decoded.
pub(in crate::webhook) type Field<'b> = (Cow<'b, str>, Cow<'b, str>);

/// The fields in order; `None` when the body is no form that can be read in one way only.
pub(in crate::webhook) fn fields(body: &[u8]) -> Option<Vec<Field<'_>>> {
    pairs(body).ok()?.collect::<Result<_, _>>().ok()
}

/// Names and values, decoded one by one. Nothing between two `&` is no field.
fn pairs(body: &[u8]) -> Result<impl Iterator<Item = Result<Field<'_>, Rejection>>, Rejection> {
    // A line end after the form is no part of it.
    let body = body.trim_ascii_end();
    if memchr::memchr_iter(b'&', body).count() >= MOST_FIELDS {
        return Err(malformed(format!(
            "the form has more than {MOST_FIELDS} fields"
        )));
    }
    let pieces = body
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty());
    Ok(pieces.map(|piece| {
        let (name, value) = match memchr::memchr(b'=', piece) {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &b""[..]),
        };
        if name.is_empty() {
            return Err(malformed("a field has no name".to_owned()));
        }
        Ok((decode(name)?, decode(value)?))
    }))
}

fn malformed(problem: String) -> Rejection {
    Rejection::new(RejectionCode::MalformedForm, None, problem)
}

/// One name or value, borrowed where nothing in it is escaped.
fn decode(text: &[u8]) -> Result<Cow<'_, str>, Rejection> {
    if let Some(byte) = text.iter().find(|byte| !byte.is_ascii_graphic()) {
        return Err(malformed(format!(
            "the byte 0x{byte:02x} is not percent-encoded"
        )));
    }
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        // Visible ASCII, as was just seen.
        return Ok(String::from_utf8_lossy(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = rest.next().zip(rest.next());
                digits
                    .and_then(|(high, low)| Some(digit(*high)? << 4 | digit(*low)?))
                    .ok_or_else(|| malformed("a % has no two hexadecimal digits".to_owned()))?
            }
            other => *other,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| malformed("a field is not UTF-8 once it is decoded".to_owned()))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(decoded: Result<Vec<u8>, Rejection>) -> Result<String, RejectionCode> {
        let text = decoded.map(|bytes| String::from_utf8(bytes).unwrap());
        text.map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_field_has_the_json_and_fields_are_an_object_of_texts() {
        for (form, expected) in [
            ("payload=%7B%22a%22%3A1.50%7D", r#"{"a":1.50}"#),
            ("x=1&payload=%7b%7d&y", "{}"),
            ("payload=a+b%2Bc%20d\r\n", "a b+c d"),
            ("payload=%C3%A9", "é"),
            ("payload={}=1", "{}=1"),
            ("p%61yload=1", "1"),
            ("payload=", ""),
        ] {
            let decoded = text(field(form.as_bytes(), "payload"));
            assert_eq!(decoded.as_deref(), Ok(expected), "{form}");
        }
        for (form, expected) in [
            (
                "MessageSid=SM1&Body=%22hi%22+%00%C3%A9&From=%2B1555",
                r#"{"Body":"\"hi\" \u0000é","From":"+1555","MessageSid":"SM1"}"#,
            ),
            ("b=2&a=1&b=&b=3", r#"{"a":"1","b":["2","","3"]}"#),
            ("&a&&b=1&", r#"{"a":"","b":"1"}"#),
            ("a=b=c", r#"{"a":"b=c"}"#),
        ] {
            assert_eq!(
                text(object(form.as_bytes())).as_deref(),
                Ok(expected),
                "{form}"
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for form in [
            &b"payload=1&payload=1"[..],
            b"payload=1&p%61yload=2",
            b"other=1",
            b"",
            b"&",
            b"payload=%",
            b"payload=%4",
            b"payload=%4g",
            b"payload=%+1",
            b"payload=%-1",
            b"payload=1&x=%zz",
            b"payload=%ff",
            b"payload=%ed%a0%80",
            b"payload=\xc3\xa9",
            b"payload=a b",
            b"payload=a\nb",
            b"payload=1\x00",
            b"payload=1&=2",
            b"Payload=1",
            b"{\"payload\":1}",
        ] {
            let shown = String::from_utf8_lossy(form);
            let code = text(field(form, "payload"));
            assert_eq!(code, Err(RejectionCode::MalformedForm), "{shown}");
        }
        let most = "a&".repeat(MOST_FIELDS);
        assert!(object(&most.as_bytes()[..most.len() - 1]).is_ok());
        assert!(object(most.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(fields in proptest::collection::btree_map("[^\0]{1,8}", any::<String>(), 1..20)) {
            let encode = |text: &str| text.bytes().map(|byte| match byte {
                b' ' => "+".to_owned(),
                b'a'..=b'z' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            }).collect::<String>();
            let pairs = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
            let form = pairs.collect::<Vec<_>>().join("&");
            let read: BTreeMap<String, String> = serde_json::from_slice(&object(form.as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(&read, &fields);
            for (name, value) in &fields {
                prop_assert_eq!(text(field(form.as_bytes(), name)), Ok(value.clone()));
            }
        }

        #[test]
        fn any_bytes_get_an_answer_within_the_bound(body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "[a-c&=%+0-9\"]{0,300}".prop_map(String::into_bytes),
        ]) {
            if let Ok(json) = object(&body) {
                prop_assert!(json.len() <= most_bytes(body.len()));
                prop_assert!(serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(&json).is_ok());
            }
            if let Ok(value) = field(&body, "a") {
                prop_assert!(value.len() <= body.len());
            }
        }
    }
}
