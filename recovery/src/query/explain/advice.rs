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
    /// Somebody who knows whether the vendor sent it
    Trust(&'static str),
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
        C::MalformedForm => Remedy::SetUp(
            "The body is in another form than the source's body says: correct it in sources.toml (\"json\", \"form\", \"form:FIELD\", or a list).",
        ),
        C::MalformedGzip => Remedy::Vendor(
            "The compressed body is broken, or unpacks to more than body_limit_bytes or 100 times its size: ask the vendor to send it again.",
        ),
        C::NoItems => Remedy::SetUp(
            "Say in the source's items where the body has its array of events; if this body has none, ask the vendor what it is.",
        ),
        C::NotAnObject => Remedy::Vendor(
            "An event is one JSON object: set batches = true for the source, and ask the vendor to post lists of events to its /batch URL.",
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
        C::TooShort => Remedy::Value(
            "Ask the vendor for the whole value, or allow less in the contract (minLength) and restart the validator.",
        ),
        C::UnknownSource => Remedy::SetUp(
            "The validator does not know this source, so it cannot tell where its events' ids and types are: give it the sources file that the \
             producers have (--sources, EVENTFLOW_SOURCES). It reads the file again when it changes.",
        ),
        C::NoEventType => Remedy::SetUp(
            "The event type is not where the source's mapping looks: correct type in its [source.event], in the sources file of producers, \
             validator and recovery, which read it again when it changes.",
        ),
        C::NoEventId => Remedy::SetUp(
            "The event id is not where the source's mapping looks: correct id in its [source.event], in the sources file of producers, \
             validator and recovery, which read it again when it changes.",
        ),
        C::NoEventTime => Remedy::SetUp(
            "The time is not where the source's mapping looks: correct time in its [source.event], or end its list with \"received\", in the \
             sources file of producers, validator and recovery, which read it again when it changes.",
        ),
        C::UnknownEventType => Remedy::SetUp(
            "Give the validator a contract for this event type (--contracts), or have its source store what has none (unknown = \"store\" in \
             [source.event]).",
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
            "The amount must be above zero, unless its contract has a minimum: ask the vendor what was meant, or write the minimum.",
        ),
        C::AmountTooPrecise => Remedy::Value(
            "The currency has fewer fraction digits: ask the vendor which amount was booked, and do not round here.",
        ),
        C::AmountOutOfRange => Remedy::Value(
            "No amount is that large: look for a missing decimal point, and ask the vendor.",
        ),
        C::UnknownCurrency => Remedy::Value("Write the ISO 4217 code in uppercase, such as EUR."),
        C::ValueNotAllowed => Remedy::Value(
            "Use one of the values the contract allows, or allow this one in the contract (enum, const).",
        ),
        C::IntegerOutOfRange => Remedy::Value(
            "Ask the vendor whether the number is right. If it is, make the field a long in the contract's record.avsc and restart the registry \
             and the validator.",
        ),
        C::NumberOutOfRange => Remedy::Value(
            "The number has more digits, or a larger exponent, than can be kept: ask the vendor for the right one.",
        ),
        C::NumberTooSmall => Remedy::Value(
            "Ask the vendor whether so small a number is right. If it is, lower minimum in the contract and restart the validator.",
        ),
        C::NumberTooLarge => Remedy::Value(
            "Ask the vendor whether so large a number is right. If it is, raise maximum in the contract and restart the validator.",
        ),
        C::NotAMultiple => Remedy::Value(
            "Ask the vendor for the exact number, or remove multipleOf from the contract and restart the validator.",
        ),
        C::InvalidFormat => Remedy::Value(
            "Write the text in the format that the contract names, such as 2026-11-21 for a date.",
        ),
        C::UnknownField => Remedy::Value(
            "Add the field to the contract, or let it allow others (additionalProperties), and restart the validator; or remove the field here.",
        ),
        C::SchemaViolation => Remedy::Value(
            "Read the rule that is named in the contract's schema.json: correct the value, or the rule, and restart the validator.",
        ),
        C::BadFrame => Remedy::SetUp(
            "Something other than the validator writes to the validated topic: find out what, and stop it. The raw record is untouched.",
        ),
        C::UnknownSchemaId => Remedy::SetUp(
            "No registry gives such a schema id, or an older version did not wait for it: find out what wrote the record, and whether the registry has \
             its schema now.",
        ),
        C::BadDatum => Remedy::SetUp(
            "The record was not written with the schema it names: check what was deployed when it began. The raw record is untouched.",
        ),
        C::NoRawRecord => Remedy::Decision(
            "It is no event of this pipeline: somebody wrote it to the topic by hand. Find out who, and discard it; it cannot be replayed.",
        ),
        C::Conflict => Remedy::Decision(
            "One event id has two contents. Ask the vendor which is right. If the stored one is, discard this; if this one is, have the vendor \
             send it under another id, since rows are never overwritten.",
        ),
        C::RowRefused => Remedy::Value(
            "PostgreSQL cannot store a value of it (a NUL character, a number out of range): correct that value.",
        ),
        C::Stale => Remedy::Trust(
            "Whoever sent it has the vendor's signature, but it came late: a vendor's retry after an outage, or a copy of an older request that somebody \
             kept. Look whether its event is there already (eventflow trace, with its event id); a replay lets it pass, and is a duplicate if it is.",
        ),
        C::Unverified => Remedy::Trust(
            "Anybody may have sent it. Correct the secret or the scheme of the source first, until eventflow trace says that it verifies; or ask the \
             vendor whether it sent this event.",
        ),
        C::ReplaysExhausted => Remedy::Decision(
            "It was replayed as often as allowed and failed each time: read its earlier failures before anything else, and fix their cause. \
             --max-replays of the stage is the limit.",
        ),
    }
}

/// The one cause, whichever place was looked at first, of a source that nobody gave a mapping.
const NO_MAPPING: &str = "This source has no mapping, so its events are read in EventFlow's own envelope: say where they have their id, type, time and payload, by a \
     preset or in [source.event], in the sources file of producers, validator and recovery, which read it again when it changes. What an event would \
     become: eventflow sources try.";

/// Whether a mapping finds what the record lacks.
fn needs_mapping(code: C, at: Option<&str>) -> bool {
    matches!(code, C::NoEventType | C::NoEventId | C::NoEventTime)
        || (code == C::MissingField && at == Some("/payload"))
}

/// What to do next. `at`: the place that its detail names. `passes`: whether today's checks take it. `is_unmapped`: whether
/// nobody said where its source has things.
pub(super) fn next(
    case: &Case,
    code: Option<C>,
    at: Option<&str>,
    passes: Option<bool>,
    is_unmapped: bool,
) -> Vec<String> {
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
                "Wait: it is being replayed. Its progress: eventflow replay ls".to_owned(),
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
    let remedy = code.map(|code| match is_unmapped && needs_mapping(code, at) {
        true => Remedy::SetUp(NO_MAPPING),
        false => remedy(code),
    });
    match remedy {
        Some(Remedy::Value(what)) => {
            next.push(format!("{what} eventflow dlq edit {id}"));
            if passes != Some(true) {
                next.push(format!("Then replay it: {replay_one}"));
            }
            if similar > 1 {
                next.push(format!(
                    "One patch fixes all {similar}, if the same value is true for all: eventflow dlq edit --group {group} --patch FILE"
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
        Some(Remedy::Trust(what)) => {
            next.push(what.to_owned());
            if case.not_genuine {
                next.push(format!(
                    "If the vendor sent it, say so: eventflow dlq genuine {id} --reason \"how you know\""
                ));
                next.push(format!("Then replay it: {replay_one}"));
            }
            next.push(discard("not sent by the vendor"));
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
