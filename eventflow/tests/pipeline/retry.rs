//! Retry topics on a real Apache Kafka: an operator who has not made them yet loses nothing, and what is replayed ends where it failed.

use crate::post::{authorized, client, post};
use crate::secure::until_reason;
use crate::world::{DEADLINE, RealKafka, SECRET, World};
use contracts::kafka::headers::{self, dlq};
use contracts::kafka::topics;
use runtime::admin::{create_topics, read_all};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings};
use sandbox::harness::wait_for;
use std::process::Command;

/// Those of versions without replays.
pub(crate) const OLD_TOPICS: [(&str, i32); 3] =
    [(topics::RAW, 6), (topics::VALIDATED, 6), (topics::DLQ, 3)];

#[tokio::test(flavor = "multi_thread")]
async fn without_retry_topics_live_records_go_on_and_ready_says_how_to_make_them() {
    let Some(kafka) = RealKafka::start("without_retry_topics", false) else {
        return;
    };
    let brokers = format!("--kafka-brokers={}", kafka.get("BOOTSTRAP"));
    let world = World::on(kafka.plain(), vec![brokers.clone()]);
    let _registry = world.role("registry", &[]);
    let (validator, persistence) = (world.role("validator", &[]), world.role("persistence", &[]));
    let input = |topic: &str| {
        format!("topic {topic} is missing; create it with `eventflow admin topics apply`")
    };
    until_reason(&validator, &input(topics::RAW)).await;
    until_reason(&persistence, &input(topics::VALIDATED)).await;

    // As an older version left them.
    create_topics(&world.admin, &OLD_TOPICS).await.unwrap();
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    let client = client();
    let broken = authorized("broken").replace("EUR", "eur");
    assert_ne!(broken, authorized("broken"));
    for body in [authorized("one"), authorized("two"), broken] {
        let (status, answer) = post(&client, &world.edge, body, SECRET).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    let (fates, _) = world.account().await;
    assert_eq!(
        fates,
        [
            ("stored".to_owned(), 2),
            ("dead_lettered unknown_currency".to_owned(), 1)
        ]
        .into()
    );
    for (role, group) in [
        (&validator, validator::GROUP),
        (&persistence, persistence::GROUP),
    ] {
        let topic = topics::retry(group);
        // The first reason, so nothing else is missing any more.
        let missing = format!(
            r#""reason":"UnknownTopicOrPartition: topic {topic} is missing; create it with `eventflow admin topics apply`"#
        );
        until_reason(role, &missing).await;
    }

    let made = Command::new(env!("CARGO_BIN_EXE_eventflow"))
        .args(["admin", "topics", "apply", &brokers])
        .output()
        .unwrap();
    let text = String::from_utf8(made.stdout).unwrap();
    assert!(
        made.status.success() && text.contains("events.retry.eventflow-persistence.v1\tcreated"),
        "{text}"
    );
    validator.until_ready().await;
    persistence.until_ready().await;

    // Replayed twice, the second time after it was stored.
    let admin = world.admin.clone();
    let dead = tokio::task::spawn_blocking(move || read_all(&admin, topics::DLQ))
        .await
        .unwrap()
        .unwrap();
    let letter = &dead[0];
    let publisher = Publisher::new(
        &world.admin,
        &PublisherSettings::stage("test"),
        &Health::new(),
    )
    .unwrap();
    let fixed = authorized("broken");
    let store = world.store().await;
    for count in ["1", "2"] {
        let own = letter
            .headers
            .iter()
            .filter(|(name, _)| !dlq::ALL.contains(&&**name));
        let own = own.map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()));
        let more = [
            (headers::REPLAY_COUNT, count.as_bytes()),
            (headers::EDITED_BY, b"ann"),
        ];
        let topic = topics::retry(&letter.header(dlq::GROUP).unwrap());
        let record = OutRecord {
            topic: &topic,
            key: letter.key.as_deref(),
            value: Some(fixed.as_bytes()),
            headers: own.chain(more).collect(),
        };
        publisher.publish(record, DEADLINE).await.unwrap();
        let validated = 2 + count.parse::<usize>().unwrap();
        wait_for(DEADLINE, async || {
            let admin = world.admin.clone();
            let made = tokio::task::spawn_blocking(move || read_all(&admin, topics::VALIDATED))
                .await
                .unwrap()
                .unwrap();
            let fates = store.fates().await.unwrap();
            if made.len() == validated && fates.len() == 3 {
                Ok(())
            } else {
                Err(format!(
                    "{} validated, {fates:?}\n{}",
                    made.len(),
                    persistence.log()
                ))
            }
        })
        .await;
    }
    let fate = store
        .fates()
        .await
        .unwrap()
        .into_iter()
        .find(|fate| fate.event_id == "broken")
        .unwrap();
    assert_eq!(
        (Some(fate.raw.place()), fate.fate.as_str()),
        (letter.raw(), "stored")
    );
    for role in [producer, validator, persistence] {
        let log = role.log();
        assert_eq!(role.terminate(), Some(0), "{log}");
    }
    assert_eq!(
        store.fates().await.unwrap().len(),
        3,
        "no duplicate of a raw record by its own replay"
    );
}
