//! The fourth fate: an event that its source does not want is known, and has no row; once the rule is gone, a replay stores it.

use crate::oncall::{OnCall, until};
use crate::post::{authorized, client, post_to};
use crate::world::{SECRET, World, embedded};
use contracts::kafka::{headers, topics};
use runtime::admin::read_all;
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_filters_is_known_and_accounted_for_and_can_be_stored_later() {
    let (broker, flags) = embedded();
    let mut world = World::on(broker.kafka(), flags);
    world.environment.push(("SHOP", SECRET.to_owned()));
    let source = |filter: &str| {
        format!(
            "[[source]]\nname = \"shop\"\nscheme = \"eventflow\"\nsecrets = [{{ id = \"1\", from = \"env:SHOP\" }}]\nevent = {{ filter = [{filter}] }}\n"
        )
    };
    let sources = world.sources(&source("\"ping\", \"payment.auth*\""));
    let sources = ["--sources", sources.to_str().unwrap()];
    let _registry = world.role("registry", &[]);
    let producer = world.role("producer", &sources);
    let validator = world.role("validator", &sources);
    let rest = [
        world.role("persistence", &[]),
        world.role("recovery", &sources),
        world.role("analytics", &[]),
    ];
    for role in rest.iter().chain([&producer, &validator]) {
        role.until_ready().await;
    }
    let url = format!("http://{}/api/webhooks/shop", world.edge);
    let ping = authorized("p-1").replace("payment.authorized.v1", "ping");
    for body in [
        ping,
        authorized("a-1"),
        authorized("a-2").replace("a-2", " "),
    ] {
        let (status, answer) = post_to(&client(), &url, body, SECRET).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    let (fates, ids) = world.account().await;
    let expected = [("filtered", 2), ("dead_lettered blank_field", 1)];
    assert_eq!(
        fates,
        expected
            .map(|(fate, count)| (fate.to_owned(), count))
            .into()
    );
    assert_eq!(ids, ["p-1", "a-1"].map(str::to_owned).into(), "both known");
    let made = read_all(&broker.kafka(), topics::VALIDATED).unwrap();
    let ping = made
        .iter()
        .find(|record| record.header(headers::FILTERED).as_deref() == Some("ping"))
        .unwrap();
    assert_eq!(ping.value, None, "what is not wanted is not copied");
    let oncall = OnCall::of(&world).await;
    until("the audit has seen all three", async || {
        let audit = oncall.json(&["audit"]).await;
        audit["filtered"] == 2 && audit["records"] == 3 && audit["gaps"] == 0
    })
    .await;
    let trace = oncall.json(&["trace", "a-1"]).await;
    assert_eq!(trace["stories"][0]["fate"], "filtered", "{trace}");

    // The rule goes; what is replayed from its raw record gets its row, and has that one fate.
    drop(validator);
    std::fs::write(sources[1], source("")).unwrap();
    let validator = world.role("validator", &sources);
    validator.until_ready().await;
    let raw = read_all(&broker.kafka(), topics::RAW).unwrap();
    let raw = raw
        .iter()
        .find(|record| record.header(headers::EVENT_ID).as_deref() == Some("a-1"))
        .unwrap();
    let origin = made
        .iter()
        .find(|record| record.header(headers::FILTERED_ID).as_deref() == Some("a-1"))
        .unwrap()
        .header(headers::RAW)
        .unwrap();
    let mut replay = RecordHeaders::new(raw.headers.len() + 3)
        .with(headers::RAW, Some(&origin))
        .with(headers::REPLAY_ID, Some("by-hand"))
        .with(headers::REPLAY_COUNT, Some("1"));
    for (name, value) in &raw.headers {
        replay = replay.with(name, value.as_deref());
    }
    let settings = PublisherSettings::stage("test");
    let publisher = Publisher::new(&broker.kafka(), &settings, &Health::new()).unwrap();
    let topic = topics::retry(validator::GROUP);
    let record = OutRecord {
        topic: &topic,
        key: raw.key.as_deref(),
        value: raw.value.as_deref(),
        headers: replay,
    };
    publisher
        .publish(record, Duration::from_secs(30))
        .await
        .unwrap();
    oncall
        .until_number(
            "SELECT count(*) FROM persistence.events WHERE event_id = 'a-1'",
            1,
        )
        .await;
    let (fates, _) = world.account().await;
    assert_eq!((fates["filtered"], fates["stored"]), (1, 1), "{fates:?}");
}
