//! A member of a group that is killed and replaced, under the consumer protocol (KIP-848) of a real Apache Kafka.

use crate::post::{authorized, post_all};
use crate::recovery_waits::many;
use crate::world::{DEADLINE, RealKafka, Role, World};
use sandbox::harness::until;

/// Partitions of the raw topic and of the validator's retry topic.
const PARTITIONS: u32 = 9;

async fn partitions(role: &Role) -> u32 {
    let metrics = role.ask("/metrics").await.map_or(String::new(), |it| it.1);
    let series = r#"eventflow_consumer_partitions_assigned{stage="validator"} "#;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_does_not_stop_the_living_under_the_consumer_protocol() {
    let Some(kafka) = RealKafka::start("a_killed_member", false) else {
        return;
    };
    let flags = vec![
        format!("--kafka-brokers={}", kafka.get("BOOTSTRAP")),
        "--kafka-config=group.protocol=consumer".to_owned(),
    ];
    let world = World::new(kafka.plain(), flags).await;
    let _registry = world.role("registry", &[]);
    let (producer, _persistence) = (world.role("producer", &[]), world.role("persistence", &[]));
    let (killed, living) = (world.role("validator", &[]), world.role("validator", &[]));
    producer.until_ready().await;
    until("both have partitions", DEADLINE, async || {
        let (one, other) = (partitions(&killed).await, partitions(&living).await);
        one > 0 && other > 0 && one + other == PARTITIONS
    })
    .await;
    post_all(&world.edge, &many(500, authorized, "before")).await;
    killed.kill();
    let fresh = world.role("validator", &[]);
    post_all(&world.edge, &many(500, authorized, "after")).await;
    until(
        "the fresh one has the partitions of the killed one",
        DEADLINE,
        async || {
            let (kept, new) = (partitions(&living).await, partitions(&fresh).await);
            assert!(kept > 0, "the living keeps partitions: {}", living.log());
            new > 0 && kept + new == PARTITIONS
        },
    )
    .await;
    // The living gives up partitions in the middle of its work, and takes them back when the other leaves.
    post_all(&world.edge, &many(2000, authorized, "more")).await;
    assert_eq!(fresh.terminate(), Some(0));
    let (fates, _) = world.account().await;
    assert_eq!(fates, [("stored".to_owned(), 3000)].into());
    assert_eq!(living.terminate(), Some(0));
}
