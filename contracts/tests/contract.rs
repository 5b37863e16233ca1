//! Contracts as data: every example, exact amounts, and apache-avro as the judge of what is written and read.

#![allow(clippy::unwrap_used, reason = "a test")]

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use contracts::avro::datum::Decoder;
use contracts::avro::framing;
use contracts::event::{Catalog, Contract, ContractFiles, Envelope, backward_compatible};
use contracts::{Rejection, RejectionCode};
use proptest::prelude::*;
use std::path::Path;

fn encode(contracts: &Catalog, body: &[u8]) -> Vec<u8> {
    let mut datum = Vec::new();
    let envelope = Envelope::own(body).unwrap();
    contracts.validate(envelope).unwrap().encode(&mut datum);
    datum
}

fn fault(contracts: &Catalog, body: &[u8]) -> Rejection {
    Envelope::own(body)
        .and_then(|envelope| contracts.validate(envelope))
        .map(drop)
        .unwrap_err()
}

/// A payload in EventFlow's own envelope.
fn enveloped(contract: &Contract, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        r#"{{"event_id":"e1","event_type":"{}","timestamp":"2026-01-02T03:04:05Z","payload":"#,
        contract.label
    );
    [head.as_bytes(), payload, b"}"].concat()
}

fn body(amount: &str, currency: &str) -> String {
    format!(
        r#"{{"event_id":"e1","event_type":"payment.authorized.v1","schema_version":1,"timestamp":"2026-01-02T03:04:05.000007Z","payload":{{"payment_id":"p\"1","order_id":"o","amount":{amount},"currency":"{currency}","provider_auth_id":"ü"}}}}"#
    )
}

fn each_example(kind: &str, mut check: impl FnMut(&Contract, &str, &[u8])) {
    let contracts = Catalog::builtin();
    let mut seen = 0;
    for contract in contracts.iter() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("events")
            .join(&contract.name)
            .join(format!("v{}", contract.version))
            .join("examples")
            .join(kind);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let payload = std::fs::read(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            check(contract, name, &enveloped(contract, &payload));
            seen += 1;
        }
    }
    assert!(seen >= 8);
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
        assert_eq!(event.event_type, contract.label, "{name}");
        // Of the payments' examples; another event type may have neither.
        if contract.name.starts_with("payment.") {
            assert_eq!(event.currency.as_deref(), Some("EUR"));
            assert!(
                event.payload_json.contains(r#""payment_id":"pay_1001""#)
                    && event.payload_json.contains("extra") == (name == "unknown-fields"),
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
        assert_eq!(fault(&contracts, bytes).code.code(), code, "{name}");
    });
}

#[test]
fn what_is_no_event_at_all_has_its_code() {
    let contracts = Catalog::builtin();
    let code = |bytes: &[u8]| fault(&contracts, bytes).code;
    assert_eq!(code(b""), RejectionCode::EmptyBody);
    assert_eq!(code(b"\xff\xfe{}"), RejectionCode::NotUtf8);
    assert_eq!(code(b"hello"), RejectionCode::NotJson);
    assert_eq!(code(b"17"), RejectionCode::NotAnObject);
    assert_eq!(code(b"[1]"), RejectionCode::NotAnObject);
    assert_eq!(code(b"{}"), RejectionCode::NoEventType);
    assert_eq!(code(br#"{"event_type":[5]}"#), RejectionCode::WrongType);
    assert_eq!(
        code(format!(r#"{{"a":{}{}}}"#, "[".repeat(128), "]".repeat(128)).as_bytes()),
        RejectionCode::TooDeep
    );
    assert_eq!(
        code(format!(r#"{{"a":"{}"}}"#, "[{".repeat(500)).as_bytes()),
        RejectionCode::NoEventType,
        "brackets in a string are no nesting"
    );
    let rejection = fault(&contracts, body("0", "EUR").as_bytes());
    assert_eq!(rejection.pointer.as_deref(), Some("/payload/amount"));
    let long = fault(&contracts, format!("\u{7}{}", "x".repeat(9999)).as_bytes());
    assert!(long.detail.len() <= 300);
}

#[test]
fn amounts_survive_digit_for_digit() {
    let contracts = Catalog::builtin();
    let decoder = Decoder::new(
        &contracts
            .contract("payment.authorized")
            .unwrap()
            .record_avsc,
    )
    .unwrap();
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
        assert_eq!(event.entity.as_deref(), Some("p\"1"));
        assert_eq!(event.kind.as_deref(), Some("authorized"));
        assert_eq!(event.occurred_at_micros % 1_000_000, 7);
    }
}

#[test]
fn a_new_event_type_needs_no_code() {
    let files = ContractFiles {
        name: "parcel.sent".to_owned(),
        version: 1,
        schema_json: r#"{"type":"object","required":["parcel_id","express"],"properties":{"parcel_id":{"type":"string","x-eventflow":"id"},"express":{"type":"boolean"},
            "grams":{"type":"integer"},"size":{"type":"string","enum":["s","l"]}}}"#.to_owned(),
        record_avsc: None,
        schema_id: Some(77),
    };
    let contracts = Catalog::compile([files.clone()]).unwrap();
    let event = |payload: &str| {
        format!(
            r#"{{"payload":{payload},"event_id":"1","event_type":"parcel.sent.v1","timestamp":"2026-01-02T03:04:05Z"}}"#
        )
    };
    let datum = encode(
        &contracts,
        event(r#"{"parcel_id":"a","express":true,"grams":-5}"#).as_bytes(),
    );
    let record_avsc = &contracts.contract("parcel.sent").unwrap().record_avsc;
    let decoder = Decoder::new(record_avsc).unwrap();
    let read = decoder.decode(&datum).unwrap();
    assert_eq!(
        read.payload_json,
        r#"{"parcel_id":"a","express":true,"grams":-5,"size":null}"#
    );
    let code = |payload: &str| fault(&contracts, event(payload).as_bytes()).code;
    assert_eq!(
        code(r#"{"parcel_id":"a","express":"yes"}"#),
        RejectionCode::WrongType
    );
    assert_eq!(
        code(r#"{"parcel_id":"a","express":true,"size":"m"}"#),
        RejectionCode::ValueNotAllowed
    );
    assert!(Catalog::compile([files.clone(), files]).is_err());
    let wider = record_avsc.replace(
        r#"{"name":"express""#,
        r#"{"default":null,"name":"carrier","type":["null","string"]},{"name":"express""#,
    );
    assert!(backward_compatible(record_avsc, &wider).is_ok());
    assert!(
        backward_compatible(
            record_avsc,
            &wider.replace(r#""default":null,"name":"carrier""#, r#""name":"carrier""#)
        )
        .is_err()
    );
}

#[test]
fn a_name_means_its_newest_version_unless_it_pins_one() {
    let files = |name: &str, version: u32, schema_id: i32| ContractFiles {
        name: name.to_owned(),
        version,
        schema_json: r#"{"type":"object","properties":{"a":{"type":"string"}}}"#.to_owned(),
        record_avsc: None,
        schema_id: Some(schema_id),
    };
    let contracts =
        Catalog::compile([files("a.b", 2, 1), files("a.b", 10, 2), files("a.b", 1, 3)]).unwrap();
    let label = |name: &str| contracts.contract(name).map(|found| found.label.as_str());
    for (name, expected) in [
        ("a.b", Some("a.b.v10")),
        ("a.b.v2", Some("a.b.v2")),
        ("a.b.v10", Some("a.b.v10")),
        ("a.b.v3", None),
        ("a.b.v02", None),
        ("a.b.v", None),
        ("a", None),
        ("a.v1", None),
        ("", None),
    ] {
        assert_eq!(label(name), expected, "{name:?}");
    }
    let by_index = contracts.iter().map(|one| one.index);
    assert_eq!(by_index.collect::<Vec<_>>(), [0, 1, 2]);
    for (name, version, says) in [
        ("a.v1", 1, "versions are the folders"),
        ("", 1, "must have a name"),
        ("a", 0, "begin with 1"),
    ] {
        let problem = Catalog::compile([files(name, version, 9)]).unwrap_err().0;
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn truncated_or_padded_data_is_an_error() {
    let contracts = Catalog::builtin();
    let decoder = Decoder::new(
        &contracts
            .contract("payment.authorized")
            .unwrap()
            .record_avsc,
    )
    .unwrap();
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
        let decoder = Decoder::new(&contracts.contract("payment.refunded").unwrap().record_avsc).unwrap();
        drop(Envelope::own(&bytes).and_then(|envelope| contracts.validate(envelope)));
        drop(decoder.decode(&bytes));
        let mut close = body("49.90", "EUR").into_bytes();
        let place = at % close.len();
        close[place] = with;
        if let Ok(event) = Envelope::own(&close).and_then(|envelope| contracts.validate(envelope)) {
            let mut datum = Vec::new();
            event.encode(&mut datum);
            prop_assert!(Decoder::new(&event.contract().record_avsc).unwrap().decode(&datum).is_ok());
        }
    }
}
