//! What the schema says of the meaning, written into the record: whoever reads the record knows by its schema alone.

use super::Compiler;
use crate::event::Role;
use serde_json::{Value, json};

impl Compiler<'_> {
    /// The record with what the schema says of the meaning: roles at their fields, kind and delivery at the record. Whoever reads the record
    /// knows by its schema what counts as content.
    pub(super) fn marked(&self, mut record: Value, kind: Option<&str>) -> String {
        for (path, role) in &self.roles {
            let mut steps = vec!["payload".to_owned()];
            steps.extend_from_slice(path);
            mark(&mut record, &steps, *role);
        }
        let mut meaning = json!({});
        if let Some(kind) = kind {
            meaning["kind"] = kind.into();
        }
        if !self.delivery.is_empty() {
            meaning["delivery"] = self.delivery.clone().into();
        }
        if meaning != json!({}) {
            record[Role::ATTRIBUTE] = meaning;
        }
        record.to_string()
    }
}

/// Marks the field at the end of a path; `*` steps into the items of an array or the values of a map.
fn mark(schema: &mut Value, path: &[String], role: Role) {
    let Some(complex) = complex(schema) else {
        return;
    };
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    if step == "*" {
        for inner in ["items", "values"] {
            if let Some(inner) = complex.get_mut(inner) {
                mark(inner, rest, role);
            }
        }
        return;
    }
    let fields = complex.get_mut("fields").and_then(Value::as_array_mut);
    let mut fields = fields.into_iter().flatten();
    if let Some(field) = fields.find(|field| field["name"] == **step) {
        if rest.is_empty() {
            field[Role::ATTRIBUTE] = role.name().into();
        } else {
            mark(&mut field["type"], rest, role);
        }
    }
}

/// The record, array or map that a type is, in a union or not.
fn complex(schema: &mut Value) -> Option<&mut Value> {
    match schema {
        Value::Array(variants) => variants.iter_mut().find_map(complex),
        Value::Object(_) if !schema["type"].is_string() => complex(&mut schema["type"]),
        Value::Object(_) => Some(schema),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
