//! A raw topic that gets more partitions while the roles run, on a real Apache Kafka.

use crate::post::{authorized, post_all};
use crate::recovery_waits::many;
use crate::world::{DEADLINE, RealKafka, World};
use contracts::kafka::topics;
use runtime::admin::read_all;
use sandbox::harness::until;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// Far below the five minutes after which the client itself would ask for new partitions.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_are_read_without_a_restart() {
    let Some(kafka) = RealKafka::start("new_partitions", false) else {
        return;
    };
    let brokers = format!("--kafka-brokers={}", kafka.get("BOOTSTRAP"));
    let world = World::new(kafka.plain(), vec![brokers.clone()]).await;
    let _registry = world.role("registry", &[]);
    let mut producer = world.role("producer", &[]);
    let (validator, persistence) = (world.role("validator", &[]), world.role("persistence", &[]));
    for role in [&producer, &validator, &persistence] {
        role.until_ready().await;
    }
    post_all(&world.edge, &many(20, authorized, "before")).await;
    world.account().await;

    let mut pipeline: Value =
        serde_json::from_str(include_str!("../../../infra/kafka/pipeline.json")).unwrap();
    pipeline["topics"][topics::RAW]["partitions"] = 12.into();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pipeline.to_string()).unwrap();
    let grown = Command::new(env!("CARGO_BIN_EXE_eventflow"))
        .args(["admin", "topics", "apply", &brokers, "--pipeline"])
        .arg(file.path())
        // The topics of this test have the cluster's retention, which keeps refused requests for longer.
        .arg("--allow-data-loss")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&grown.stdout).into_owned();
    assert!(
        text.contains("events.raw.v1\t6 partitions -> 12"),
        "{text}{}",
        String::from_utf8_lossy(&grown.stderr)
    );

    // A fresh edge knows the new partitions at once; the stages do not.
    producer.stop();
    producer = world.role("producer", &[]);
    producer.until_ready().await;
    post_all(&world.edge, &many(200, authorized, "after")).await;
    let admin = world.admin.clone();
    let raw = tokio::task::spawn_blocking(move || read_all(&admin, topics::RAW).unwrap());
    let beyond = |partition| partition >= 6;
    assert!(
        raw.await
            .unwrap()
            .iter()
            .any(|record| beyond(record.partition))
    );
    let store = world.store().await;
    until("every event is stored", FOUND_WITHIN, async || {
        store.fates().await.unwrap().len() == 220
    })
    .await;
    tokio::time::timeout(DEADLINE, world.account())
        .await
        .unwrap();
}
