//! The Avro record of a contract that has no `record.avsc`, derived from its schema. `docs/EXTEND.md` states the rules.

use super::schema::{Schema, Shape, TextKind, TextSchema, Unit};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Digits of an amount.
pub(crate) const PRECISION: u32 = 28;
/// Digits of an amount after the point: what ISO 4217 needs at most.
const SCALE: u32 = 4;

/// Digits of an amount after the point: more where its unit has more.
pub(crate) fn scale(unit: &Unit) -> u32 {
    match unit {
        Unit::Major => SCALE,
        Unit::Fixed(digits) => SCALE.max(*digits),
        Unit::Minor(own) => own.iter().map(|(_, digits)| *digits).fold(SCALE, u32::max),
    }
}

/// The record: `stripe.charge.refunded` is `eventflow.stripe.charge.StripeChargeRefunded`, in every version, so that versions are of one
/// subject.
pub(crate) fn record(contract: &str, payload: &Schema) -> Value {
    let segments: Vec<String> = contract.split('.').map(avro_name).collect();
    let name: String = segments
        .iter()
        .map(|segment| capitalised(segment))
        .collect();
    let mut namespace = vec!["eventflow".to_owned()];
    namespace.extend_from_slice(&segments[..segments.len().saturating_sub(1)]);
    let mut deriver = Deriver {
        names: HashSet::from([name.clone()]),
    };
    let inner = match &payload.shape {
        Shape::Object(_) => deriver.kind(payload, &format!("{name}Payload")),
        _ => None,
    };
    let inner = inner.unwrap_or_else(
        || json!({"type": "record", "name": format!("{name}Payload"), "fields": []}),
    );
    json!({
        "type": "record",
        "name": name,
        "namespace": namespace.join("."),
        "fields": [
            {"name": "event_id", "type": "string"},
            {"name": "event_type", "type": "string"},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "payload", "type": inner},
            {"name": "rest", "type": ["null", "string"], "default": null},
        ],
    })
}

struct Deriver {
    /// Names of types that are taken
    names: HashSet<String>,
}

impl Deriver {
    /// A name for a type; the second of the same name is followed by 2, and so on.
    fn name(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}{number}");
        }
        name
    }

    /// The type of a value that is there; `None` for what travels in the field `rest`.
    fn kind(&mut self, schema: &Schema, name: &str) -> Option<Value> {
        Some(match &schema.shape {
            Shape::Raw(_) => return None,
            Shape::Object(object) => {
                let name = self.name(name);
                let mut fields = Vec::new();
                for field in &object.fields {
                    // Another name than the vendor's would be an invention.
                    if !is_avro_name(&field.name) {
                        continue;
                    }
                    let inner = format!("{name}{}", capitalised(&field.name));
                    if let Some(kind) = self.kind(&field.schema, &inner) {
                        fields.push(if field.required && !field.schema.nullable {
                            json!({"name": field.name, "type": kind})
                        } else {
                            json!({"name": field.name, "type": ["null", kind], "default": null})
                        });
                    }
                }
                json!({"type": "record", "name": name, "fields": fields})
            }
            Shape::Map(values) => {
                json!({"type": "map", "values": self.item(values, &format!("{name}Value"))?})
            }
            Shape::Array(array) => {
                json!({"type": "array", "items": self.item(&array.items, &format!("{name}Item"))?})
            }
            Shape::Text(text) => self.text(text, name),
            Shape::Number(number) if !number.integer => json!("double"),
            Shape::Number(number) => {
                let wide = |bound: Option<super::schema::Bound>| {
                    bound.is_some_and(|bound| i64::try_from(bound.at.unscaled).is_err())
                };
                if wide(number.bounds.least) || wide(number.bounds.most) {
                    json!({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0})
                } else {
                    json!("long")
                }
            }
            Shape::Amount(amount) => json!({
                "type": "bytes", "logicalType": "decimal", "precision": PRECISION, "scale": scale(&amount.unit),
            }),
            Shape::Boolean { .. } => json!("boolean"),
        })
    }

    fn item(&mut self, schema: &Schema, name: &str) -> Option<Value> {
        let kind = self.kind(schema, name)?;
        Some(if schema.nullable {
            json!(["null", kind])
        } else {
            kind
        })
    }

    fn text(&mut self, text: &TextSchema, name: &str) -> Value {
        match (text.kind, &text.allowed) {
            (TextKind::Time, _) => json!({"type": "long", "logicalType": "timestamp-micros"}),
            (TextKind::Date, _) => json!({"type": "int", "logicalType": "date"}),
            (TextKind::Uuid, _) => json!({"type": "string", "logicalType": "uuid"}),
            (TextKind::Plain | TextKind::Id | TextKind::Currency(_), Some(symbols))
                if symbols.len() > 1
                    && symbols.iter().all(|symbol| is_avro_name(symbol))
                    && symbols.iter().collect::<HashSet<_>>().len() == symbols.len() =>
            {
                json!({"type": "enum", "name": self.name(name), "symbols": symbols})
            }
            (TextKind::Plain | TextKind::Id | TextKind::Currency(_), _) => json!("string"),
        }
    }
}

/// `[A-Za-z_][A-Za-z0-9_]*`
fn is_avro_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn avro_name(segment: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name: String = segment
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    if is_avro_name(&name) {
        name
    } else {
        format!("_{name}")
    }
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + letters.as_str()
    })
}
