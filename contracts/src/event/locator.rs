//! Where a value is in an event: found without parsing more than needed.

use super::mapping::HeaderValues;
use crate::json;
use crate::webhook::draft::Place;
use crate::{Rejection, RejectionCode};
use http::HeaderName;
use std::borrow::Cow;
use toml::Value as Toml;

/// Longest id, event type or entity key, in characters: (source, event id) is a key of an index, which takes at most 2,704 bytes.
const MAX_CHARACTERS: usize = 256;
/// Deepest pointer; serde_json itself would stop at 128.
const MAX_DEPTH: usize = 32;
/// Tables nest at most so deep.
const MAX_NESTING: usize = 4;

/// Where a value is: tried in order, the first that is there counts; none of them for events without one.
#[derive(Debug, Clone, Default)]
pub struct Locator(Vec<Alternative>);

/// A text that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<'a> {
    /// The text
    pub text: Cow<'a, str>,
    /// The number of its place: those before it had none
    pub place: usize,
}

#[derive(Debug, Clone)]
enum Alternative {
    Header(HeaderName),
    Pointer(Pointer),
    /// Those of the parts that are there
    Join {
        parts: Vec<Locator>,
        with: String,
    },
    /// Each of these texts replaced by the other, the longest first, in one pass from the left
    Replace {
        from: Locator,
        replace: Vec<(String, String)>,
    },
}

/// A place in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// Reference tokens from the root, unescaped
    pub(crate) path: Vec<String>,
    /// Its number among the places that a mapping reads in one pass
    pub(crate) slot: usize,
}

/// The parts of one event, as they are looked up.
pub(crate) trait Look<'a> {
    /// The one value of a header that is a text.
    fn header(&self, name: &HeaderName) -> Option<&'a str>;
    /// What is there, as it is written.
    fn pointer(&self, pointer: &Pointer) -> Option<&'a str>;
}

/// Looks up in a body what is asked for, and no more.
struct Lazily<'a, H> {
    headers: H,
    body: &'a [u8],
}

impl<'a, H: HeaderValues<'a>> Look<'a> for Lazily<'a, H> {
    fn header(&self, name: &HeaderName) -> Option<&'a str> {
        self.headers.one(name.as_str())
    }

    fn pointer(&self, pointer: &Pointer) -> Option<&'a str> {
        // It is taken even when what comes after it is broken.
        let json = serde_json::Deserializer::from_slice(self.body);
        json::find(&pointer.path, json).map(serde_json::value::RawValue::get)
    }
}

impl Locator {
    /// Compiles `header:name`, a JSON pointer (RFC 6901), `{ join = [...], with = "." }`, `{ from = ..., replace = { "/" = "." } }`, or a list
    /// of those.
    pub(crate) fn parse(value: &Toml) -> Result<Self, String> {
        Self::parse_nested(value, 0)
    }

    fn parse_nested(value: &Toml, depth: usize) -> Result<Self, String> {
        if depth > MAX_NESTING {
            return Err(format!("tables nest more than {MAX_NESTING} levels deep"));
        }
        match value {
            Toml::Array(several) => several
                .iter()
                .map(|one| Alternative::parse(one, depth))
                .collect::<Result<_, _>>()
                .map(Self),
            one => Ok(Self(vec![Alternative::parse(one, depth)?])),
        }
    }

    /// True when there is no place at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when a header is one of the places.
    #[must_use]
    pub fn reads_headers(&self) -> bool {
        !self.headers().is_empty()
    }

    /// The headers that are places or parts of one.
    #[must_use]
    pub fn headers(&self) -> Vec<&HeaderName> {
        self.0.iter().flat_map(Alternative::headers).collect()
    }

    /// How many of the places, from the first, a signature covers: the headers and places in the body that are said yes to.
    pub(crate) fn signed_places(
        &self,
        signs_header: impl Fn(&HeaderName) -> bool,
        signs_pointer: impl Fn(&[String]) -> bool,
    ) -> usize {
        let is_signed = |one: &&Alternative| {
            let (mut place, mut signed) = (Self(vec![(*one).clone()]), true);
            place.each_pointer(&mut |pointer| signed &= signs_pointer(&pointer.path));
            signed && one.headers().into_iter().all(&signs_header)
        };
        self.0.iter().take_while(is_signed).count()
    }

    /// How many places there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of the last place; `None` without any.
    pub(crate) fn last_place(&self) -> Option<usize> {
        self.0.len().checked_sub(1)
    }

    /// The text, as [`locate`](Self::locate) finds it.
    #[must_use]
    pub fn find<'a>(&self, headers: impl HeaderValues<'a>, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.locate(headers, body).map(|located| located.text)
    }

    /// The text: a header, or a JSON string or number taken digit for digit. None when it is missing, blank, longer than 256 characters, has
    /// U+0000 in it, or is a header that appears twice. Reads the body only as far as it must, builds no tree, and has no error for what is
    /// not JSON. Of equal field names the first counts.
    #[must_use]
    pub fn locate<'a>(
        &self,
        headers: impl HeaderValues<'a>,
        body: &'a [u8],
    ) -> Option<Located<'a>> {
        self.look_up(&Lazily { headers, body }, &mut None)
    }

    /// The same, wherever the parts of the event are. `flaw` becomes what was wrong with the first place that was there and had no usable text.
    pub(crate) fn look_up<'a>(
        &self,
        look: &impl Look<'a>,
        flaw: &mut Option<Rejection>,
    ) -> Option<Located<'a>> {
        self.0.iter().enumerate().find_map(|(place, one)| {
            let text = one.look_up(look, flaw)?;
            match unusable(&text) {
                None => Some(Located { text, place }),
                Some((code, detail)) => {
                    flaw.get_or_insert_with(|| Rejection::new(code, one.pointer(), detail));
                    None
                }
            }
        })
    }

    /// The places whose texts [`locate`](Self::locate) finds: those of the first alternative that is there.
    #[must_use]
    pub fn written_at<'a>(&self, headers: impl HeaderValues<'a>, body: &'a [u8]) -> Vec<Place> {
        self.written(&Lazily { headers, body })
    }

    fn written<'a>(&self, look: &impl Look<'a>) -> Vec<Place> {
        let is_there = |one: &&Alternative| {
            let text = one.look_up(look, &mut None);
            text.is_some_and(|text| unusable(&text).is_none())
        };
        let found = self.0.iter().find(is_there);
        found.map_or_else(Vec::new, |one| one.written(look))
    }

    /// A text as it is written where this finds it: before what it replaces.
    pub(crate) fn as_written(&self, text: &str) -> String {
        let Some(Alternative::Replace { replace, .. }) = self.0.first() else {
            return text.to_owned();
        };
        let undo = |text: String, (what, by): &(String, String)| match by.is_empty() {
            true => text,
            false => text.replace(by.as_str(), what),
        };
        replace.iter().fold(text.to_owned(), undo)
    }

    /// The places in a body, as JSON pointers (RFC 6901).
    pub fn pointers(&self) -> impl Iterator<Item = String> {
        let mut found = Vec::new();
        // Only read: a clone's pointers are the same.
        self.clone()
            .each_pointer(&mut |pointer| found.push(pointer.to_string()));
        found.into_iter()
    }

    /// The same places after what is at `from` was moved to `to`. Those that are elsewhere are left out.
    pub(crate) fn moved(&self, from: &[String], to: &[String]) -> Self {
        let mut kept = self.clone();
        kept.0.retain(|one| {
            let (mut inside, mut one) = (one.headers().is_empty(), Self(vec![one.clone()]));
            one.each_pointer(&mut |pointer| inside &= pointer.path.starts_with(from));
            inside
        });
        kept.each_pointer(&mut |pointer| {
            let rest = pointer.path.split_off(from.len());
            pointer.path = to.iter().cloned().chain(rest).collect();
        });
        kept
    }

    /// Calls this with each place in a body.
    pub(crate) fn each_pointer(&mut self, call: &mut impl FnMut(&mut Pointer)) {
        for one in &mut self.0 {
            match one {
                Alternative::Header(_) => {}
                Alternative::Pointer(pointer) => call(pointer),
                Alternative::Join { parts, .. } => {
                    for part in parts {
                        part.each_pointer(&mut *call);
                    }
                }
                Alternative::Replace { from, .. } => from.each_pointer(&mut *call),
            }
        }
    }
}

/// The places, for people: `/id or header x-id`.
impl std::fmt::Display for Locator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" or ")?;
            }
            match one {
                Alternative::Header(name) => write!(f, "header {name}")?,
                Alternative::Pointer(pointer) => write!(f, "{pointer}")?,
                Alternative::Join { parts, .. } => {
                    for (index, part) in parts.iter().enumerate() {
                        if index > 0 {
                            f.write_str(" and ")?;
                        }
                        write!(f, "{part}")?;
                    }
                }
                Alternative::Replace { from, .. } => write!(f, "{from}")?,
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for token in &self.path {
            write!(f, "/{}", token.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

impl Alternative {
    fn headers(&self) -> Vec<&HeaderName> {
        match self {
            Self::Header(name) => vec![name],
            Self::Pointer(_) => vec![],
            Self::Join { parts, .. } => parts.iter().flat_map(Locator::headers).collect(),
            Self::Replace { from, .. } => from.headers(),
        }
    }

    fn parse(value: &Toml, depth: usize) -> Result<Self, String> {
        match value {
            Toml::String(place) => Self::parse_place(place),
            Toml::Table(table) => Self::parse_table(table, depth),
            Toml::Integer(_)
            | Toml::Float(_)
            | Toml::Boolean(_)
            | Toml::Datetime(_)
            | Toml::Array(_) => Err(format!(
                "{value} is no place: write a JSON pointer (/a/b), header:name, or a table with join or from"
            )),
        }
    }

    fn parse_place(place: &str) -> Result<Self, String> {
        if let Some(name) = place.strip_prefix("header:") {
            return HeaderName::try_from(name)
                .map(Self::Header)
                .map_err(|_| format!("{name:?} is not a header name"));
        }
        if !place.starts_with('/') {
            return Err(format!(
                "{place:?} is neither a JSON pointer (/a/b) nor header:name"
            ));
        }
        let path = parse_pointer(place)?;
        Ok(Self::Pointer(Pointer { path, slot: 0 }))
    }

    fn parse_table(table: &toml::Table, depth: usize) -> Result<Self, String> {
        let known = |names: &[&str]| match table.keys().find(|key| !names.contains(&key.as_str())) {
            Some(other) => Err(format!(
                "unknown key {other:?}; known beside {} is {}",
                names[0],
                names[1..].join(", ")
            )),
            None => Ok(()),
        };
        match (table.get("join"), table.get("from")) {
            (Some(Toml::Array(parts)), None) => {
                known(&["join", "with"])?;
                let parts = parts
                    .iter()
                    .map(|part| Locator::parse_nested(part, depth + 1))
                    .collect::<Result<_, _>>()?;
                let with = match table.get("with") {
                    None => String::new(),
                    Some(Toml::String(with)) => with.clone(),
                    Some(_) => return Err("with: write a text".to_owned()),
                };
                Ok(Self::Join { parts, with })
            }
            (None, Some(from)) => {
                known(&["from", "replace"])?;
                let from = Locator::parse_nested(from, depth + 1)?;
                let Some(Toml::Table(pairs)) = table.get("replace") else {
                    return Err(
                        "replace: write what is replaced by what, as { \"/\" = \".\" }".to_owned(),
                    );
                };
                let mut replace = Vec::with_capacity(pairs.len());
                for (what, by) in pairs {
                    match by.as_str() {
                        Some(by) if !what.is_empty() => replace.push((what.clone(), by.to_owned())),
                        Some(_) | None => {
                            return Err(
                                "replace: both sides are texts, the first not empty".to_owned()
                            );
                        }
                    }
                }
                replace.sort_by_key(|(what, _)| std::cmp::Reverse(what.len()));
                Ok(Self::Replace { from, replace })
            }
            (_, _) => Err(
                "a table has either join, a list of places, or from, a place, with replace"
                    .to_owned(),
            ),
        }
    }

    fn look_up<'a>(
        &self,
        look: &impl Look<'a>,
        flaw: &mut Option<Rejection>,
    ) -> Option<Cow<'a, str>> {
        match self {
            Self::Header(name) => look.header(name).map(Cow::Borrowed),
            Self::Pointer(pointer) => {
                let value = look.pointer(pointer)?;
                let text = text_of(value);
                if text.is_none() && value != "null" {
                    let (code, detail) = if value.starts_with('"') {
                        (RejectionCode::UnpairedSurrogate, BROKEN_TEXT)
                    } else {
                        (RejectionCode::WrongType, "must be a string or a number")
                    };
                    flaw.get_or_insert_with(|| Rejection::new(code, self.pointer(), detail));
                }
                text
            }
            Self::Join { parts, with } => {
                let mut joined: Option<Cow<'a, str>> = None;
                for part in parts {
                    let Some(Located { text, .. }) = part.look_up(look, flaw) else {
                        continue;
                    };
                    joined = Some(match joined {
                        None => text,
                        Some(before) => Cow::Owned(format!("{before}{with}{text}")),
                    });
                }
                joined
            }
            Self::Replace { from, replace } => from
                .look_up(look, flaw)
                .map(|located| replaced(located.text, replace)),
        }
    }

    fn written<'a>(&self, look: &impl Look<'a>) -> Vec<Place> {
        match self {
            Self::Header(name) => vec![Place::Header(name.as_str().to_owned())],
            Self::Pointer(pointer) => vec![Place::Body(pointer.path.clone())],
            Self::Join { parts, .. } => parts.iter().flat_map(|part| part.written(look)).collect(),
            Self::Replace { from, .. } => from.written(look),
        }
    }

    /// Where it is in a body, for an error.
    fn pointer(&self) -> Option<String> {
        Locator(vec![self.clone()]).pointers().next()
    }
}

fn replaced<'a>(text: Cow<'a, str>, replace: &[(String, String)]) -> Cow<'a, str> {
    if !replace.iter().any(|(what, _)| text.contains(what.as_str())) {
        return text;
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), &*text);
    while let Some(first) = rest.chars().next() {
        match replace
            .iter()
            .find(|(what, _)| rest.starts_with(what.as_str()))
        {
            Some((what, by)) => {
                out.push_str(by);
                rest = &rest[what.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Cow::Owned(out)
}

/// What is wrong with a string that is no text.
pub(crate) const BROKEN_TEXT: &str =
    "escapes one half of a surrogate pair without the other, so it is no text";

/// Why a text can be no id.
fn unusable(text: &str) -> Option<(RejectionCode, String)> {
    if text.trim().is_empty() {
        return Some((RejectionCode::BlankField, "is blank".to_owned()));
    }
    // PostgreSQL stores no such text.
    if text.contains('\0') {
        return Some((RejectionCode::NulCharacter, "contains U+0000".to_owned()));
    }
    // A text has no more characters than bytes: few must be counted.
    let length = match text.len() {
        bytes if bytes <= MAX_CHARACTERS => bytes,
        _ => text.chars().count(),
    };
    (length > MAX_CHARACTERS).then(|| {
        let detail = format!("is {length} characters long; at most {MAX_CHARACTERS} are allowed");
        (RejectionCode::TooLong, detail)
    })
}

/// The reference tokens of a JSON pointer, unescaped; none for "", which is the whole document.
pub(crate) fn parse_pointer(pointer: &str) -> Result<Vec<String>, String> {
    let Some(path) = pointer.strip_prefix('/') else {
        return match pointer {
            "" => Ok(Vec::new()),
            other => Err(format!("{other:?} is no JSON pointer (/a/b)")),
        };
    };
    let path: Vec<_> = path
        .split('/')
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    if path.len() > MAX_DEPTH {
        return Err(format!("{pointer:?} has more than {MAX_DEPTH} levels"));
    }
    Ok(path)
}

/// A JSON string, or the digits of a number.
pub(crate) fn text_of(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first()? {
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(value)),
        _ => json::text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;

    fn of(places: &[&str]) -> Result<Locator, String> {
        Locator::parse(&Toml::from(places.to_vec()))
    }

    fn find(places: &[&str], body: &[u8]) -> Option<String> {
        let headers: HeaderMap = [("x-id", "h1"), ("x-twice", "a"), ("x-blank", " ")]
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .into_iter()
            .collect();
        let mut headers = headers;
        headers.append("x-twice", "b".parse().unwrap());
        of(places)
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
        let borrowed = of(&["/a"]).unwrap();
        assert!(matches!(
            borrowed.find((), br#"{"a":"b"}"#),
            Some(Cow::Borrowed("b"))
        ));
    }

    #[test]
    fn its_pointers_are_as_they_were_written() {
        let locator = of(&["header:x-id", "/a~1b/c~0d/0", "/"]).unwrap();
        let pointers: Vec<String> = locator.pointers().collect();
        assert_eq!(pointers, ["/a~1b/c~0d/0", "/"]);
        assert!(locator.reads_headers() && !of(&["/a"]).unwrap().reads_headers());
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
            assert!(of(&[place]).is_err(), "{place:?}");
        }
    }

    fn with(toml: &str, headers: &[(&str, &str)], body: &str) -> Option<String> {
        let table: toml::Table = toml::from_str(&format!("v = {toml}")).unwrap();
        let headers: HeaderMap = headers
            .iter()
            .map(|(n, v)| (HeaderName::try_from(*n).unwrap(), v.parse().unwrap()))
            .collect();
        let locator = Locator::parse(&table["v"]).unwrap();
        locator.find(&headers, body.as_bytes()).map(Cow::into_owned)
    }

    #[test]
    fn parts_are_joined_and_texts_replaced() {
        let join = r#"{ join = ["header:x-event", "/action", ["/no", "/n"]], with = "." }"#;
        let replace = r#"{ from = ["/no", "header:x-topic"], replace = { "/" = ".", "//" = "-", "ab" = "" } }"#;
        let both = r#"{ join = [{ from = "/a", replace = { "A" = "a" } }, "/b"], with = "" }"#;
        for (toml, headers, body, expected) in [
            (
                join,
                &[("x-event", "pull_request")][..],
                r#"{"action":"opened","n":7}"#,
                Some("pull_request.opened.7"),
            ),
            (join, &[("x-event", "push")], "{}", Some("push")),
            (join, &[], r#"{"action":"opened"}"#, Some("opened")),
            (join, &[], r#"{"action":null}"#, None),
            (
                join,
                &[("x-event", " ")],
                r#"{"action":"opened"}"#,
                Some("opened"),
            ),
            (
                replace,
                &[("x-topic", "orders/create")],
                "{}",
                Some("orders.create"),
            ),
            (replace, &[("x-topic", "a//b/abc")], "{}", Some("a-b.c")),
            (replace, &[("x-topic", "ab")], "{}", None),
            (both, &[], r#"{"a":"AbA","b":1}"#, Some("aba1")),
        ] {
            assert_eq!(
                with(toml, headers, body).as_deref(),
                expected,
                "{toml} of {headers:?} {body}"
            );
        }
        let long = "x".repeat(200);
        assert_eq!(
            with(
                join,
                &[("x-event", &long)],
                &format!(r#"{{"action":"{long}"}}"#)
            ),
            None,
            "too long when joined"
        );
    }

    #[test]
    fn a_table_that_says_nothing_is_refused() {
        for (toml, says) in [
            ("{ join = \"/a\" }", "join, a list"),
            ("{ join = [\"a\"] }", "neither a JSON pointer"),
            ("{ join = [\"/a\"], by = \".\" }", "unknown key \"by\""),
            ("{ join = [\"/a\"], with = 1 }", "with: "),
            ("{ from = \"/a\" }", "replace: "),
            ("{ from = \"/a\", replace = { \"\" = \"b\" } }", "replace: "),
            ("{ from = \"/a\", replace = { a = 1 } }", "replace: "),
            ("{ join = [\"/a\"], from = \"/b\" }", "either join"),
            ("{ }", "either join"),
            ("[[\"/a\"]]", "is no place"),
            ("true", "is no place"),
            (
                "{ join = [{ join = [{ join = [{ join = [{ join = [\"/a\"] }] }] }] }] }",
                "levels deep",
            ),
        ] {
            let table: toml::Table = toml::from_str(&format!("v = {toml}")).unwrap();
            let problem = Locator::parse(&table["v"]).unwrap_err();
            assert!(problem.contains(says), "{toml}: {problem}");
        }
    }

    #[test]
    fn it_says_where_it_looks_and_what_is_signed() {
        let table: toml::Table = toml::from_str(
            r#"v = ["/id", { join = ["header:X-A", "/b"], with = "." }, "header:x-c"]"#,
        )
        .unwrap();
        let locator = Locator::parse(&table["v"]).unwrap();
        assert_eq!(
            locator.to_string(),
            "/id or header x-a and /b or header x-c"
        );
        assert_eq!(locator.headers(), ["x-a", "x-c"]);
        let signed = |signed: &[&str]| {
            locator.signed_places(|name| signed.contains(&name.as_str()), |_| true)
        };
        assert_eq!(
            (
                signed(&[]),
                signed(&["x-a"]),
                signed(&["x-a", "x-c"]),
                signed(&["x-c"])
            ),
            (1, 2, 3, 1)
        );
    }

    proptest! {
        #[test]
        fn it_finds_what_a_full_parse_finds(id in any::<String>(), before in any::<String>(), number in any::<i64>()) {
            let body = serde_json::json!({"a": {"before": before, "id": id, "n": number}}).to_string();
            let usable = id.chars().count() <= MAX_CHARACTERS && !id.trim().is_empty() && !id.contains('\0');
            prop_assert_eq!(find(&["/a/id"], body.as_bytes()), usable.then_some(id));
            prop_assert_eq!(find(&["/a/n"], body.as_bytes()), Some(number.to_string()));
        }

        #[test]
        fn any_bytes_get_an_answer(body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\":,0-9a\\\\ ]{0,200}".prop_map(String::into_bytes),
        ]) {
            if let Some(id) = find(&["/a", "/0", "/a/0/a"], &body) {
                prop_assert!(!id.trim().is_empty() && id.chars().count() <= MAX_CHARACTERS);
            }
        }
    }
}
