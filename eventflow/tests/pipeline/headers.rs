//! The vendor's headers on every way that a record takes.

use crate::oncall::OnCall;
use crate::post::{client, signature};
use crate::recovery::{PATCH, broken};
use crate::world::{SECRET, World, embedded};
use contracts::Secret;
use contracts::kafka::{headers, topics};
use contracts::webhook::source::Sources;
use runtime::admin::{OwnedRecord, read_all};

const TOPIC: (&str, &[u8]) = ("x-acme-topic", b"orders/paid");
const LATIN: (&str, &[u8]) = ("x-acme-shop", b"Caf\xe9");

fn has(record: &OwnedRecord, (name, value): (&str, &[u8])) -> bool {
    let own =
        |(key, given): &(String, Option<Vec<u8>>)| key == name && given.as_deref() == Some(value);
    record.headers.iter().any(own)
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_go_with_a_record_until_it_is_validated_and_are_shown_to_on_call() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let _registry = world.role("registry", &[]);
    let roles = ["producer", "validator", "persistence", "recovery"];
    let roles = roles.map(|role| world.role(role, &[]));
    for role in &roles {
        role.until_ready().await;
    }
    let body = broken("e-1");
    let mut request = client().post(format!(
        "http://{}/api/webhooks/payment-authorized",
        world.edge
    ));
    for (name, value) in signature(&body, SECRET) {
        request = request.header(name, value);
    }
    for (name, value) in [TOPIC, LATIN] {
        request = request.header(name, value);
    }
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);

    let oncall = OnCall::of(&world).await;
    oncall.until_indexed(1).await;
    let shown = oncall.types("anna", &["dlq", "show", "1"]).await;
    assert!(
        shown.out.contains("x-acme-topic") && shown.out.contains("orders/paid"),
        "{shown:?}"
    );
    oncall.json(&["dlq", "edit", "1", "--patch", PATCH]).await;
    let done = oncall
        .types("anna", &["replay", "apply", "1", "--yes"])
        .await;
    assert_eq!(done.code, Some(0), "{done:?}");

    let read = |topic: &str| read_all(&broker.kafka(), topic).unwrap();
    let retry = topics::retry("eventflow-validator");
    for topic in [topics::RAW, topics::DLQ, &retry] {
        let records = read(topic);
        assert_eq!(records.len(), 1, "{topic}");
        for header in [TOPIC, LATIN] {
            assert!(has(&records[0], header), "{topic}: {:?}", records[0]);
        }
    }
    let validated = &read(topics::VALIDATED)[0];
    let names = |(name, _): &(String, _)| name.as_str() == headers::RAW || name.starts_with("x-");
    let kept: Vec<_> = validated.headers.iter().filter(|h| names(h)).collect();
    assert_eq!(kept.len(), 1, "only those that still apply: {validated:?}");
}

/// The most that one event can be: what the edge reads of a head at most, and the largest body that can be configured.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_body_under_the_largest_head_is_dead_lettered_whole() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let entry = |from: &str| {
        format!(
            "[[source]]\nname = \"hub\"\nscheme = \"github\"\nsecrets = [{{ id = \"k\", from = \"{from}\" }}]\n\
             body_limit_bytes = 900_000\nevent.id = [\"header:x-a\", \"header:x-b\"]\n"
        )
    };
    let files = tempfile::tempdir().unwrap();
    let secret = files.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let sources = world.sources(&entry(&format!("file:{}", secret.display())));
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &["--sources", sources.to_str().unwrap()]);
    let flags = ["--breaker", "off", "--sources", sources.to_str().unwrap()];
    let validator = world.role("validator", &flags);
    for role in [&producer, &validator] {
        role.until_ready().await;
    }
    let known = Sources::from_toml(&entry("env:S"), &|_| Ok(Secret::new(SECRET))).unwrap();
    let body = "x".repeat(900_000);
    let mut request = client().post(format!("http://{}/api/webhooks/hub", world.edge));
    let verifier = &known.get("hub").unwrap().verifier;
    for (name, value) in verifier.sign(Some("d-1"), 0, body.as_bytes(), 0) {
        request = request.header(name, value);
    }
    // What the mapping needs is kept beyond the 8 KiB.
    for name in ["x-a", "x-b"] {
        request = request.header(name, "y".repeat(7900));
    }
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
    let (counts, _) = world.account().await;
    assert_eq!(counts, [("dead_lettered not_json".to_owned(), 1)].into());
}
