//! A small world for the tests of the judges: one event on its way.

use crate::piece::{Answer, Expect, Place, Position, Record, Row, Sent, Topic};
use contracts::kafka::headers::{self, dlq};
use contracts::kafka::topics;
use std::collections::BTreeMap;

pub(crate) const BODY: &str = r#"{"event_id":"e-1","event_type":"payment.authorized.v1","timestamp":"2026-01-15T12:00:00Z","payload":{"payment_id":"p-1","amount":49.90,"currency":"EUR"}}"#;

/// 2026-01-15T12:00:00Z
pub(crate) const MICROS: i64 = 1_768_478_400_000_000;

pub(crate) fn position(offset: i64) -> Position {
    Position {
        epoch: String::new(),
        partition: 0,
        offset,
    }
}

pub(crate) fn request() -> Sent {
    Sent {
        place: Place::Line { file: 0, at: 0 },
        source: "s".to_owned(),
        expect: Expect::Good,
        answer: Answer::Accepted,
        answered_at_micros: Some(MICROS + 700_000),
        event_id: "e-1".to_owned(),
        headers: vec![("X-Signature".to_owned(), "abc".to_owned())],
    }
}

pub(crate) fn headers_of(pairs: &[(&str, &str)]) -> Vec<(String, Option<serde_bytes::ByteBuf>)> {
    let header =
        |&(name, value): &(&str, &str)| (name.to_owned(), Some(value.as_bytes().to_vec().into()));
    pairs.iter().map(header).collect()
}

pub(crate) fn raw() -> Record {
    Record {
        topic: Topic::Raw,
        partition: 0,
        offset: 0,
        key: Some(b"p-1".to_vec().into()),
        value: Some(BODY.as_bytes().to_vec().into()),
        headers: headers_of(&[
            (headers::SOURCE, "s"),
            (headers::EVENT_ID, "e-1"),
            (headers::RECEIVED_AT, "1768478400500000"),
            ("x-signature", "abc"),
        ]),
        appended_at_millis: Some(MICROS / 1000 + 600),
    }
}

/// The dead letter of a record, by the stage that reads its topic.
pub(crate) fn dead(of: &Record, code: &str, disposition: &str) -> Record {
    let mut letter = Record {
        topic: Topic::Dead,
        partition: 1,
        offset: 9,
        ..of.clone()
    };
    if !of.has(headers::RAW) {
        letter.headers.extend(headers_of(&[(headers::RAW, "0:0")]));
    }
    letter.headers.extend(headers_of(&[
        (dlq::ERRORS_TOPIC, &names()[&of.topic]),
        (dlq::ERRORS_PARTITION, &of.partition.to_string()),
        (dlq::ERRORS_OFFSET, &of.offset.to_string()),
        (dlq::CODE, code),
        (dlq::DISPOSITION, disposition),
    ]));
    letter
}

/// A replay of a dead letter to the first stage.
pub(crate) fn replay(of: &Record) -> Record {
    let mut replay = of.clone();
    replay.topic = Topic::Retry(0);
    replay
        .headers
        .retain(|(name, _)| !dlq::ALL.contains(&name.as_str()));
    replay
        .headers
        .extend(headers_of(&[(headers::REPLAY_ID, "r-1")]));
    replay
}

pub(crate) fn row() -> Row {
    Row {
        source: "s".to_owned(),
        event_id: "e-1".to_owned(),
        event_type: "payment.authorized.v1".to_owned(),
        entity_key: Some("p-1".to_owned()),
        occurred_at_micros: MICROS,
        received_at_micros: Some(MICROS + 500_000),
        amount: Some("49.90".to_owned()),
        currency: Some("EUR".to_owned()),
        payload: r#"{"amount": "49.90", "currency": "EUR", "order_id": null, "payment_id": "p-1"}"#
            .to_owned(),
        edited_by: None,
    }
}

pub(crate) fn names() -> BTreeMap<Topic, String> {
    BTreeMap::from([
        (Topic::Raw, topics::RAW.to_owned()),
        (Topic::Validated, topics::VALIDATED.to_owned()),
        (Topic::Dead, topics::DLQ.to_owned()),
        (Topic::Retry(0), topics::retry("eventflow-validator")),
    ])
}
