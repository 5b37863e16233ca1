//! Where the records are: the embedded broker, a new one for each measurement, or real brokers of the same machine, kept for the whole run, so
//! that their JVM is warm, and given new topics for each.

use crate::process::{Process, cpu_of};
use anyhow::Context;
use contracts::kafka::topics;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use runtime::kafka::KafkaArgs;
use sandbox::harness::{RealCluster, RealKafka};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest answer of a broker about its topics.
pub(crate) const ANSWER: Duration = Duration::from_secs(15);
/// Longest change of topics.
const DEADLINE: Duration = Duration::from_secs(60);
/// What a baseline writes.
pub(crate) const COPY: &str = "copy";
/// The groups of the stages on the way to a row.
pub(crate) const VALIDATORS: &str = "eventflow-validator";
pub(crate) const PERSISTENCES: &str = "eventflow-persistence";

/// Every topic of a measurement, and how many partitions it has.
pub(crate) fn all_topics(partitions: i32) -> Vec<(String, i32)> {
    let retry = [VALIDATORS, PERSISTENCES].map(topics::retry);
    let live = [
        (topics::RAW, partitions),
        (topics::VALIDATED, partitions),
        (topics::DLQ, 3),
        (topics::REJECTIONS, 3),
        (COPY, partitions),
    ];
    let live = live.map(|(name, partitions)| (name.to_owned(), partitions));
    live.into_iter()
        .chain(retry.map(|topic| (topic, 3)))
        .collect()
}

/// Real brokers.
pub(crate) struct RealBrokers {
    nodes: Vec<RealKafka>,
    kafka: KafkaArgs,
    script: PathBuf,
}

impl RealBrokers {
    /// One broker, or three that keep everything three times, two of them acknowledging.
    pub(crate) async fn start(count: u8) -> anyhow::Result<Self> {
        let script = std::env::var_os("EVENTFLOW_TEST_KAFKA_SCRIPT")
            .map(PathBuf::from)
            .context("EVENTFLOW_TEST_KAFKA_SCRIPT names no infra/kafka/local/kafka: use script/bench --kafka")?;
        let missing = "no Apache Kafka here: use script/bench --kafka, which fetches it";
        let (nodes, kafka) = if count == 1 {
            let node = tokio::task::spawn_blocking(|| RealKafka::start("the benchmark", false));
            let node = node.await?.context(missing)?;
            let kafka = node.plain();
            (vec![node], kafka)
        } else {
            let cluster = RealCluster::start("the benchmark").await.context(missing)?;
            let kafka = KafkaArgs::plaintext(cluster.bootstrap());
            (cluster.brokers, kafka)
        };
        Ok(Self {
            nodes,
            kafka,
            script,
        })
    }

    /// Version, number and durability, for the report.
    pub(crate) fn describe(&self) -> anyhow::Result<String> {
        let version = self.tool(&["version"])?.output()?;
        let jvm =
            std::env::var("EVENTFLOW_KAFKA_JVM").unwrap_or_else(|_| "as for tests".to_owned());
        let copies = match self.nodes.len() {
            1 => "one copy of each partition".to_owned(),
            count => format!("{count} copies of each partition, 2 acknowledge"),
        };
        Ok(format!(
            "Apache Kafka {}: {} broker(s) of this machine, {copies}, acks=all, written to disk by the kernel as Kafka leaves it; JVM: {jvm}",
            String::from_utf8_lossy(&version.stdout).trim(),
            self.nodes.len(),
        ))
    }

    /// `infra/kafka/local/kafka` with arguments.
    pub(crate) fn tool(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.script);
        command.args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = Duration::ZERO;
        for node in &self.nodes {
            let pid = std::fs::read_to_string(node.directory.path().join("pid"))?;
            total += cpu_of(pid.trim().parse()?)?;
        }
        Ok(total)
    }

    /// Deletes every topic and creates it again.
    async fn recreate_topics(&self, partitions: i32) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.kafka_brokers)
            .create()?;
        let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
        let all = all_topics(partitions);
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        for answer in admin.delete_topics(&names, &options).await? {
            match answer {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((name, code)) => anyhow::bail!("topic {name} cannot be deleted: {code}"),
            }
        }
        // -1: as many copies as the brokers keep of everything.
        let new = |(name, partitions)| NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
        let mut missing: Vec<(&str, i32)> = all
            .iter()
            .map(|(name, partitions)| (name.as_str(), *partitions))
            .collect();
        let deadline = Instant::now() + DEADLINE;
        while !missing.is_empty() {
            let wanted: Vec<_> = missing.iter().copied().map(new).collect();
            let mut refused = Vec::new();
            for answer in admin.create_topics(&wanted, &options).await? {
                // While a topic is being deleted its name is taken.
                match answer {
                    Ok(_) => {}
                    Err((name, RDKafkaErrorCode::TopicAlreadyExists)) => refused.push(name),
                    Err((name, code)) => anyhow::bail!("topic {name} cannot be created: {code}"),
                }
            }
            missing.retain(|(name, _)| refused.iter().any(|refused| refused == name));
            anyhow::ensure!(
                missing.is_empty() || Instant::now() < deadline,
                "the old topics {missing:?} are not deleted after 60 s"
            );
        }
        Ok(())
    }
}

/// Which brokers measurements run on.
#[derive(Clone)]
pub(crate) enum Brokers {
    Embedded,
    Real(Arc<RealBrokers>),
}

impl Brokers {
    pub(crate) fn real(&self) -> Option<&RealBrokers> {
        match self {
            Self::Embedded => None,
            Self::Real(brokers) => Some(brokers),
        }
    }

    /// Empty topics, for one measurement.
    pub(crate) async fn fresh(&self, partitions: i32) -> anyhow::Result<Cluster> {
        match self {
            Self::Embedded => {
                let mut broker = Process::part("broker", &[format!("--partitions={partitions}")])?;
                let kafka = KafkaArgs::plaintext(&broker.first_line()?);
                Ok(Cluster {
                    kafka,
                    broker: Broker::Embedded(broker),
                })
            }
            Self::Real(brokers) => {
                brokers.recreate_topics(partitions).await?;
                Ok(Cluster {
                    kafka: brokers.kafka.clone(),
                    broker: Broker::Real(Arc::clone(brokers)),
                })
            }
        }
    }
}

/// The brokers of one measurement.
pub(crate) struct Cluster {
    pub(crate) kafka: KafkaArgs,
    broker: Broker,
}

enum Broker {
    Embedded(Process),
    Real(Arc<RealBrokers>),
}

impl Cluster {
    /// As it is called in figures.
    pub(crate) fn name(&self) -> &'static str {
        match self.broker {
            Broker::Embedded(_) => "broker",
            Broker::Real(_) => "kafka",
        }
    }

    /// Keeps only the newest records: 5 MiB a partition.
    pub(crate) fn is_embedded(&self) -> bool {
        matches!(self.broker, Broker::Embedded(_))
    }

    /// CPU time of all brokers.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        match &self.broker {
            Broker::Embedded(broker) => broker.cpu(),
            Broker::Real(brokers) => brokers.cpu(),
        }
    }
}

/// What a group has committed to have read of a topic, by a client that is kept.
#[derive(Clone)]
pub(crate) struct Committed {
    client: Arc<BaseConsumer>,
    topic: &'static str,
}

impl Committed {
    pub(crate) fn new(brokers: &str, group: &str, topic: &'static str) -> anyhow::Result<Self> {
        let client = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()?;
        Ok(Self {
            client: Arc::new(client),
            topic,
        })
    }

    /// Records that were read, of all partitions.
    pub(crate) async fn count(&self) -> anyhow::Result<u64> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.ask()).await?
    }

    fn ask(&self) -> anyhow::Result<u64> {
        let metadata = self.client.fetch_metadata(Some(self.topic), ANSWER)?;
        let mut list = TopicPartitionList::new();
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                list.add_partition(self.topic, partition.id());
            }
        }
        let answer = self.client.committed_offsets(list, ANSWER)?;
        let next = |offset: Offset| offset.to_raw().and_then(|next| u64::try_from(next).ok());
        Ok(answer
            .elements()
            .iter()
            .filter_map(|element| next(element.offset()))
            .sum())
    }
}
