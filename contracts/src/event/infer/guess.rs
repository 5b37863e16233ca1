//! What texts and names look like.

use crate::event::money::minor_digits;
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Formats, the narrowest first: the one that every text has is written.
const FORMATS: [&str; 5] = ["uuid", "date-time", "date", "email", "uri"];

/// The format that all texts have.
pub(super) fn format(texts: &[String]) -> Option<&'static str> {
    static JUDGES: LazyLock<Vec<(&str, Validator)>> = LazyLock::new(|| {
        let judge = |format: &'static str| {
            let built = jsonschema::options()
                .with_draft(Draft::Draft202012)
                .should_validate_formats(true)
                .build(&json!({"format": format}));
            Some((format, built.ok()?))
        };
        FORMATS.into_iter().filter_map(judge).collect()
    });
    let fits = |format: &str, judge: &Validator, text: &String| {
        // What the plan judges itself is more than jsonschema demands: a zone, a year from 1 on.
        let by_plan = match format {
            "date-time" => crate::event::time::rfc3339(text).is_ok(),
            "date" => text.len() == 10 && !text.starts_with("0000"),
            // "urn:x" and "a:b" are URIs, too, and so are many texts that are none.
            "uri" => text.contains("://"),
            _ => true,
        };
        by_plan && judge.is_valid(&Value::from(text.as_str()))
    };
    if texts.is_empty() {
        return None;
    }
    let found = JUDGES
        .iter()
        .find(|(format, judge)| texts.iter().all(|text| fits(format, judge, text)));
    found.map(|(format, _)| *format)
}

/// A name that no person gave: the names of a map.
pub(super) fn looks_like_an_id(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    let all_plain = name.bytes().all(is_plain);
    let only_digits = digits > 0 && name.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    all_plain && (only_digits || (name.len() >= 10 && digits >= 3))
}

/// The names of a currency beside an amount, and whether its letters are lower case.
pub(super) fn currency(name: &str, texts: &[String]) -> Option<&'static str> {
    let named = name.to_ascii_lowercase().contains("currency");
    let is_code = |text: &String| minor_digits(&text.to_ascii_uppercase()).is_some();
    if !named || texts.is_empty() || !texts.iter().all(is_code) {
        return None;
    }
    let lower = texts.iter().all(|text| *text == text.to_ascii_lowercase());
    let upper = texts.iter().all(|text| *text == text.to_ascii_uppercase());
    Some(match (lower, upper) {
        (true, _) => r#"{"role": "currency", "case": "lower"}"#,
        (_, true) => r#""currency""#,
        (false, false) => r#"{"role": "currency", "case": "any"}"#,
    })
}

/// A name that money has.
pub(super) fn sounds_like_money(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "amount", "price", "total", "subtotal", "fee", "fees", "tax", "cost", "balance",
        "discount", "tip", "net", "gross", "refunded",
    ];
    let snake = name.chars().fold(String::new(), |mut words, letter| {
        if letter.is_ascii_uppercase() {
            words.push('_');
        }
        words.push(letter.to_ascii_lowercase());
        words
    });
    snake
        .split(|c: char| !c.is_ascii_alphabetic())
        .any(|word| WORDS.contains(&word))
}

/// A decimal number in a text.
pub(super) fn is_decimal(text: &str) -> bool {
    crate::event::money::Decimal::parse(text).is_ok() && text.contains('.')
}
