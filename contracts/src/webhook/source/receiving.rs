//! The fields that say how the edge takes a vendor's requests: form of the body, handshakes, the answer.

use super::Resolve;
use super::fields::optional;
use crate::event::Locator;
use crate::webhook::answer::SuccessAnswer;
use crate::webhook::body::BodyForm;
use crate::webhook::handshake::Handshakes;
use crate::webhook::signature::Key;
use toml::{Table, Value};

/// `body`, `items`, `gzip`.
pub(super) fn parse_body(table: &mut Table, limit_bytes: usize) -> Result<BodyForm, String> {
    let forms: Vec<String> = match table.get("body") {
        Some(Value::String(form)) => {
            let form = form.clone();
            table.remove("body");
            vec![form]
        }
        Some(_) | None => optional(table, "body")?.unwrap_or_default(),
    };
    let items: Option<String> = optional(table, "items")?;
    let gzip = optional(table, "gzip")?;
    BodyForm::new(&forms, items.as_deref(), gzip, limit_bytes)
}

/// What cannot be together with several events in one body, or in one request.
pub(super) fn check_many(form: &BodyForm, batches: bool, event_id: &Locator) -> Result<(), String> {
    if batches && !form.is_plain_json() {
        return Err(
            "batches: the events of a batch are plain JSON; remove body, items and gzip".to_owned(),
        );
    }
    let many = if batches { "batches" } else { "items" };
    if (batches || form.has_items()) && event_id.reads_headers() {
        return Err(format!(
            "{many}: the events of a request share its headers, and each needs an id of its own; give event.id as JSON pointers"
        ));
    }
    Ok(())
}

/// `answer`: what the vendor hears of an accepted event.
pub(super) fn parse_answer(table: &mut Table) -> Result<Option<SuccessAnswer>, String> {
    let answer = table.remove("answer").map(SuccessAnswer::parse);
    answer
        .transpose()
        .map_err(|problem| format!("answer: {problem}"))
}

/// `[[handshake]]` and `verify_token`.
pub(super) fn parse_handshakes(
    table: &mut Table,
    keys: &[Key],
    resolve: Resolve<'_>,
) -> Result<Handshakes, String> {
    let token: Option<String> = match table.remove("verify_token") {
        None => None,
        Some(Value::String(from)) => Some(from),
        // No value is shown: it may be the token itself.
        Some(_) => {
            return Err(
                "verify_token: write where it is, as \"env:NAME\" or \"file:/path\"".to_owned(),
            );
        }
    };
    let token = token.as_deref().map(resolve).transpose();
    let token = token.map_err(|problem| format!("verify_token: {problem}"))?;
    let list = match table.remove("handshake") {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("handshake: write each as [[source.handshake]]".to_owned()),
    };
    Handshakes::parse(list, keys, token.as_ref())
}
