//! Contracts as data: every example, exact amounts, and apache-avro as the judge of what is written and read.

#![allow(clippy::unwrap_used, reason = "a test")]

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use contracts::RejectionCode;
use contracts::avro::datum::Decoder;
use contracts::avro::framing;
use contracts::event::{Catalog, Contract, ContractFiles, backward_compatible};
use proptest::prelude::*;
use std::path::Path;

fn encode(contracts: &Catalog, body: &[u8]) -> Vec<u8> {
    let mut datum = Vec::new();
    contracts.validate(body).unwrap().encode(&mut datum);
    datum
}

fn body(amount: &str, currency: &str) -> String {
    format!(
        r#"{{"event_id":"e1","event_type":"payment.authorized.v1","schema_version":1,"source":"s","timestamp":"2026-01-02T03:04:05.000007Z","payload":{{"payment_id":"p\"1","order_id":"o","amount":{amount},"currency":"{currency}","provider_auth_id":"ü"}}}}"#
    )
}

fn each_example(kind: &str, mut check: impl FnMut(&Contract, &str, &[u8])) {
    let contracts = Catalog::builtin();
    let mut seen = 0;
    for contract in contracts.iter() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("events")
            .join(&contract.event_type)
            .join("examples")
            .join(kind);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            check(
                contract,
                path.file_stem().unwrap().to_str().unwrap(),
                &std::fs::read(&path).unwrap(),
            );
            seen += 1;
        }
    }
    assert!(seen >= 10);
}

#[test]
fn every_valid_example_passes_and_reads_back() {
    let contracts = Catalog::builtin();
    each_example("valid", |contract, name, bytes| {
        let datum = encode(&contracts, bytes);
        let event = Decoder::new(&contract.record_avsc)
            .unwrap()
            .decode(&datum)
            .unwrap();
        assert_eq!(event.event_type, contract.event_type, "{name}");
        // Of the payments' examples; another event type may have neither.
        if contract.event_type.starts_with("payment.") {
            assert_eq!(event.currency.as_deref(), Some("EUR"));
            assert!(
                event.payload_json.contains(r#""payment_id":"pay_1001""#)
                    && !event.payload_json.contains("extra"),
                "{}",
                event.payload_json
            );
        }
        let schema = Schema::parse_str(&contract.record_avsc).unwrap();
        let mut rest = datum.as_slice();
        let Value::Record(fields) = GenericDatumReader::builder(&schema)
            .build()
            .unwrap()
            .read_value(&mut rest)
            .unwrap()
        else {
            panic!("no record")
        };
        assert!(rest.is_empty());
        assert_eq!(fields[0].1, Value::String(event.event_id.to_owned()));
        assert_eq!(
            GenericDatumWriter::builder(&schema)
                .build()
                .unwrap()
                .write_value_to_vec(Value::Record(fields))
                .unwrap(),
            datum,
            "byte for byte what apache-avro writes"
        );
    });
}

#[test]
fn every_invalid_example_fails_with_the_code_it_names() {
    let contracts = Catalog::builtin();
    each_example("invalid", |_, name, bytes| {
        let code = name.split("--").next().unwrap();
        assert_eq!(
            contracts
                .validate(bytes)
                .map(|_| ())
                .unwrap_err()
                .code
                .code(),
            code,
            "{name}"
        );
    });
}

#[test]
fn what_is_no_event_at_all_has_its_code() {
    let contracts = Catalog::builtin();
    let code = |bytes: &[u8]| contracts.validate(bytes).map(|_| ()).unwrap_err().code;
    assert_eq!(code(b""), RejectionCode::EmptyBody);
    assert_eq!(code(b"\xff\xfe{}"), RejectionCode::NotUtf8);
    assert_eq!(code(b"hello"), RejectionCode::NotJson);
    assert_eq!(code(b"17"), RejectionCode::NotAnObject);
    assert_eq!(code(b"{}"), RejectionCode::MissingField);
    assert_eq!(code(br#"{"event_type":5}"#), RejectionCode::WrongType);
    assert_eq!(
        code(format!(r#"{{"a":{}{}}}"#, "[".repeat(128), "]".repeat(128)).as_bytes()),
        RejectionCode::TooDeep
    );
    assert_eq!(
        code(format!(r#"{{"a":"{}"}}"#, "[{".repeat(500)).as_bytes()),
        RejectionCode::MissingField,
        "brackets in a string are no nesting"
    );
    let rejection = contracts
        .validate(body("0", "EUR").as_bytes())
        .map(|_| ())
        .unwrap_err();
    assert_eq!(rejection.pointer.as_deref(), Some("/payload/amount"));
    let long = contracts
        .validate(format!("\u{7}{}", "x".repeat(9999)).as_bytes())
        .map(|_| ())
        .unwrap_err();
    assert!(long.detail.len() <= 300);
}

#[test]
fn amounts_survive_digit_for_digit() {
    let contracts = Catalog::builtin();
    let decoder =
        Decoder::new(&contracts.get("payment.authorized.v1").unwrap().record_avsc).unwrap();
    for (given, currency, exact) in [
        ("0.1", "EUR", "0.1"),
        ("12345678901.2345", "CLF", "12345678901.2345"),
        ("1e2", "EUR", "100"),
        ("49.90", "EUR", "49.9"),
        ("\"49.90\"", "EUR", "49.9"),
        ("9007199254740993", "JPY", "9007199254740993"),
    ] {
        let datum = encode(&contracts, body(given, currency).as_bytes());
        let event = decoder.decode(&datum).unwrap();
        assert_eq!(event.amount.as_deref(), Some(exact), "{given}");
        assert_eq!(event.payment_id.as_deref(), Some("p\"1"));
        assert_eq!(event.occurred_at_micros % 1_000_000, 7);
    }
}

#[test]
fn a_new_event_type_needs_no_code() {
    let files = ContractFiles {
        event_type: "parcel.sent.v1".to_owned(),
        schema_json: r#"{"type":"object","required":["event_id","event_type","schema_version","source","timestamp","payload"],"properties":{
            "event_id":{"type":"string","x-eventflow":"id"},"event_type":{"type":"string","const":"parcel.sent.v1"},"schema_version":{"type":"integer","const":1},
            "source":{"type":"string"},"timestamp":{"type":"string","format":"date-time"},
            "payload":{"type":"object","required":["parcel_id","express"],"properties":{"parcel_id":{"type":"string","x-eventflow":"id"},"express":{"type":"boolean"},
            "grams":{"type":"integer"},"size":{"type":"string","enum":["s","l"]}}}}}"#.to_owned(),
        record_avsc: r#"{"type":"record","name":"Sent","namespace":"parcel","fields":[{"name":"event_id","type":"string"},{"name":"event_type","type":"string"},
            {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"payload","type":{"type":"record","name":"P","fields":[
            {"name":"grams","type":["null","long"]},{"name":"express","type":"boolean"},{"name":"parcel_id","type":"string"},{"name":"size","type":["string","null"]}]}}]}"#.to_owned(),
        schema_id: Some(77),
    };
    let contracts = Catalog::compile([files.clone()]).unwrap();
    let event = |payload: &str| {
        format!(
            r#"{{"payload":{payload},"event_id":"1","event_type":"parcel.sent.v1","schema_version":1,"source":"x","timestamp":"2026-01-02T03:04:05Z"}}"#
        )
    };
    let datum = encode(
        &contracts,
        event(r#"{"parcel_id":"a","express":true,"grams":-5}"#).as_bytes(),
    );
    let read = Decoder::new(&files.record_avsc)
        .unwrap()
        .decode(&datum)
        .unwrap();
    assert_eq!(
        read.payload_json,
        r#"{"grams":-5,"express":true,"parcel_id":"a","size":null}"#
    );
    let code = |payload: &str| {
        contracts
            .validate(event(payload).as_bytes())
            .map(|_| ())
            .unwrap_err()
            .code
    };
    assert_eq!(
        code(r#"{"parcel_id":"a","express":"yes"}"#),
        RejectionCode::WrongType
    );
    assert_eq!(
        code(r#"{"parcel_id":"a","express":true,"size":"m"}"#),
        RejectionCode::ValueNotAllowed
    );
    for (wrong, says) in [
        ("\"type\":\"boolean\"", "pattern"),
        ("\"express\"]", "express"),
    ] {
        let mut broken = files.clone();
        broken.schema_json = if says == "pattern" {
            broken
                .schema_json
                .replace(wrong, "\"type\":\"string\",\"pattern\":\"x\"")
        } else {
            broken.schema_json.replace(",\"express\"]", "]")
        };
        assert!(Catalog::compile([broken]).unwrap_err().0.contains(says));
    }
    assert!(Catalog::compile([files.clone(), files.clone()]).is_err());
    let wider = files.record_avsc.replace(
        r#"{"name":"grams""#,
        r#"{"name":"carrier","type":["null","string"],"default":null},{"name":"grams""#,
    );
    assert!(backward_compatible(&files.record_avsc, &wider).is_ok());
    assert!(
        backward_compatible(&files.record_avsc, &wider.replace(r#","default":null"#, "")).is_err()
    );
}

#[test]
fn truncated_or_padded_data_is_an_error() {
    let contracts = Catalog::builtin();
    let decoder =
        Decoder::new(&contracts.get("payment.authorized.v1").unwrap().record_avsc).unwrap();
    let mut datum = encode(&contracts, body("1", "EUR").as_bytes());
    for length in 0..datum.len() {
        assert!(decoder.decode(&datum[..length]).is_err(), "{length}");
    }
    datum.push(0);
    assert!(decoder.decode(&datum).is_err());
    assert!(
        framing::unframe(&[0, 0, 0, 0]).is_err() && framing::unframe(&[1, 0, 0, 0, 1, 5]).is_err()
    );
    let mut framed = Vec::new();
    framing::frame(513, &mut framed);
    assert_eq!(framing::unframe(&framed).unwrap(), (513, &[][..]));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0_usize..400, with in any::<u8>()) {
        let contracts = Catalog::builtin();
        let decoder = Decoder::new(&contracts.get("payment.refunded.v1").unwrap().record_avsc).unwrap();
        drop(contracts.validate(&bytes));
        drop(decoder.decode(&bytes));
        let mut close = body("49.90", "EUR").into_bytes();
        let place = at % close.len();
        close[place] = with;
        if let Ok(event) = contracts.validate(&close) {
            let mut datum = Vec::new();
            event.encode(&mut datum);
            prop_assert!(Decoder::new(&event.contract().record_avsc).unwrap().decode(&datum).is_ok());
        }
    }
}
