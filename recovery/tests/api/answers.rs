//! Every answer has the fields its schema says.

use crate::world::Answer;
use recovery::http::openapi;
use serde_json::{Value, json};

/// Asserts that an answer has exactly the fields of its schema, and theirs in turn.
fn fits(value: &Value, schema: &Value, place: &str) {
    let document = openapi::document();
    let resolve = |schema: &Value| match schema["$ref"].as_str() {
        Some(name) => document["components"]["schemas"][name.rsplit('/').next().unwrap()].clone(),
        None => schema.clone(),
    };
    let schema = resolve(schema);
    match (value, &schema["properties"]) {
        (Value::Object(fields), Value::Object(properties))
            if schema["additionalProperties"] != json!(false) =>
        {
            let has: Vec<_> = fields.keys().collect();
            let says: Vec<_> = properties.keys().collect();
            assert_eq!(has, says, "{place}");
            fields.iter().for_each(|(name, value)| {
                fits(value, &properties[name], &format!("{place}.{name}"));
            });
        }
        (Value::Array(items), _) if schema["type"] == "array" => {
            items
                .iter()
                .for_each(|item| fits(item, &schema["items"], &format!("{place}[]")));
        }
        _ => {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_i64() => "integer",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            let says = &schema["type"];
            let number = kind == "integer" && says.to_string().contains("number");
            assert!(
                says.is_null() || number || says.to_string().contains(&format!("\"{kind}\"")),
                "{place} is {kind}, says {says}"
            );
        }
    }
}

/// The JSON of an answer that is 200 and as the OpenAPI document says.
#[track_caller]
pub(crate) fn documented(answer: &Answer, path: &str, method: &str) -> Value {
    let document = openapi::document();
    let content = &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    assert!(
        content.is_object(),
        "{method} {path} is not in the document"
    );
    fits(answer.is_done(), content, path);
    answer.json.clone()
}
