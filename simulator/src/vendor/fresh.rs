//! Makes another event of an example: a new id, an entity and a time, at the places where the source's mapping reads them.

use contracts::webhook::draft::{Draft, Place};
use contracts::webhook::source::Source;
use fastrand::Rng;
use http::HeaderName;

/// Fewest characters of an id that differ from the example's: no two of a run are the same.
const LEAST_CHANGED: usize = 12;
/// Digits of a number that is an id. More are no exact number in JavaScript, so vendors send no longer ones.
const DIGITS: u32 = 15;

/// Writes a new id, the entity of this number and the time into the event at `base`.
pub(super) fn renew(
    source: &Source,
    draft: &mut Draft,
    base: &[String],
    entity: u32,
    now_micros: i64,
    rng: &mut Rng,
) {
    let whole = draft.json();
    let part = match base {
        [] => whole,
        path => draft.at(path).unwrap_or_default().as_bytes().to_vec(),
    };
    let written = source.event.written(&*draft, &part);
    let at = |place: &Place| match place {
        Place::Header(name) => Place::Header(name.clone()),
        Place::Body(path) => Place::Body([base, path.as_slice()].concat()),
    };
    let is_time = |place: &Place| {
        written
            .time
            .as_ref()
            .is_some_and(|time| time.place == *place)
    };
    let changes = |place: &&Place| !is_time(place) && !written.event_type.contains(place);
    let (of_entity, own): (Vec<_>, Vec<_>) = written
        .id
        .iter()
        .filter(changes)
        .partition(|place| written.entity.contains(place));
    // An id of the entity and nothing else that changes is another entity each time.
    let ids = if own.is_empty() { &of_entity } else { &own };
    for place in ids {
        if let Some(old) = draft.text(&at(place)) {
            draft.set(&at(place), &new_id(&old, rng));
        }
    }
    for place in written
        .entity
        .iter()
        .filter(changes)
        .filter(|place| !ids.contains(place))
    {
        if let Some(old) = draft.text(&at(place)) {
            draft.set(&at(place), &entity_of(&old, entity));
        }
    }
    if let Some(time) = &written.time {
        draft.set(&at(&time.place), &time.text(now_micros));
    }
    // The id of the delivery, where it is signed and not the event's.
    for name in &source.verifier.scheme().id_header.0 {
        let place = Place::Header(name.to_ascii_lowercase());
        let is_signed = HeaderName::try_from(name).is_ok_and(|name| source.verifier.signs(&name));
        if let (true, false, Some(old)) = (is_signed, ids.contains(&&place), draft.text(&place)) {
            draft.set(&place, &new_id(&old, rng));
        }
    }
}

/// A text like the old one, which no other event has.
fn new_id(old: &str, rng: &mut Rng) -> String {
    if old.bytes().all(|byte| byte.is_ascii_digit()) {
        let least = 10_u64.pow(DIGITS - 1);
        return rng.u64(least..10 * least).to_string();
    }
    let (mut text, changed) = like(old, rng);
    if changed < LEAST_CHANGED {
        for _ in changed..LEAST_CHANGED {
            text.push(rng.digit(10));
        }
    }
    text
}

/// The entity of a number, by the example's: the same for the same number.
fn entity_of(old: &str, number: u32) -> String {
    let mut rng = Rng::with_seed(u64::from(number));
    let (text, changed) = like(old, &mut rng);
    match changed {
        0 => format!("{old}-{number}"),
        _ => text,
    }
}

/// The same shape: words with a digit in them have other letters and digits; how many changed.
fn like(old: &str, rng: &mut Rng) -> (String, usize) {
    let (mut text, mut changed) = (String::with_capacity(old.len()), 0);
    // A number stays one: none begins with 0.
    let is_number = old.bytes().all(|byte| byte.is_ascii_digit());
    for word in old.split_inclusive(|character: char| !character.is_ascii_alphanumeric()) {
        let is_changed = word.bytes().any(|byte| byte.is_ascii_digit());
        let mut letters = word.bytes().filter(u8::is_ascii_alphanumeric);
        let is_hex = letters.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        for character in word.chars() {
            let new = match character {
                _ if !is_changed || (is_number && text.is_empty()) => character,
                '0'..='9' => rng.digit(10),
                'a'..='z' if is_hex => char::from(b'a' + rng.u8(0..6)),
                'a'..='z' => rng.lowercase(),
                'A'..='Z' => rng.uppercase(),
                other => other,
            };
            changed += usize::from(is_changed && character.is_ascii_alphanumeric());
            text.push(new);
        }
    }
    (text, changed)
}

/// Letters and digits.
pub(super) fn letters(count: usize, rng: &mut Rng) -> String {
    (0..count).map(|_| rng.alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_id_keeps_its_shape_and_is_never_the_same() {
        let mut rng = Rng::with_seed(1);
        for old in [
            "evt_1QEXAMPLE0000000000000001",
            "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "Ev9UQ52YNA",
            "pay_1",
            "order",
            "42",
        ] {
            let ids: HashSet<_> = (0..10_000).map(|_| new_id(old, &mut rng)).collect();
            assert_eq!(ids.len(), 10_000, "{old}");
        }
        let like = new_id("evt_1QEXAMPLE0000000000000001", &mut rng);
        assert!(like.starts_with("evt_") && like.len() == 29, "{like}");
        let uuid = new_id("72d3162e-cc78-11e3-81ab-4c9367dc0958", &mut rng);
        assert!(uuid::Uuid::parse_str(&uuid).is_ok(), "{uuid}");
    }

    #[test]
    fn an_entity_is_the_same_for_its_number() {
        assert_eq!(entity_of("cus_29X", 7), entity_of("cus_29X", 7));
        assert_ne!(entity_of("cus_29X", 7), entity_of("cus_29X", 8));
        assert_eq!(entity_of("example/shop", 7), "example/shop-7");
        let numbers = (0..1000).map(|number| entity_of("820982911946154508", number));
        assert!(
            numbers
                .clone()
                .all(|text| text.starts_with('8') && text.len() == 18)
        );
        assert_eq!(numbers.collect::<HashSet<_>>().len(), 1000);
    }
}
