//! PromQL, as far as these tests must understand it: which metrics it names, and what an alert compares.

use std::collections::BTreeSet;

/// The metrics an expression names: those of roles, those that rules record, and Prometheus' own.
pub(crate) fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let outside = expression.split('"').step_by(2);
    let words = outside.flat_map(|text| text.split(|c| !part_of_name(c)));
    words
        .filter(|word| word.contains("eventflow_") || ["up", "ALERTS"].contains(word))
        .collect()
}

/// The operands of an alert's comparisons: with them evaluated, nothing of it is unseen though it does not fire.
/// `absent(x)` is empty as long as all is well, so x stands for it.
pub(crate) fn operands(expression: &str) -> Vec<String> {
    let expression = bare(expression);
    for words in [
        &["or"][..],
        &["and", "unless"],
        &["==", "!=", ">=", "<=", ">", "<"],
    ] {
        if let Some((left, right)) = split(expression, words) {
            return [operands(left), operands(right)].concat();
        }
    }
    if let Some(inner) = expression
        .strip_prefix("absent(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        return operands(inner);
    }
    if expression.parse::<f64>().is_ok() {
        Vec::new()
    } else {
        vec![expression.to_owned()]
    }
}

/// Without white space and parentheses around all of it.
fn bare(expression: &str) -> &str {
    let expression = expression.trim();
    let inner = expression
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    match inner.filter(|inner| depths(inner).all(|(_, depth)| depth >= 0)) {
        Some(inner) => bare(inner),
        None => expression,
    }
}

/// Every byte's place with how many brackets are open there; within quotes one more.
fn depths(text: &str) -> impl Iterator<Item = (usize, i32)> {
    let (mut depth, mut quoted) = (0, false);
    text.bytes().enumerate().map(move |(at, byte)| {
        match byte {
            b'"' => quoted = !quoted,
            b'(' | b'{' | b'[' if !quoted => depth += 1,
            b')' | b'}' | b']' if !quoted => depth -= 1,
            _ => {}
        }
        (at, depth + i32::from(quoted))
    })
}

/// Both sides of the first of these operators that is in no brackets.
fn split<'e>(expression: &'e str, operators: &[&str]) -> Option<(&'e str, &'e str)> {
    let outside: Vec<usize> = depths(expression)
        .filter(|(_, depth)| *depth == 0)
        .map(|(at, _)| at)
        .collect();
    for at in outside {
        for operator in operators {
            let Some(rest) = expression[at..].strip_prefix(operator) else {
                continue;
            };
            let word = operator.starts_with(|c: char| c.is_ascii_alphabetic());
            let alone = expression[..at].ends_with(char::is_whitespace)
                && rest.starts_with(char::is_whitespace);
            if !word || alone {
                return Some((&expression[..at], without_matching(rest)));
            }
        }
    }
    None
}

/// Without `on (...)`, `ignoring (...)` and `bool` after an operator.
fn without_matching(rest: &str) -> &str {
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("bool ").unwrap_or(rest);
    let labels = ["on", "ignoring"]
        .iter()
        .find_map(|word| rest.strip_prefix(word)?.trim_start().strip_prefix('('));
    labels.map_or(rest, |labels| labels.split_once(')').unwrap().1)
}

#[test]
fn an_alert_is_taken_apart_at_its_comparisons() {
    let taken = |expression: &str| operands(expression).join(" | ");
    assert_eq!(taken("up == 0"), "up");
    assert_eq!(
        taken("(sum by (role) (up{a!=\"== or\"}) == 0) or absent(up{b=\"c\"})"),
        "sum by (role) (up{a!=\"== or\"}) | up{b=\"c\"}"
    );
    assert_eq!(
        taken("a > 1 and on (x) rate(b[5m] offset 1d) * 60 >= bool 2"),
        "a | rate(b[5m] offset 1d) * 60"
    );
    assert_eq!(
        taken("max(a) > 900\n  or max(b) == 1 unless on () c"),
        "max(a) | max(b) | c"
    );
    assert_eq!(taken("(a) + (b) < 3"), "(a) + (b)");
    assert_eq!(
        metrics_in("sum(eventflow_x{y=\"eventflow_z\"}) / a:eventflow_b:c and up").len(),
        3
    );
}
