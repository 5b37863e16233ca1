//! What to do next, one sentence each, with the command to type.

use super::{Case, plain};
use crate::model::{DeadLetterState, Format};
use contracts::RejectionCode as C;

/// What puts a dead letter of a code right.
enum Remedy {
    /// An edit of the value, if anybody knows what was meant
    Value(&'static str),
    /// The vendor: it cannot be fixed here
    Vendor(&'static str),
    /// A change of contracts, registry or deployment, then a replay of it unchanged
    SetUp(&'static str),
    /// A decision of a person
    Decision(&'static str),
}

fn remedy(code: C) -> Remedy {
    match code {
        C::EmptyBody => Remedy::Vendor(
            "Nothing was sent, so there is nothing to fix: ask the vendor to send the event again.",
        ),
        C::NotUtf8 => Remedy::Vendor(
            "The bytes are not text: ask the vendor which encoding it sends; only UTF-8 is JSON.",
        ),
        C::NotJson => Remedy::Value(
            "The body breaks off or was never JSON: read it, and fix it only if nothing is missing.",
        ),
        C::NotAnObject => Remedy::Vendor(
            "An event is one JSON object: ask the vendor to post lists of events to the source's /batch URL.",
        ),
        C::TooDeep => Remedy::Vendor(
            "No event is nested that deep: it is a mistake of the vendor's, or an attack. Ask the vendor.",
        ),
        C::DuplicateField => Remedy::Value(
            "Only the vendor knows which of the two values is meant: ask, then leave one.",
        ),
        C::MissingField => Remedy::Value(
            "Add the field if its value is known; ask the vendor why it was left out.",
        ),
        C::WrongType => Remedy::Value("Write the value in the type the contract asks for."),
        C::BlankField => {
            Remedy::Value("An id must not be blank: ask the vendor for the id that is meant.")
        }
        C::NulCharacter => Remedy::Value(
            "Remove the character U+0000 (\\u0000): PostgreSQL stores no text with it. Ask the vendor where it comes from.",
        ),
        C::UnpairedSurrogate => Remedy::Value(
            "Half a character is left of the text, cut off in the middle: ask the vendor for the whole text.",
        ),
        C::TooLong => Remedy::Value(
            "Shorten the value, or allow more in the contract (maxLength) and restart the validator.",
        ),
        C::UnknownEventType => Remedy::SetUp(
            "Give the validator a contract for this event type (--contracts), or fix the name if it is misspelled.",
        ),
        C::UnsupportedSchemaVersion => Remedy::SetUp(
            "Give the validator a contract for this version (--contracts), or have the vendor send a version that has one.",
        ),
        C::InvalidTimestamp => {
            Remedy::Value("Write the time as RFC 3339, such as 2026-11-21T10:00:00Z.")
        }
        C::TimeOutOfRange => Remedy::Value(
            "No event happened then: ask the vendor for the right time. Times are in the years 1 to 9999, in UTC.",
        ),
        C::TimestampWithoutZone => Remedy::Value(
            "Ask the vendor for the zone, then add it, such as Z or +02:00; do not guess.",
        ),
        C::InvalidAmount => Remedy::Value(
            "Write the amount in plain decimal digits, such as \"49.90\", without sign, currency or separators.",
        ),
        C::AmountNotPositive => Remedy::Value(
            "An amount must be above zero: a refund is an event type of its own. Ask the vendor what was meant.",
        ),
        C::AmountTooPrecise => Remedy::Value(
            "The currency has fewer fraction digits: ask the vendor which amount was booked, and do not round here.",
        ),
        C::AmountOutOfRange => Remedy::Value(
            "No payment is that large: look for a missing decimal point, and ask the vendor.",
        ),
        C::UnknownCurrency => Remedy::Value("Write the ISO 4217 code in uppercase, such as EUR."),
        C::ValueNotAllowed => Remedy::Value(
            "Use one of the values the contract allows, or allow this one in the contract (enum, const).",
        ),
        C::BadFrame => Remedy::SetUp(
            "Something other than the validator writes to the validated topic: find out what, and stop it. The raw record is untouched.",
        ),
        C::UnknownSchemaId => Remedy::SetUp(
            "The registry lost this schema, or another registry wrote the record: point --registry-url at the right one, or register it again.",
        ),
        C::BadDatum => Remedy::SetUp(
            "The record was not written with the schema it names: check what was deployed when it began. The raw record is untouched.",
        ),
        C::Conflict => Remedy::Decision(
            "One event id has two contents. Ask the vendor which is right. If the stored one is, discard this; if this one is, have the vendor \
             send it under another id, since rows are never overwritten.",
        ),
        C::RowRefused => Remedy::Value(
            "PostgreSQL cannot store a value of it (a NUL character, a number out of range): correct that value.",
        ),
        C::ReplaysExhausted => Remedy::Decision(
            "It was replayed as often as allowed and failed each time: read its earlier failures before anything else, and fix their cause. \
             --max-replays of the stage is the limit.",
        ),
    }
}

/// What to do next. `passes`: whether today's checks take it.
pub(super) fn next(case: &Case, code: Option<C>, passes: Option<bool>) -> Vec<String> {
    let (id, group, similar) = (case.id, case.group_id, case.open);
    let discard = |why: &str| {
        format!("Discard it, with the reason: eventflow dlq discard --id {id} --reason \"{why}\"")
    };
    match case.state {
        DeadLetterState::Open => {}
        DeadLetterState::Resolved => {
            return vec![format!(
                "Nothing to do: it is resolved. Its history: eventflow dlq show {id}"
            )];
        }
        DeadLetterState::Discarded => {
            return vec![format!(
                "Nothing to do: it was discarded. Who, when and why: eventflow dlq show {id}"
            )];
        }
        DeadLetterState::Replaying => {
            return vec![
                "Wait: it is being replayed. Its progress: eventflow replay history".to_owned(),
            ];
        }
    }
    if case.family == Format::Unknown {
        return vec![
            format!("Read what the other system says of it: eventflow dlq show {id}"),
            format!(
                "It failed in consumer group {}, to which EventFlow cannot replay: fix it there, and send it with that system's own tools.",
                if case.consumer_group.is_empty() {
                    "(unknown)".to_owned()
                } else {
                    plain(&case.consumer_group, 100)
                }
            ),
            discard("handled in the other system"),
        ];
    }
    let replay_one = format!("eventflow replay plan --id {id}");
    let replay_all = format!("eventflow replay plan --group {group}");
    let mut next = Vec::new();
    if passes == Some(true) {
        next.push(format!("Replay it, since it would pass now: {replay_one}"));
        if similar > 1 {
            next.push(format!(
                "Or all {similar} similar ones; the dry run says which would pass: {replay_all}"
            ));
        }
    }
    match code.map(remedy) {
        Some(Remedy::Value(what)) => {
            next.push(format!("{what} eventflow dlq edit {id}"));
            if passes != Some(true) {
                next.push(format!("Then replay it: {replay_one}"));
            }
            if similar > 1 {
                next.push(format!(
                    "One patch fixes all {similar}: eventflow dlq edit --group {group} --patch FILE"
                ));
            }
            next.push(discard("cannot be fixed"));
        }
        Some(Remedy::Vendor(what)) => {
            next.push(what.to_owned());
            next.push(discard("sent again by the vendor"));
        }
        Some(Remedy::SetUp(what)) => {
            next.push(what.to_owned());
            if passes != Some(true) {
                next.push(format!(
                    "Then replay all similar ones, unchanged: {replay_all}"
                ));
            }
            next.push(discard("not ours"));
        }
        Some(Remedy::Decision(what)) => {
            next.push(what.to_owned());
            next.push(format!("Its history: eventflow dlq show {id}"));
            next.push(discard("the stored row is right"));
        }
        None => {
            next.push(format!(
                "This version does not know the code. Read the detail: eventflow dlq show {id}"
            ));
            next.push(format!("Once its cause is fixed: {replay_one}"));
            next.push(discard("not needed"));
        }
    }
    if case.replay_count > 0 {
        next.push(format!(
            "It was replayed {} times before: fix the cause first, or it fails again.",
            case.replay_count
        ));
    }
    next
}
