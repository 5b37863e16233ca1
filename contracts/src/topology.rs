//! The topics of a cluster and who may do what with them, as data: `infra/kafka/topics.json`, or a file of one's own in its form.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const BUILT_IN: &str = include_str!("../../infra/kafka/topics.json");

/// What a cluster should have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// By name
    pub topics: BTreeMap<String, Topic>,
    /// Who uses them, one a role, and what each may do; nobody may do more
    pub principals: BTreeMap<String, Principal>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// How many
    pub partitions: i32,
    /// Kafka's topic settings by name; what is not named is the cluster's default
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// A user of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Topics it may write
    pub write: Vec<String>,
    /// Topics it may read
    pub read: Vec<String>,
    /// Consumer groups it may be a member of
    pub groups: Vec<String>,
    /// Consumer groups whose members and offsets it may see
    pub describe_groups: Vec<String>,
}

/// What can be wrong with a topology: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TopologyError(String);

impl Topology {
    /// EventFlow's own.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "compiled in, and tested")]
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("infra/kafka/topics.json is well-formed")
    }

    /// Reads a file of that form.
    ///
    /// # Errors
    /// Not that form; a topic without partitions; a right to a topic the file does not have, which is a misspelling.
    pub fn parse(text: &str) -> Result<Self, TopologyError> {
        let topology: Self =
            serde_json::from_str(text).map_err(|error| TopologyError(error.to_string()))?;
        let names: BTreeSet<&str> = topology.topics.keys().map(String::as_str).collect();
        for (name, topic) in &topology.topics {
            if topic.partitions < 1 {
                return Err(TopologyError(format!(
                    "{name}: a topic has at least one partition"
                )));
            }
        }
        for (who, principal) in &topology.principals {
            if let Some(unknown) = principal
                .write
                .iter()
                .chain(&principal.read)
                .find(|topic| !names.contains(topic.as_str()))
            {
                return Err(TopologyError(format!(
                    "{who}: {unknown} is not one of the topics"
                )));
            }
        }
        Ok(topology)
    }

    /// Adds the retry topic of a group that is not in the file, made like the built-in ones.
    pub fn add_retry_of(&mut self, group: &str) {
        let like = Self::built_in()
            .topics
            .remove(&crate::topics::retry("eventflow-validator"));
        if let Some(like) = like {
            self.topics
                .entry(crate::topics::retry(group))
                .or_insert(like);
        }
    }

    /// Every topic and its partitions.
    #[must_use]
    pub fn partitions(&self) -> Vec<(&str, i32)> {
        self.topics
            .iter()
            .map(|(name, topic)| (name.as_str(), topic.partitions))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]
    use super::*;
    use crate::topics;

    #[test]
    fn the_built_in_one_has_the_default_topics_and_no_role_may_do_more_than_its_work() {
        let built_in = Topology::built_in();
        let retries = ["eventflow-validator", "eventflow-persistence"].map(topics::retry);
        let wanted: BTreeSet<&str> = [topics::RAW, topics::VALIDATED, topics::DLQ]
            .into_iter()
            .chain(retries.iter().map(String::as_str))
            .collect();
        assert_eq!(
            built_in
                .topics
                .keys()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
            wanted
        );
        let may = |who: &str| &built_in.principals[who];
        let (own, other) = (&retries[0], &retries[1]);
        // The edge can only add to the raw topic; only the validator says what is valid; a retry topic is read by its own stage alone.
        assert_eq!(
            (may("producer").write.clone(), may("producer").read.len()),
            (vec![topics::RAW.to_owned()], 0)
        );
        let writers = |topic: &str| {
            let all = built_in
                .principals
                .iter()
                .filter(move |(_, principal)| principal.write.iter().any(|name| name == topic));
            all.map(|(who, _)| who.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(writers(topics::RAW), ["producer"]);
        assert_eq!(writers(topics::VALIDATED), ["validator"]);
        // Analytics dead-letters nothing, but has the one loop's publisher, which wants a topic it may write.
        assert_eq!(
            writers(topics::DLQ),
            ["analytics", "persistence", "validator"]
        );
        assert_eq!(writers(own), ["recovery"]);
        assert_eq!(writers(other), ["recovery"]);
        assert!(!may("persistence").read.contains(own) && !may("validator").read.contains(other));
        assert!(
            !may("persistence")
                .read
                .iter()
                .any(|topic| topic == topics::RAW)
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let file = |topics: &str, principals: &str| {
            format!(r#"{{"topics":{{{topics}}},"principals":{{{principals}}}}}"#)
        };
        let right = r#""p":{"write":["a"],"read":[],"groups":[],"describe_groups":[]}"#;
        assert!(Topology::parse(&file(r#""a":{"partitions":1}"#, right)).is_ok());
        for (text, problem) in [
            (
                file(r#""a":{"partitions":0}"#, right),
                "a: a topic has at least one partition",
            ),
            (
                file(r#""b":{"partitions":1}"#, right),
                "p: a is not one of the topics",
            ),
            (
                file(r#""a":{"partitions":1,"replication":3}"#, right),
                "unknown field `replication`",
            ),
            ("{}".to_owned(), "missing field `topics`"),
        ] {
            let error = Topology::parse(&text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn another_group_gets_a_retry_topic_like_the_others() {
        let mut topology = Topology::built_in();
        topology.add_retry_of("mine");
        assert_eq!(
            topology.topics["events.retry.mine.v1"],
            topology.topics["events.retry.eventflow-validator.v1"]
        );
    }
}
