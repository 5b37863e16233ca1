//! Validated records, read by the crate apache-avro: the stages read and write them by code of our own.

use crate::content::Made;
use crate::json::Json;
use anyhow::{Context, bail};
use apache_avro::Schema;
use apache_avro::types::Value;
use std::collections::HashMap;
use std::time::Duration;

/// Longest wait for a schema.
const DEADLINE: Duration = Duration::from_secs(15);

/// Schemas by id, of a registry.
#[derive(Default)]
pub(crate) struct Schemas {
    by_id: HashMap<i32, Schema>,
}

impl Schemas {
    /// Adds a schema; for tests, and for those of a registry.
    pub(crate) fn add(&mut self, id: i32, text: &str) -> anyhow::Result<()> {
        let schema = Schema::parse_str(text);
        self.by_id
            .insert(id, schema.context("the registry's schema cannot be read")?);
        Ok(())
    }

    /// Asks the registry for a schema.
    pub(crate) async fn fetch(&mut self, registry: &str, id: i32) -> anyhow::Result<()> {
        let url = format!("{}/schemas/ids/{id}", registry.trim_end_matches('/'));
        let client = runtime::http_client::builder().timeout(DEADLINE).build()?;
        let cannot =
            || format!("the schema registry has no schema {id} for us; check --registry-url");
        let answer = client
            .get(url)
            .send()
            .await
            .map_err(reqwest::Error::without_url);
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer
            .map_err(reqwest::Error::without_url)
            .with_context(cannot)?;
        let answer: serde_json::Value = answer.json().await.with_context(cannot)?;
        let text = answer["schema"].as_str().with_context(cannot)?;
        self.add(id, text)
    }

    /// Reads a framed record.
    pub(crate) fn read(&self, value: &[u8]) -> anyhow::Result<Made> {
        let (id, mut datum) = unframe(value).context("not in Confluent's wire format")?;
        let schema = self
            .by_id
            .get(&id)
            .context("a schema id that was not seen before")?;
        let read = apache_avro::reader::datum::GenericDatumReader::builder(schema).build()?;
        let value = read.read_value(&mut datum)?;
        if !datum.is_empty() {
            bail!("{} bytes are left over", datum.len());
        }
        let Json::Object(members) = json(&value, schema)? else {
            bail!("not a record");
        };
        let record = Json::Object(members);
        let text = |name: &str| record.get(name).and_then(Json::text).map(str::to_owned);
        let Some(Json::Time(occurred_at_micros)) = record.get("timestamp") else {
            bail!("it has no timestamp");
        };
        let mut payload = record
            .get("payload")
            .cloned()
            .context("it has no payload")?;
        if let Some(rest) = text("rest") {
            let Some(Json::Object(rest)) = Json::parse(&rest) else {
                bail!("its rest is not a JSON object");
            };
            for (pointer, value) in rest {
                payload = put(payload, &pointer, value)?;
            }
        }
        Ok(Made {
            event_id: text("event_id").context("it has no event_id")?,
            event_type: text("event_type").context("it has no event_type")?,
            occurred_at_micros: *occurred_at_micros,
            payload,
        })
    }
}

/// Schema id and datum.
pub(crate) fn unframe(value: &[u8]) -> Option<(i32, &[u8])> {
    match value {
        [0, a, b, c, d, datum @ ..] => Some((i32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => None,
    }
}

/// Puts a value where a JSON pointer says; objects on the way that are not there are made.
fn put(into: Json, pointer: &str, value: Json) -> anyhow::Result<Json> {
    let Some(rest) = pointer.strip_prefix('/') else {
        return Ok(value);
    };
    let (token, after) = match rest.split_once('/') {
        Some((token, _)) => (token, &rest[token.len()..]),
        None => (rest, ""),
    };
    let token = token.replace("~1", "/").replace("~0", "~");
    match into {
        Json::Array(mut items) => {
            let index: usize = token.parse()?;
            let item = items
                .get_mut(index)
                .context("the rest names an item that is not there")?;
            *item = put(std::mem::replace(item, Json::Null), after, value)?;
            Ok(Json::Array(items))
        }
        Json::Object(mut members) => {
            match members.iter_mut().find(|(own, _)| *own == token) {
                Some((_, member)) => {
                    *member = put(std::mem::replace(member, Json::Null), after, value)?;
                }
                None => members.push((token, put(Json::Null, after, value)?)),
            }
            Ok(Json::Object(members))
        }
        _ => Ok(Json::Object(vec![(token, put(Json::Null, after, value)?)])),
    }
}

fn json(value: &Value, schema: &Schema) -> anyhow::Result<Json> {
    let hex = |bytes: &[u8]| Json::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    Ok(match (value, schema) {
        (Value::Union(index, value), Schema::Union(union)) => {
            let variant = union.variants().get(usize::try_from(*index)?);
            json(value, variant.context("a union has no such variant")?)?
        }
        (Value::Record(fields), Schema::Record(record)) => {
            let fields = fields.iter().zip(&record.fields);
            let read =
                |((name, value), field): (&(String, Value), &apache_avro::schema::RecordField)| {
                    Ok((name.clone(), json(value, &field.schema)?))
                };
            Json::Object(fields.map(read).collect::<anyhow::Result<_>>()?)
        }
        (Value::Array(items), Schema::Array(array)) => {
            let items = items.iter().map(|item| json(item, &array.items));
            Json::Array(items.collect::<anyhow::Result<_>>()?)
        }
        (Value::Map(members), Schema::Map(map)) => {
            let read =
                |(name, value): (&String, &Value)| Ok((name.clone(), json(value, &map.types)?));
            Json::Object(members.iter().map(read).collect::<anyhow::Result<_>>()?)
        }
        (Value::Decimal(decimal), Schema::Decimal(about)) => {
            Json::Text(decimal_text(&Vec::try_from(decimal)?, about.scale)?)
        }
        (Value::Null, _) => Json::Null,
        (Value::Boolean(value), _) => Json::Bool(*value),
        (Value::Int(value), _) => Json::Number(value.to_string()),
        (Value::Long(value), _) => Json::Number(value.to_string()),
        (Value::Float(value), _) => Json::Double(f64::from(*value)),
        (Value::Double(value), _) => Json::Double(*value),
        (Value::String(text) | Value::Enum(_, text), _) => Json::Text(text.clone()),
        (Value::Uuid(uuid), _) => Json::Text(uuid.to_string()),
        (Value::Bytes(bytes) | Value::Fixed(_, bytes), _) => hex(bytes),
        (Value::Date(days), _) => Json::Date(*days),
        (Value::TimestampMicros(micros), _) => Json::Time(*micros),
        (Value::TimestampMillis(millis), _) => Json::Time(millis.saturating_mul(1000)),
        (other, _) => bail!("a type that verify does not read: {other:?}"),
    })
}

/// Two's complement, big-endian, with so many digits after the point.
fn decimal_text(bytes: &[u8], scale: usize) -> anyhow::Result<String> {
    let mut number: i128 = match bytes.first() {
        Some(first) if first & 0x80 != 0 => -1,
        _ => 0,
    };
    for byte in bytes {
        number = number
            .checked_mul(256)
            .context("a decimal of more than 38 digits")?
            + i128::from(*byte);
    }
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if number < 0 { "-" } else { "" };
    Ok(match fraction {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit() {
        let text = |bytes: &[u8], scale| decimal_text(bytes, scale).unwrap();
        assert_eq!(text(&[0x13, 0x7e], 2), "49.90");
        assert_eq!(text(&[0xff], 4), "-0.0001");
        assert_eq!(text(&[], 2), "0.00");
        assert_eq!(text(&[0x01, 0x00], 0), "256");
        assert!(decimal_text(&[1; 17], 0).is_err());
    }

    #[test]
    fn the_rest_is_put_back() {
        let payload = Json::parse(r#"{"a":{"b":1},"c":[{},{}]}"#).unwrap();
        let payload = put(payload, "/a/x~1y", Json::Bool(true)).unwrap();
        let payload = put(payload, "/c/1/d", Json::Number("1.50".to_owned())).unwrap();
        let payload = put(payload, "/new/deep", Json::Null).unwrap();
        let expected = r#"{"a":{"b":1,"x/y":true},"c":[{},{"d":1.50}],"new":{"deep":null}}"#;
        assert_eq!(payload, Json::parse(expected).unwrap());
    }
}
