//! Every Avro type and logical type: apache-avro writes, our decoder reads. And data that nobody honest writes.

#![allow(clippy::unwrap_used, reason = "a test")]

use apache_avro::types::Value as Avro;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Days, Decimal, Duration, Millis, Months, Schema};
use contracts::avro::datum::Decoder;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A record with one field of the payload.
fn record(kind: &Value) -> String {
    json!({"type": "record", "name": "Foreign", "namespace": "elsewhere", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "event_type", "type": "string"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "payload", "type": {"type": "record", "name": "Payload", "fields": [{"name": "x", "type": kind}]}},
    ]})
    .to_string()
}

fn written(schema: &str, value: Avro) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let payload = Avro::Record(vec![("x".to_owned(), value)]);
    let record = Avro::Record(vec![
        ("event_id".to_owned(), Avro::String("e".to_owned())),
        ("event_type".to_owned(), Avro::String("t".to_owned())),
        ("timestamp".to_owned(), Avro::TimestampMicros(5)),
        ("payload".to_owned(), payload),
    ]);
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    writer.write_value_to_vec(record).unwrap()
}

/// What a consumer reads of the field.
fn read(schema: &str, datum: &[u8]) -> Result<Value, String> {
    let decoder = Decoder::new(schema).map_err(|error| error.to_string())?;
    let event = decoder.decode(datum).map_err(|error| error.to_string())?;
    assert_eq!((event.event_id, event.occurred_at_micros), ("e", 5));
    let payload: Value = serde_json::from_str(&event.payload_json).unwrap();
    Ok(payload["x"].clone())
}

#[test]
fn every_type_is_read() {
    let logical = |kind: &str, name: &str| json!({"type": kind, "logicalType": name});
    let fixed = |name: &str, size: usize| json!({"type": "fixed", "name": name, "size": size});
    let decimal = |inner: Value, precision: usize, scale: usize| {
        let mut schema = if inner.is_object() {
            inner
        } else {
            json!({"type": inner})
        };
        schema["logicalType"] = json!("decimal");
        schema["precision"] = json!(precision);
        schema["scale"] = json!(scale);
        schema
    };
    let number = |number: i128| Avro::Decimal(Decimal::from(number.to_be_bytes().to_vec()));
    let mut uuid = fixed("U", 16);
    uuid["logicalType"] = json!("uuid");
    let mut duration = fixed("D", 12);
    duration["logicalType"] = json!("duration");
    let id = uuid::Uuid::from_u128(0x5b1f_0c9e_0d1c_7f3a_9c59_1d2f_6a7b_8c90);
    let huge = [0x01].into_iter().chain([0; 20]).collect::<Vec<u8>>();
    let cases = [
        (json!("null"), Avro::Null, json!(null)),
        (json!("boolean"), Avro::Boolean(true), json!(true)),
        (json!("int"), Avro::Int(i32::MIN), json!(i32::MIN)),
        (json!("long"), Avro::Long(i64::MIN), json!(i64::MIN)),
        (json!("float"), Avro::Float(0.1), json!(0.1)),
        (json!("float"), Avro::Float(-3.0), json!(-3)),
        (json!("double"), Avro::Double(0.1), json!(0.1)),
        (json!("double"), Avro::Double(5.0), json!(5)),
        (json!("double"), Avro::Double(1e300), json!(1e300)),
        (json!("double"), Avro::Double(f64::NAN), json!("NaN")),
        (
            json!("double"),
            Avro::Double(f64::INFINITY),
            json!("Infinity"),
        ),
        (
            json!("float"),
            Avro::Float(f32::NEG_INFINITY),
            json!("-Infinity"),
        ),
        (json!("bytes"), Avro::Bytes(vec![0, 255]), json!("00ff")),
        (
            json!("string"),
            Avro::String("\"ü\u{1}".to_owned()),
            json!("\"ü\u{1}"),
        ),
        (
            fixed("F", 3),
            Avro::Fixed(3, vec![1, 2, 255]),
            json!("0102ff"),
        ),
        (
            json!({"type": "enum", "name": "E", "symbols": ["a", "b"]}),
            Avro::Enum(1, "b".to_owned()),
            json!("b"),
        ),
        (
            json!({"type": "array", "items": "long"}),
            Avro::Array(vec![Avro::Long(1), Avro::Long(-1)]),
            json!([1, -1]),
        ),
        (
            json!({"type": "array", "items": "null"}),
            Avro::Array(vec![Avro::Null; 3]),
            json!([null, null, null]),
        ),
        (
            json!({"type": "map", "values": ["null", "string"]}),
            Avro::Map(
                [(
                    "k\"".to_owned(),
                    Avro::Union(1, Box::new(Avro::String("v".to_owned()))),
                )]
                .into(),
            ),
            json!({"k\"": "v"}),
        ),
        (
            json!(["null", "int", "string"]),
            Avro::Union(1, Box::new(Avro::Int(7))),
            json!(7),
        ),
        (
            decimal(json!("bytes"), 38, 4),
            number(-499_000),
            json!("-49.9"),
        ),
        (
            decimal(json!("bytes"), 50, 2),
            Avro::Decimal(Decimal::from(huge)),
            json!("14615016373309029182036848327162830196559325429.76"),
        ),
        (
            decimal(fixed("Money", 8), 18, 2),
            number(4990),
            json!("49.9"),
        ),
        (
            logical("string", "uuid"),
            Avro::Uuid(id),
            json!(id.to_string()),
        ),
        (uuid, Avro::Uuid(id), json!(id.to_string())),
        (logical("int", "date"), Avro::Date(-1), json!("1969-12-31")),
        (
            logical("int", "time-millis"),
            Avro::TimeMillis(3_723_004),
            json!("01:02:03.004"),
        ),
        (
            logical("long", "time-micros"),
            Avro::TimeMicros(0),
            json!("00:00:00"),
        ),
        (
            logical("long", "timestamp-millis"),
            Avro::TimestampMillis(-1),
            json!("1969-12-31T23:59:59.999Z"),
        ),
        (
            logical("long", "timestamp-micros"),
            Avro::TimestampMicros(1),
            json!("1970-01-01T00:00:00.000001Z"),
        ),
        (
            logical("long", "timestamp-nanos"),
            Avro::TimestampNanos(1),
            json!("1970-01-01T00:00:00.000000001Z"),
        ),
        (
            logical("long", "local-timestamp-millis"),
            Avro::LocalTimestampMillis(0),
            json!("1970-01-01T00:00:00"),
        ),
        (
            logical("long", "local-timestamp-micros"),
            Avro::LocalTimestampMicros(1),
            json!("1970-01-01T00:00:00.000001"),
        ),
        (
            logical("long", "local-timestamp-nanos"),
            Avro::LocalTimestampNanos(0),
            json!("1970-01-01T00:00:00"),
        ),
        (
            duration,
            Avro::Duration(Duration::new(Months::new(1), Days::new(2), Millis::new(3))),
            json!({"months": 1, "days": 2, "millis": 3}),
        ),
    ];
    for (kind, value, expected) in cases {
        let schema = record(&kind);
        let datum = written(&schema, value);
        assert_eq!(read(&schema, &datum), Ok(expected), "{kind}");
        for length in 0..datum.len() {
            let cut = Decoder::new(&schema).unwrap();
            // A null has no bytes that could be missing.
            assert!(
                cut.decode(&datum[..length]).is_err(),
                "{kind} cut to {length}"
            );
        }
    }
}

#[test]
fn names_are_resolved_and_a_record_may_hold_itself() {
    let kind = json!({"type": "record", "name": "Node", "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "namespace": "other", "symbols": ["a", "b"]}},
        {"name": "again", "type": "other.Kind"},
        {"name": "next", "type": ["null", "Node"]},
    ]});
    let schema = record(&kind);
    let symbol = |index: u32| Avro::Enum(index, ["a", "b"][index as usize].to_owned());
    let node = |next: Avro| {
        Avro::Record(vec![
            ("kind".to_owned(), symbol(0)),
            ("again".to_owned(), symbol(1)),
            ("next".to_owned(), next),
        ])
    };
    let end = node(Avro::Union(0, Box::new(Avro::Null)));
    let datum = written(&schema, node(Avro::Union(1, Box::new(end))));
    assert_eq!(
        read(&schema, &datum),
        Ok(json!({"kind": "a", "again": "b", "next": {"kind": "a", "again": "b", "next": null}}))
    );
    // Without end: each level is two bytes of symbols and one of the branch.
    let mut deep = written(&schema, node(Avro::Union(0, Box::new(Avro::Null))));
    deep.pop();
    for _ in 0..100_000 {
        deep.extend([2, 0, 2]);
    }
    assert!(read(&schema, &deep).unwrap_err().contains("levels deep"));
}

/// The head of a record, with `payload` after it.
fn datum(payload: &[u8]) -> Vec<u8> {
    [&[2, b'e', 2, b't', 10], payload].concat()
}

#[test]
fn blocks_may_say_their_size_and_false_ones_are_refused() {
    let schema = record(&json!({"type": "array", "items": "int"}));
    // Two items in a block of -2 and its size in bytes, one in a plain block.
    assert_eq!(
        read(&schema, &datum(&[3, 4, 2, 4, 2, 6, 0])),
        Ok(json!([1, 2, 3]))
    );
    for (payload, says) in [
        (&[3, 200, 1, 2, 4, 0][..], "longer than the data"),
        (&[3, 1, 2, 4, 0], "longer than the data"),
        (&[2, 2], "truncated"),
    ] {
        let error = read(&schema, &datum(payload)).unwrap_err();
        assert!(error.contains(says), "{payload:?}: {error}");
    }
    let nothing = record(
        &json!({"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}}),
    );
    let billions = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let error = read(&nothing, &datum(&billions)).unwrap_err();
    assert!(error.contains("items without bytes"), "{error}");
    let text = record(&json!("string"));
    let error = read(&text, &datum(&billions)).unwrap_err();
    assert!(error.contains("truncated"), "{error}");
    for (kind, payload) in [
        (json!("boolean"), &[2][..]),
        (json!("string"), &[2, 255]),
        (json!("string"), &[1]),
        (json!("int"), &[254, 255, 255, 255, 31]),
        (json!({"type": "enum", "name": "E", "symbols": ["a"]}), &[2]),
        (json!(["null", "int"]), &[4]),
        (
            json!({"type": "int", "logicalType": "date"}),
            &[254, 255, 255, 255, 15],
        ),
        (json!({"type": "int", "logicalType": "time-millis"}), &[1]),
        (
            json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
            &[0],
        ),
    ] {
        let schema = record(&kind);
        assert!(read(&schema, &datum(payload)).is_err(), "{kind}");
    }
}

#[test]
fn a_record_of_thousands_of_empty_fields_is_not_written_out_without_end() {
    let fields: Vec<Value> = (0..1000)
        .map(|index| json!({"name": format!("a_rather_long_name_{index}"), "type": "null"}))
        .collect();
    let schema = record(
        &json!({"type": "array", "items": {"type": "record", "name": "Wide", "fields": fields}}),
    );
    let error = read(&schema, &datum(&[0xfe, 0xff, 0x7f])).unwrap_err();
    assert!(error.contains("16 MiB"), "{error}");
}

fn kind() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("null")),
        Just(json!("boolean")),
        Just(json!("int")),
        Just(json!("long")),
        Just(json!("double")),
        Just(json!("string")),
        Just(json!("bytes")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|items| json!({"type": "array", "items": items})),
            inner
                .clone()
                .prop_map(|values| json!({"type": "map", "values": values})),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|kinds| {
                let fields = kinds.into_iter().enumerate();
                let fields =
                    fields.map(|(index, kind)| json!({"name": format!("f{index}"), "type": kind}));
                json!({"type": "record", "name": "REPLACED", "fields": fields.collect::<Vec<_>>()})
            }),
            // A union holds no union, and no two of one kind.
            inner.prop_map(|kind| match kind {
                Value::Array(_) => kind,
                Value::String(ref name) if name == "null" => json!(["string", "null"]),
                kind => json!(["null", kind]),
            }),
        ]
    })
    .prop_map(|kind| {
        // Each record has a name of its own.
        let mut text = kind.to_string();
        let mut number = 0;
        while text.contains("REPLACED") {
            text = text.replacen("REPLACED", &format!("R{number}"), 1);
            number += 1;
        }
        serde_json::from_str(&text).unwrap()
    })
}

/// A value of a type, by its seed, and what is read of it.
fn value(kind: &Value, seed: u64) -> (Avro, Value) {
    let next = |at: u64| {
        seed.wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(at * 977 + 11)
            >> 3
    };
    let count = seed % 3;
    match kind {
        Value::Array(branches) => {
            let branch = (seed % 2) as u32;
            let (inner, read) = value(&branches[branch as usize], next(1));
            (Avro::Union(branch, Box::new(inner)), read)
        }
        Value::Object(complex) => match complex["type"].as_str().unwrap() {
            "array" => {
                let items = (0..count).map(|at| value(&complex["items"], next(at)));
                let (items, read): (Vec<_>, Vec<_>) = items.unzip();
                (Avro::Array(items), Value::Array(read))
            }
            "map" => {
                let entries =
                    (0..count).map(|at| (format!("k{at}"), value(&complex["values"], next(at))));
                let (mut map, mut read) =
                    (std::collections::HashMap::new(), serde_json::Map::new());
                for (name, (inner, json)) in entries {
                    map.insert(name.clone(), inner);
                    read.insert(name, json);
                }
                (Avro::Map(map), read.into())
            }
            _ => {
                let (mut fields, mut read) = (Vec::new(), serde_json::Map::new());
                for (at, field) in complex["fields"].as_array().unwrap().iter().enumerate() {
                    let (inner, json) = value(&field["type"], next(at as u64));
                    let name = field["name"].as_str().unwrap().to_owned();
                    fields.push((name.clone(), inner));
                    read.insert(name, json);
                }
                (Avro::Record(fields), read.into())
            }
        },
        simple => match simple.as_str().unwrap() {
            "null" => (Avro::Null, json!(null)),
            "boolean" => (Avro::Boolean(count == 0), json!(count == 0)),
            "int" => (Avro::Int(seed as i32), json!(seed as i32)),
            "long" => (Avro::Long(next(0) as i64), json!(next(0) as i64)),
            "double" => {
                let double = (seed as i32) as f64 / 8.0 + 0.0625;
                (Avro::Double(double), json!(double))
            }
            "string" => (
                Avro::String(format!("t{count}é")),
                json!(format!("t{count}é")),
            ),
            _ => (
                Avro::Bytes(vec![seed as u8; 2]),
                json!(hex::encode([seed as u8; 2])),
            ),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_apache_avro_writes_is_read(kind in kind(), seed in any::<u64>()) {
        let schema = record(&kind);
        let (avro, expected) = value(&kind, seed);
        let datum = written(&schema, avro);
        prop_assert_eq!(read(&schema, &datum), Ok(expected), "{}", kind);
    }

    #[test]
    fn no_bytes_make_it_panic(kind in kind(), bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        drop(Decoder::new(&record(&kind)).unwrap().decode(&datum(&bytes)));
    }
}
