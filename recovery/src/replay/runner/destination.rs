//! Where replays go, and whether anybody reads there.

use super::claim::Ends;
use crate::context::Context;
use contracts::pipeline::Pipeline;
use runtime::admin::{Inspector, Readers};
use runtime::kafka::KafkaArgs;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest one question to the brokers.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// How long it is believed that a group reads its retry topic.
const READERS_KNOWN_FOR: Duration = Duration::from_secs(5);

/// Why dead letters of a group without a retry topic cannot be replayed.
pub(crate) fn no_destination(pipeline: &Pipeline, group: &str) -> String {
    let shown = crate::audit_log::clean(group);
    let ours: Vec<&str> = pipeline
        .replayable()
        .map(|(stage, _)| stage.group.as_str())
        .collect();
    format!(
        "it failed in consumer group {shown:?}, and only {} read replays; export it for its owner, or discard it",
        ours.join(" and ")
    )
}

/// Asks the brokers about retry topics.
pub(super) struct DestinationProbe {
    pipeline: Arc<Pipeline>,
    pub(super) kafka: KafkaArgs,
    inspector: Arc<Inspector>,
    seen: Mutex<HashMap<String, Instant>>,
}

impl DestinationProbe {
    pub(super) fn new(recovery: &Context) -> Result<Self, String> {
        let kafka = recovery
            .kafka
            .clone()
            .ok_or("replays need Kafka: run the recovery role with --kafka-brokers")?;
        let inspector =
            Arc::new(Inspector::new(&kafka, ASKED_WITHIN).map_err(|error| error.to_string())?);
        Ok(Self {
            pipeline: Arc::clone(&recovery.pipeline),
            kafka,
            inspector,
            seen: Mutex::default(),
        })
    }

    /// Where the retry topics of these groups end, when replays to all of them would be read; else a sentence that says what to do.
    pub(super) async fn open(&self, groups: &[String]) -> Result<Ends, String> {
        let mut ends = Ends::new();
        for group in groups {
            let Some(topic) = self.pipeline.retry_of(group).map(str::to_owned) else {
                continue;
            };
            let (inspector, asked, ask_readers) = (
                Arc::clone(&self.inspector),
                topic.clone(),
                !self.seen_lately(group),
            );
            let of = group.clone();
            let answer = tokio::task::spawn_blocking(move || {
                let ends = inspector.ends(&asked)?;
                anyhow::Ok((
                    ends,
                    if ask_readers {
                        inspector.readers(&of, &asked)
                    } else {
                        Readers::Unknown
                    },
                ))
            });
            let (found, readers) = match answer.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    return Err(format!(
                        "cannot send to {topic}: {error:#}; check that Kafka is up and that the topic exists (`eventflow admin topics apply`)"
                    ));
                }
                Err(error) => return Err(error.to_string()),
            };
            if found.is_empty() {
                return Err(format!(
                    "topic {topic} has no partitions; create it with `eventflow admin topics apply`"
                ));
            }
            match readers {
                Readers::Nobody => {
                    return Err(format!(
                        "nobody reads {topic}: consumer group {group} has no members; start its role"
                    ));
                }
                Readers::OfOtherTopics => {
                    return Err(format!(
                        "nobody reads {topic}: the members of consumer group {group} do not; upgrade its role, or check its --topic-retry"
                    ));
                }
                Readers::There | Readers::Unknown => {}
            }
            // Brokers that do not tell are not asked more often either: what is sent waits in the topic.
            if ask_readers {
                self.seen
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(group.clone(), Instant::now());
            }
            ends.insert(topic, found);
        }
        Ok(ends)
    }

    fn seen_lately(&self, group: &str) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(group)
            .is_some_and(|at| at.elapsed() < READERS_KNOWN_FOR)
    }
}
