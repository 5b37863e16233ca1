//! The pipeline as data: its stages in order, the topic each reads and writes, and what follows from that: consumer groups, retry topics,
//! rights. `infra/kafka/pipeline.json` is EventFlow's own; a file of that form describes another.
//!
//! Whoever needs to know which stages there are iterates this: topics and access control lists, recovery (replays, audit, dry run), the
//! demo, Terraform and Kubernetes. A new stage is a [`Stage`] here and a handler.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const BUILT_IN: &str = include_str!("../../infra/kafka/pipeline.json");

/// The stages, the topics between them, and who may use those.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Topic of raw events: the edge writes it, the first stage on the path reads it
    pub raw: String,
    /// Topic of dead letters: stages with a retry topic write it, recovery reads it
    pub dead_letters: String,
    /// Topic of refused requests: the edge writes it as well as it can, recovery reads it. No event's fate depends on it
    pub rejections: String,
    /// In the order in which an event passes them
    pub stages: Vec<Stage>,
    /// The role that indexes dead letters and replays them
    pub recovery: Recovery,
    /// Topics to create, by name; every topic named above is one
    pub topics: BTreeMap<String, Topic>,
    /// Former roles: a right that one still has on the cluster is revoked
    #[serde(default)]
    pub retired: BTreeSet<String>,
}

/// A role that consumes records and gives each an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its role: in dead letters, metrics, logs, and the name of its Kafka user
    pub name: String,
    /// Consumer group
    pub group: String,
    /// Topic it reads
    pub reads: String,
    /// What the values of that topic are
    pub values: Values,
    /// Topics it writes, beside dead letters
    #[serde(default)]
    pub writes: Vec<String>,
    /// Topic of replays for this stage alone. A stage without one dead-letters nothing
    #[serde(default)]
    pub retry: Option<String>,
    /// Whether every event must pass it to get its row: the audit's proof then goes through it
    #[serde(default)]
    pub on_path: bool,
    /// Who knows how far it has read
    #[serde(default)]
    pub offsets: Offsets,
}

/// What the values of a topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Values {
    /// Bodies as the vendor sent them
    Raw,
    /// Confluent-framed Avro
    Avro,
}

/// Who knows how far a stage has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Offsets {
    /// The group's committed offsets
    #[default]
    Kafka,
    /// The database, whose offsets move in the transaction that stores the rows
    Database,
}

/// The role beside the path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// Consumer group of the index of dead letters
    pub group: String,
    /// Consumer group of the index of refused requests
    pub rejections_group: String,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// At least one
    pub partitions: i32,
    /// Kafka's topic settings by name; what is not named is the cluster's default
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// What a user of the cluster may do; nobody may do more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principal {
    /// Topics it may write
    pub write: BTreeSet<String>,
    /// Topics it may read
    pub read: BTreeSet<String>,
    /// Consumer groups it may be a member of
    pub groups: BTreeSet<String>,
    /// Consumer groups whose members and offsets it may see
    pub describe_groups: BTreeSet<String>,
    /// What the transactional ids it may write begin with (exactly-once delivery)
    pub transactional_ids: BTreeSet<String>,
}

/// What is wrong with a description: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PipelineError(String);

impl Stage {
    /// Whether a record that fails in it is dead-lettered and can be replayed to it.
    #[must_use]
    pub fn dead_letters(&self) -> bool {
        self.retry.is_some()
    }

    /// What its transactional ids begin with; none for a stage that makes no records of those it reads.
    #[must_use]
    pub fn transactional_id(&self) -> Option<String> {
        (!self.writes.is_empty()).then(|| format!("{}-", self.group))
    }
}

impl Pipeline {
    /// EventFlow's own.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "compiled in, and tested")]
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("infra/kafka/pipeline.json is well-formed")
    }

    /// Reads a description.
    ///
    /// # Errors
    /// Not of that form, or as [`Self::check`].
    pub fn parse(text: &str) -> Result<Self, PipelineError> {
        let pipeline: Self =
            serde_json::from_str(text).map_err(|error| PipelineError(error.to_string()))?;
        pipeline.check()?;
        Ok(pipeline)
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    /// A topic that is named and not described, which is a misspelling; a topic without partitions; two stages of one name, group or
    /// retry topic; a path that does not lead from the raw topic to the stage whose offsets are the database's.
    pub fn check(&self) -> Result<(), PipelineError> {
        let refuse = |problem: String| Err(PipelineError(problem));
        for (name, topic) in &self.topics {
            if topic.partitions < 1 {
                return refuse(format!("{name}: a topic must have at least one partition"));
            }
        }
        let groups = [&self.recovery.group, &self.recovery.rejections_group];
        let mut taken: BTreeSet<_> = groups.map(String::as_str).into();
        if taken.len() < groups.len() {
            return refuse("recovery: group and rejections_group must be two groups".to_owned());
        }
        for stage in &self.stages {
            let name = &stage.name;
            for topic in [&stage.reads]
                .into_iter()
                .chain(&stage.writes)
                .chain(&stage.retry)
            {
                if !self.topics.contains_key(topic) {
                    return refuse(format!("{name}: {topic} is not one of the topics"));
                }
            }
            for own in [Some(&stage.name), Some(&stage.group), stage.retry.as_ref()] {
                if own.is_some_and(|own| !taken.insert(own)) {
                    let own = own.map_or("", String::as_str);
                    return refuse(format!("{name}: {own} is used twice; give each its own"));
                }
            }
            let common = [
                &self.raw,
                &self.dead_letters,
                &self.rejections,
                &stage.reads,
            ];
            if stage.retry.iter().chain(&stage.writes).any(|topic| {
                common.contains(&topic)
                    || self.stages.iter().any(|other| {
                        Some(topic) == other.retry.as_ref() && stage.writes.contains(topic)
                    })
            }) {
                return refuse(format!(
                    "{name}: its retry topic and the topics it writes must be its own"
                ));
            }
        }
        let own = [&self.raw, &self.dead_letters, &self.rejections];
        if BTreeSet::from(own).len() < own.len() {
            return refuse("raw, dead_letters and rejections must be three topics".to_owned());
        }
        for topic in own {
            if !self.topics.contains_key(topic) {
                return refuse(format!("{topic} is not one of the topics"));
            }
        }
        self.check_path()
    }

    fn check_path(&self) -> Result<(), PipelineError> {
        let mut written = std::slice::from_ref(&self.raw);
        let mut last = None;
        for stage in self.path() {
            let name = &stage.name;
            if !written.contains(&stage.reads) {
                let problem = format!(
                    "{name}: no stage before it on the path writes {}",
                    stage.reads
                );
                return Err(PipelineError(problem));
            }
            written = &stage.writes;
            last = Some(stage);
        }
        match last {
            Some(stage) if stage.offsets == Offsets::Database => Ok(()),
            _ => Err(PipelineError(
                "the last stage with on_path must be the one that stores rows (offsets: database)"
                    .to_owned(),
            )),
        }
    }

    /// The stages every event passes to get its row, in order.
    pub fn path(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter().filter(|stage| stage.on_path)
    }

    /// The stage at the end of the path, which stores rows.
    #[must_use]
    pub fn stores(&self) -> Option<&Stage> {
        self.path().last()
    }

    /// The stage a dead letter is of: that of its consumer group, or, where a deployment names its groups otherwise, of its name.
    #[must_use]
    pub fn stage_of(&self, group: &str, name: &str) -> Option<&Stage> {
        self.stage_of_group(group).or_else(|| self.stage(name))
    }

    /// The topic of replays for a consumer group; none for a group that is not ours, or whose stage takes none.
    #[must_use]
    pub fn retry_of(&self, group: &str) -> Option<&str> {
        self.stage_of_group(group)?.retry.as_deref()
    }

    /// The stage with this `name`; `None` when the pipeline has none.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The stage with this `group`; `None` when it is not the pipeline's.
    #[must_use]
    pub fn stage_of_group(&self, group: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.group == group)
    }

    /// The stages that take replays, each with its retry topic.
    pub fn replayable(&self) -> impl Iterator<Item = (&Stage, &str)> {
        self.stages
            .iter()
            .filter_map(|stage| Some((stage, stage.retry.as_deref()?)))
    }

    /// Gives a topic another name, wherever it is used.
    pub fn rename_topic(&mut self, from: &str, to: &str) {
        let rename = |name: &mut String| {
            if name == from {
                to.clone_into(name);
            }
        };
        rename(&mut self.raw);
        rename(&mut self.dead_letters);
        rename(&mut self.rejections);
        for stage in &mut self.stages {
            rename(&mut stage.reads);
            stage
                .writes
                .iter_mut()
                .chain(&mut stage.retry)
                .for_each(rename);
        }
        if let Some(topic) = self.topics.remove(from) {
            self.topics.insert(to.to_owned(), topic);
        }
    }

    /// Adds the retry topic of a group that is not in the description, with the settings of the first stage's.
    pub fn add_retry_of(&mut self, group: &str) {
        let like = self
            .replayable()
            .next()
            .and_then(|(_, retry)| self.topics.get(retry).cloned());
        if let Some(like) = like {
            self.topics
                .entry(crate::kafka::topics::retry(group))
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

    /// Who uses the topics, one a role, and what each may do. The edge can only add to the raw topic and to that of refused requests; a stage reads its topic and its own
    /// retry topic; recovery reads all, and writes retry topics alone.
    #[must_use]
    pub fn principals(&self) -> BTreeMap<String, Principal> {
        let set = |names: &[&String]| {
            names
                .iter()
                .map(|&name| name.clone())
                .collect::<BTreeSet<_>>()
        };
        let producer = Principal {
            write: set(&[&self.raw, &self.rejections]),
            ..Principal::default()
        };
        let stages = self.stages.iter().map(|stage| {
            let mut write: BTreeSet<_> = stage.writes.iter().cloned().collect();
            if stage.dead_letters() {
                write.insert(self.dead_letters.clone());
            }
            let rights = Principal {
                write,
                read: [&stage.reads]
                    .into_iter()
                    .chain(&stage.retry)
                    .cloned()
                    .collect(),
                groups: set(&[&stage.group]),
                describe_groups: BTreeSet::new(),
                transactional_ids: stage.transactional_id().into_iter().collect(),
            };
            (stage.name.clone(), rights)
        });
        let read = |stage: &'_ Stage| stage.retry.clone();
        let recovery = Principal {
            write: self.stages.iter().filter_map(read).collect(),
            read: [&self.raw, &self.dead_letters, &self.rejections]
                .into_iter()
                .chain(
                    self.stages
                        .iter()
                        .flat_map(|stage| [&stage.reads].into_iter().chain(&stage.retry)),
                )
                .cloned()
                .collect(),
            groups: set(&[&self.recovery.group, &self.recovery.rejections_group]),
            describe_groups: self
                .stages
                .iter()
                .filter(|stage| stage.dead_letters() || stage.on_path)
                .map(|stage| stage.group.clone())
                .collect(),
            ..Principal::default()
        };
        let retired = self
            .retired
            .iter()
            .map(|role| (role.clone(), Principal::default()));
        retired
            .chain(stages)
            .chain([
                ("producer".to_owned(), producer),
                ("recovery".to_owned(), recovery),
            ])
            .collect()
    }
}

#[cfg(test)]
mod tests;
