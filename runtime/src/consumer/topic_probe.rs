//! Whether the topics a stage reads exist. A missing one holds up no other: the group is joined for those that exist.

use super::ConsumerSettings;
use super::membership::GroupConsumer;
use crate::kafka;
use contracts::kafka::topics;
use contracts::pipeline::Pipeline;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use std::time::{Duration, Instant};

/// How often a missing topic is probed. The client itself would every five minutes.
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait for one answer of the broker; meanwhile nothing is read.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Probes the topics once the client has missed one, until all exist.
pub(super) struct TopicProbe {
    group: String,
    topics: Vec<String>,
    retry_topic: Option<String>,
    due: Option<Due>,
}

/// When the next probe is due.
struct Due {
    at: Instant,
    /// How many topics were missing the last time
    missing: usize,
}

impl TopicProbe {
    pub(super) fn new(settings: &ConsumerSettings) -> Self {
        Self {
            group: settings.group.clone(),
            topics: settings.all_topics().map(str::to_owned).collect(),
            retry_topic: settings.retry.as_ref().map(|retry| retry.topic.clone()),
            due: None,
        }
    }

    /// Makes a probe due now.
    pub(super) fn request(&mut self) {
        self.due = Some(Due {
            at: Instant::now(),
            missing: usize::MAX,
        });
    }

    /// Probes the topics when that is due: what is wrong with them, as the state of a health check. `None`: not due, or nothing learned.
    pub(super) fn run_if_due(&mut self, consumer: &GroupConsumer) -> Option<Result<(), String>> {
        let due = self.due.as_mut().filter(|due| due.at <= Instant::now())?;
        due.at = Instant::now() + INTERVAL;
        let missing_before = due.missing;
        let probed: KafkaResult<Vec<_>> = self
            .topics
            .iter()
            .map(|topic| Ok(error_of(consumer, topic)?.map(|error| self.advice(topic, error))))
            .collect();
        // A broker that does not answer says nothing about topics, and shows in a check of its own.
        let problems: Vec<String> = probed.ok()?.into_iter().flatten().collect();
        // Only an answer that lists every topic makes the client tell the group what it may read now.
        if problems.len() < missing_before && consumer.fetch_metadata(None, TIMEOUT).is_err() {
            return None;
        }
        if problems.is_empty() {
            self.due = None;
            return Some(Ok(()));
        }
        if let Some(due) = &mut self.due {
            due.missing = problems.len();
        }
        Some(Err(problems.join("; ")))
    }

    /// What is wrong with a topic, and what to do.
    fn advice(&self, topic: &str, error: RDKafkaErrorCode) -> String {
        let group = &self.group;
        if error == RDKafkaErrorCode::TopicAuthorizationFailed {
            let advice = kafka::missing_acl(&format!("to read topic {topic} as group {group}"));
            return format!("{error:?}: {advice}");
        }
        if error != RDKafkaErrorCode::UnknownTopicOrPartition {
            return format!("{error:?}: topic {topic} cannot be read");
        }
        let is_retry = self.retry_topic.as_deref() == Some(topic);
        let create = if Pipeline::built_in().topics.contains_key(topic) {
            "create it with `eventflow admin topics apply`".to_owned()
        } else if is_retry && topic == topics::retry(group) {
            format!("create it with `eventflow admin topics apply --retry-group {group}`")
        } else {
            "create it".to_owned()
        };
        let meanwhile = if is_retry {
            "; until then everything but replays goes on"
        } else {
            ""
        };
        format!("{error:?}: topic {topic} is missing; {create}{meanwhile}")
    }
}

fn error_of(consumer: &GroupConsumer, topic: &str) -> KafkaResult<Option<RDKafkaErrorCode>> {
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
    Ok(metadata
        .topics()
        .first()
        .and_then(|topic| topic.error())
        .map(RDKafkaErrorCode::from))
}
