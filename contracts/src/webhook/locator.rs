//! Where an id is in a request: found without parsing more than needed.

use crate::json;
use http::{HeaderMap, HeaderName};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Longest event id or entity key, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Deepest pointer; serde_json itself would stop at 128.
const MAX_DEPTH: usize = 32;

/// Where an id is: locations tried in order, none of them for requests without one.
#[derive(Debug, Clone, Default)]
pub struct Locator(Vec<Location>);

#[derive(Debug, Clone)]
enum Location {
    Header(HeaderName),
    /// Reference tokens from the root, unescaped.
    Pointer(Vec<String>),
}

impl Locator {
    /// Compiles `header:name` and JSON pointers (RFC 6901).
    pub(crate) fn parse(
        locations: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, String> {
        locations
            .into_iter()
            .map(|location| Location::parse(location.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The id: a header, or a JSON string or number taken digit for digit. None when it is missing, blank, longer than 256 bytes, or a
    /// header that appears twice. Reads the body only as far as it must, builds no tree, and has no error for what is not JSON. Of equal
    /// field names the first counts.
    #[must_use]
    pub fn find<'a>(&self, headers: &'a HeaderMap, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.0.iter().find_map(|location| {
            location
                .find(headers, body)
                .filter(|id| id.len() <= MAX_ID_BYTES && !id.trim().is_empty())
        })
    }
}

impl Location {
    fn parse(location: &str) -> Result<Self, String> {
        if let Some(name) = location.strip_prefix("header:") {
            return HeaderName::try_from(name)
                .map(Self::Header)
                .map_err(|_| format!("{name:?} is not a header name"));
        }
        let Some(path) = location.strip_prefix('/') else {
            return Err(format!(
                "{location:?} is neither a JSON pointer (/a/b) nor header:name"
            ));
        };
        let path: Vec<_> = path
            .split('/')
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        if path.len() > MAX_DEPTH {
            Err(format!("{location:?} has more than {MAX_DEPTH} levels"))
        } else {
            Ok(Self::Pointer(path))
        }
    }

    fn find<'a>(&self, headers: &'a HeaderMap, body: &'a [u8]) -> Option<Cow<'a, str>> {
        match self {
            Self::Header(name) => {
                let mut values = headers.get_all(name).iter();
                let value = values.next()?.to_str().ok()?;
                values.next().is_none().then_some(Cow::Borrowed(value))
            }
            Self::Pointer(path) => {
                // It is taken even when what comes after it is broken.
                text_of(json::find(
                    path,
                    serde_json::Deserializer::from_slice(body),
                )?)
            }
        }
    }
}

/// A JSON string, or the digits of a number.
fn text_of(value: &RawValue) -> Option<Cow<'_, str>> {
    match value.get().as_bytes().first()? {
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(value.get())),
        _ => json::text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(places: &[&str], body: &[u8]) -> Option<String> {
        let headers: HeaderMap = [("x-id", "h1"), ("x-twice", "a"), ("x-blank", " ")]
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .into_iter()
            .collect();
        let mut headers = headers;
        headers.append("x-twice", "b".parse().unwrap());
        Locator::parse(places)
            .unwrap()
            .find(&headers, body)
            .map(Cow::into_owned)
    }

    #[test]
    fn an_id_is_found_where_the_source_says_and_nowhere_else() {
        let long = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
        let deep = format!(
            r#"{{"b":{}1{},"a":"deep"}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        let deep_on_the_way = format!(r#"{{"a":{}"#, r#"{"a":"#.repeat(50_000));
        let (long_256, long_257) = (long(256), long(257));
        for (places, body, expected) in [
            (
                &["/event_id"][..],
                r#"{"a":{"event_id":"no"},"event_id":"yes"}"#,
                Some("yes"),
            ),
            (&["/a/b"], r#"{"a":{"b":17},"broken"#, Some("17")),
            (
                &["/a"],
                r#"{"a":123456789012345678901234567890}"#,
                Some("123456789012345678901234567890"),
            ),
            (&["/a"], r#"{"a":-1.50}"#, Some("-1.50")),
            (&["/a"], r#"{"a":"\u00e9\n\"x"}"#, Some("é\n\"x")),
            (
                &["/a"],
                r#"{"\u0061":"escaped name"}"#,
                Some("escaped name"),
            ),
            (&["/a"], r#"{"a":"first","a":"second"}"#, Some("first")),
            (&["/a~1b/c~0d"], r#"{"a/b":{"c~d":"e"}}"#, Some("e")),
            (
                &["/items/1/id"],
                r#"{"items":[{"id":"x"},{"id":"y"}]}"#,
                Some("y"),
            ),
            (
                &["/items/2/id"],
                r#"{"items":[{"id":"x"},{"id":"y"}]}"#,
                None,
            ),
            (
                &["/items/01/id"],
                r#"{"items":[{"id":"x"},{"id":"y"}]}"#,
                None,
            ),
            (&["/items/x"], r#"{"items":["x"]}"#, None),
            (&["/0"], r#"["root"]"#, Some("root")),
            (&["/"], r#"{"":"no name"}"#, Some("no name")),
            (&["/a", "header:X-Id"], r#"{"a":"  "}"#, Some("h1")),
            (&["header:X-Id"], "", Some("h1")),
            (&["header:x-twice"], "", None),
            (&["header:x-blank"], "", None),
            (&["header:x-none", "/a"], r#"{"a":"b"}"#, Some("b")),
            (&[], r#"{"a":"b"}"#, None),
            (&["/a"], r#"{"a":{"b":1}}"#, None),
            (&["/a"], r#"{"a":[1]}"#, None),
            (&["/a"], r#"{"a":true}"#, None),
            (&["/a"], r#"{"a":null}"#, None),
            (&["/a"], r#"{"a":"\ud800"}"#, None),
            (&["/a"], r#"{"a":"cut"#, None),
            (&["/a/b"], r#"{"a":"b"}"#, None),
            (&["/a"], "not json", None),
            (&["/a"], "", None),
            (&["/a"], &long_256, Some(&long_256[6..262])),
            (&["/a"], &long_257, None),
            (&["/a"], &deep, Some("deep")),
            (&["/a/a/a/b"], &deep_on_the_way, None),
        ] {
            assert_eq!(
                find(places, body.as_bytes()).as_deref(),
                expected,
                "{places:?} in {body:.80}"
            );
        }
        assert_eq!(find(&["/a"], b"{\"a\":\"\xff\"}"), None, "not UTF-8");
        let borrowed = Locator::parse(["/a"]).unwrap();
        assert!(matches!(
            borrowed.find(&HeaderMap::new(), br#"{"a":"b"}"#),
            Some(Cow::Borrowed("b"))
        ));
    }

    #[test]
    fn a_place_that_can_never_match_is_refused() {
        for place in [
            "",
            "event_id",
            "header:",
            "header:bad name",
            &"/a".repeat(33),
        ] {
            assert!(Locator::parse([place]).is_err(), "{place:?}");
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_a_full_parse_finds(id in any::<String>(), before in any::<String>(), number in any::<i64>()) {
            let body = serde_json::json!({"a": {"before": before, "id": id, "n": number}}).to_string();
            let usable = id.len() <= MAX_ID_BYTES && !id.trim().is_empty();
            prop_assert_eq!(find(&["/a/id"], body.as_bytes()), usable.then_some(id));
            prop_assert_eq!(find(&["/a/n"], body.as_bytes()), Some(number.to_string()));
        }

        #[test]
        fn any_bytes_get_an_answer(body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\":,0-9a\\\\ ]{0,200}".prop_map(String::into_bytes),
        ]) {
            if let Some(id) = find(&["/a", "/0", "/a/0/a"], &body) {
                prop_assert!(!id.trim().is_empty() && id.len() <= MAX_ID_BYTES);
            }
        }
    }
}
