//! Whether a row, or a validated record, says what was signed.

use crate::json::{Json, differences, micros_of};
use crate::number::Exact;
use crate::piece::{Record, Row};
use contracts::kafka::headers;
use std::borrow::Cow;
use std::io::Read;

/// Most that a body may be when it is unpacked.
const UNPACKED_BYTES: u64 = 64 << 20;

/// An event as a stage made it.
pub(crate) struct Made {
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) occurred_at_micros: i64,
    pub(crate) payload: Json,
}

/// The JSON of a raw record's value: the value itself, unpacked, or the fields of its form. `None`: it has no event.
pub(crate) fn open(value: &[u8]) -> Option<Json> {
    let plain: Cow<'_, [u8]> = if value.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let gzip = flate2::read::MultiGzDecoder::new(value);
        gzip.take(UNPACKED_BYTES).read_to_end(&mut plain).ok()?;
        plain.into()
    } else {
        value.into()
    };
    let text = std::str::from_utf8(&plain).ok()?;
    Json::parse(text).or_else(|| form(text))
}

/// The fields of a form as an object; where one of them has JSON, that too is looked into.
fn form(text: &str) -> Option<Json> {
    let mut members: Vec<(String, Json)> = Vec::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, Json::Text(decoded(value)?));
        match members.iter_mut().find(|(own, _)| *own == name) {
            Some((_, Json::Array(values))) => values.push(value),
            Some((_, first)) => *first = Json::Array(vec![first.clone(), value]),
            None => members.push((name, value)),
        }
    }
    let nested = members.iter().filter_map(|(_, value)| {
        let json = Json::parse(value.text()?)?;
        matches!(json, Json::Object(_)).then_some(json)
    });
    match nested.collect::<Vec<_>>().as_slice() {
        [one] => Some(one.clone()),
        _ => Some(Json::Object(members)),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (code, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
                rest = after;
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// The part of a body that is the payload, by what a stage took for it: in EventFlow's own envelope its `payload`; otherwise the value that is
/// the same, wherever it is in the body, since where it must be is the source's mapping and not ours to repeat. Else what differs.
fn payload<'b>(body: &'b Json, stored: &Json) -> Result<&'b Json, String> {
    if is_own(body)
        && let Some(payload) = body.get("payload")
    {
        let found = differences(stored, payload);
        return match found.first() {
            None => Ok(payload),
            Some(first) => Err(format!("payload {first}")),
        };
    }
    let same = body.all().into_iter().find(|value| {
        matches!(value, Json::Object(_)) == matches!(stored, Json::Object(_))
            && differences(stored, value).is_empty()
    });
    same.ok_or_else(|| {
        // Of what has the most in common, what differs.
        let all = body
            .all()
            .into_iter()
            .filter(|value| matches!(value, Json::Object(_)));
        let nearest = all
            .map(|value| differences(stored, value))
            .min_by_key(Vec::len);
        let first = nearest.and_then(|found| found.into_iter().next());
        format!(
            "payload {}",
            first.unwrap_or_else(|| "is not in the body".to_owned())
        )
    })
}

/// EventFlow's own envelope.
fn is_own(body: &Json) -> bool {
    let text = |name| body.get(name).and_then(Json::text).is_some();
    text("event_id") && text("event_type") && text("timestamp") && body.get("payload").is_some()
}

/// What an event that a stage made says otherwise than the signed value; `None`: nothing.
pub(crate) fn event_differs(made: &Made, value: &[u8], event_id: Option<&str>) -> Option<String> {
    let Some(body) = open(value) else {
        return Some("made of a body in which there is no event".to_owned());
    };
    if let Err(problem) = payload(&body, &made.payload) {
        return Some(problem);
    }
    let own = is_own(&body);
    let text = |name| body.get(name).and_then(Json::text).filter(|_| own);
    let expected_id = text("event_id").or(event_id);
    if let Some(sent) = expected_id.filter(|sent| *sent != made.event_id) {
        return Some(format!(
            "event id {:?} stored, {sent:?} sent",
            made.event_id
        ));
    }
    if let Some(sent) = text("event_type").filter(|sent| *sent != made.event_type) {
        return Some(format!(
            "event type {:?} stored, {sent:?} sent",
            made.event_type
        ));
    }
    let sent = text("timestamp").and_then(micros_of)?;
    (sent != made.occurred_at_micros).then(|| {
        format!(
            "time {} stored, {sent} sent (microseconds)",
            made.occurred_at_micros
        )
    })
}

/// What a row says otherwise than the raw record; `None`: nothing.
pub(crate) fn row_differs(row: &Row, raw: &Record, value: &[u8]) -> Option<String> {
    let Some(stored) = Json::parse(&row.payload) else {
        return Some("the row's payload is not JSON".to_owned());
    };
    let edited = row.edited_by.is_some();
    let made = Made {
        event_id: row.event_id.clone(),
        event_type: row.event_type.clone(),
        occurred_at_micros: row.occurred_at_micros,
        payload: stored,
    };
    let event_id = raw.text(headers::EVENT_ID).filter(|_| !edited);
    if let Some(problem) = event_differs(&made, value, event_id) {
        return Some(problem);
    }
    if row.source != raw.source() {
        return Some(format!(
            "source {:?} stored, {:?} received",
            row.source,
            raw.source()
        ));
    }
    let received = raw
        .text(headers::RECEIVED_AT)
        .and_then(|text| text.parse().ok());
    if row.received_at_micros != received {
        return Some("received_at is not the raw record's".to_owned());
    }
    let key = raw
        .key
        .as_ref()
        .and_then(|key| std::str::from_utf8(key).ok());
    if !edited && row.entity_key.as_deref() != key.filter(|key| !key.contains('\0')) {
        return Some(format!(
            "entity key {:?} stored, {key:?} received",
            row.entity_key
        ));
    }
    money_differs(row, &made.payload)
}

/// Amount and currency stand in the payload, whose numbers were compared; an amount may count in its payload what its currency has a hundred of.
fn money_differs(row: &Row, payload: &Json) -> Option<String> {
    if let Some(amount) = &row.amount {
        let Some(exact) = Exact::parse(amount) else {
            return Some(format!("amount {amount:?} is not a number"));
        };
        let of_payload = |value: &&Json| {
            value
                .number()
                .is_some_and(|sent| sent == exact || exact.is_major_of(&sent))
        };
        let at_its_place = payload
            .get("amount")
            .filter(|value| value.number().is_some());
        let found = match at_its_place {
            Some(value) => of_payload(&value),
            None => payload.all().iter().any(of_payload),
        };
        if !found {
            return Some(format!(
                "amount {amount} stored, which is not in the payload"
            ));
        }
    }
    let currency = row.currency.as_ref()?;
    let mut texts = payload.all().into_iter().filter_map(Json::text);
    (!texts.any(|text| text.eq_ignore_ascii_case(currency)))
        .then(|| format!("currency {currency:?} stored, which is not in the payload"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(payload: &str) -> Made {
        Made {
            event_id: "e".to_owned(),
            event_type: "t".to_owned(),
            occurred_at_micros: 0,
            payload: Json::parse(payload).unwrap(),
        }
    }

    #[test]
    fn the_own_envelope_is_read_at_its_places() {
        let body = br#"{"event_id":"e","event_type":"t","timestamp":"1970-01-01T00:00:00Z","payload":{"amount":1.50}}"#;
        assert_eq!(
            event_differs(&made(r#"{"amount":"1.5"}"#), body, None),
            None
        );
        let wrong = event_differs(&made(r#"{"amount":"1.51"}"#), body, None).unwrap();
        assert_eq!(wrong, "payload /amount: \"1.51\" stored, 1.50 sent");
        for change in [
            |made: &mut Made| made.event_id = "f".to_owned(),
            |made: &mut Made| made.event_type = "u".to_owned(),
            |made: &mut Made| made.occurred_at_micros = 1,
        ] {
            let mut other = made(r#"{"amount":"1.5"}"#);
            change(&mut other);
            assert!(event_differs(&other, body, None).is_some());
        }
    }

    #[test]
    fn a_vendors_payload_is_somewhere_in_the_body_and_whole() {
        let body = br#"{"id":"evt","data":{"object":{"amount":4990,"paid":true}}}"#;
        let of = |payload: &str| event_differs(&made(payload), body, Some("e"));
        assert_eq!(of(r#"{"amount":"49.90","paid":true}"#), None);
        assert!(
            of(r#"{"amount":"49.90"}"#).is_some(),
            "P12: nothing is left out"
        );
        assert!(of(r#"{"amount":"49.91","paid":true}"#).is_some());
        let other = event_differs(&made(r#"{"amount":4990,"paid":true}"#), body, Some("x"));
        assert!(other.unwrap().contains("event id"));
    }

    #[test]
    fn forms_and_packed_bodies_are_opened() {
        let form = b"a=1+2&b=%C3%A9&a=3";
        let json = open(form).unwrap();
        assert_eq!(json, Json::parse(r#"{"a":["1 2","3"],"b":"é"}"#).unwrap());
        let nested = open(b"payload=%7B%22x%22%3A1.50%7D").unwrap();
        assert_eq!(nested, Json::parse(r#"{"x":1.50}"#).unwrap());
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"{\"x\":1}").unwrap();
        assert_eq!(open(&packed.finish().unwrap()), Json::parse("{\"x\":1}"));
    }
}
