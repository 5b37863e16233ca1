//! Bodies that are not one JSON object: forms, several events, gzip; and what a hostile one takes.

use crate::sources::{Vendors, vendors};
use crate::world::request;
use axum::body::Body;
use axum::http::Request;
use contracts::kafka::headers;
use flate2::Compression;
use flate2::write::GzEncoder;
use runtime::admin::{OwnedRecord, read_all};
use serde_json::Value;
use std::io::Write;

impl Vendors {
    /// Posts a body as the source signs it.
    async fn post(&self, source: &str, body: &[u8], more: &[(&str, &str)]) -> (u16, Value) {
        let asked = self.signed(source, body, body, more);
        let (status, answer, _) = self.world.ask(asked).await;
        (status, answer)
    }

    /// A request with `sent` as its body and the signature of `signed`.
    fn signed(
        &self,
        source: &str,
        signed: &[u8],
        sent: &[u8],
        more: &[(&str, &str)],
    ) -> Request<Body> {
        request(
            &format!("/api/webhooks/{source}"),
            sent,
            &self.sign(source, signed),
            more,
        )
    }

    fn raw(&self) -> Vec<OwnedRecord> {
        read_all(&self.world.broker.kafka(), "events.raw.v1").unwrap()
    }

    fn only_raw(&self) -> OwnedRecord {
        let mut records = self.raw();
        assert_eq!(records.len(), 1, "{records:?}");
        records.remove(0)
    }
}

fn pack(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

const GZIP: &[(&str, &str)] = &[("content-encoding", "gzip")];

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_found_in_a_form_and_the_raw_record_is_the_signed_form() {
    for (body, form, event_id) in [
        (
            "body = \"form:payload\"\nevent.id = \"/id\"",
            &b"payload=%7B%22id%22%3A%22evt+1%22%7D"[..],
            Some("evt 1"),
        ),
        (
            "body = \"form\"\nevent.id = \"/MessageSid\"",
            b"MessageSid=SM1&Body=hi",
            Some("SM1"),
        ),
        (
            "body = [\"json\", \"form:payload\"]\nevent.id = \"/id\"",
            b"payload=%7B%22id%22%3A%22f%22%7D",
            Some("f"),
        ),
        (
            "body = [\"json\", \"form:payload\"]\nevent.id = \"/id\"",
            b" {\"id\":\"j\",\"text\":\"&payload=%7B%22id%22%3A%22forged%22%7D&\"}",
            Some("j"),
        ),
        // Authentic, and in no form of the source: the validator says so.
        (
            "body = \"form:payload\"\nevent.id = \"/id\"",
            b"payload=%zz",
            None,
        ),
    ] {
        let vendors = vendors(&[("acme", body)]).await;
        // The content type is not signed: it decides nothing.
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let mut asked = vendors.signed("acme", form, form, &[]);
            asked
                .headers_mut()
                .insert("content-type", kind.parse().unwrap());
            let (status, answer, _) = vendors.world.ask(asked).await;
            let found = answer["event_id"].as_str();
            assert_eq!((status, found), (200, event_id), "{body} {kind} {answer}");
        }
        for record in vendors.raw() {
            assert_eq!(record.value.as_deref(), Some(form));
            assert_eq!(record.header(headers::EVENT_ID).as_deref(), event_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_events_in_one_body_are_one_record_each_all_or_nothing() {
    let vendors = vendors(&[(
        "adyen",
        "items = \"/notificationItems\"\nevent.id = \"/n/id\"\nbody_limit_bytes = 1000",
    )])
    .await;
    let body =
        br#"{"live":"false","notificationItems":[{"n":{"id":"a", "v":1.50}} , {"n":{"id":"b"}}]}"#;
    let (status, answer) = vendors.post("adyen", body, &[]).await;
    assert_eq!((status, &answer["accepted"]), (200, &2.into()), "{answer}");
    let mut records = vendors.raw();
    records.sort_by_key(|record| record.value.clone());
    let values: Vec<_> = records
        .iter()
        .map(|record| std::str::from_utf8(record.value.as_deref().unwrap()).unwrap())
        .collect();
    let items = [r#"{"n":{"id":"a", "v":1.50}}"#, r#"{"n":{"id":"b"}}"#];
    assert_eq!(values, items, "verbatim");
    let ids: Vec<_> = records
        .iter()
        .map(|record| record.header(headers::EVENT_ID).unwrap())
        .collect();
    assert_eq!(ids, ["a", "b"]);
    let batch: Vec<_> = records
        .iter()
        .map(|record| record.header(headers::BATCH).unwrap())
        .collect();
    assert!(batch[0].starts_with("sha256:") && batch[0] == batch[1]);

    // No event: nothing is owed, and nothing is published.
    let (status, answer) = vendors
        .post("adyen", br#"{"notificationItems":[]}"#, &[])
        .await;
    assert_eq!((status, &answer["accepted"]), (200, &0.into()), "{answer}");
    let many = format!("{{\"notificationItems\":[{}1]}}", "1,".repeat(1000));
    let large = format!("{{\"notificationItems\":[\"a\",\"{}\"]}}", "x".repeat(1000));
    for (body, refused) in [
        (&many, (400, "too_many_events")),
        (&large, (413, "event_too_large")),
    ] {
        let (status, answer) = vendors.post("adyen", body.as_bytes(), &[]).await;
        assert_eq!((status, answer["code"].as_str().unwrap()), refused);
    }
    assert_eq!(vendors.raw().len(), 2);

    // What has no such array is kept whole, for the validator to say so.
    let without = br#"{"notificationItems":[{}]"#;
    let (status, answer) = vendors.post("adyen", without, &[]).await;
    assert_eq!((status, &answer["event_id"]), (200, &Value::Null));
    let whole = |record: &&OwnedRecord| record.value.as_deref() == Some(&without[..]);
    let records = vendors.raw();
    let record = records.iter().find(whole).unwrap();
    assert_eq!(record.header(headers::BATCH), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_taken_where_the_source_says_what_is_signed_and_refused_elsewhere() {
    let json = br#"{"id":"evt_1"}"#;
    let packed = pack(json);
    let signed = vendors(&[("acme", "gzip = \"signed\"\nevent.id = \"/id\"")]).await;
    let (status, answer) = signed.post("acme", &packed, GZIP).await;
    assert_eq!((status, &answer["event_id"]), (200, &"evt_1".into()));
    let record = signed.only_raw();
    assert_eq!(
        record.value.as_deref(),
        Some(&packed[..]),
        "the signed bytes"
    );
    // Broken, but authentic: kept, and dead-lettered by the validator.
    let (status, answer) = signed.post("acme", &packed[..20], GZIP).await;
    assert_eq!((status, &answer["event_id"]), (200, &Value::Null));

    let plain = vendors(&[
        ("acme", "gzip = \"plain\"\nevent.id = \"/id\""),
        ("other", "event.id = \"/id\""),
    ])
    .await;
    let ask = async |asked| {
        let (status, answer, _) = plain.world.ask(asked).await;
        (
            status,
            answer["code"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let refused = |status, code: &str| (status, code.to_owned());
    let asked = plain.signed("acme", json, &packed, GZIP);
    assert_eq!(ask(asked).await, refused(200, ""));
    let record = plain.only_raw();
    assert_eq!(record.value.as_deref(), Some(&json[..]), "the signed bytes");
    assert_eq!(record.header("content-encoding"), None);
    let uncompressed = plain.signed("acme", json, json, &[]);
    assert_eq!(ask(uncompressed).await, refused(200, ""));

    let mut broken = packed.clone();
    broken[packed.len() - 8] ^= 1;
    let bomb = pack(&vec![b' '; 200 << 10]);
    let large = pack(&vec![b'x'; 300 << 10]);
    let twice = [GZIP, GZIP].concat();
    let other = [("content-encoding", "br")];
    for (asked, expected) in [
        (
            plain.signed("acme", json, &broken, GZIP),
            (400, "malformed_gzip"),
        ),
        (
            plain.signed("acme", json, &bomb, GZIP),
            (413, "body_too_large"),
        ),
        (
            plain.signed("acme", json, &large, GZIP),
            (413, "body_too_large"),
        ),
        (
            plain.signed("acme", b"", &pack(b""), GZIP),
            (400, "empty_body"),
        ),
        (
            plain.signed("acme", &packed, &packed, GZIP),
            (401, "signature_mismatch"),
        ),
        (
            plain.signed("acme", json, &packed, &twice),
            (415, "unsupported_encoding"),
        ),
        (
            plain.signed("acme", json, json, &other),
            (415, "unsupported_encoding"),
        ),
        (
            plain.signed("other", &packed, &packed, GZIP),
            (415, "unsupported_encoding"),
        ),
    ] {
        assert_eq!(ask(asked).await, refused(expected.0, expected.1));
    }
    assert_eq!(plain.raw().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_in_one_body_count_as_many_against_their_own_sources_quota() {
    let vendors = vendors(&[
        (
            "many",
            "items = \"\"\nevent.id = \"/id\"\nquota_per_second = 10\nresend_hours = 0",
        ),
        ("other", "event.id = \"/id\"\nquota_per_second = 10"),
    ])
    .await;
    let ten = format!("[{}{{}}]", "{},".repeat(9));
    let eleven = format!("[{}{{}}]", "{},".repeat(10));
    let (status, answer) = vendors.post("many", eleven.as_bytes(), &[]).await;
    let code = answer["code"].as_str();
    assert_eq!((status, code), (400, Some("too_many_events")), "ever");
    let mut accepted = 0;
    let code = loop {
        let (_, answer) = vendors.post("many", ten.as_bytes(), &[]).await;
        match answer["code"].as_str() {
            None => accepted += 1,
            Some(code) => break code.to_owned(),
        }
        assert!(accepted < 100);
    };
    assert!(code == "over_quota" && accepted > 0, "{code} {accepted}");
    let (status, _) = vendors.post("other", b"{\"id\":\"1\"}", &[]).await;
    assert_eq!(status, 200);
    assert_eq!(vendors.raw().len(), 10 * accepted + 1);
}
