//! The ways in which programs write the same JSON. Works on the text: but for the form that says so, no digit of a number changes.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One way to write JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Who writes so, for people
    pub(super) name: &'static str,
    layout: Layout,
    strings: Strings,
    sorted: bool,
    numbers: Numbers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `{"a":1,"b":[]}`
    Compact,
    /// `{"a": 1, "b": []}`
    Spaced,
    /// Each member on a line of its own
    Indented(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strings {
    /// Nothing is escaped but what must be
    Plain,
    /// And all that is not ASCII
    Ascii,
    /// And `/`
    Slashes,
    /// Both
    AsciiSlashes,
    /// And `<`, `>`, `&` and the two line separators
    Html,
    /// All that is not ASCII, and quotes, `<`, `>`, `&`, `+` and more, in capitals
    DotNet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    AsReceived,
    /// As a double is printed: 10.0 is 10
    Shortest,
}

const STRINGS: [(Strings, &str); 6] = [
    (Strings::Plain, "as JSON.stringify writes it"),
    (
        Strings::Ascii,
        "with \\u escapes, as Python's json.dumps writes it",
    ),
    (
        Strings::AsciiSlashes,
        "with \\/ and \\u escapes, as PHP's json_encode writes it",
    ),
    (Strings::Slashes, "with \\/ escapes, as PHP may write it"),
    (
        Strings::Html,
        "with <, > and & escaped, as Go's and Rails' libraries write it",
    ),
    (
        Strings::DotNet,
        "with \\u escapes in capitals, as System.Text.Json writes it",
    ),
];

const LAYOUTS: [(Layout, &str); 5] = [
    (Layout::Compact, "compact"),
    (Layout::Spaced, "with spaces after : and ,"),
    (Layout::Indented("  "), "indented by two spaces"),
    (Layout::Indented("    "), "indented by four spaces"),
    (Layout::Indented("\t"), "indented by tabs"),
];

/// Every form, the usual ones first: the layout, the escapes and how they are named.
pub(super) fn all() -> impl Iterator<Item = (Form, &'static str)> {
    let numbers = [Numbers::AsReceived, Numbers::Shortest];
    numbers.into_iter().flat_map(|numbers| {
        [false, true].into_iter().flat_map(move |sorted| {
            LAYOUTS.into_iter().flat_map(move |(layout, name)| {
                STRINGS.into_iter().map(move |(strings, written_by)| {
                    let form = Form {
                        name,
                        layout,
                        strings,
                        sorted,
                        numbers,
                    };
                    (form, written_by)
                })
            })
        })
    })
}

impl Form {
    /// In words.
    pub(super) fn words(&self) -> String {
        let mut words = self.name.to_owned();
        if self.sorted {
            words.push_str(", names sorted");
        }
        if self.numbers == Numbers::Shortest {
            words.push_str(", numbers printed again");
        }
        words
    }

    /// The text in this form.
    pub(super) fn write(&self, json: &Json<'_>) -> String {
        let mut out = String::new();
        self.value(json, 0, &mut out);
        out
    }

    fn value(&self, json: &Json<'_>, depth: usize, out: &mut String) {
        match json {
            Json::Scalar(text) => match self.numbers {
                Numbers::AsReceived => out.push_str(text),
                Numbers::Shortest => out.push_str(&shortest(text)),
            },
            Json::Text(text) => self.strings.write(text, out),
            Json::List(items) => {
                let items = items.iter().map(|item| (None, item));
                self.group(['[', ']'], items, depth, out);
            }
            Json::Object(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| (Some(name.as_ref()), value))
                    .collect();
                if self.sorted {
                    members.sort_by_key(|(name, _)| *name);
                }
                self.group(['{', '}'], members.into_iter(), depth, out);
            }
        }
    }

    fn group<'j, 'v: 'j>(
        &self,
        [open, close]: [char; 2],
        members: impl ExactSizeIterator<Item = (Option<&'j str>, &'j Json<'v>)>,
        depth: usize,
        out: &mut String,
    ) {
        let is_empty = members.len() == 0;
        out.push(open);
        for (index, (name, value)) in members.enumerate() {
            if index > 0 {
                out.push(',');
            }
            match self.layout {
                Layout::Spaced if index > 0 => out.push(' '),
                Layout::Compact | Layout::Spaced => {}
                Layout::Indented(by) => line(by, depth + 1, out),
            }
            if let Some(name) = name {
                self.strings.write(name, out);
                out.push_str(match self.layout {
                    Layout::Compact => ":",
                    Layout::Spaced | Layout::Indented(_) => ": ",
                });
            }
            self.value(value, depth + 1, out);
        }
        if let Layout::Indented(by) = self.layout
            && !is_empty
        {
            line(by, depth, out);
        }
        out.push(close);
    }
}

fn line(by: &str, depth: usize, out: &mut String) {
    out.push('\n');
    (0..depth).for_each(|_| out.push_str(by));
}

impl Strings {
    fn write(self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            self.character(character, out);
        }
        out.push('"');
    }

    fn character(self, character: char, out: &mut String) {
        let short = match character {
            '"' if self == Self::DotNet => None,
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            '\n' => Some("\\n"),
            '\r' => Some("\\r"),
            '\t' => Some("\\t"),
            '\u{8}' => Some("\\b"),
            '\u{c}' => Some("\\f"),
            '/' if matches!(self, Self::Slashes | Self::AsciiSlashes) => Some("\\/"),
            _ => None,
        };
        if let Some(short) = short {
            out.push_str(short);
            return;
        }
        let is_escaped = match self {
            Self::Plain | Self::Slashes => false,
            Self::Ascii | Self::AsciiSlashes => !character.is_ascii(),
            Self::Html => matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'),
            Self::DotNet => {
                !character.is_ascii()
                    || matches!(character, '"' | '\'' | '<' | '>' | '&' | '+' | '`')
            }
        };
        if !is_escaped && character >= ' ' {
            out.push(character);
            return;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&match self {
                Self::DotNet => format!("\\u{unit:04X}"),
                Self::Plain | Self::Ascii | Self::Slashes | Self::AsciiSlashes | Self::Html => {
                    format!("\\u{unit:04x}")
                }
            });
        }
    }
}

/// A number as a double is printed; everything else as it is.
fn shortest(text: &str) -> Cow<'_, str> {
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    let number = match text.parse::<f64>() {
        Ok(number) if !is_plain(text) => number,
        Ok(_) | Err(_) => return text.into(),
    };
    // Both 2^53 and what JavaScript prints without an exponent are beyond this.
    if number.fract() == 0.0 && number.abs() < 1e15 {
        format!("{number:.0}").into()
    } else {
        number.to_string().into()
    }
}

/// JSON whose names and texts are decoded, and whose other values are as received. Names keep their order.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    List(Vec<Json<'a>>),
    Text(Cow<'a, str>),
    /// A number, true, false or null
    Scalar(&'a str),
}

impl<'a> Json<'a> {
    /// Reads a body that is an object or a list.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        crate::json::check_depth(body).ok()?;
        let raw: &RawValue = serde_json::from_slice(body).ok()?;
        match Self::of(raw)? {
            json @ (Self::Object(_) | Self::List(_)) => Some(json),
            Self::Text(_) | Self::Scalar(_) => None,
        }
    }

    fn of(raw: &'a RawValue) -> Option<Self> {
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(text).ok()?;
                let read = |(name, raw)| Some((name, Self::of(raw)?));
                Self::Object(members.into_iter().map(read).collect::<Option<_>>()?)
            }
            b'[' => {
                let Items(items) = serde_json::from_str(text).ok()?;
                Self::List(items.into_iter().map(Self::of).collect::<Option<_>>()?)
            }
            b'"' => Self::Text(crate::json::text(raw.get())?),
            _ => Self::Scalar(text),
        })
    }
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::new();
                while let Some(crate::json::Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Read)
    }
}

/// The same text with every string written in another way; white space and numbers as received.
pub(super) fn with_strings(text: &str) -> impl Iterator<Item = (&'static str, String)> + '_ {
    STRINGS
        .into_iter()
        .filter_map(move |(strings, written_by)| {
            let mut out = String::with_capacity(text.len());
            let mut rest = text;
            while let Some(at) = rest.find('"') {
                out.push_str(&rest[..at]);
                let (token, after) = rest[at..].split_at(crate::json::string_length(&rest[at..]));
                strings.write(&serde_json::from_str::<String>(token).ok()?, &mut out);
                rest = after;
            }
            out.push_str(rest);
            Some((written_by, out))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use proptest::prelude::*;

    const SENT: &str = r#"{ "z": [1, 2.50, {}], "a": {"url": "https://x/é<b>", "e": []}, "n": 10.0, "t": "\"\t" }"#;

    fn written(body: &str) -> Vec<String> {
        let json = Json::read(body.as_bytes()).unwrap();
        all().map(|(form, _)| form.write(&json)).collect()
    }

    #[test]
    fn the_usual_libraries_forms_are_among_them() {
        let forms = written(SENT);
        for (by, text) in [
            (
                "JSON.stringify",
                r#"{"z":[1,2.5,{}],"a":{"url":"https://x/é<b>","e":[]},"n":10,"t":"\"\t"}"#,
            ),
            (
                "json.dumps",
                r#"{"z": [1, 2.50, {}], "a": {"url": "https://x/\u00e9<b>", "e": []}, "n": 10.0, "t": "\"\t"}"#,
            ),
            (
                "json.dumps(sort_keys=True, separators=(',', ':'))",
                r#"{"a":{"e":[],"url":"https://x/\u00e9<b>"},"n":10.0,"t":"\"\t","z":[1,2.50,{}]}"#,
            ),
            (
                "json_encode",
                r#"{"z":[1,2.50,{}],"a":{"url":"https:\/\/x\/\u00e9<b>","e":[]},"n":10.0,"t":"\"\t"}"#,
            ),
            (
                "encoding/json of a map",
                r#"{"a":{"e":[],"url":"https://x/é\u003cb\u003e"},"n":10,"t":"\"\t","z":[1,2.5,{}]}"#,
            ),
            (
                "System.Text.Json",
                r#"{"z":[1,2.50,{}],"a":{"url":"https://x/\u00E9\u003Cb\u003E","e":[]},"n":10.0,"t":"\u0022\t"}"#,
            ),
            (
                "JSON.stringify(…, null, 2)",
                "{\n  \"z\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"a\": {\n    \"url\": \"https://x/é<b>\",\n    \"e\": []\n  },\n  \"n\": 10.0,\n  \"t\": \"\\\"\\t\"\n}",
            ),
        ] {
            assert!(forms.iter().any(|form| form == text), "{by}: {forms:#?}");
        }
    }

    #[test]
    fn white_space_stays_where_only_strings_are_written_in_another_way() {
        let text = "{ \"a\\/\" :\t\"b/c\" }\n";
        let forms: Vec<_> = with_strings(text).map(|(_, form)| form).collect();
        assert!(forms.contains(&"{ \"a/\" :\t\"b/c\" }\n".to_owned()));
        assert!(forms.contains(&"{ \"a\\/\" :\t\"b\\/c\" }\n".to_owned()));
    }

    proptest! {
        /// Whatever the form, it is the same JSON.
        #[test]
        fn every_form_means_the_same(text in any::<String>(), number in any::<i64>(), name in any::<String>()) {
            let value = serde_json::json!({"b": [text, {name: number}], "a": null});
            for form in written(&value.to_string()) {
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&form).unwrap(), &value);
            }
        }
    }
}
