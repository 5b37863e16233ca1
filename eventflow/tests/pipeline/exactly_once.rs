//! `--delivery exactly-once` on a real Apache Kafka: whatever happens to the validator and the brokers, what readers of committed records
//! find is one record for each raw one, in the topic of validated records or in that of dead letters.

use crate::post::authorized;
use crate::world::{DEADLINE, RealKafka, Role, World, embedded, program};
use contracts::kafka::{headers, topics};
use runtime::admin::{committed, ends, read_all, watermarks};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings};
use sandbox::harness::{RealCluster, until};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nearly always in a transaction: none waits for more records.
const VALIDATOR: [&str; 3] = [
    "--delivery=exactly-once",
    "--transaction-ms=1",
    "--batch-records=200",
];

/// Raw records as the edge publishes them, one in five of them refused by its contract, until it is stopped.
struct Load {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Load {
    fn start(kafka: &KafkaArgs) -> Self {
        let stop = CancellationToken::new();
        let (kafka, stopping) = (kafka.clone(), stop.clone());
        let running = tokio::spawn(async move {
            let settings = PublisherSettings::stage("load");
            let publisher = Publisher::new(&kafka, &settings, &Health::new()).unwrap();
            let mut number = 0;
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while stopping.run_until_cancelled(pace.tick()).await.is_some() {
                let mut batch = publisher.batch(20);
                for _ in 0..20 {
                    let id = format!("e-{number}");
                    let mut body = authorized(&id);
                    if number % 5 == 0 {
                        body = body.replace("EUR", "eur");
                    }
                    let edge = [
                        (headers::SOURCE, "payment-authorized"),
                        (headers::EVENT_ID, &id),
                        (headers::RECEIVED_AT, "1700000000000000"),
                        (headers::SCHEME, "eventflow"),
                        (headers::SECRET_ID, "k"),
                        (headers::CONTENT_TYPE, "application/json"),
                    ];
                    batch
                        .add(OutRecord {
                            topic: topics::RAW,
                            key: Some(id.as_bytes()),
                            value: Some(body.as_bytes()),
                            headers: edge.into_iter().collect(),
                        })
                        .unwrap();
                    number += 1;
                }
                // What is not acknowledged may be in the topic: only what is there counts.
                batch.wait(DEADLINE).await;
            }
        });
        Self { stop, running }
    }

    async fn finish(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

async fn blocking<T: Send + 'static>(
    world: &World,
    ask: impl FnOnce(&KafkaArgs) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let kafka = world.admin.clone();
    tokio::task::spawn_blocking(move || ask(&kafka))
        .await
        .unwrap()
}

/// Whether a transaction is open: records are in the topic that readers of committed ones may not read yet.
async fn in_transaction(world: &World, topic: &'static str) -> anyhow::Result<bool> {
    let marks = blocking(world, move |kafka| {
        // In this order: what is committed in between then counts as committed.
        Ok((ends(kafka, topic)?, watermarks(kafka, topic)?))
    });
    let (all, readable) = marks.await?;
    let mut both = all.iter().zip(&readable);
    Ok(both.any(|((_, end), (_, _, stable))| end > stable))
}

/// Does `what` to a validator in the middle of a transaction, again and again, until it is certain that one was open then.
async fn in_mid_transaction(world: &World, validator: &mut Role, what: impl Fn(&mut Role)) {
    for _ in 0..50 {
        // It is in one most of the time, and too short to be seen before it ends: whether it was is asked of what it leaves behind.
        until_more(world, validator).await;
        what(validator);
        if in_transaction(world, topics::VALIDATED).await.unwrap() {
            return;
        }
        // It had just ended. SIGKILL ends a process that is stopped, too.
        validator.stop();
        *validator = world.role("validator", &VALIDATOR);
    }
    panic!("never in the middle of a transaction: {}", validator.log());
}

async fn validated(world: &World) -> usize {
    let marks = blocking(world, |kafka| watermarks(kafka, topics::VALIDATED)).await;
    let ends = marks.unwrap_or_default();
    ends.iter()
        .map(|(_, _, end)| usize::try_from(*end).unwrap())
        .sum()
}

async fn until_more(world: &World, validator: &Role) {
    let before = validated(world).await;
    until(
        &format!("more is validated\n{}", validator.log()),
        DEADLINE,
        async || validated(world).await > before + 500,
    )
    .await;
}

/// Waits until every raw record was read, and proves that each made one record.
async fn assert_exactly_one_each(world: &World) {
    until("every raw record is settled", DEADLINE, async || {
        let read = blocking(world, |kafka| {
            let next = committed(kafka, validator::GROUP, topics::RAW)?;
            Ok((next, ends(kafka, topics::RAW)?))
        });
        read.await.is_ok_and(|(next, ends)| {
            next.iter()
                .zip(ends)
                .all(|((_, next), (_, end))| next.unwrap_or(0) == end)
        })
    })
    .await;
    // The offsets of a transaction may be committed a moment before its records can be read.
    for topic in [topics::VALIDATED, topics::DLQ] {
        until("no transaction is open", DEADLINE, async || {
            in_transaction(world, topic).await.is_ok_and(|open| !open)
        })
        .await;
    }
    let read = blocking(world, |kafka| {
        Ok([topics::RAW, topics::VALIDATED, topics::DLQ].map(|topic| read_all(kafka, topic)))
    });
    let [raw, validated, dead] = read.await.unwrap().map(Result::unwrap);
    let mut made: BTreeMap<(i32, i64), Vec<&str>> = BTreeMap::new();
    for (records, name) in [(&validated, "validated"), (&dead, "dead")] {
        assert!(records.len() > 500, "{} {name}", records.len());
        for record in records {
            made.entry(record.raw().unwrap()).or_default().push(name);
        }
    }
    for record in &raw {
        let place = (record.partition, record.offset);
        let bad = record.value.as_deref().unwrap_or_default();
        let bad = bad.windows(3).any(|text| text == b"eur");
        let expected = if bad { "dead" } else { "validated" };
        assert_eq!(made.remove(&place), Some(vec![expected]), "{place:?}");
    }
    assert!(made.is_empty(), "of no raw record: {made:?}");
}

/// How many transactions a validator ended in this way.
async fn transactions(role: &Role, outcome: &str) -> u64 {
    let series = format!(
        r#"eventflow_consumer_transactions_total{{stage="validator",outcome="{outcome}"}} "#
    );
    let metrics = role.ask("/metrics").await.map_or(String::new(), |it| it.1);
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn assert_ends(validator: Role) {
    let log = validator.log.clone();
    let code = validator.terminate();
    assert_eq!(code, Some(0), "{}", std::fs::read_to_string(log).unwrap());
}

async fn kills_and_a_zombie(test: &str, protocol: &str) {
    let Some(kafka) = RealKafka::start(test, false) else {
        return;
    };
    let flags = vec![
        format!("--kafka-brokers={}", kafka.get("BOOTSTRAP")),
        format!("--kafka-config=group.protocol={protocol}"),
    ];
    let world = World::new(kafka.plain(), flags).await;
    let _registry = world.role("registry", &[]);
    let mut validator = world.role("validator", &VALIDATOR);
    validator.until_ready().await;
    let load = Load::start(&world.admin);
    until_more(&world, &validator).await;
    in_mid_transaction(&world, &mut validator, Role::stop).await;
    validator = world.role("validator", &VALIDATOR);
    // The brokers abort what the killed one left open once it is old enough.
    until_more(&world, &validator).await;

    // One that is stopped in the middle of a transaction, and replaced meanwhile.
    let other = world.role("validator", &VALIDATOR);
    other.until_ready().await;
    in_mid_transaction(&world, &mut validator, |validator| {
        validator.signal("-STOP");
    })
    .await;
    let assignments = || other.log().matches("partitions_assigned").count();
    let before = assignments();
    until("the other gets its partitions", DEADLINE, async || {
        assignments() > before
    })
    .await;
    validator.signal("-CONT");
    until_more(&world, &other).await;
    validator.until_ready().await;
    load.finish().await;
    assert_exactly_one_each(&world).await;
    assert_ends(validator);
    assert_ends(other);
    assert_exactly_one_each(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_killed_and_one_stopped_in_mid_transaction_leave_one_record_each() {
    kills_and_a_zombie("a_validator_killed_and_one_stopped", "classic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_under_the_consumer_protocol() {
    kills_and_a_zombie("so_they_do_under_the_consumer_protocol", "consumer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_of_a_cluster_killed_one_by_one_leave_one_record_each() {
    let Some(cluster) = RealCluster::start("brokers_of_a_cluster_killed").await else {
        return;
    };
    let flags = vec![format!("--kafka-brokers={}", cluster.bootstrap())];
    let applied = Command::new(program())
        .args(["admin", "topics", "apply", "--replication=3"])
        .args(&flags)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success(), "{said}");
    let world = World::on(KafkaArgs::plaintext(cluster.bootstrap()), flags);
    let _registry = world.role("registry", &[]);
    let (one, other) = (
        world.role("validator", &VALIDATOR),
        world.role("validator", &VALIDATOR),
    );
    one.until_ready().await;
    other.until_ready().await;
    let load = Load::start(&world.admin);
    for broker in &cluster.brokers {
        until_more(&world, &one).await;
        broker.stop(true);
        until_more(&world, &one).await;
        broker.restart();
    }
    until_more(&world, &one).await;
    load.finish().await;
    assert_exactly_one_each(&world).await;
    for validator in [one, other] {
        assert!(transactions(&validator, "committed").await > 0);
        assert_ends(validator);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_transactions_are_not_real_is_refused() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let validator = world.role("validator", &["--delivery=exactly-once"]);
    let log = validator.log.clone();
    assert_eq!(validator.exit_code(), Some(2));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(
        log.contains("--delivery: exactly-once needs a broker that keeps transactions"),
        "{log}"
    );
}
