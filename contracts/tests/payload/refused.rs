//! What cannot be applied stops the boot, in a sentence that says where it is and what to do.

use crate::world::compile;
use serde_json::{Value, json};

fn refused(schema: &Value) -> String {
    compile(&schema.to_string())
        .map(drop)
        .expect_err(&schema.to_string())
}

#[test]
fn a_keyword_that_is_not_applied_stops_the_boot() {
    let x = |schema: Value| json!({"type": "object", "properties": {"x": schema}});
    let cases = [
        (
            x(json!({"type": "string", "$dynamicRef": "#a"})),
            "/x: $dynamicRef is not supported",
        ),
        (
            x(json!({"type": "string", "$anchor": "a"})),
            "/x: $anchor is not supported",
        ),
        (
            x(json!({"type": "string", "maxlength": 3})),
            "/x: maxlength is not supported",
        ),
        (
            x(json!({"type": "string", "contentEncoding": "base64"})),
            "/x: contentEncoding is not supported",
        ),
        (
            x(json!({"type": "string", "minimum": 3})),
            "/x: minimum has no meaning for this type",
        ),
        (
            x(json!({"type": "integer", "maxLength": 3})),
            "/x: maxLength has no meaning",
        ),
        (
            x(json!({"type": "string", "format": "phone"})),
            "/x: format \"phone\" is not supported",
        ),
        (
            x(json!({"not": {"maxlength": 3}})),
            "maxlength is not supported",
        ),
        (
            x(json!({"anyOf": [{"type": "string", "format": "phone"}]})),
            "\"phone\" is not supported",
        ),
        (
            x(json!({"anyOf": [{"type": "string", "x-eventflow": "id"}]})),
            "x-eventflow has no effect",
        ),
        (x(json!({"type": "strange"})), "/x: type must be"),
        (x(json!({"properties": {}})), "/x: type is missing"),
        (
            x(json!({"type": "string", "minLength": -1})),
            "/x: minLength must be",
        ),
        (
            x(json!({"type": "number", "minimum": "1"})),
            "/x: minimum must be a number",
        ),
        (
            x(json!({"type": "number", "multipleOf": 0})),
            "/x: multipleOf must be above zero",
        ),
        (x(json!({"enum": []})), "/x: enum must be a list"),
        (
            x(json!({"const": 1, "enum": [1]})),
            "/x: const and enum are both there",
        ),
        (
            x(json!({"type": "string", "enum": [1]})),
            "/x: enum can allow strings only",
        ),
        (
            x(json!({"type": "string", "pattern": "(?=a)"})),
            "look-around",
        ),
        (x(json!({"type": "string", "pattern": "("})), "pattern"),
        (
            x(json!({"type": "string", "x-eventflow": "money"})),
            "/x: x-eventflow must be",
        ),
        (
            x(json!({"type": "boolean", "x-eventflow": "amount"})),
            "of an amount must be",
        ),
        (
            x(json!({"type": "integer", "x-eventflow": "amount"})),
            "amount-minor",
        ),
        (
            x(json!({"type": "integer", "x-eventflow": "amount-minor"})),
            "no field beside it or around it",
        ),
        (
            x(json!({"type": "boolean", "x-eventflow": "entity"})),
            "is not for this type",
        ),
        (
            x(json!({"type": "string", "x-eventflow": {"role": "id", "case": "any"}})),
            "has no \"case\" here",
        ),
        (
            x(json!({"type": "string", "format": "date", "x-eventflow": "currency"})),
            "cannot stand beside",
        ),
        (
            x(json!({"type": "string", "x-eventflow": "id", "maxLength": 257})),
            "of an id is at most 256",
        ),
        (
            x(json!({"type": "array", "items": {"type": "integer", "x-eventflow": "delivery"}})),
            "has no effect within a list",
        ),
        (x(json!("string")), "/x: the schema is not usable"),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#"}),
            "another dialect",
        ),
        (
            json!({"type": "object", "required": "x"}),
            "required must be a list",
        ),
    ];
    for (schema, says) in cases {
        let error = refused(&schema);
        assert!(
            error.starts_with("contract shop.order.v1: schema.json: ") && error.contains(says),
            "{schema}: {error}"
        );
    }
    let twice = r#"{"type":"object","properties":{"a":{},"a":{}}}"#;
    assert!(compile(twice).unwrap_err().contains("\"a\" is there twice"));
    let currencies = json!({"type": "object", "properties": {
        "a": {"type": "number", "x-eventflow": "amount"}, "b": {"type": "string", "x-eventflow": "currency"}, "c": {"type": "string", "x-eventflow": "currency"}}});
    assert!(refused(&currencies).contains("is there twice beside an amount"));
    for note in [
        "$comment",
        "title",
        "description",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
        "examples",
        "x-internal",
    ] {
        assert!(
            compile(
                &json!({"type": "object", "properties": {"x": {"type": "string", note: true}}})
                    .to_string()
            )
            .is_ok(),
            "{note}"
        );
    }
}

#[test]
fn references_are_put_in_and_those_without_an_end_are_refused() {
    let of =
        |x: Value, defs: Value| json!({"type": "object", "properties": {"x": x}, "$defs": defs});
    let money = json!({"type": "object", "required": ["value"], "properties": {"value": {"$ref": "#/$defs/n~1m"}}});
    let catalog = compile(
        &of(
            json!({"$ref": "#/$defs/money", "description": "d"}),
            json!({"money": money, "n/m": {"type": "integer"}}),
        )
        .to_string(),
    )
    .unwrap();
    assert_eq!(
        crate::world::fault(&catalog, r#"{"x":{"value":"a"}}"#)
            .unwrap()
            .1,
        "/payload/x/value"
    );
    assert_eq!(crate::world::contract(&catalog).slow_keywords(), [""; 0]);
    for (x, defs, says) in [
        (
            json!({"$ref": "#/$defs/a"}),
            json!({"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}),
            "recursive",
        ),
        (json!({"$ref": "#"}), json!({}), "recursive"),
        (json!({"$ref": "#/$defs/b"}), json!({}), "names nothing"),
        (json!({"$ref": "other.json"}), json!({}), "outside the file"),
        (json!({"$ref": "#b"}), json!({}), "is an anchor"),
        (
            json!({"$ref": "#/$defs/a", "maxLength": 1}),
            json!({"a": {"type": "string", "maxLength": 2}}),
            "write the rule in one of them",
        ),
    ] {
        let error = refused(&of(x, defs));
        assert!(error.contains(says), "{says}: {error}");
    }
    // A hundred doublings.
    let mut defs = json!({"d0": {"type": "string"}});
    for level in 1..100 {
        let below = format!("#/$defs/d{}", level - 1);
        defs[format!("d{level}")] =
            json!({"type": "object", "properties": {"a": {"$ref": below}, "b": {"$ref": below}}});
    }
    assert!(refused(&of(json!({"$ref": "#/$defs/d99"}), defs)).contains("places"));
    // A property may have any name.
    let named = json!({"type": "object", "properties": {"$ref": {"type": "integer"}, "definitions": {"type": "string"}, "$defs": {"enum": ["a", "b"]}}});
    let catalog = compile(&named.to_string()).unwrap();
    for (payload, pointer) in [
        (r#"{"$ref":"a"}"#, "/payload/$ref"),
        (r#"{"definitions":1}"#, "/payload/definitions"),
        (r#"{"$defs":"c"}"#, "/payload/$defs"),
    ] {
        assert_eq!(crate::world::fault(&catalog, payload).unwrap().1, pointer);
    }
}
