//! What is written is applied.

use crate::world::{compile, contract, fault, of_x, validate};
use contracts::RejectionCode as C;
use serde_json::{Value, json};

#[test]
fn each_keyword_is_applied() {
    let id = "5b1f0c9e-0d1c-7f3a-9c59-1d2f6a7b8c90";
    let cases: &[(Value, Value, Option<C>)] = &[
        // Characters, not bytes: each of these is four bytes, and one of them two UTF-16 units.
        (
            json!({"type": "string", "maxLength": 3}),
            json!("😀éa"),
            None,
        ),
        (
            json!({"type": "string", "maxLength": 3}),
            json!("😀éab"),
            Some(C::TooLong),
        ),
        (
            json!({"type": "string", "minLength": 3}),
            json!("😀é"),
            Some(C::TooShort),
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            Some(C::ValueNotAllowed),
        ),
        (json!({"const": "a"}), json!("b"), Some(C::ValueNotAllowed)),
        (json!({"const": "a"}), json!(1), Some(C::WrongType)),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("aa"),
            None,
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("ab"),
            Some(C::SchemaViolation),
        ),
        (
            json!({"type": "string", "format": "date"}),
            json!("2024-02-29"),
            None,
        ),
        (
            json!({"type": "string", "format": "date"}),
            json!("2026-02-29"),
            Some(C::InvalidFormat),
        ),
        (json!({"type": "string", "format": "uuid"}), json!(id), None),
        (
            json!({"type": "string", "format": "uuid"}),
            json!("5b1f"),
            Some(C::InvalidFormat),
        ),
        (
            json!({"type": "string", "format": "email"}),
            json!("a@b.example"),
            None,
        ),
        (
            json!({"type": "string", "format": "email"}),
            json!("a"),
            Some(C::InvalidFormat),
        ),
        (
            json!({"type": "string", "format": "uri"}),
            json!("https://a.example/?b"),
            None,
        ),
        (
            json!({"type": "string", "format": "uri"}),
            json!("a b"),
            Some(C::InvalidFormat),
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("soon"),
            Some(C::InvalidTimestamp),
        ),
        (json!({"type": "integer"}), json!(2.0), None),
        (json!({"type": "integer"}), json!(2.5), Some(C::WrongType)),
        (
            json!({"type": "integer"}),
            json!(18_446_744_073_709_551_615_u64),
            Some(C::IntegerOutOfRange),
        ),
        (json!({"type": "integer", "enum": [1, 2.0]}), json!(2), None),
        (
            json!({"type": "integer", "enum": [1, 2.0]}),
            json!(3),
            Some(C::ValueNotAllowed),
        ),
        (json!({"enum": [1, 2]}), json!(3), Some(C::ValueNotAllowed)),
        (json!({"type": "integer", "minimum": 3}), json!(3), None),
        (
            json!({"type": "integer", "minimum": 3}),
            json!(2),
            Some(C::NumberTooSmall),
        ),
        (
            json!({"type": "number", "exclusiveMinimum": 0.1}),
            json!(0.1),
            Some(C::NumberTooSmall),
        ),
        (
            json!({"type": "number", "minimum": 0.1, "exclusiveMinimum": 0.05}),
            json!(0.1),
            None,
        ),
        (json!({"type": "number", "maximum": 0.3}), json!(0.3), None),
        (
            json!({"type": "number", "maximum": 0.3}),
            json!(0.31),
            Some(C::NumberTooLarge),
        ),
        (
            json!({"type": "number", "multipleOf": 0.1}),
            json!(0.3),
            None,
        ),
        (
            json!({"type": "number", "multipleOf": 0.1}),
            json!(0.35),
            Some(C::NotAMultiple),
        ),
        (
            json!({"type": "boolean", "const": true}),
            json!(false),
            Some(C::ValueNotAllowed),
        ),
        (json!({"type": ["string", "null"]}), json!(null), None),
        (
            json!({"type": ["string", "null"]}),
            json!(1),
            Some(C::WrongType),
        ),
        (
            json!({"anyOf": [{"type": "string", "maxLength": 1}, {"type": "null"}]}),
            json!("ab"),
            Some(C::TooLong),
        ),
        (json!({"type": ["string", "integer"]}), json!(1), None),
        (
            json!({"type": ["string", "integer"]}),
            json!(1.5),
            Some(C::WrongType),
        ),
        (
            json!({"type": ["string", "integer"], "maxLength": 2}),
            json!("abc"),
            Some(C::SchemaViolation),
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!([1, 2]),
            None,
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!({}),
            Some(C::WrongType),
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 1}),
            json!([]),
            Some(C::TooShort),
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "maxItems": 1}),
            json!([1, 2]),
            Some(C::TooLong),
        ),
        (
            json!({"type": "array", "items": {"type": "number"}, "uniqueItems": true}),
            json!([1, 1]),
            Some(C::SchemaViolation),
        ),
        (
            json!({"type": "array", "contains": {"const": 2}}),
            json!([1]),
            Some(C::SchemaViolation),
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "boolean"}}),
            json!({"a": true}),
            None,
        ),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            Some(C::SchemaViolation),
        ),
        (
            json!({"type": "object", "required": ["a"]}),
            json!({"b": 1}),
            Some(C::SchemaViolation),
        ),
        (
            json!({"type": "object", "propertyNames": {"maxLength": 1}}),
            json!({"ab": 1}),
            Some(C::SchemaViolation),
        ),
        (json!({"const": {"a": [1]}}), json!({"a": [1]}), None),
        (
            json!({"const": {"a": [1]}}),
            json!({"a": [2]}),
            Some(C::SchemaViolation),
        ),
        (
            json!({"not": {"type": "string"}}),
            json!("a"),
            Some(C::SchemaViolation),
        ),
        (
            json!({"oneOf": [{"type": "string"}, {"const": "a"}]}),
            json!("a"),
            Some(C::SchemaViolation),
        ),
        (
            json!({"type": "string", "if": {"minLength": 3}, "then": {"pattern": "^x"}}),
            json!("abc"),
            Some(C::SchemaViolation),
        ),
        (json!(false), json!(1), Some(C::SchemaViolation)),
        (json!(true), json!({"a": [1.50]}), None),
    ];
    for (schema, value, expected) in cases {
        let found = fault(&of_x(schema), &json!({"x": value}).to_string());
        let expected = expected.map(|code| (code, "/payload/x".to_owned()));
        assert_eq!(found, expected, "{schema}: {value}");
    }
}

#[test]
fn what_is_wrong_inside_is_named_with_its_place() {
    let catalog = of_x(
        &json!({"type": "array", "items": {"type": "object", "required": ["id"], "properties": {
            "id": {"type": "string"},
            "tags": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}},
            "mail": {"type": "string", "format": "email"},
        }}}),
    );
    for (payload, code, pointer) in [
        (
            r#"{"x":[{"id":"a"},{}]}"#,
            C::MissingField,
            "/payload/x/1/id",
        ),
        (
            r#"{"x":[{"id":"a","tags":{"k/1":[1,"b"]}}]}"#,
            C::WrongType,
            "/payload/x/0/tags/k~11/1",
        ),
        (
            r#"{"x":[{"id":"a","tags":{"k":[1],"k":[2]}}]}"#,
            C::DuplicateField,
            "/payload/x/0/tags/k",
        ),
        (
            r#"{"x":[{"id":"a","id":"b"}]}"#,
            C::DuplicateField,
            "/payload/x/0/id",
        ),
        (r#"{"x":[null]}"#, C::WrongType, "/payload/x/0"),
        (
            r#"{"x":[{"id":"a","mail":"b"}]}"#,
            C::InvalidFormat,
            "/payload/x/0/mail",
        ),
    ] {
        assert_eq!(
            fault(&catalog, payload),
            Some((code, pointer.to_owned())),
            "{payload}"
        );
    }
    assert_eq!(
        fault(
            &catalog,
            r#"{"x":[{"id":"a","tags":{"k":[1]},"mail":null}]}"#
        ),
        None
    );
    // The value itself does not go into a list of dead letters.
    let rejection = validate(&catalog, r#"{"x":[{"id":"a","mail":"geheim"}]}"#).unwrap_err();
    assert!(!rejection.detail.contains("geheim"), "{}", rejection.detail);
}

#[test]
fn a_closed_object_refuses_other_fields_and_says_so_last() {
    let catalog = compile(
        r#"{"type":"object","additionalProperties":false,"properties":{"a":{"type":"integer"},"b":{"type":"object","additionalProperties":false}}}"#,
    )
    .unwrap();
    let at = |code, pointer: &str| Some((code, pointer.to_owned()));
    assert_eq!(fault(&catalog, r#"{"a":1}"#), None);
    assert_eq!(
        fault(&catalog, r#"{"c":1,"a":1}"#),
        at(C::UnknownField, "/payload/c")
    );
    assert_eq!(
        fault(&catalog, r#"{"c":1,"a":"x"}"#),
        at(C::WrongType, "/payload/a")
    );
    assert_eq!(
        fault(&catalog, r#"{"b":{"d~":1}}"#),
        at(C::UnknownField, "/payload/b/d~0")
    );
}

#[test]
fn fields_are_checked_in_the_order_of_the_schema() {
    // Against the alphabet, and each of them broken.
    let catalog = compile(
        r#"{"type":"object","required":["z"],"properties":{"z":{"type":"string"},"m":{"type":"array","items":{"type":"integer"}},"a":{"type":"boolean"}}}"#,
    )
    .unwrap();
    let mut payload = json!({"a": 1, "m": ["x"], "z": null});
    for (name, pointer, right) in [
        ("z", "/payload/z", json!("t")),
        ("m", "/payload/m/0", json!([1])),
        ("a", "/payload/a", json!(true)),
    ] {
        let (_, found) = fault(&catalog, &payload.to_string()).unwrap();
        assert_eq!(found, pointer);
        payload[name] = right;
    }
    assert_eq!(fault(&catalog, &payload.to_string()), None);
}

#[test]
fn null_counts_as_missing_unless_the_schema_has_a_meaning_for_it() {
    let catalog = compile(
        r#"{"type":"object","required":["a","b"],"properties":{"a":{"type":"string"},"b":{"type":["integer","null"]},
            "c":{"type":"object","required":["d"],"properties":{"d":{"type":"string","format":"email"}}}}}"#,
    )
    .unwrap();
    let at = |code, pointer: &str| Some((code, pointer.to_owned()));
    assert_eq!(fault(&catalog, r#"{"a":"x","b":null}"#), None);
    assert_eq!(fault(&catalog, r#"{"a":"x","b":1,"c":null}"#), None);
    assert_eq!(
        fault(&catalog, r#"{"a":"x"}"#),
        at(C::MissingField, "/payload/b")
    );
    assert_eq!(
        fault(&catalog, r#"{"a":null,"b":1}"#),
        at(C::MissingField, "/payload/a")
    );
    assert_eq!(
        fault(&catalog, r#"{"a":"x","b":1,"c":{"d":null}}"#),
        at(C::MissingField, "/payload/c/d")
    );
}

#[test]
fn slow_keywords_are_named_and_a_contract_without_them_has_none() {
    let fast = compile(
        r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{"b":{"type":"number","minimum":1}}}},
            "when":{"type":"string","format":"date"},"m":{"type":"object","additionalProperties":{"type":["string","null"]}}}}"#,
    )
    .unwrap();
    assert_eq!(contract(&fast).slow_keywords(), [""; 0]);
    let slow = compile(
        r#"{"type":"object","dependentRequired":{"a":["b"]},"properties":{"a":{"type":"array","items":{"type":"string","pattern":"x"}},"b/c":{"oneOf":[{"type":"string"},{"type":"integer"}]}}}"#,
    )
    .unwrap();
    let mut keywords = contract(&slow).slow_keywords().to_vec();
    keywords.sort();
    assert_eq!(
        keywords,
        ["/a/*: pattern", "/b~1c: oneOf", ": dependentRequired"]
    );
}

#[test]
fn no_number_is_judged_through_a_float_that_does_not_hold_it() {
    let catalog = of_x(&json!({"oneOf": [{"type": "number", "maximum": 1}, {"type": "string"}]}));
    assert_eq!(fault(&catalog, r#"{"x":0.5}"#), None);
    assert_eq!(
        fault(&catalog, r#"{"x":1.5}"#).unwrap().0,
        C::SchemaViolation
    );
    // As a double it is 1, and would pass.
    assert_eq!(
        fault(&catalog, r#"{"x":1.00000000000000000001}"#)
            .unwrap()
            .0,
        C::NumberOutOfRange
    );
    // A text with digits is none, and a contract that compares no numbers takes any.
    assert_eq!(fault(&catalog, r#"{"x":"1.00000000000000000001"}"#), None);
    let patterns = of_x(&json!({"type": "string", "pattern": "^a"}));
    assert_eq!(
        fault(&patterns, r#"{"x":"a","y":1.00000000000000000001}"#),
        None
    );
}

#[test]
fn a_pattern_takes_time_in_proportion_to_its_text() {
    let catalog = of_x(&json!({"type": "string", "pattern": "^(a+)+$"}));
    let text = "a".repeat(100_000) + "b";
    assert_eq!(
        fault(&catalog, &json!({"x": text}).to_string()).unwrap().0,
        C::SchemaViolation
    );
}
