//! What to do next, one sentence each, with the command to type.

use super::{Case, plain};
use crate::model::{DeadLetterState, Format};
use contracts::RejectionCode as C;

/// Whose turn it is.
enum Turn {
    /// The value: edited here, if anybody knows what was meant
    Value(&'static str),
    /// The vendor sends what cannot be fixed here
    Vendor(&'static str),
    /// The set-up: fixed there, then replayed unchanged
    SetUp(&'static str),
    /// A person decides between two truths
    Decision(&'static str),
}

fn turn(code: C) -> Turn {
    match code {
        C::EmptyBody => Turn::Vendor(
            "Nothing was sent, so there is nothing to fix: ask the vendor to send the event again.",
        ),
        C::NotUtf8 => Turn::Vendor(
            "The bytes are not text: ask the vendor which encoding it sends; only UTF-8 is JSON.",
        ),
        C::NotJson => Turn::Value(
            "The body breaks off or was never JSON: read it, and fix it only if nothing is missing.",
        ),
        C::NotAnObject => Turn::Vendor(
            "An event is one JSON object: a list of events goes to the source's /batch address.",
        ),
        C::TooDeep => Turn::Vendor(
            "No event is nested that deep: it is a mistake of the vendor's, or an attack.",
        ),
        C::DuplicateField => Turn::Value(
            "Which of the two values is meant only the vendor knows: ask, then leave one.",
        ),
        C::MissingField => {
            Turn::Value("Add the field if its value is known; ask the vendor why it was left out.")
        }
        C::WrongType => Turn::Value("Write the value in the type the contract asks for."),
        C::BlankField => Turn::Value(
            "An id must name something: put in the id that is meant, from the vendor's own records.",
        ),
        C::TooLong => Turn::Value(
            "Shorten the value, or allow more in the contract (maxLength) and restart the validator.",
        ),
        C::UnknownEventType => Turn::SetUp(
            "Give the validator a contract for this event type (--contracts), or fix the name if it is misspelled.",
        ),
        C::UnsupportedSchemaVersion => Turn::SetUp(
            "Give the validator a contract for this version (--contracts), or have the vendor send the version there is.",
        ),
        C::InvalidTimestamp => {
            Turn::Value("Write the time as RFC 3339, such as 2026-11-21T10:00:00Z.")
        }
        C::TimestampWithoutZone => Turn::Value(
            "Add the zone in which the vendor's clock runs, such as Z or +02:00: a guess is a wrong time.",
        ),
        C::InvalidAmount => Turn::Value(
            "Write the amount in plain decimal digits, such as \"49.90\", without sign, currency or separators.",
        ),
        C::AmountNotPositive => Turn::Value(
            "An amount must be above zero: money that goes back is an event type of its own. Ask the vendor what was meant.",
        ),
        C::AmountTooPrecise => Turn::Value(
            "The currency has fewer fraction digits: ask the vendor which amount was booked, and do not round here.",
        ),
        C::AmountOutOfRange => Turn::Value(
            "No payment is that large: look for a missing decimal point, and ask the vendor.",
        ),
        C::UnknownCurrency => Turn::Value("Write the ISO 4217 code in uppercase, such as EUR."),
        C::ValueNotAllowed => Turn::Value(
            "Take one of the values the contract allows, or allow this one in the contract (enum, const).",
        ),
        C::BadFrame => Turn::SetUp(
            "Something other than the validator writes to the validated topic: find out what, and stop it. The raw record is untouched.",
        ),
        C::UnknownSchemaId => Turn::SetUp(
            "The registry lost this schema, or another registry wrote the record: point --registry-url at the right one, or register it again.",
        ),
        C::BadDatum => Turn::SetUp(
            "The record and its schema do not belong together: check what was deployed when it began. The raw record is untouched.",
        ),
        C::Conflict => Turn::Decision(
            "One event id has two contents. Ask the vendor which is true. If the stored one is, discard this; if this one is, the vendor sends \
             it under an id of its own, since rows are never overwritten.",
        ),
        C::RowRefused => Turn::Value(
            "PostgreSQL takes no such value (a NUL character, a number out of range): take it out and replay.",
        ),
        C::ReplaysExhausted => Turn::Decision(
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
                "Nothing: it is settled. Its story: eventflow trace, or eventflow dlq show {id}"
            )];
        }
        DeadLetterState::Discarded => {
            return vec![format!(
                "Nothing: it was discarded. Who, when and why: eventflow dlq show {id}"
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
                "It failed in group {}, whose records EventFlow cannot send back: fix it there, and send it with that system's own tools.",
                if case.consumer_group.is_empty() {
                    "(unknown)".to_owned()
                } else {
                    plain(&case.consumer_group, 100)
                }
            ),
            discard("settled in the other system"),
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
    match code.map(turn) {
        Some(Turn::Value(what)) => {
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
        Some(Turn::Vendor(what)) => {
            next.push(what.to_owned());
            next.push(discard("sent again by the vendor"));
        }
        Some(Turn::SetUp(what)) => {
            next.push(what.to_owned());
            if passes != Some(true) {
                next.push(format!(
                    "Then replay all similar ones, unchanged: {replay_all}"
                ));
            }
            next.push(discard("not ours"));
        }
        Some(Turn::Decision(what)) => {
            next.push(what.to_owned());
            next.push(format!("Its story so far: eventflow dlq show {id}"));
            next.push(discard("what is stored is true"));
        }
        None => {
            next.push(format!("This version does not know the code: read the detail, and look at it: eventflow dlq show {id}"));
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
