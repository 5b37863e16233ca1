//! JSON pointers into a body and its contract, digit for digit: no value is turned into a float on its way to being shown.

use serde_json::value::RawValue;
use std::collections::HashMap;

/// The pointer a stage put before its detail (`/payload/amount: ...`).
pub(super) fn of_detail(detail: &str, raw: bool) -> Option<&str> {
    let (pointer, _) = detail.split_once(": ").filter(|_| raw)?;
    (pointer.starts_with('/') && !pointer.contains(' ')).then_some(pointer)
}

/// The text of the value at a pointer, as it was sent; the last one, where a field is there twice.
#[must_use]
pub fn value_at<'a>(body: &'a str, pointer: &str) -> Option<&'a str> {
    let mut value: &'a RawValue = serde_json::from_str(body).ok()?;
    for token in tokens(pointer) {
        let text = value.get();
        value = if text.starts_with('[') {
            let items: Vec<&'a RawValue> = serde_json::from_str(text).ok()?;
            items.get(token.parse::<usize>().ok()?).copied()?
        } else {
            let fields: HashMap<String, &'a RawValue> = serde_json::from_str(text).ok()?;
            fields.get(&token).copied()?
        };
    }
    Some(value.get())
}

/// What is at a pointer, for people: the text of the value; where there is none, of the object that lacks it.
pub(super) fn shown_at(body: &str, pointer: &str) -> Option<String> {
    if let Some(value) = value_at(body, pointer) {
        return Some(value.to_owned());
    }
    let mut outer = pointer;
    while let Some((before, _)) = outer.rsplit_once('/') {
        outer = before;
        if let Some(value) = value_at(body, outer) {
            let place = if outer.is_empty() { "the body" } else { outer };
            return Some(format!("nothing; {place} is {value}"));
        }
    }
    None
}

/// Characters shown on each side of the place where a body breaks off.
const AROUND: usize = 60;

/// Where a body stops being JSON, with what stands around it.
pub(super) fn broken_at(body: &str) -> Option<String> {
    let error = serde_json::from_str::<serde::de::IgnoredAny>(body).err()?;
    // Lines end with a line feed; columns are bytes, counted from 1.
    let line = body
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let mut place = (line + error.column().saturating_sub(1)).min(body.len());
    while !body.is_char_boundary(place) {
        place -= 1;
    }
    let (before, after) = body.split_at(place);
    let start = before
        .char_indices()
        .rev()
        .nth(AROUND - 1)
        .map_or(0, |(start, _)| start);
    let cut = if start == 0 { "" } else { "…" };
    let after: String = after.chars().take(AROUND).collect();
    let after = if after.is_empty() { "the end" } else { &after };
    Some(format!("{cut}{} [here] {after}", &before[start..]))
}

/// What the contract says of a field, and whether it must be there.
pub(super) fn rule_at(schema_json: &str, pointer: &str) -> Option<String> {
    let schema: serde_json::Value = serde_json::from_str(schema_json).ok()?;
    let (mut object, mut required) = (&schema, false);
    for token in tokens(pointer) {
        let names = object.get("required").and_then(serde_json::Value::as_array);
        required =
            names.is_some_and(|names| names.iter().any(|name| name.as_str() == Some(&token)));
        object = object.get("properties")?.get(&token)?;
    }
    let keywords = object
        .as_object()?
        .iter()
        .filter(|(name, _)| *name != "properties")
        .map(|(name, value)| format!("{name}: {value}"));
    let keywords: Vec<String> = required
        .then(|| "required".to_owned())
        .into_iter()
        .chain(keywords)
        .collect();
    Some(keywords.join(", "))
}

fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_they_were_sent() {
        let body = r#"{"payload":{"amount":1e400,"a/b":[true,{"x":0.10}]},"n":1,"n":2}"#;
        assert_eq!(value_at(body, "/payload/amount"), Some("1e400"));
        assert_eq!(value_at(body, "/payload/a~1b/1/x"), Some("0.10"));
        assert_eq!(value_at(body, "/n"), Some("2"));
        assert_eq!(value_at(body, "/payload/none"), None);
        assert_eq!(value_at("not json", "/payload"), None);
    }

    #[test]
    fn what_is_not_there_is_shown_by_what_lacks_it() {
        let body = r#"{"payload":{"amount":"1","to":{"x":1}}}"#;
        for (pointer, shown) in [
            ("/payload/amount", Some("\"1\"")),
            (
                "/payload/payment_id",
                Some(r#"nothing; /payload is {"amount":"1","to":{"x":1}}"#),
            ),
            (
                "/payload/to/y/z",
                Some(r#"nothing; /payload/to is {"x":1}"#),
            ),
            (
                "/event_id",
                Some(r#"nothing; the body is {"payload":{"amount":"1","to":{"x":1}}}"#),
            ),
        ] {
            assert_eq!(shown_at(body, pointer).as_deref(), shown, "{pointer}");
        }
        assert_eq!(shown_at("not json", "/event_id"), None);
    }

    #[test]
    fn a_broken_body_is_shown_where_it_breaks() {
        for (body, shown) in [
            ("{\"a\":1,,\"b\":2}", "{\"a\":1, [here] ,\"b\":2}"),
            ("{\n\"é\": x}", "{\n\"é\":  [here] x}"),
            ("", " [here] the end"),
        ] {
            assert_eq!(broken_at(body).as_deref(), Some(shown), "{body:?}");
        }
        let long = format!("{{\"a\":\"{}", "é".repeat(500));
        let shown = broken_at(&long).unwrap();
        assert!(
            shown.starts_with("…é") && shown.chars().count() < 2 * AROUND + 20,
            "{shown}"
        );
        assert_eq!(broken_at("{}"), None);
    }

    #[test]
    fn a_rule_says_what_the_contract_says() {
        let schema = r#"{"required":["p"],"properties":{"p":{"type":"object","required":["a"],"properties":{"a":{"type":"string","maxLength":3}}}}}"#;
        assert_eq!(
            rule_at(schema, "/p/a").as_deref(),
            Some("required, maxLength: 3, type: \"string\"")
        );
        assert_eq!(rule_at(schema, "/p/b"), None);
    }

    #[test]
    fn a_detail_names_its_place_or_none() {
        assert_eq!(
            of_detail("/payload/amount: \"x\" is no amount", true),
            Some("/payload/amount")
        );
        assert_eq!(of_detail("expected value at line 1: column 2", true), None);
        assert_eq!(of_detail("/a: b", false), None);
    }
}
