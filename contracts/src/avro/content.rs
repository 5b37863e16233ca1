//! What makes two deliveries of one event id the same: the event type and the payload, declared and not.
//!
//! The rest of the envelope is the delivery's: a vendor may stamp every attempt again. So are the payload's fields to which the contract gives
//! the role `delivery`, such as a counter of attempts.

use super::datum::Event;
use crate::event::money::Decimal;
use crate::json::{Json, find, push_token};
use sha2::{Digest, Sha256};

/// SHA-256 of an event's content. Equal hashes mean equal content. Unequal ones may too: a contract that changed, or a version that hashed
/// something else, hash the same content otherwise, so [`differences`] decides then.
#[must_use]
pub fn hash(event: &Event<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(event.event_type);
    hash.update([0]);
    let mut payload = std::borrow::Cow::Borrowed(event.payload_json.as_str());
    for pointer in event.delivery.iter() {
        if let Some(without) = without(&payload, pointer) {
            payload = without.into();
        }
    }
    hash.update(&*payload);
    hash.finalize().into()
}

/// The payload with null in the place of a value. By text: no digit changes.
fn without(payload: &str, pointer: &str) -> Option<String> {
    let path: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    let value = find(&path, serde_json::Deserializer::from_str(payload))?.get();
    let start = value.as_ptr().addr().checked_sub(payload.as_ptr().addr())?;
    let (before, after) = (payload.get(..start)?, payload.get(start + value.len()..)?);
    Some(format!("{before}null{after}"))
}

/// Pointers to what differs between an event's content and a stored one's, in the order of their names; none when the content is the same.
///
/// A record's payload has every field of its contract, with null where the vendor sent none: null is as good as missing.
#[must_use]
pub fn differences(
    stored_event_type: &str,
    stored_payload: &str,
    event: &Event<'_>,
) -> Vec<String> {
    let mut found = Vec::new();
    if stored_event_type != event.event_type {
        found.push("/event_type".to_owned());
    }
    match (
        Json::parse(stored_payload),
        Json::parse(&event.payload_json),
    ) {
        (Ok(stored), Ok(new)) => compare(&stored, &new, "", &event.delivery, &mut found),
        (_, _) => found.push(PAYLOAD.to_owned()),
    }
    found.sort();
    found
}

const PAYLOAD: &str = "/payload";

fn compare(stored: &Json, new: &Json, at: &str, delivery: &[String], found: &mut Vec<String>) {
    if delivery.iter().any(|pointer| pointer == at) {
        return;
    }
    match (stored, new) {
        (Json::Object(before), Json::Object(after)) => {
            // Two objects that have nothing in common are not one.
            let common = after.iter().any(|(name, _)| stored.get(name).is_some());
            if !common && !before.is_empty() && !after.is_empty() {
                found.push(format!("{PAYLOAD}{at}"));
                return;
            }
            let null = Json::Scalar("null".to_owned());
            let gone = before.iter().filter(|(name, _)| new.get(name).is_none());
            let gone = gone.map(|(name, value)| (name, value, &null));
            let here = after
                .iter()
                .map(|(name, value)| (name, stored.get(name).unwrap_or(&null), value));
            for (name, stored, new) in gone.chain(here) {
                let mut pointer = at.to_owned();
                push_token(name, &mut pointer);
                compare(stored, new, &pointer, delivery, found);
            }
        }
        (Json::Array(before), Json::Array(after)) if before.len() == after.len() => {
            for (index, (stored, new)) in before.iter().zip(after).enumerate() {
                compare(stored, new, &format!("{at}/{index}"), delivery, found);
            }
        }
        (Json::Scalar(stored), Json::Scalar(new)) if same(stored, new) => {}
        (_, _) => found.push(format!("{PAYLOAD}{at}")),
    }
}

/// Two words, strings or numbers: PostgreSQL writes both its own way.
fn same(stored: &str, new: &str) -> bool {
    if stored == new {
        return true;
    }
    if stored.starts_with('"') && new.starts_with('"') {
        let text = |json: &str| serde_json::from_str::<String>(json).ok();
        return text(stored) == text(new);
    }
    let number = |text: &str| Decimal::parse(text).ok();
    match (number(stored), number(new)) {
        (Some(stored), Some(new)) => stored == new,
        // Of more digits than can be compared: PostgreSQL writes exponents out.
        (_, _) => written_out(stored).is_some_and(|stored| Some(stored) == written_out(new)),
    }
}

/// Sign, significant digits and exponent of a number, whatever its length.
fn written_out(number: &str) -> Option<(bool, String, i64)> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let exponent = exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(trailing).ok()?;
    Some((negative, significant.to_owned(), exponent))
}
