//! A cluster's topics, over one connection: as they are, and changing them. (librdkafka's Rust binding cannot change one setting and
//! leave the others, nor log in to a cluster with IAM for this.)

use anyhow::Context;
use contracts::pipeline::Topic;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use runtime::admin::wire::{Connection, DEADLINE, check};
use runtime::kafka::KafkaArgs;
use std::collections::BTreeMap;

/// Longest the cluster may take over a change, in milliseconds.
const CHANGE_WITHIN_MS: i32 = 10_000;
/// Kafka's number of a topic among the things that have settings.
const TOPIC: i8 = 2;
const UNKNOWN_TOPIC: i16 = 3;
// Versions every Kafka from 2.4 to 4 understands.
const METADATA: i16 = 8;
const CREATE_TOPICS: i16 = 5;
const CREATE_PARTITIONS: i16 = 2;
const DESCRIBE_CONFIGS: i16 = 2;
const ALTER_CONFIGS: i16 = 1;

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicState {
    pub(super) partitions: i32,
    /// Of the partition that has the fewest
    pub(super) copies: usize,
    /// Every setting in force
    pub(super) config: BTreeMap<String, String>,
}

/// A cluster, by the broker that takes changes.
pub(super) struct Cluster {
    pub(super) connection: Connection,
}

impl Cluster {
    /// Connects to the controller: with KRaft any broker passes changes on and calls itself one, before it was one of them.
    pub(super) async fn open(kafka: &KafkaArgs) -> anyhow::Result<Self> {
        let mut connection = Connection::open(kafka, DEADLINE).await?;
        let answer = connection
            .ask(
                &MetadataRequest::default().with_topics(Some(vec![])),
                METADATA,
            )
            .await?;
        let controller = answer
            .brokers
            .iter()
            .find(|broker| broker.node_id == answer.controller_id);
        if let Some(controller) = controller.filter(|controller| controller.node_id != BrokerId(-1))
        {
            let brokers = format!("{}:{}", controller.host, controller.port);
            let controller = KafkaArgs {
                kafka_brokers: brokers,
                ..kafka.clone()
            };
            connection = Connection::open(&controller, DEADLINE).await?;
        }
        Ok(Self { connection })
    }

    /// Those of these topics that exist.
    pub(super) async fn topics<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<BTreeMap<String, TopicState>> {
        let asked = names
            .map(|name| MetadataRequestTopic::default().with_name(Some(topic(name))))
            .collect();
        let request = MetadataRequest::default()
            .with_topics(Some(asked))
            .with_allow_auto_topic_creation(false);
        let mut found = BTreeMap::new();
        for topic in self.connection.ask(&request, METADATA).await?.topics {
            let name = topic
                .name
                .map(|name| name.0.to_string())
                .unwrap_or_default();
            if topic.error_code == UNKNOWN_TOPIC {
                continue;
            }
            check(topic.error_code, None).with_context(|| format!("cannot read topic {name}"))?;
            let partitions = i32::try_from(topic.partitions.len())?;
            let copies = topic
                .partitions
                .iter()
                .map(|partition| partition.replica_nodes.len())
                .min()
                .unwrap_or_default();
            found.insert(
                name,
                TopicState {
                    partitions,
                    copies,
                    config: BTreeMap::new(),
                },
            );
        }
        if found.is_empty() {
            return Ok(found);
        }
        let resource = |name: &String| {
            let all = DescribeConfigsResource::default().with_configuration_keys(None);
            all.with_resource_type(TOPIC).with_resource_name(text(name))
        };
        let request =
            DescribeConfigsRequest::default().with_resources(found.keys().map(resource).collect());
        for answer in self
            .connection
            .ask(&request, DESCRIBE_CONFIGS)
            .await?
            .results
        {
            let name = answer.resource_name.to_string();
            check(answer.error_code, answer.error_message.as_deref())
                .with_context(|| format!("cannot read the settings of {name}"))?;
            let settings = answer.configs.into_iter();
            let settings = settings.map(|entry| {
                (
                    entry.name.to_string(),
                    entry.value.unwrap_or_default().to_string(),
                )
            });
            if let Some(state) = found.get_mut(&name) {
                state.config = settings.collect();
            }
        }
        Ok(found)
    }

    pub(super) async fn create(
        &mut self,
        name: &str,
        wanted: &Topic,
        replication: i16,
    ) -> anyhow::Result<()> {
        let setting = |(name, value): (&str, &str)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        };
        // With fewer than three copies a cluster's own default could ask for more of them than there are: nothing could be written.
        let mut config: BTreeMap<&str, &str> = if replication < 3 {
            [("min.insync.replicas", "1")].into()
        } else {
            [].into()
        };
        config.extend(
            wanted
                .config
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let new = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(wanted.partitions)
            .with_replication_factor(replication)
            .with_configs(config.into_iter().map(setting).collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![new])
            .with_timeout_ms(CHANGE_WITHIN_MS);
        for result in self.connection.ask(&request, CREATE_TOPICS).await?.topics {
            check(result.error_code, result.error_message.as_deref())
                .with_context(|| format!("cannot create {name}"))?;
        }
        Ok(())
    }

    /// More partitions, `to` in all.
    pub(super) async fn grow(&mut self, name: &str, to: i32) -> anyhow::Result<()> {
        let new = CreatePartitionsTopic::default()
            .with_name(topic(name))
            .with_count(to)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![new])
            .with_timeout_ms(CHANGE_WITHIN_MS);
        for result in self
            .connection
            .ask(&request, CREATE_PARTITIONS)
            .await?
            .results
        {
            check(result.error_code, result.error_message.as_deref())
                .with_context(|| format!("cannot add partitions to {name}"))?;
        }
        Ok(())
    }

    /// Changes these settings and no other.
    pub(super) async fn configure(
        &mut self,
        name: &str,
        settings: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let set = |(name, value): (&String, &String)| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(0)
                .with_value(Some(text(value)))
        };
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(name));
        let resource = resource.with_configs(settings.iter().map(set).collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        for result in self
            .connection
            .ask(&request, ALTER_CONFIGS)
            .await?
            .responses
        {
            check(result.error_code, result.error_message.as_deref())
                .with_context(|| format!("cannot change settings of {name}"))?;
        }
        Ok(())
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}
