//! A topic that is deleted and created again under a stage, on a real Apache Kafka: the embedded broker deletes none.

#![allow(clippy::unwrap_used, reason = "a test")]

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::admin::{TopicIdsReader, committed, create_topics};
use runtime::consumer::{self, ConsumerSettings, Handler, Outcome, Record, StageError};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::harness::{RealKafka, wait_for};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "in";
const GROUP: &str = "g";
const DEADLINE: Duration = Duration::from_secs(60);

/// Notes the raw record each record is.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Handler for Notes {
    fn stage(&self) -> &'static str {
        "notes"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let raw = batch.iter().map(|record| record.raw().unwrap().to_string());
        self.0.lock().unwrap().extend(raw);
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }
}

impl Notes {
    /// Of this topic.
    async fn of(&self, id: &str, records: usize) {
        let expected: Vec<String> = (0..records)
            .map(|offset| format!("0:{offset}:{id}"))
            .collect();
        wait_for(DEADLINE, async || {
            let noted = self.0.lock().unwrap().clone();
            let of: Vec<_> = noted.iter().filter(|raw| raw.ends_with(id)).collect();
            if of.iter().copied().eq(&expected) {
                Ok(())
            } else {
                Err(format!("{noted:?}, and expected {expected:?}"))
            }
        })
        .await;
    }
}

struct Running {
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<anyhow::Result<consumer::StageSummary>>,
}

fn start(kafka: &KafkaArgs, notes: &Notes) -> Running {
    let settings = ConsumerSettings {
        raw_topic: Some(TOPIC.to_owned()),
        ..ConsumerSettings::new(kafka, GROUP, vec![TOPIC.to_owned()])
    };
    let stop = CancellationToken::new();
    let (notes, stopping) = (notes.clone(), stop.clone());
    let ended = tokio::spawn(consumer::run(
        settings,
        notes,
        None,
        Health::new(),
        stopping,
    ));
    Running { stop, ended }
}

impl Running {
    async fn finish(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

async fn id(kafka: &KafkaArgs) -> Option<String> {
    let mut reader = TopicIdsReader::new(kafka, [TOPIC.to_owned()]);
    reader.read(DEADLINE).await.unwrap().remove(TOPIC)
}

/// Creates the topic, until it has another id than before.
async fn create(kafka: &KafkaArgs, before: &str) -> String {
    wait_for(DEADLINE, async || {
        let created = create_topics(kafka, &[(TOPIC, 1)]).await;
        let id = id(kafka).await.filter(|id| id != before);
        id.ok_or_else(|| format!("{created:?}"))
    })
    .await
}

async fn send(publisher: &Publisher, records: usize) {
    let mut batch = publisher.batch(records);
    for _ in 0..records {
        let record = OutRecord {
            topic: TOPIC,
            key: None,
            value: Some(b"v"),
            headers: RecordHeaders::new(0),
        };
        batch.add(record).unwrap();
    }
    assert_eq!(batch.wait(DEADLINE).await, vec![]);
}

async fn until_committed(kafka: &KafkaArgs, next: i64) {
    wait_for(DEADLINE, async || {
        let kafka = kafka.clone();
        let known = tokio::task::spawn_blocking(move || committed(&kafka, GROUP, TOPIC)).await;
        match known.unwrap() {
            Ok(known) if known == [(0, Some(next))] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_is_read_from_its_beginning_also_by_a_stage_that_runs() {
    let Some(real) = RealKafka::start("a_recreated_topic", false) else {
        return;
    };
    let kafka = real.plain();
    let delete = || {
        real.tool(
            "org.apache.kafka.tools.TopicCommand",
            &["--delete", "--topic", TOPIC],
        );
    };
    let publisher =
        || Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    let notes = Notes::default();

    let first = create(&kafka, "").await;
    send(&publisher(), 3).await;
    let running = start(&kafka, &notes);
    notes.of(&first, 3).await;
    until_committed(&kafka, 3).await;

    // It has more records than the old one had, so that the stage's offset is in it, and would step over the first of them.
    delete();
    let second = create(&kafka, &first).await;
    send(&publisher(), 5).await;
    notes.of(&second, 5).await;
    until_committed(&kafka, 5).await;
    running.finish().await;

    // Somebody who had not noticed commits what was read of the one before: nothing of the new one is stepped over.
    delete();
    let third = create(&kafka, &second).await;
    send(&publisher(), 7).await;
    let zombie: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &kafka.kafka_brokers)
        .set("group.id", GROUP)
        .create()
        .unwrap();
    let mut offsets = TopicPartitionList::new();
    let mut element = offsets.add_partition(TOPIC, 0);
    element.set_offset(Offset::Offset(5)).unwrap();
    element.set_metadata(format!("topic={second} "));
    zombie.commit(&offsets, CommitMode::Sync).unwrap();
    let running = start(&kafka, &notes);
    notes.of(&third, 7).await;
    until_committed(&kafka, 7).await;
    running.finish().await;
}
