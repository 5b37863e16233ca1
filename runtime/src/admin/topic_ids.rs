//! The ids of topics (KIP-516): a topic that is deleted and created again has the same name and another id.

use super::wire::{Connection, check};
use crate::kafka::KafkaArgs;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// The first version of this request that answers ids; Kafka 2.8 and later have it.
const METADATA_WITH_IDS: i16 = 10;
const UNKNOWN_TOPIC: i16 = 3;
/// Longest wait for one broker to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Topics by name, with their ids as Kafka's tools print them. A topic that does not exist is not there, and none is where the broker gives
/// topics no ids.
pub type TopicIds = BTreeMap<String, String>;

/// Asks for the ids of topics, again and again over one connection.
#[derive(Debug)]
pub struct TopicIdsReader {
    kafka: KafkaArgs,
    topics: Vec<String>,
    /// And whether the broker knows ids
    connection: Option<(Connection, bool)>,
}

impl TopicIdsReader {
    /// Nothing connects yet.
    #[must_use]
    pub fn new(kafka: &KafkaArgs, topics: impl IntoIterator<Item = String>) -> Self {
        Self {
            kafka: kafka.clone(),
            topics: topics.into_iter().collect(),
            connection: None,
        }
    }

    /// The ids as they are now.
    ///
    /// # Errors
    /// When no broker answers within the deadline, or none may say: the next call connects again.
    pub async fn read(&mut self, deadline: Duration) -> anyhow::Result<TopicIds> {
        // Whatever ends the call early leaves no connection behind on which an old answer could still arrive.
        let kept = self.connection.take();
        let reading = async {
            let (mut connection, knows_ids) = match kept {
                Some(kept) => kept,
                None => connect(&self.kafka).await?,
            };
            let ids = if knows_ids {
                ask(&mut connection, &self.topics).await?
            } else {
                TopicIds::new()
            };
            anyhow::Ok(((connection, knows_ids), ids))
        };
        let (connection, ids) = tokio::time::timeout(deadline, reading)
            .await
            .with_context(|| format!("no broker answers within {} s", deadline.as_secs_f32()))??;
        self.connection = Some(connection);
        Ok(ids)
    }
}

async fn connect(kafka: &KafkaArgs) -> anyhow::Result<(Connection, bool)> {
    let mut connection = Connection::open(kafka, CONNECT_WITHIN).await?;
    let answer = connection.ask(&ApiVersionsRequest::default(), 0).await?;
    let metadata = |key: i16| key == ApiKey::Metadata as i16;
    let knows_ids = answer
        .api_keys
        .iter()
        .any(|api| metadata(api.api_key) && api.max_version >= METADATA_WITH_IDS);
    Ok((connection, knows_ids))
}

async fn ask(connection: &mut Connection, topics: &[String]) -> anyhow::Result<TopicIds> {
    let name = |topic: &String| {
        let name = TopicName(StrBytes::from_string(topic.clone()));
        MetadataRequestTopic::default().with_name(Some(name))
    };
    let request = MetadataRequest::default()
        .with_topics(Some(topics.iter().map(name).collect()))
        .with_allow_auto_topic_creation(false);
    let mut ids = TopicIds::new();
    for topic in connection.ask(&request, METADATA_WITH_IDS).await?.topics {
        let name = topic
            .name
            .map(|name| name.0.to_string())
            .unwrap_or_default();
        if topic.error_code == UNKNOWN_TOPIC {
            continue;
        }
        // A partition without a leader, for one, says nothing against the id.
        if topic.topic_id.is_nil() {
            check(topic.error_code, None).with_context(|| format!("cannot read topic {name}"))?;
            continue;
        }
        ids.insert(name, URL_SAFE_NO_PAD.encode(topic.topic_id.as_bytes()));
    }
    Ok(ids)
}
