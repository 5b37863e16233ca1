//! A scheme that signs the body alone: whoever has one signed body can post it under another delivery id.

use crate::oncall::OnCall;
use crate::post::{authorized, client};
use crate::world::{World, embedded};
use contracts::Secret;
use contracts::kafka::headers::SignedBody;
use contracts::kafka::{headers, topics};
use contracts::webhook::scheme::Scheme;
use contracts::webhook::signature::{Key, Verifier};
use runtime::admin::read_all;
use std::collections::HashSet;

const SECRET: &str = "a-secret-of-the-hub";

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_signed_body_under_an_id_that_is_not_signed_is_a_duplicate_and_says_of_what() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let files = tempfile::tempdir().unwrap();
    let (sources, secret) = (
        files.path().join("sources.toml"),
        files.path().join("secret"),
    );
    std::fs::write(&secret, SECRET).unwrap();
    let entry = format!(
        "[[source]]\nname = \"hub\"\nscheme = \"github\"\nsecrets = [{{ id = \"k\", from = \"file:{}\" }}]\n\
         event = {{ id = \"header:X-GitHub-Delivery\", entity = \"/payload/payment_id\" }}\n",
        secret.display()
    );
    std::fs::write(&sources, entry).unwrap();
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &["--sources", sources.to_str().unwrap()]);
    let validator = world.role("validator", &["--sources", sources.to_str().unwrap()]);
    let roles = [
        validator,
        world.role("persistence", &[]),
        world.role("recovery", &["--sources", sources.to_str().unwrap()]),
    ];
    for role in roles.iter().chain([&producer]) {
        role.until_ready().await;
    }
    let key = Key {
        id: "k".to_owned(),
        secret: Secret::new(SECRET),
        not_after: None,
    };
    let github = Verifier::new(Scheme::preset("github").unwrap(), vec![key], None).unwrap();
    let body = authorized("e-1");
    let send = async |delivery: &str, body: &str| {
        let mut request = client().post(format!("http://{}/api/webhooks/hub", world.edge));
        for (name, value) in github.sign(Some(delivery), 0, body.as_bytes(), 0) {
            request = request.header(name, value);
        }
        let answer = request.body(body.to_owned()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    };
    let oncall = OnCall::of(&world).await;
    send("delivery-1", &body).await;
    let stored = "SELECT count(*) FROM persistence.events";
    oncall.until_number(stored, 1).await;
    // Twice under another id, once more under its own, and another body.
    for delivery in ["delivery-2", "delivery-3", "delivery-1"] {
        send(delivery, &body).await;
    }
    send("delivery-4", &authorized("e-2")).await;
    let deliveries = ["delivery-1", "delivery-2", "delivery-3", "delivery-4"];
    let (counts, ids) = world.account().await;
    assert_eq!(
        counts,
        [("duplicate".to_owned(), 3), ("stored".to_owned(), 2)].into()
    );
    assert_eq!(ids, deliveries.map(str::to_owned).into());
    let copies = "SELECT count(*) FROM persistence.duplicates WHERE same_body_as = 'delivery-1'";
    assert_eq!(oncall.number(copies).await, 2);
    let trace = oncall.json(&["trace", "delivery-2"]).await;
    let steps = trace["stories"][0]["steps"].as_array().unwrap();
    let said = |step: &serde_json::Value| {
        let detail = step["detail"].as_str().unwrap();
        detail.contains("the same signed body as event delivery-1")
    };
    assert!(steps.iter().any(said), "{trace}");
    let (_, metrics) = roles[1].ask("/metrics").await.unwrap();
    assert!(
        metrics.contains("eventflow_persistence_events_copied_total 2"),
        "{metrics}"
    );
    let audit = oncall.audit().await;
    assert_eq!(
        (&audit["stored"], &audit["duplicate"]),
        (&2.into(), &3.into()),
        "{audit}"
    );
    let records = read_all(&broker.kafka(), topics::RAW).unwrap();
    let ids: HashSet<_> = records
        .iter()
        .map(|record| record.header(headers::EVENT_ID).unwrap())
        .collect();
    assert_eq!(ids, deliveries.map(str::to_owned).into());
    let mut digests = HashSet::new();
    for record in records {
        let unsigned = record.header(headers::UNSIGNED);
        assert_eq!(unsigned.as_deref(), Some("event_id,time"));
        let named = record.header(headers::SIGNED_BODY).unwrap();
        let named = SignedBody::parse(&named).unwrap();
        assert_eq!(named.item, 0);
        digests.insert(named.digest);
    }
    assert_eq!(digests.len(), 2, "one of each body");
}
