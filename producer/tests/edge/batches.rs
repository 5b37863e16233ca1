//! Batches, for the sources that send them: what is one, and that a signature for one URL is harmless at the other.

use crate::world::{EVENT, PATH, SECRET, World, now, request, sign, world};
use contracts::Secret;
use contracts::kafka::headers;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use runtime::admin::read_all;
use sandbox::broker::{BrokerFault, BrokerRequest};
use serde_json::Value;
use std::io::Write;

/// A valid event as many vendors write it, over many lines.
const PRETTY: &str = "{\n  \"event_id\": \"e-1\",\n  \"event_type\": \"payment.authorized.v1\",\n  \"payload\": {\n    \"payment_id\": \"p-1\"\n  }\n}\n";

impl World {
    /// Posts a batch of the built-in source.
    async fn batch(&self, content_type: &str, body: &str) -> (u16, Value) {
        let signed = sign(body.as_bytes(), SECRET, now());
        let mut asked = request(&format!("{PATH}/batch"), body.as_bytes(), &signed, &[]);
        let headers = asked.headers_mut();
        headers.insert("content-type", content_type.parse().unwrap());
        let (status, answer, _) = self.ask(asked).await;
        (status, answer)
    }

    fn raw(&self) -> Vec<runtime::admin::OwnedRecord> {
        read_all(&self.broker.kafka(), "events.raw.v1").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_signature_and_all_or_503() {
    let world = world(&[], 1000).await;
    let other = EVENT.replace("e-1", "e-2");
    for (content_type, body) in [
        ("application/x-ndjson", format!("{EVENT}\n\n{other}\n")),
        ("application/json", format!("[{EVENT}, {other}]")),
    ] {
        let (status, answer) = world.batch(content_type, &body).await;
        assert_eq!((status, &answer["accepted"]), (200, &2.into()), "{answer}");
    }
    let records = world.raw();
    assert_eq!(records.len(), 4);
    let first = |value: Option<&[u8]>| value == Some(EVENT.as_bytes());
    let firsts = records
        .iter()
        .filter(|record| first(record.value.as_deref()));
    assert_eq!(firsts.count(), 2);
    assert!(records.iter().all(|record| {
        let digest = record.header(headers::BATCH).unwrap();
        digest.starts_with("sha256:")
    }));
    world.broker.fail(
        BrokerRequest::Produce,
        vec![BrokerFault::RecordTooLarge; 20],
    );
    let (status, _) = world
        .batch("application/json", &format!("[{EVENT},{EVENT}]"))
        .await;
    assert_eq!(status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_batch_is_400_and_nothing_is_published() {
    let world = world(&[], 1000).await;
    for (content_type, body) in [
        ("application/json", PRETTY.to_owned()),
        ("application/x-ndjson", PRETTY.to_owned()),
        ("application/json", EVENT.to_owned()),
        ("application/json", format!("{EVENT}\n{EVENT}")),
        ("application/json", format!("\u{feff}[{EVENT}]")),
        ("application/json", format!("[{EVENT},1]")),
        ("application/x-ndjson", format!("{EVENT}{EVENT}\n{EVENT}")),
        ("application/x-ndjson", format!("{EVENT}\nnot json")),
    ] {
        let (status, answer) = world.batch(content_type, &body).await;
        let code = answer["code"].as_str();
        assert_eq!((status, code), (400, Some("malformed_batch")), "{body}");
    }
    assert_eq!(world.raw().len(), 0, "nothing of them is published");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signature_is_good_for_one_url() {
    let mut sources = tempfile::NamedTempFile::new().unwrap();
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(SECRET.as_bytes()).unwrap();
    let from = secret.path().display();
    for (name, batches) in [("hub", ""), ("bulk", "batches = true")] {
        writeln!(
            sources,
            "[[source]]\nname = \"{name}\"\nscheme = \"github\"\nsecrets = [{{ id = \"k\", from = \"file:{from}\" }}]\n{batches}"
        )
        .unwrap();
    }
    let world = world(&["--sources", sources.path().to_str().unwrap()], 1000).await;
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(SECRET),
        not_after: None,
    };
    let github = Verifier::new(Scheme::preset("github").unwrap(), vec![key], None).unwrap();
    let signed = github.sign(Some("delivery-1"), 0, PRETTY.as_bytes(), 0);
    let post = async |path: &str| {
        let asked = request(
            &format!("/api/webhooks/{path}"),
            PRETTY.as_bytes(),
            &signed,
            &[],
        );
        let (status, answer, _) = world.ask(asked).await;
        (status, answer["code"].as_str().map(str::to_owned), answer)
    };
    assert_eq!(post("hub").await.0, 200);
    let (status, code, answer) = post("hub/batch").await;
    assert_eq!((status, code.as_deref()), (403, Some("batches_off")));
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("batches = true"), "{detail}");
    let (status, code, _) = post("bulk/batch").await;
    assert_eq!((status, code.as_deref()), (400, Some("malformed_batch")));
    let records = world.raw();
    assert_eq!(records.len(), 1, "one event, whatever URL it was posted to");

    // The vendor's own resend is accepted, and becomes a duplicate; a stranger cannot go on for ever.
    let mut accepted = 1;
    let refused = loop {
        match post("hub").await {
            (200, ..) => accepted += 1,
            (status, code, _) => break (status, code),
        }
        assert!(accepted < 1000);
    };
    assert!(accepted > 8, "more often than any vendor sends again");
    assert_eq!(refused, (429, Some("repeated_too_often".to_owned())));
    assert_eq!(world.raw().len(), accepted);
    assert_eq!(post("bulk").await.0, 200, "each source has its own memory");

    let array = format!("[{EVENT},{EVENT}]");
    let signed = github.sign(Some("delivery-2"), 0, array.as_bytes(), 0);
    let post = async |path: &str| {
        let (status, answer, _) = world
            .ask(request(
                &format!("/api/webhooks/{path}"),
                array.as_bytes(),
                &signed,
                &[],
            ))
            .await;
        (status, answer["code"].as_str().map(str::to_owned))
    };
    assert_eq!(post("bulk/batch").await, (200, None));
    assert_eq!(
        post("bulk").await,
        (400, Some("signed_as_batch".to_owned()))
    );
    assert_eq!(post("bulk/batch").await, (200, None), "a resend");
}
