//! What a contract does not declare is kept as the vendor wrote it, and put back.

use crate::world::{body, compile, contract, fault, of_x, payload_read, read, validate};
use contracts::RejectionCode as C;
use contracts::avro::content::{differences, hash};
use contracts::event::Envelope;
use serde_json::json;

fn kept(catalog: &contracts::event::Catalog, payload: &str) -> Option<String> {
    let body = body(payload);
    let envelope = Envelope::own(body.as_bytes()).unwrap();
    let event = contract(catalog).validate(envelope).unwrap();
    event.rest().map(str::to_owned)
}

#[test]
fn at_every_level_by_pointer_digit_for_digit_and_in_one_order() {
    let catalog = compile(
        r#"{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"open":{},
            "lines":{"type":"array","items":{"type":"object","properties":{"n":{"type":"integer"}}}},
            "by":{"type":"object","additionalProperties":{"type":"object","properties":{"n":{"type":"integer"}}}}}}"#,
    )
    .unwrap();
    let payload = r#" { "z" : 1.50, "lines":[{"n":1},{"n":2,"more":{"b":1e2,"a":[ ]}}], "by":{"a/b":{"q~":true}},
        "id":"x", "open":{"y":1,"x":null}, "a":"\u00fc" } "#;
    assert_eq!(
        kept(&catalog, payload).unwrap(),
        r#"{"/a":"ü","/by/a~1b/q~0":true,"/lines/1/more":{"a":[],"b":1e2},"/open":{"x":null,"y":1},"/z":1.50}"#
    );
    assert_eq!(
        payload_read(&catalog, payload),
        r#"{"id":"x","lines":[{"n":1},{"n":2,"more":{"a":[],"b":1e2}}],"by":{"a/b":{"n":null,"q~":true}},"a":"ü","open":{"x":null,"y":1},"z":1.50}"#
    );
    assert_eq!(kept(&catalog, r#"{"id":"x","lines":[]}"#), None);
    // A resend in other words is the same datum.
    let again = r#"{"a":"ü","by":{"a/b":{"q~":true}},"open":{"x":null,"y":1},"id":"x","lines":[{"n":1},{"more":{"a":[],"b":1e2},"n":2}],"z":1.50}"#;
    assert_eq!(validate(&catalog, payload), validate(&catalog, again));
}

#[test]
fn a_contract_that_declares_nothing_keeps_the_whole_payload() {
    let any = compile("{}").unwrap();
    for payload in ["{\"a\":[1.10]}", "[1,2]", "\"x\"", "17.0", "true"] {
        assert_eq!(kept(&any, payload), Some(format!("{{\"\":{payload}}}")));
        assert_eq!(payload_read(&any, payload), payload);
    }
    let array = compile(r#"{"type":"array","items":{"type":"integer"},"minItems":1}"#).unwrap();
    assert_eq!(payload_read(&array, "[1, 2]"), "[1,2]");
    assert_eq!(
        fault(&array, "[]"),
        Some((C::TooShort, "/payload".to_owned()))
    );
    assert_eq!(
        fault(&array, "[1,\"x\"]"),
        Some((C::WrongType, "/payload/1".to_owned()))
    );
    assert_eq!(
        fault(&array, "{}"),
        Some((C::WrongType, "/payload".to_owned()))
    );
}

#[test]
fn what_cannot_be_stored_is_refused_with_its_place() {
    let catalog = of_x(
        &json!({"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}),
    );
    for (payload, code, pointer) in [
        (r#"{"y":{"a":"\u0000"}}"#, C::NulCharacter, "/payload/y/a"),
        (
            r#"{"x":[{"y":["\ud800"]}]}"#,
            C::UnpairedSurrogate,
            "/payload/x/0/y/0",
        ),
        (r#"{"y":1,"y":2}"#, C::DuplicateField, "/payload/y"),
        (
            r#"{"x":[{"y":{"b":1,"b":1}}]}"#,
            C::DuplicateField,
            "/payload/x/0/y/b",
        ),
        (r#"{"y":1e100000}"#, C::NumberOutOfRange, "/payload/y"),
        (r#"{"y\u0000":1}"#, C::NulCharacter, "/payload/y\u{0}"),
    ] {
        assert_eq!(
            fault(&catalog, payload),
            Some((code, pointer.to_owned())),
            "{payload}"
        );
    }
}

#[test]
fn a_number_that_a_double_does_not_hold_is_kept_beside_it() {
    let catalog = of_x(&json!({"type": "array", "items": {"type": "number"}}));
    for (given, rest, back) in [
        ("[0.1,5,2.50,-0.0,1e2]", None, "[0.1,5,2.5,-0,100]"),
        (
            "[1.00000000000000000001,9007199254740993]",
            Some(r#"{"/x/0":1.00000000000000000001,"/x/1":9007199254740993}"#),
            "[1.00000000000000000001,9007199254740993]",
        ),
        ("[1e300]", Some(r#"{"/x/0":1e300}"#), "[1e300]"),
    ] {
        let payload = format!(r#"{{"x":{given}}}"#);
        assert_eq!(kept(&catalog, &payload).as_deref(), rest, "{given}");
        assert_eq!(
            payload_read(&catalog, &payload),
            format!(r#"{{"x":{back}}}"#)
        );
    }
    assert_eq!(
        fault(&catalog, r#"{"x":[1e400]}"#),
        Some((C::NumberOutOfRange, "/payload/x/0".to_owned()))
    );
}

#[test]
fn a_field_whose_name_avro_does_not_take_is_checked_and_kept() {
    let catalog = compile(
        r#"{"type":"object","properties":{"body-plain":{"type":"string","maxLength":3},"1st":{"type":"object","required":["a"],"properties":{"a":{"type":"integer"}}}}}"#,
    )
    .unwrap();
    let payload = r#"{"body-plain":"abc","1st":{"b":1.0,"a":2}}"#;
    assert_eq!(
        payload_read(&catalog, payload),
        r#"{"1st":{"a":2,"b":1.0},"body-plain":"abc"}"#
    );
    assert_eq!(
        fault(&catalog, r#"{"body-plain":"abcd"}"#),
        Some((C::TooLong, "/payload/body-plain".to_owned()))
    );
    assert_eq!(
        fault(&catalog, r#"{"1st":{}}"#),
        Some((C::MissingField, "/payload/1st/a".to_owned()))
    );
}

#[test]
fn what_is_not_declared_is_content_and_what_is_of_the_delivery_is_none() {
    let catalog = compile(
        r#"{"type":"object","properties":{"a":{"type":"integer"},"attempt":{"type":"integer","x-eventflow":"delivery"},"trace":{"x-eventflow":"delivery"}}}"#,
    )
    .unwrap();
    let hashed = |payload: &str| {
        let mut found = [0; 32];
        read(&catalog, payload, |event| found = hash(event));
        found
    };
    let first = hashed(r#"{"a":1,"attempt":1,"trace":{"b":1.5},"more":{"c":1.50}}"#);
    assert_eq!(
        first,
        hashed(r#"{"more":{"c":1.50},"attempt":2,"trace":[],"a":1}"#)
    );
    assert_ne!(first, hashed(r#"{"a":1,"attempt":1,"more":{"c":1.51}}"#));
    assert_ne!(first, hashed(r#"{"a":1,"attempt":1}"#));
    read(
        &catalog,
        r#"{"a":1,"attempt":1,"more":{"c":1.50,"d":[1e2,{"e":"\u00fc"}]}}"#,
        |event| {
            // As PostgreSQL writes it.
            let same = r#"{"a": 1, "more": {"d": [100, {"e": "ü"}], "c": 1.50}, "attempt": 7}"#;
            assert_eq!(differences("order", same, event), [""; 0]);
            for (stored, place) in [
                (
                    r#"{"a": 2, "more": {"c": 1.50, "d": [100, {"e": "ü"}]}}"#,
                    "/payload/a",
                ),
                (
                    r#"{"a": 1, "more": {"c": 1.50, "d": [100, {"e": "u"}]}}"#,
                    "/payload/more/d/1/e",
                ),
                (
                    r#"{"a": 1, "more": {"c": 1.50, "d": [100]}}"#,
                    "/payload/more/d",
                ),
                (r#"{"a": 1}"#, "/payload/more"),
                (
                    r#"{"a": 1, "more": {"c": 1.50, "d": [100, {"e": "ü"}]}, "b": 0}"#,
                    "/payload/b",
                ),
            ] {
                assert_eq!(differences("order", stored, event), [place], "{stored}");
            }
            assert_eq!(differences("other", same, event), ["/event_type"]);
        },
    );
}
