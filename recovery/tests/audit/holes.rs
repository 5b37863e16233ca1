//! Holes in the raw topic, on a real Apache Kafka: the embedded broker makes none.

use crate::found;
use crate::timeline::{RAW, world};
use contracts::kafka::topics;
use recovery::audit::{Reading, audit_now, examine_pages};
use runtime::admin::{create_topics, read_range, watermarks};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::harness::{RealKafka, wait_for};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_compaction_removed_is_a_gap_and_so_is_the_setting_a_finding() {
    let Some(real) = RealKafka::start("a_record_that_compaction_removed", false) else {
        return;
    };
    let kafka = real.plain();
    let settings = [
        "cleanup.policy=compact",
        "segment.ms=100",
        "min.cleanable.dirty.ratio=0.001",
    ];
    let mut arguments = vec!["--create", "--topic", RAW, "--partitions", "1"];
    arguments.extend(settings.iter().flat_map(|setting| ["--config", setting]));
    real.tool("org.apache.kafka.tools.TopicCommand", &arguments);
    create_topics(&kafka, &[(topics::VALIDATED, 1), (topics::DLQ, 1)])
        .await
        .unwrap();
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    // Records of one key, until Kafka has removed the first: the newest of each segment that is closed closes it.
    wait_for(DEADLINE, async || {
        let record = OutRecord {
            topic: RAW,
            key: Some(b"k"),
            value: Some(b"v"),
            headers: RecordHeaders::new(0),
        };
        publisher.publish(record, DEADLINE).await.unwrap();
        let kafka = kafka.clone();
        let read = tokio::task::spawn_blocking(move || read_range(&kafka, RAW, 0, 0..1, 1));
        match read.await.unwrap().unwrap() {
            (records, 1) if records.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let of_topic = kafka.clone();
    let read = tokio::task::spawn_blocking(move || watermarks(&of_topic, RAW));
    let (partition, low, high) = read.await.unwrap().unwrap()[0];
    assert_eq!(low, 0, "nothing is gone by retention");
    let world = world(true, Some(kafka), &[]).await;
    let reading = Reading {
        partition,
        low,
        settled: 1,
        high,
    };
    examine_pages(&world.recovery, RAW, &[reading])
        .await
        .unwrap();
    let audit = audit_now(&world.recovery, DEADLINE).await.unwrap();
    assert_eq!(found(&audit), [(0, 0, "compacted"), (0, 0, "gap")]);
    assert!(
        audit.findings[1].detail.contains("compaction"),
        "{:?}",
        audit.findings
    );
    assert_eq!((audit.gaps, audit.absent), (1, 0));
}
