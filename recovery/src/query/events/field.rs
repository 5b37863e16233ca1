//! A field of a payload and its value, as jsonb containment asks for them.

use crate::error::RecoveryError;
use serde_json::{Map, Value};

/// Deepest path.
const DEPTH: usize = 16;

/// Of `/customer/email=a@b.c`, the JSON of which the payload must contain one. `12` may be a number or a text; a number in the path is any
/// element of a list: jsonb does not ask which.
pub(super) fn contained(text: &str) -> Result<Vec<String>, RecoveryError> {
    let bad = || {
        RecoveryError::Invalid(format!(
            "field {:?}: expected /PATH=VALUE, as /customer/email=a@b.c, with at most {DEPTH} parts",
            crate::query::plain(text, 100)
        ))
    };
    let (path, value) = text.split_once('=').ok_or_else(bad)?;
    let path = path.strip_prefix('/').ok_or_else(bad)?;
    let parts: Vec<String> = path
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    if parts.len() > DEPTH || parts.iter().any(String::is_empty) {
        return Err(bad());
    }
    let mut values = vec![Value::from(value)];
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Array(_) | Value::Object(_)) | Err(_) => {}
        Ok(Value::String(quoted)) => values = vec![quoted.into()],
        Ok(other @ (Value::Null | Value::Bool(_) | Value::Number(_))) => values.push(other),
    }
    let wrapped = values.into_iter().map(|value| wrap(&parts, value));
    Ok(wrapped.map(|json| json.to_string()).collect())
}

/// From the inside out.
fn wrap(parts: &[String], value: Value) -> Value {
    parts.iter().rev().fold(value, |inner, part| {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            Value::Array(vec![inner])
        } else {
            Value::Object(Map::from_iter([(part.clone(), inner)]))
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::contained;

    #[test]
    fn a_field_is_a_path_and_a_value() {
        let cases: [(&str, &[&str]); 7] = [
            ("/a=b", &[r#"{"a":"b"}"#]),
            ("/a/b=x=y", &[r#"{"a":{"b":"x=y"}}"#]),
            ("/a=12", &[r#"{"a":"12"}"#, r#"{"a":12}"#]),
            ("/a=\"12\"", &[r#"{"a":"12"}"#]),
            ("/a=true", &[r#"{"a":"true"}"#, r#"{"a":true}"#]),
            ("/items/0/sku=1x", &[r#"{"items":[{"sku":"1x"}]}"#]),
            ("/a~1b~0c=", &[r#"{"a/b~c":""}"#]),
        ];
        for (text, json) in cases {
            assert_eq!(contained(text).unwrap(), json, "{text}");
        }
        for text in ["a=b", "/a", "/=b", "/a//b=c", &"/a".repeat(40), ""] {
            assert_eq!(
                contained(text).unwrap_err().code(),
                "invalid_request",
                "{text}"
            );
        }
    }

    #[test]
    fn a_value_is_data_whatever_it_contains() {
        let hostile = r#"/a"'--=x"}'; DROP TABLE events; --"#;
        let json = contained(hostile).unwrap();
        let read: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!(read["a\"'--"], r#"x"}'; DROP TABLE events; --"#);
    }
}
