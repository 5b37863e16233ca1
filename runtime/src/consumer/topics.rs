//! Whether the topics a stage reads are there. One that is missing holds up no other: the group is joined for those that exist.

use super::turn::Loop;
use super::waiting::TOPIC;
use super::{ConsumerSettings, Handler};
use contracts::kafka::topics;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use std::time::{Duration, Instant};

/// How often a missing topic is looked for. The client would look every five minutes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for one answer of the broker; meanwhile nothing is read.
const DEADLINE: Duration = Duration::from_secs(1);

/// A look that is due.
pub(super) struct Look {
    at: Instant,
    /// How many were missing the last time
    missing: usize,
}

impl Look {
    pub(super) fn now() -> Self {
        Self {
            at: Instant::now(),
            missing: usize::MAX,
        }
    }
}

impl<H: Handler> Loop<'_, H> {
    /// Once the client has missed a topic: says in `/ready` which, until all are there. Progress on other topics does not hide it.
    pub(super) fn look_for_topics(&mut self) {
        let Some(look) = self.look.as_mut().filter(|look| look.at <= Instant::now()) else {
            return;
        };
        look.at = Instant::now() + LOOK_EVERY;
        let missing = look.missing;
        let looks: KafkaResult<Vec<_>> = self
            .settings
            .read()
            .map(|topic| {
                Ok(self
                    .error_of(topic)?
                    .map(|error| self.settings.advice(topic, error)))
            })
            .collect();
        // A broker that does not answer says nothing of topics, and shows in a check of its own.
        let Ok(looks) = looks else { return };
        let problems: Vec<String> = looks.into_iter().flatten().collect();
        // Only an answer that lists every topic makes the client tell the group what it may read now.
        if problems.len() < missing && self.consumer.fetch_metadata(None, DEADLINE).is_err() {
            return;
        }
        self.look = match (self.look.take(), problems.len()) {
            (Some(look), missing @ 1..) => Some(Look { missing, ..look }),
            (Some(_) | None, _) => None,
        };
        self.health.set(
            TOPIC,
            if problems.is_empty() {
                Ok(())
            } else {
                Err(problems.join("; "))
            },
        );
    }

    fn error_of(&self, topic: &str) -> KafkaResult<Option<RDKafkaErrorCode>> {
        let metadata = self.consumer.fetch_metadata(Some(topic), DEADLINE)?;
        Ok(metadata
            .topics()
            .first()
            .and_then(|topic| topic.error())
            .map(RDKafkaErrorCode::from))
    }
}

impl ConsumerSettings {
    /// What is wrong with a topic and what to do.
    fn advice(&self, topic: &str, error: RDKafkaErrorCode) -> String {
        let group = &self.group;
        if error == RDKafkaErrorCode::TopicAuthorizationFailed {
            return format!(
                "{error:?}: this Kafka user may not read topic {topic} as group {group}; grant it with the cluster's ACLs"
            );
        }
        if error != RDKafkaErrorCode::UnknownTopicOrPartition {
            return format!("{error:?}: topic {topic} cannot be read");
        }
        let replays = self
            .retry
            .as_ref()
            .is_some_and(|retry| retry.topic == topic);
        let create = match (topic, replays) {
            (topics::RAW | topics::VALIDATED, false) => {
                "create it with `eventflow admin topics apply`".to_owned()
            }
            (_, true) if topic == topics::retry(group) => {
                format!("create it with `eventflow admin topics apply --retry-group {group}`")
            }
            (_, _) => "create it".to_owned(),
        };
        let meanwhile = if replays {
            "; meanwhile everything but replays goes on"
        } else {
            ""
        };
        format!("{error:?}: topic {topic} is missing; {create}{meanwhile}")
    }
}
