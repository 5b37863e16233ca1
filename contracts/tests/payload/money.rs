//! Amounts of any vendor, exact; and what the row has in its columns.

use crate::world::{compile, fault, read};
use contracts::RejectionCode as C;
use serde_json::{Value, json};

/// A Stripe charge: minor units, lower-case currency, line items with amounts of their own.
fn stripe() -> Value {
    json!({"type": "object", "required": ["id", "amount", "currency"], "properties": {
        "id": {"type": "string", "x-eventflow": "id"},
        "amount": {"type": "integer", "x-eventflow": {"role": "amount", "unit": "minor", "digits": {"MGA": 0}}, "minimum": -99_999_999_i64},
        "currency": {"type": "string", "x-eventflow": {"role": "currency", "case": "lower"}},
        "customer": {"type": ["string", "null"], "x-eventflow": "entity"},
        "outcome": {"type": "string", "x-eventflow": "kind"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {
            "amount": {"type": "integer", "x-eventflow": "amount-minor"},
        }}},
    }})
}

#[test]
fn minor_units_become_major_ones_by_currency() {
    let catalog = compile(&stripe().to_string()).unwrap();
    for (amount, currency, exact) in [
        ("4990", "eur", "49.9"),
        ("4990", "jpy", "4990"),
        ("4990", "kwd", "4.99"),
        ("4990", "mga", "4990"),
        ("0", "eur", "0"),
        ("-5", "eur", "-0.05"),
        ("9007199254740993", "eur", "90071992547409.93"),
    ] {
        let payload = format!(
            r#"{{"id":"ch_1","amount":{amount},"currency":"{currency}","customer":"cus_1","outcome":"paid","lines":[{{"amount":1}},{{"amount":{}}}]}}"#,
            amount.trim_start_matches('-').replace('0', "1"),
        );
        read(&catalog, &payload, |event| {
            assert_eq!(event.amount.as_deref(), Some(exact), "{payload}");
            assert_eq!(event.currency.as_deref(), Some(&*currency.to_uppercase()));
            assert_eq!(event.entity.as_deref(), Some("cus_1"));
            assert_eq!(event.kind.as_deref(), Some("paid"));
            let payload: Value = serde_json::from_str(&event.payload_json).unwrap();
            assert_eq!(payload["currency"], currency);
            assert!(payload["lines"][1]["amount"].is_string(), "{payload}");
        });
    }
    let of = |amount: &str, currency: &str| {
        fault(
            &catalog,
            &format!(r#"{{"id":"a","amount":{amount},"currency":"{currency}"}}"#),
        )
    };
    let at = |code, pointer: &str| Some((code, format!("/payload/{pointer}")));
    assert_eq!(of("1.5", "eur"), at(C::AmountTooPrecise, "amount"));
    assert_eq!(of("-100000000", "eur"), at(C::NumberTooSmall, "amount"));
    assert_eq!(of("1", "EUR"), at(C::UnknownCurrency, "amount"));
    assert_eq!(of("1", "xxx"), at(C::UnknownCurrency, "amount"));
    assert_eq!(of("\"1\"", "eur"), at(C::WrongType, "amount"));
    let negative_line = r#"{"id":"a","amount":1,"currency":"eur","lines":[{"amount":0}]}"#;
    assert_eq!(
        fault(&catalog, negative_line),
        at(C::AmountNotPositive, "lines/0/amount")
    );
}

#[test]
fn zero_and_less_are_for_the_schema_to_allow() {
    let of = |bounds: Value, amount: &str| {
        let mut schema = json!({"type": ["number", "string"], "x-eventflow": "amount"});
        schema
            .as_object_mut()
            .unwrap()
            .extend(bounds.as_object().unwrap().clone());
        let schema = json!({"type": "object", "properties": {"amount": schema}});
        fault(
            &compile(&schema.to_string()).unwrap(),
            &format!(r#"{{"amount":{amount}}}"#),
        )
        .map(|(code, _)| code)
    };
    assert_eq!(of(json!({}), "0"), Some(C::AmountNotPositive));
    assert_eq!(of(json!({"minimum": 0}), "0"), None);
    assert_eq!(
        of(json!({"minimum": 0}), "\"-0.01\""),
        Some(C::NumberTooSmall)
    );
    assert_eq!(of(json!({"minimum": -10}), "-9.99"), None);
    assert_eq!(
        of(json!({"exclusiveMinimum": 0}), "0"),
        Some(C::NumberTooSmall)
    );
    assert_eq!(
        of(json!({"maximum": 10}), "\"10.01\""),
        Some(C::NumberTooLarge)
    );
}

#[test]
fn an_amount_without_a_payment_is_no_amount_and_the_first_one_outside_lists_is_the_rows() {
    let catalog = compile(
        r#"{"type":"object","properties":{"items":{"type":"array","items":{"type":"object","properties":{"price":{"type":"number","x-eventflow":"amount"}}}},
            "total":{"type":"object","properties":{"value":{"type":"number","x-eventflow":"amount"},"code":{"type":"string","x-eventflow":"currency"}}},
            "tax":{"type":"number","x-eventflow":"amount"},"customer":{"type":"integer","x-eventflow":"entity"}}}"#,
    )
    .unwrap();
    read(
        &catalog,
        r#"{"tax":1,"items":[{"price":5}],"total":{"value":12.50,"code":"EUR"},"customer":115310627314723954}"#,
        |event| {
            assert_eq!(event.amount.as_deref(), Some("12.5"));
            assert_eq!(event.currency.as_deref(), Some("EUR"));
            assert_eq!(event.entity.as_deref(), Some("115310627314723954"));
        },
    );
    read(
        &catalog,
        r#"{"items":[{"price":5}],"total":null}"#,
        |event| {
            assert_eq!(
                (
                    event.amount.as_deref(),
                    event.currency.as_deref(),
                    event.kind.as_deref()
                ),
                (None, None, None)
            );
        },
    );
}

#[test]
fn a_contract_may_say_the_kind_of_all_its_events() {
    let catalog = compile(r#"{"type":"object","x-eventflow":{"kind":"refunded"},"properties":{"a":{"type":"string"}}}"#).unwrap();
    read(&catalog, r#"{"a":"x"}"#, |event| {
        assert_eq!(event.kind.as_deref(), Some("refunded"));
    });
}

#[test]
fn an_amount_takes_the_currency_around_it() {
    let catalog = compile(
        r#"{"type":"object","required":["currency"],"properties":{"currency":{"type":"string","x-eventflow":{"role":"currency","case":"any"}},
            "lines":{"type":"array","items":{"type":"object","properties":{"fees":{"type":"object","additionalProperties":{"type":"object","properties":{"cents":{"type":"integer","x-eventflow":"amount-minor"}}}}}}}}}"#,
    )
    .unwrap();
    read(
        &catalog,
        r#"{"currency":"Jpy","lines":[{"fees":{"a":{"cents":120}}}]}"#,
        |event| {
            assert!(
                event.payload_json.contains(r#""cents":"120""#),
                "{}",
                event.payload_json
            );
        },
    );
}
