//! The crate jsonschema as the judge of our plan, and apache-avro as the judge of what it writes, over generated contracts and payloads.
//!
//! Differences that are known and wanted, and how each is kept out of the comparison:
//! - null counts as missing where the schema does not allow it: such nulls are taken out of what the judge is shown;
//! - ids are not blank and have at most 256 characters, texts have no U+0000, currencies are ISO 4217, integers have 64 bits: the judge's
//!   schema says so in JSON Schema's words;
//! - amounts keep the rules of money, which JSON Schema cannot say: the generated ones do;
//! - a field twice is refused, which a JSON tree cannot show: none is generated;
//! - years are 1 to 9999 in UTC, and leap seconds are the last of a month: the generated times do not go there;
//! - `format` is a rule here, not a note: the judge is told to assert it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod shapes;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use contracts::avro::content;
use contracts::avro::datum::Decoder;
use contracts::event::{Catalog, ContractFiles, Envelope};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use shapes::{Shape, Tape, members, object};
use std::cell::Cell;

/// A payload in EventFlow's own envelope.
fn enveloped(payload: &str) -> String {
    format!(
        r#"{{"event_id":"e","event_type":"t","timestamp":"2026-01-02T03:04:05Z","payload":{payload}}}"#
    )
}

/// What the judge is shown: without the nulls that count as missing.
fn shown(shape: &Shape, value: &Value) -> Value {
    match (shape, value) {
        (Shape::Object { members, .. }, Value::Object(given)) => given
            .iter()
            .filter_map(|(name, value)| {
                let member = members.iter().find(|member| member.name == *name);
                let Some(member) = member else {
                    return Some((name.clone(), value.clone()));
                };
                let takes_null = match &member.shape {
                    Shape::Raw(schema) => schema
                        .get("type")
                        .is_none_or(|types| types.to_string().contains("null")),
                    _ => member.nullable,
                };
                (takes_null || !value.is_null())
                    .then(|| (name.clone(), shown(&member.shape, value)))
            })
            .collect(),
        (Shape::Map(values, _), Value::Object(given)) => given
            .iter()
            .map(|(name, value)| (name.clone(), shown(values, value)))
            .collect(),
        (Shape::Array { item, .. }, Value::Array(items)) => {
            items.iter().map(|value| shown(item, value)).collect()
        }
        (_, _) => value.clone(),
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn instant(text: &Value) -> i128 {
    let format = &time::format_description::well_known::Rfc3339;
    let nanos = time::OffsetDateTime::parse(text.as_str().unwrap(), format)
        .unwrap()
        .unix_timestamp_nanos();
    nanos.div_euclid(1000)
}

/// Whether a consumer reads what was sent.
fn same(shape: &Shape, sent: &Value, read: &Value) -> bool {
    match (shape, sent) {
        (_, Value::Null) => read.is_null(),
        (Shape::Object { members, .. }, Value::Object(given)) => {
            let shape_of = |name: &str| members.iter().find(|member| member.name == name);
            given.iter().all(|(name, sent)| match shape_of(name) {
                // A name that Avro does not take: kept as it was sent.
                Some(_) if name.contains(['/', '~', '-']) => read[name] == *sent,
                Some(member) => same(&member.shape, sent, &read[name]),
                None => read.get(name) == Some(sent),
            }) && read.as_object().is_some_and(|read| {
                read.iter()
                    .all(|(name, value)| value.is_null() || given.contains_key(name))
            })
        }
        (Shape::Map(values, _), Value::Object(given)) => {
            given.len() == read.as_object().map_or(0, serde_json::Map::len)
                && given
                    .iter()
                    .all(|(name, sent)| same(values, sent, &read[name]))
        }
        (Shape::Array { item, .. }, Value::Array(items)) => {
            items.len() == read.as_array().map_or(0, Vec::len)
                && items
                    .iter()
                    .enumerate()
                    .all(|(index, sent)| same(item, sent, &read[index]))
        }
        (Shape::Amount(..), _) => {
            let exact = match sent {
                Value::String(text) if text == "49.90" => "49.9",
                Value::String(text) => text.as_str(),
                Value::Number(_) if (number(sent) - 49.9).abs() < 1e-9 => "49.9",
                Value::Number(_) if number(sent) > 50.0 => "100",
                _ => "7",
            };
            read == exact
        }
        (Shape::Money, Value::Object(given)) => {
            let minor = match number(&given["minor"]) {
                value if value > 1000.0 => "49.9",
                value if value > 100.0 => "1.2",
                value if value > 0.5 => "0.01",
                value if value < -0.5 => "-0.05",
                _ => "0",
            };
            read["minor"] == minor
                && read["currency"] == given["currency"]
                && read["note"] == given["note"]
        }
        (Shape::Time, _) => instant(sent) == instant(read),
        (Shape::Number(..), _) => (number(sent) - number(read)).abs() < f64::EPSILON,
        (_, _) => sent == read,
    }
}

#[test]
fn the_plan_and_jsonschema_give_the_same_verdict_and_consumers_read_what_was_sent() {
    let (accepted, rejected, kept) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let config = Config {
        cases: 3000,
        failure_persistence: None,
        ..Config::default()
    };
    let tapes = proptest::collection::vec(any::<u8>(), 0..250);
    TestRunner::new(config)
        .run(&tapes, |choices| {
            let mut tape = Tape(choices.iter());
            let members = members(&mut tape, 0);
            let closed = tape.chance(6);
            let shape = Shape::Object {
                members: members.clone(),
                closed,
            };
            let schema = shape.schema(false);
            prop_assert!(jsonschema::meta::is_valid(&schema), "{schema}");
            let contracts = Catalog::compile([ContractFiles {
                name: "generated.thing".to_owned(),
                version: 1,
                schema_json: schema.to_string(),
                record_avsc: None,
                schema_id: None,
            }])
            .map_err(|error| TestCaseError::fail(format!("{error}\n{schema}")))?;
            let contract = contracts.contract("generated.thing").unwrap();
            let judge = jsonschema::options()
                .with_draft(jsonschema::Draft::Draft202012)
                .should_validate_formats(true)
                .build(&shape.schema(true))
                .unwrap();
            let avro = Schema::parse_str(&contract.record_avsc).unwrap();
            let reader = GenericDatumReader::builder(&avro).build().unwrap();
            let decoder = Decoder::new(&contract.record_avsc).unwrap();
            for _ in 0..4 {
                let sent = object(&members, &mut tape);
                let text = sent.written(false);
                let value: Value = serde_json::from_str(&text).unwrap();
                let body = enveloped(&text);
                let verdict = contract.validate(Envelope::own(body.as_bytes()).unwrap());
                let context = || format!("{text}\n{schema}\n{:?}", verdict.as_ref().err());
                prop_assert_eq!(
                    judge.is_valid(&shown(&shape, &value)),
                    verdict.is_ok(),
                    "{}",
                    context()
                );
                let Ok(event) = &verdict else {
                    rejected.set(rejected.get() + 1);
                    continue;
                };
                accepted.set(accepted.get() + 1);
                let mut datum = Vec::new();
                event.encode(&mut datum);
                let mut rest = datum.as_slice();
                let read = reader.read_value(&mut rest);
                prop_assert!(rest.is_empty() && read.is_ok(), "{:?} {}", read, context());
                let read = decoder.decode(&datum).unwrap();
                let payload: Value = serde_json::from_str(&read.payload_json).unwrap();
                prop_assert!(same(&shape, &value, &payload), "{payload}\n{}", context());
                kept.set(kept.get() + usize::from(text.contains("unknown")));
                // The same, written otherwise, is a duplicate.
                let other = sent.written(true);
                let body = enveloped(&other);
                let envelope = Envelope::own(body.as_bytes()).unwrap();
                let mut again = Vec::new();
                contract.validate(envelope).unwrap().encode(&mut again);
                prop_assert_eq!(&datum, &again, "{}", context());
                prop_assert_eq!(
                    content::hash(&read),
                    content::hash(&decoder.decode(&again).unwrap())
                );
            }
            Ok(())
        })
        .unwrap();
    assert!(
        accepted.get() > 500 && rejected.get() > 500 && kept.get() > 50,
        "{} accepted, {} of them with unknown fields, {} rejected",
        accepted.get(),
        kept.get(),
        rejected.get()
    );
}
