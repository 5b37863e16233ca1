//! One setting of a topic.

use super::wire::{Connection, DEADLINE, check};
use crate::kafka::KafkaArgs;
use kafka_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use kafka_protocol::protocol::StrBytes;

/// Kafka's number of a topic among the things that have settings.
const TOPIC: i8 = 2;
/// Understood by every Kafka from 2.4 to 4.
const VERSION: i16 = 2;

/// The value in force.
///
/// # Errors
/// When no broker answers in time, or this user may not read settings of topics.
pub async fn topic_setting(
    kafka: &KafkaArgs,
    topic: &str,
    setting: &str,
) -> anyhow::Result<Option<String>> {
    let mut connection = Connection::open(kafka, DEADLINE).await?;
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configuration_keys(Some(vec![text(setting)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let mut value = None;
    for result in connection.ask(&request, VERSION).await?.results {
        check(result.error_code, result.error_message.as_deref())?;
        let found = result
            .configs
            .into_iter()
            .find(|entry| &*entry.name == setting);
        value = value.or(found.and_then(|entry| entry.value));
    }
    Ok(value.map(|value| value.to_string()))
}
