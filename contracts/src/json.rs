//! JSON read without building a tree.

mod canonical;
mod cursor;
mod ordered;

pub(crate) use canonical::canonical;
pub(crate) use cursor::{Cursor, unquoted};
pub(crate) use ordered::Json;

use crate::{Rejection, RejectionCode};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::de::Read;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Deepest nesting of a body.
const MAX_DEPTH: usize = 128;

/// A field's name, borrowed where it has no escapes.
#[derive(Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A JSON text over several lines, as people read it: its members in their order, its numbers digit for digit. What is no JSON stays as it is.
#[must_use]
pub fn pretty(text: &str) -> String {
    Json::parse(text).map_or_else(|_| text.to_owned(), |json| json.pretty())
}

/// Refuses bodies nested deeper than 128 levels. Few bodies have so many brackets at all, so most are only counted.
pub(crate) fn check_depth(body: &[u8]) -> Result<(), Rejection> {
    if memchr::memchr2_iter(b'{', b'[', body)
        .take(MAX_DEPTH + 1)
        .count()
        <= MAX_DEPTH
    {
        return Ok(());
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Rejection::new(
                RejectionCode::TooDeep,
                None,
                format!("nested more than {MAX_DEPTH} levels deep"),
            ));
        }
    }
    Ok(())
}

/// The value at a path from the root (names, and indexes of arrays), found without reading further than it must: what is wrong with the
/// rest does not matter here. Of equal field names the first counts.
pub(crate) fn find<'de>(
    path: &[impl AsRef<str>],
    mut json: serde_json::Deserializer<impl Read<'de>>,
) -> Option<&'de RawValue> {
    let mut found = None;
    // It ends in an error wherever something comes after the value.
    drop(
        Seek {
            path,
            found: &mut found,
        }
        .deserialize(&mut json),
    );
    found
}

/// The text of a JSON string, borrowed where it has no escapes; `None` for anything else.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    json.starts_with('"').then(|| unquoted(json)).flatten()
}

/// Length, in bytes and with its quotes, of the JSON string that a text begins with. For what works on the text of valid JSON, so that no
/// digit of a number changes.
#[must_use]
pub fn string_length(text: &str) -> usize {
    let mut at = 1;
    while let Some(rest) = text.as_bytes().get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(found) if rest[found] == b'"' => return at + found + 1,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    text.len()
}

/// Appends a text as a JSON string.
pub fn push_text(text: &str, out: &mut String) {
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Appends a step to a JSON pointer (RFC 6901).
pub(crate) fn push_token(token: &str, pointer: &mut String) {
    pointer.push('/');
    if token.contains(['~', '/']) {
        pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    } else {
        pointer.push_str(token);
    }
}

/// An object's members in their order, none left out. For `deserialize_with`.
pub(crate) fn members<'de, D, V>(deserializer: D) -> Result<Vec<(Cow<'de, str>, V)>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Collect<V>(std::marker::PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for Collect<V> {
        type Value = Vec<(Cow<'de, str>, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut members = Vec::new();
            while let Some(Name(name)) = map.next_key()? {
                members.push((name, map.next_value()?));
            }
            Ok(members)
        }
    }
    deserializer.deserialize_map(Collect(std::marker::PhantomData))
}

/// Walks down a path, skipping what is beside it, and stops at its end.
struct Seek<'p, 'de, S> {
    path: &'p [S],
    found: &'p mut Option<&'de RawValue>,
}

impl<'de, S: AsRef<str>> DeserializeSeed<'de> for Seek<'_, 'de, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            *self.found = Some(Deserialize::deserialize(deserializer)?);
            return Ok(());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: AsRef<str>> Visitor<'de> for Seek<'_, 'de, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or array on the way to a value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Some((token, rest)) = self.path.split_first() else {
            return Ok(());
        };
        while let Some(Name(name)) = map.next_key()? {
            if name == token.as_ref() {
                return map.next_value_seed(Seek {
                    path: rest,
                    found: self.found,
                });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((token, rest)) = self.path.split_first() else {
            return Ok(());
        };
        let Some(index) = index_of(token.as_ref()) else {
            return Ok(());
        };
        for _ in 0..index {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        items
            .next_element_seed(Seek {
                path: rest,
                found: self.found,
            })
            .map(drop)
    }
}

/// An array index as RFC 6901 writes it: digits without leading zeros.
pub(crate) fn index_of(token: &str) -> Option<usize> {
    let shape = token.bytes().all(|byte| byte.is_ascii_digit())
        && (token == "0" || !token.starts_with('0'));
    if shape { token.parse().ok() } else { None }
}
