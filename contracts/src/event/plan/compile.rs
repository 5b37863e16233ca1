//! From `schema.json` and `record.avsc` to a plan.
//!
//! The schema may use: `type`, `properties`, `required`, `const`, `enum`, `maxLength` (in bytes), `minLength` (above 0: not blank),
//! `format: date-time`, and for what JSON Schema cannot express, `x-eventflow`: `id` (not blank), `currency` (ISO 4217), `amount` (exact
//! decimal in the currency beside it). Any other keyword that would restrict a value is refused: a rule that is written must be applied.

use super::{Field, Kind, Object, Plan, Rule, Write};
use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema};
use serde_json::Value;

const NOTES: &[&str] = &[
    "$schema",
    "$id",
    "title",
    "description",
    "examples",
    "$comment",
    "additionalProperties",
];

/// Compiles; returns the plan and the Avro record's full name.
pub(crate) fn compile(
    event_type: &str,
    schema_json: &str,
    record_avsc: &str,
) -> Result<(Plan, String), String> {
    let schema: Value =
        serde_json::from_str(schema_json).map_err(|error| format!("schema.json: {error}"))?;
    let avro = Schema::parse_str(record_avsc).map_err(|error| format!("record.avsc: {error}"))?;
    let Schema::Record(record) = &avro else {
        return Err("record.avsc: not a record".to_owned());
    };
    let mut compiler = Compiler {
        event_type,
        slots: 0,
        writes: Vec::new(),
        paths: Vec::new(),
    };
    let root = compiler.object(&schema, Some(record), "")?;
    compiler.order(record, "")?;
    let event_id = compiler
        .slot_of("/event_id")
        .ok_or("schema.json: /event_id is missing; every contract has it")?;
    for needed in ["/event_type", "/schema_version", "/timestamp", "/source"] {
        compiler
            .slot_of(needed)
            .ok_or_else(|| format!("schema.json: {needed} is missing; every contract has it"))?;
    }
    let plan = Plan {
        root,
        slots: compiler.slots,
        writes: compiler.writes,
        event_id,
    };
    Ok((plan, record.name.fullname(None)))
}

/// Most fields of one object: those seen are bits of one integer.
const MAX_FIELDS: usize = 64;

struct Compiler<'c> {
    event_type: &'c str,
    slots: usize,
    writes: Vec<Write>,
    /// Every value's pointer, slot, and whether it is required all the way up
    paths: Vec<(String, usize, bool)>,
}

impl Compiler<'_> {
    fn slot_of(&self, pointer: &str) -> Option<usize> {
        self.paths
            .iter()
            .find(|(path, ..)| path == pointer)
            .map(|(_, slot, _)| *slot)
    }

    fn object(
        &mut self,
        schema: &Value,
        record: Option<&RecordSchema>,
        at: &str,
    ) -> Result<Object, String> {
        let fail = |problem: String| {
            Err(format!(
                "schema.json: {}: {problem}",
                if at.is_empty() { "/" } else { at }
            ))
        };
        let Some(keywords) = schema.as_object() else {
            return fail("not an object".to_owned());
        };
        for keyword in keywords.keys() {
            if !["type", "properties", "required"].contains(&keyword.as_str())
                && !NOTES.contains(&keyword.as_str())
            {
                return fail(format!("keyword {keyword:?} is not supported"));
            }
        }
        if schema["additionalProperties"] == Value::Bool(false) {
            return fail(
                "additionalProperties: false is not supported, since unknown fields are no error; remove it"
                    .to_owned(),
            );
        }
        if schema["type"] != "object" {
            return fail("type must be \"object\"".to_owned());
        }
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let Some(properties) = schema["properties"].as_object() else {
            return fail("properties are missing".to_owned());
        };
        if properties.len() > MAX_FIELDS {
            return fail(format!(
                "at most {MAX_FIELDS} fields an object are supported"
            ));
        }
        if let Some(stray) = required
            .iter()
            .find(|name| !properties.contains_key(**name))
        {
            return fail(format!(
                "required field {stray:?} is not among the properties"
            ));
        }
        let currency_slot = properties
            .iter()
            .position(|(_, property)| property["x-eventflow"] == "currency");
        // Slots are given in the order of the properties, so a currency's is known before its amount is compiled.
        let mut values_before = 0;
        let mut currency = None;
        for (index, (_, property)) in properties.iter().enumerate() {
            if Some(index) == currency_slot {
                currency = Some(self.slots + values_before);
            }
            values_before += count_values(property);
        }
        let mut fields = Vec::with_capacity(properties.len());
        for (name, property) in properties {
            let pointer = format!("{at}/{name}");
            let avro = record
                .and_then(|record| record.fields.iter().find(|field| field.name == *name))
                .map(|field| &field.schema);
            let kind = if property["type"] == "object" {
                let inner = match avro {
                    Some(Schema::Record(inner)) => Some(inner),
                    None => None,
                    Some(_) => {
                        return fail(format!(
                            "{name:?} is an object here, but not a record in record.avsc"
                        ));
                    }
                };
                Kind::Object(self.object(property, inner, &pointer)?)
            } else {
                let slot = self.slots;
                self.slots += 1;
                self.paths
                    .push((pointer.clone(), slot, required.contains(&name.as_str())));
                let rule = self
                    .rule(property, avro, currency, &pointer)
                    .map_err(|problem| format!("schema.json: {pointer}: {problem}"))?;
                Kind::Value { slot, rule }
            };
            fields.push(Field {
                name: name.clone(),
                pointer,
                required: required.contains(&name.as_str()),
                kind,
            });
        }
        Ok(Object { fields })
    }

    fn rule(
        &self,
        property: &Value,
        avro: Option<&Schema>,
        currency: Option<usize>,
        pointer: &str,
    ) -> Result<Rule, String> {
        let known = [
            "type",
            "const",
            "enum",
            "maxLength",
            "minLength",
            "format",
            "x-eventflow",
        ];
        if let Some(keyword) = property
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, _)| k.as_str())
            .find(|k| !known.contains(k) && !NOTES.contains(k))
        {
            return Err(format!("keyword {keyword:?} is not supported"));
        }
        let max_length = match &property["maxLength"] {
            Value::Null => None,
            length => Some(
                usize::try_from(length.as_u64().ok_or("maxLength must be a whole number")?)
                    .map_err(|error| error.to_string())?,
            ),
        };
        let rule = match (property["x-eventflow"].as_str(), property["type"].as_str()) {
            (Some("amount"), _) => {
                let Some(Schema::Decimal(decimal)) = avro.map(not_null) else {
                    return Err("an amount must be a decimal in record.avsc".to_owned());
                };
                if !matches!(decimal.inner, InnerDecimalSchema::Bytes) || decimal.precision > 38 {
                    return Err("an amount must be bytes with a decimal of at most 38 digits in record.avsc".to_owned());
                }
                let bound =
                    |number: usize| u32::try_from(number).map_err(|error| error.to_string());
                return Ok(Rule::Amount {
                    currency,
                    precision: bound(decimal.precision)?,
                    scale: bound(decimal.scale)?,
                });
            }
            (Some("currency"), Some("string")) => Rule::Currency,
            (Some("id"), Some("string")) => Rule::Text {
                blank: false,
                max_length: max_length.or(Some(256)),
                allowed: None,
            },
            (Some(other), _) => {
                return Err(format!(
                    "x-eventflow {other:?} is not id, amount or currency, or not for this type"
                ));
            }
            (None, Some("string")) if property["format"] == "date-time" => Rule::Time,
            (None, Some("string")) => {
                let allowed = match (&property["const"], &property["enum"]) {
                    (Value::String(only), _) => Some(vec![only.clone()]),
                    (_, Value::Array(several)) => Some(
                        several
                            .iter()
                            .filter_map(Value::as_str)
                            .map(str::to_owned)
                            .collect(),
                    ),
                    (Value::Null, Value::Null) => None,
                    _ => return Err("const and enum of a string must be strings".to_owned()),
                };
                if pointer == "/event_type"
                    && allowed.as_deref() != Some(&[self.event_type.to_owned()])
                {
                    return Err(format!(
                        "const must be the folder's name, {:?}",
                        self.event_type
                    ));
                }
                Rule::Text {
                    blank: property["minLength"].as_u64().unwrap_or(0) == 0,
                    max_length,
                    allowed,
                }
            }
            (None, Some("integer")) => {
                let version = property["const"].as_i64();
                if pointer != "/schema_version" && !property["const"].is_null() {
                    return Err(
                        "const of an integer is supported for schema_version only".to_owned()
                    );
                }
                Rule::Integer { version }
            }
            (None, Some("boolean")) => Rule::Boolean,
            (None, Some(other)) => {
                return Err(format!(
                    "type {other:?} is not supported; use string, integer, boolean or object"
                ));
            }
            (None, None) => return Err("type is missing".to_owned()),
        };
        let Some(avro) = avro else { return Ok(rule) };
        let fits = matches!(
            (&rule, not_null(avro)),
            (Rule::Text { .. } | Rule::Currency, Schema::String)
                | (Rule::Time, Schema::TimestampMicros)
                | (Rule::Boolean, Schema::Boolean)
                | (Rule::Integer { .. }, Schema::Long | Schema::Int)
        );
        if fits {
            Ok(rule)
        } else {
            Err(format!("does not fit {:?} in record.avsc", not_null(avro)))
        }
    }

    /// The writes, in the order of the Avro fields.
    fn order(&mut self, record: &RecordSchema, at: &str) -> Result<(), String> {
        for field in &record.fields {
            let pointer = format!("{at}/{}", field.name);
            if let Schema::Record(inner) = &field.schema {
                self.order(inner, &pointer)?;
                continue;
            }
            let null_branch = match &field.schema {
                Schema::Union(union) => {
                    let variants = union.variants();
                    let null = variants
                        .iter()
                        .position(|variant| matches!(variant, Schema::Null));
                    match (variants.len(), null) {
                        (2, Some(null)) => Some(i64::try_from(null).unwrap_or_default()),
                        _ => {
                            return Err(format!(
                                "record.avsc: {pointer}: only unions of null and one type are supported"
                            ));
                        }
                    }
                }
                _ => None,
            };
            let Some((_, slot, required)) = self.paths.iter().find(|(path, ..)| *path == pointer)
            else {
                return Err(format!("record.avsc: {pointer} is not in schema.json"));
            };
            if null_branch.is_none() && !required {
                return Err(format!(
                    "record.avsc: {pointer} is always written, so schema.json must require it (or make it a union with null)"
                ));
            }
            self.writes.push(Write {
                slot: *slot,
                null_branch,
            });
        }
        Ok(())
    }
}

fn not_null(schema: &Schema) -> &Schema {
    match schema {
        Schema::Union(union) => union
            .variants()
            .iter()
            .find(|variant| !matches!(variant, Schema::Null))
            .unwrap_or(schema),
        other => other,
    }
}

fn count_values(property: &Value) -> usize {
    match property["properties"].as_object() {
        Some(properties) => properties.values().map(count_values).sum(),
        None => 1,
    }
}
