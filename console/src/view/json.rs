//! A value as JSON on several lines, coloured, with the place that failed marked. It works on the text: no digit changes.

use super::text;
use contracts::json::string_length;
use maud::{Markup, html};
use recovery::query::explain::value_at;
use runtime::text::pretty;
use std::ops::Range;

/// Longest text that is coloured, in bytes; a longer one is only shown.
const COLOURED: usize = 64 << 10;
/// Longest text that is shown at all.
const SHOWN: usize = 512 << 10;

/// A value, and in it what a pointer names; where that is missing, the object that lacks it.
pub(crate) fn marked(value: &str, pointer: Option<&str>) -> Markup {
    let written = pretty(value);
    let (shown, cut) = start(&written, SHOWN);
    if shown.len() > COLOURED {
        return html! {
            pre.json tabindex="0" role="region" aria-label="Value" { (text(shown)) }
            @if cut { p.hint { "The first " (SHOWN >> 10) " KiB of " (written.len() >> 10) "; export it for all of it." } }
        };
    }
    let place = pointer.and_then(|pointer| Place::of(shown, pointer));
    html! {
        pre.json tabindex="0" role="region" aria-label="Value" {
            @match place {
                None => (coloured(shown)),
                Some(Place::There(at)) => {
                    (coloured(&shown[..at.start]))
                    mark { (coloured(&shown[at.clone()])) }
                    (coloured(&shown[at.end..]))
                },
                Some(Place::Missing { after, indent, name }) => {
                    (coloured(&shown[..after]))
                    "\n" (" ".repeat(indent))
                    mark.missing { (text(&name)) " is missing here" }
                    (coloured(&shown[after..]))
                },
            }
        }
    }
}

fn start(text: &str, most: usize) -> (&str, bool) {
    if text.len() <= most {
        return (text, false);
    }
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    (&text[..end.unwrap_or_default()], true)
}

/// Where the mark goes.
#[derive(Debug, PartialEq)]
enum Place {
    There(Range<usize>),
    /// After the opening brace of the object that lacks it
    Missing {
        after: usize,
        indent: usize,
        name: String,
    },
}

impl Place {
    fn of(shown: &str, pointer: &str) -> Option<Self> {
        if let Some(at) = range(shown, pointer) {
            return Some(Self::There(at));
        }
        let mut outer = pointer;
        while let Some((before, missing)) = outer.rsplit_once('/') {
            outer = before;
            let Some(object) = range(shown, outer) else {
                continue;
            };
            if !shown[object.clone()].starts_with('{') {
                return Some(Self::There(object));
            }
            let line = shown[..object.start].rfind('\n').map_or(0, |end| end + 1);
            let indent = shown[line..]
                .chars()
                .take_while(|character| *character == ' ')
                .count();
            return Some(Self::Missing {
                after: object.start + 1,
                indent: indent + 2,
                name: missing.replace("~1", "/").replace("~0", "~"),
            });
        }
        None
    }
}

/// Where a value stands in its text.
fn range(shown: &str, pointer: &str) -> Option<Range<usize>> {
    let value = value_at(shown, pointer)?;
    let start = (value.as_ptr() as usize).checked_sub(shown.as_ptr() as usize)?;
    Some(start..start + value.len())
}

/// Keys, texts, numbers and words, each in its colour.
fn coloured(json: &str) -> Markup {
    let mut pieces: Vec<(&'static str, &str)> = Vec::new();
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '0'..='9' | '-' | 'a'..='z' => rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
                .unwrap_or(rest.len()),
            _ => rest
                .find(|c: char| {
                    c == '"' || c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit()
                })
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length.max(first.len_utf8()));
        let class = match first {
            '"' if after.trim_start().starts_with(':') => "key",
            '"' => "string",
            '0'..='9' | '-' => "number",
            'a'..='z' => "word",
            _ => "",
        };
        pieces.push((class, token));
        rest = after;
    }
    html! {
        @for (class, token) in pieces {
            @if class.is_empty() { (text(token)) } @else { span class=(class) { (text(token)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;

    #[test]
    fn the_failing_value_is_marked_and_no_digit_changes() {
        let shown = marked(
            r#"{"payload":{"amount":1.50e1,"x":"</pre><script>"}}"#,
            Some("/payload/amount"),
        )
        .into_string();
        assert!(
            shown.contains("<mark><span class=\"number\">1.50e1</span></mark>"),
            "{shown}"
        );
        assert!(
            !shown.contains("<script>") && shown.contains("&lt;script&gt;"),
            "{shown}"
        );
    }

    #[test]
    fn a_missing_field_is_shown_where_it_should_be() {
        let written = pretty(r#"{"payload":{"amount":"1"}}"#);
        let place = Place::of(&written, "/payload/id").unwrap();
        let Place::Missing {
            after,
            indent,
            name,
        } = place
        else {
            panic!("{place:?}");
        };
        assert_eq!(
            (&written[..after], indent, name.as_str()),
            ("{\n  \"payload\": {", 4, "id")
        );
        assert_eq!(Place::of("not json", "/payload"), None);
        assert_eq!(Place::of("[1]", "/a/b"), Some(Place::There(0..3)));
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_is() {
        let shown = marked("{\"a\": <img onerror=x>, \"", None).into_string();
        assert!(!shown.contains("<img"), "{shown}");
        let long = format!("\"{}", "é".repeat(SHOWN));
        assert!(
            marked(&long, Some("/a"))
                .into_string()
                .contains("The first 512 KiB")
        );
    }
}
