//! JSON pointers into a body and its contract, digit for digit: no value is turned into a float on its way to being shown.

use serde_json::value::RawValue;
use std::collections::HashMap;

/// The pointer a stage put before its detail (`/payload/amount: ...`).
pub(super) fn of_detail(detail: &str, raw: bool) -> Option<&str> {
    let (pointer, _) = detail.split_once(": ").filter(|_| raw)?;
    (pointer.starts_with('/') && !pointer.contains(' ')).then_some(pointer)
}

/// The text of the value at a pointer, as it was sent; the last one, where a field is there twice.
pub(super) fn value_at<'a>(body: &'a str, pointer: &str) -> Option<&'a str> {
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
