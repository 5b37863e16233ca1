//! What a stage may make of a record: nothing, records of several topics, or what it has no means to publish.

use crate::world::{DEADLINE, NO_BREAKER, Stage};
use bytes::Bytes;
use contracts::kafka::headers;
use contracts::{Rejection, RejectionCode};
use runtime::consumer::{Forward, Handler, Outcome, Record, StageError};
use sandbox::broker::{BrokerFault, BrokerRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Gives every record the same kind of outcome.
#[derive(Clone)]
struct Maker {
    /// Also labels its metrics: each test has its own
    stage: &'static str,
    outcome: fn(&Record<'_>) -> Outcome,
    waits: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

impl Maker {
    fn new(stage: &'static str, outcome: fn(&Record<'_>) -> Outcome) -> Self {
        Self {
            stage,
            outcome,
            waits: Arc::default(),
            asked: Arc::default(),
        }
    }
}

impl Handler for Maker {
    fn stage(&self) -> &'static str {
        self.stage
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.waits.load(Ordering::SeqCst) {
            return Err(StageError::wait("test_wait", "told to"));
        }
        Ok(batch.iter().map(self.outcome).collect())
    }
}

fn reject(_: &Record<'_>) -> Outcome {
    Outcome::Reject(Rejection::new(RejectionCode::NotJson, None, "always"))
}

/// To two topics, each with a header of its own.
fn fan_out(record: &Record<'_>) -> Outcome {
    let to = |topic: &str| Forward {
        topic: topic.into(),
        value: Some(Bytes::copy_from_slice(record.value())),
        headers: vec![("x-copy", format!("of {topic}"))],
    };
    Outcome::Forward(vec![to("out"), to("second")])
}

fn two_outputs() -> Stage {
    let topics = [("in", 1), ("out", 1), ("second", 1), ("dead", 1)];
    let stage = Stage::prepare(&topics, None);
    runtime::telemetry::metrics_handle();
    stage
}

/// The line of the waits of a stage, if there were any.
fn waits(stage: &str) -> Option<String> {
    let series = format!("eventflow_consumer_waits_total{{stage=\"{stage}\"");
    let metrics = runtime::telemetry::metrics_handle().render();
    metrics
        .lines()
        .find(|line| line.starts_with(&series))
        .map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_without_a_publisher_settles_and_commits_its_records() {
    let mut stage = Stage::prepare(&[("in", 2), ("dead", 1)], None);
    let mut settings = stage.settings(NO_BREAKER);
    settings.dead_letters = None;
    stage.run_with(settings, Maker::new("done", |_| Outcome::Done), None);
    stage.send(&["one", "two", "three"]).await;
    stage
        .until("committed", |stage| stage.committed() == 3)
        .await;
    let summary = stage.finish().await;
    assert_eq!((summary.done, summary.left_unsettled), (3, 0));
    assert_eq!(stage.count("dead"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_makes_what_its_stage_cannot_publish_ends_it_and_commits_nothing() {
    let mut stage = two_outputs();
    stage.send(&["one"]).await;
    let publisher = || Some(stage.publisher.clone());
    type Answer = fn(&Record<'_>) -> Outcome;
    let cases: [(Answer, _, _, &str); 3] = [
        (fan_out, None, false, "has no publisher"),
        (reject, None, true, "has no publisher"),
        (reject, publisher(), false, "has no dead-letter topic"),
    ];
    for (outcome, publisher, dead_letters, expected) in cases {
        let mut settings = stage.settings(NO_BREAKER);
        settings.dead_letters.take_if(|_| !dead_letters);
        stage.run_with(settings, Maker::new("unable", outcome), publisher);
        let ended = tokio::time::timeout(DEADLINE, stage.running.take().unwrap())
            .await
            .unwrap()
            .unwrap();
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(stage.committed(), 0, "{error}");
    }
    for topic in ["out", "second", "dead"] {
        assert_eq!(stage.count(topic), 0, "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_forwarded_to_two_topics_is_in_both_in_order_when_its_offset_is_committed() {
    let mut stage = two_outputs();
    // More than the batch has records: what is made of them fills several of the publisher's.
    let values: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    stage
        .send(&values.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let settings = stage.settings(NO_BREAKER);
    let publisher = Some(stage.publisher.clone());
    stage.run_with(settings, Maker::new("fan_out", fan_out), publisher);
    stage
        .until("committed", |stage| stage.committed() == 40)
        .await;
    for topic in ["out", "second"] {
        let records = stage.read(topic);
        let read: Vec<_> = records
            .iter()
            .map(|record| String::from_utf8(record.value.clone().unwrap()).unwrap())
            .collect();
        assert_eq!(read, values, "{topic}");
        for (offset, record) in records.iter().enumerate() {
            let header = |name| record.header(name);
            assert_eq!(header("x-copy"), Some(format!("of {topic}")));
            assert_eq!(record.raw(), Some((0, i64::try_from(offset).unwrap())));
            assert_eq!(header(headers::SOURCE).as_deref(), Some("s"));
        }
    }
    assert_eq!(stage.finish().await.forwarded, 40);
    assert_eq!(waits("fan_out"), None, "nothing had to be sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_two_acknowledgements_fails_only_that_record_is_sent_again() {
    let mut stage = two_outputs();
    let maker = Maker::new("one_refused", fan_out);
    let settings = stage.settings(NO_BREAKER);
    stage.run_with(settings, maker.clone(), Some(stage.publisher.clone()));
    stage.send(&["warm"]).await;
    stage
        .until("assigned", |stage| stage.committed() == 1)
        .await;
    maker.waits.store(true, Ordering::SeqCst);
    let asked = maker.asked.load(Ordering::SeqCst);
    stage.send(&["one"]).await;
    stage
        .until("handled", |_| maker.asked.load(Ordering::SeqCst) > asked)
        .await;
    // Each topic's record is a request of its own: the first is refused.
    stage.broker.fail(
        BrokerRequest::Produce,
        vec![BrokerFault::TopicAuthorizationFailed],
    );
    maker.waits.store(false, Ordering::SeqCst);
    stage
        .until("committed", |stage| stage.committed() == 2)
        .await;
    assert_eq!((stage.count("out"), stage.count("second")), (2, 2));
    // The client itself refuses the topic until it has fresh metadata, so how often is its affair.
    let refused = "eventflow_consumer_waits_total{stage=\"one_refused\",code=\"publish_refused\"} ";
    let metrics = runtime::telemetry::metrics_handle().render();
    assert!(metrics.contains(refused), "{metrics}");
    assert_eq!(stage.finish().await.left_unsettled, 0);
}
