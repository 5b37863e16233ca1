//! A stage that sorts good from bad, and the broker it reads from.

use bytes::Bytes;
use contracts::kafka::headers;
use contracts::{Rejection, RejectionCode};
use runtime::admin::{OwnedRecord, committed, read_all};
use runtime::breaker::BreakerSettings;
use runtime::consumer::{
    self, ConsumerSettings, DeadLetterSettings, Forward, Handler, Outcome, Record, StageError,
    StageSummary, Start,
};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use runtime::replay::Retry;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::wait_for;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const DEADLINE: Duration = Duration::from_secs(40);
/// Opens on the second bad record of each of two sources, and holds for an hour.
pub(crate) const BREAKER: BreakerSettings = BreakerSettings {
    may_hold: true,
    max_ratio: 0.5,
    window: 20,
    longest_hold: Duration::from_secs(3600),
};
pub(crate) const NO_BREAKER: BreakerSettings = BreakerSettings {
    may_hold: false,
    ..BREAKER
};

/// Rejects values that begin with `bad`, forwards the rest; waits while its dependency is down.
#[derive(Clone, Default)]
pub(crate) struct Sorter {
    pub(crate) dependency_is_down: Arc<AtomicBool>,
    pub(crate) asked: Arc<AtomicU64>,
    pub(crate) seen: Arc<Mutex<Vec<(i32, i64)>>>,
    /// Where partition 0 is read from; unset: where the group is.
    pub(crate) start: Arc<Mutex<Option<Start>>>,
}

impl Handler for Sorter {
    fn stage(&self) -> &'static str {
        "sorter"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.dependency_is_down.load(Ordering::SeqCst) {
            return Err(StageError::wait("test_outage", "down on purpose"));
        }
        self.seen
            .lock()
            .unwrap()
            .extend(batch.iter().map(|record| (record.partition, record.offset)));
        let outcome = |record: &Record<'_>| {
            if let Some(rejection) = record.refused().or_else(|| record.unproven()) {
                Outcome::Reject(rejection)
            } else if record.value().starts_with(b"bad") {
                Outcome::Reject(Rejection::new(RejectionCode::NotJson, None, "said so"))
            } else {
                let value = Bytes::copy_from_slice(record.value());
                Outcome::Forward(vec![Forward::new(&"out".into(), value)])
            }
        };
        Ok(batch.iter().map(outcome).collect())
    }

    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, StageError> {
        let first = *self.start.lock().unwrap();
        Ok(partitions
            .iter()
            .map(|(_, number)| first.filter(|_| *number == 0).unwrap_or(Start::Committed))
            .collect())
    }
}

pub(crate) struct Stage {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) kafka: KafkaArgs,
    pub(crate) health: Health,
    pub(crate) sorter: Sorter,
    pub(crate) publisher: Publisher,
    pub(crate) retry: Option<Retry>,
    pub(crate) stop: CancellationToken,
    pub(crate) running: Option<JoinHandle<anyhow::Result<StageSummary>>>,
}

impl Stage {
    pub(crate) async fn start(breaker: BreakerSettings) -> Self {
        Self::start_on(&[("in", 2), ("out", 2), ("dead", 1)], None, breaker).await
    }

    pub(crate) async fn start_on(
        topics: &[(&str, i32)],
        retry: Option<Retry>,
        breaker: BreakerSettings,
    ) -> Self {
        let mut stage = Self::prepare(topics, retry);
        stage.run(breaker);
        stage
    }

    /// Nothing reads yet.
    pub(crate) fn prepare(topics: &[(&str, i32)], retry: Option<Retry>) -> Self {
        let broker = EmbeddedBroker::start(topics).unwrap();
        let kafka = broker.kafka();
        let health = Health::new();
        let settings = PublisherSettings {
            record_timeout: Duration::from_secs(2),
            ..PublisherSettings::stage("test")
        };
        let publisher = Publisher::new(&kafka, &settings, &health).unwrap();
        let (sorter, stop) = (Sorter::default(), CancellationToken::new());
        Self {
            broker,
            kafka,
            health,
            sorter,
            publisher,
            retry,
            stop,
            running: None,
        }
    }

    pub(crate) fn run(&mut self, breaker: BreakerSettings) {
        let (settings, sorter) = (self.settings(breaker), self.sorter.clone());
        self.run_with(settings, sorter, Some(self.publisher.clone()));
    }

    pub(crate) fn settings(&self, breaker: BreakerSettings) -> ConsumerSettings {
        ConsumerSettings {
            kafka: self.kafka.clone(),
            group: "g".to_owned(),
            topics: vec!["in".to_owned()],
            raw_topic: Some("in".to_owned()),
            retry: self.retry.clone(),
            dead_letters: Some(DeadLetterSettings {
                topic: "dead".to_owned(),
                breaker,
                rules: "first".to_owned(),
            }),
            batch_records: 100,
            piece_records: 7,
            batch_bytes: 1 << 20,
            batch_age: Duration::from_millis(5),
            publish_deadline: Duration::from_secs(3),
        }
    }

    pub(crate) fn run_with(
        &mut self,
        settings: ConsumerSettings,
        handler: impl Handler + 'static,
        publisher: Option<Publisher>,
    ) {
        self.stop = CancellationToken::new();
        let (health, stop) = (self.health.clone(), self.stop.clone());
        self.running = Some(tokio::spawn(consumer::run(
            settings, handler, publisher, health, stop,
        )));
    }

    pub(crate) async fn send(&self, values: &[&str]) {
        self.send_to("in", values, &[]).await;
    }

    pub(crate) async fn send_to(&self, topic: &str, values: &[&str], more: &[(&str, &[u8])]) {
        self.send_from("s", topic, values, more).await;
    }

    pub(crate) async fn send_from(
        &self,
        source: &str,
        topic: &str,
        values: &[&str],
        more: &[(&str, &[u8])],
    ) {
        let mut batch = self.publisher.batch(values.len());
        for value in values {
            let headers = [
                (headers::SOURCE, source.as_bytes()),
                ("x-signature", b"\x01\xff"),
            ];
            let headers = headers.into_iter().chain(more.iter().copied()).collect();
            batch
                .add(OutRecord {
                    topic,
                    key: Some(b"k"),
                    value: Some(value.as_bytes()),
                    headers,
                })
                .unwrap();
        }
        assert_eq!(batch.wait(DEADLINE).await, vec![]);
    }

    /// Why the breaker holds the stage, while it does.
    pub(crate) fn held(&self) -> Option<String> {
        let reasons = self.health.reasons().into_iter();
        reasons
            .filter(|(check, _)| *check == "breaker")
            .map(|(_, reason)| reason)
            .next()
    }

    /// Waits until the breaker holds the stage and has looked again; why it does.
    pub(crate) async fn until_held(&self) -> String {
        self.until("the breaker opens", |stage| stage.held().is_some())
            .await;
        let asked = self.sorter.asked.load(Ordering::SeqCst);
        self.until("it looks again", |stage| {
            stage.sorter.asked.load(Ordering::SeqCst) > asked + 1
        })
        .await;
        self.held().unwrap()
    }

    pub(crate) fn read(&self, topic: &str) -> Vec<OwnedRecord> {
        read_all(&self.kafka, topic).unwrap()
    }

    pub(crate) fn count(&self, topic: &str) -> usize {
        self.read(topic).len()
    }

    pub(crate) fn committed(&self) -> i64 {
        committed(&self.kafka, "g", "in")
            .unwrap()
            .into_iter()
            .filter_map(|(_, next)| next)
            .sum()
    }

    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        wait_for(DEADLINE, async || {
            if done(self) {
                return Ok(());
            }
            let reasons = self.health.reasons();
            Err(format!("{what}; not ready because {reasons:?}"))
        })
        .await;
    }

    pub(crate) async fn finish(&mut self) -> StageSummary {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.running.take().unwrap())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn send_ignoring_acks(&self, values: &[&str]) {
        for value in values {
            let record = OutRecord {
                topic: "in",
                key: None,
                value: Some(value.as_bytes()),
                headers: RecordHeaders::new(0),
            };
            drop(
                self.publisher
                    .publish(record, Duration::from_millis(10))
                    .await,
            );
        }
    }
}
