//! Records that may be lost: handed over and forgotten. Their Kafka client is their own, so that a broker that is slow with them, or refuses
//! them, shows in no check of the role and delays nothing else.

use crate::kafka::{self, KafkaArgs};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use std::time::Duration;

/// How long a record may wait for its acknowledgement.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds of what waits.
#[derive(Debug, Clone, Copy)]
pub struct BestEffortSettings {
    /// Records that wait for their acknowledgement
    pub queue_records: usize,
    /// Their bytes
    pub queue_bytes: usize,
}

/// What goes with a record until the client is done with it.
pub trait Ticket: Send + Sync + 'static {
    /// Called once, on a thread of the client: whether the broker has the record.
    fn settle(self, is_acknowledged: bool);
}

/// Publishes without waiting. Clones share one client.
#[derive(Clone)]
pub struct BestEffort<T: Ticket> {
    client: std::sync::Arc<ThreadedProducer<Reports<T>>>,
}

impl<T: Ticket> std::fmt::Debug for BestEffort<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BestEffort")
    }
}

struct Reports<T>(std::marker::PhantomData<fn(T)>);

impl<T: Ticket> ClientContext for Reports<T> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        kafka::token()
    }

    // The role's other clients say the same of the same brokers, and theirs matters.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(event = "best_effort_client", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(event = "best_effort_client", %error, reason);
    }
}

impl<T: Ticket> ProducerContext for Reports<T> {
    type DeliveryOpaque = Box<T>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<T>) {
        if let Err((error, record)) = result {
            let topic = rdkafka::Message::topic(record);
            tracing::debug!(event = "best_effort_record_lost", topic, %error);
        }
        ticket.settle(result.is_ok());
    }
}

impl<T: Ticket> BestEffort<T> {
    /// Makes the client; it connects in the background.
    ///
    /// # Errors
    /// Settings librdkafka refuses.
    pub fn new(
        kafka: &KafkaArgs,
        client_id: &str,
        settings: BestEffortSettings,
    ) -> anyhow::Result<Self> {
        let mut config = kafka.client_config(client_id);
        let queue_kibibytes = (settings.queue_bytes / 1024).max(1);
        config
            .set("acks", "1")
            .set("message.timeout.ms", RECORD_TIMEOUT.as_millis().to_string())
            .set("linger.ms", "50")
            .set(
                "queue.buffering.max.messages",
                settings.queue_records.max(1).to_string(),
            )
            .set("queue.buffering.max.kbytes", queue_kibibytes.to_string())
            .set("compression.type", "lz4")
            .set("partitioner", "murmur2_random");
        let client =
            ThreadedProducer::from_config_and_context(&config, Reports(std::marker::PhantomData))?;
        Ok(Self {
            client: client.into(),
        })
    }

    /// Hands a record to the client, at once. The ticket is settled in any case: now, when the client takes no more, or later.
    pub fn offer(&self, topic: &str, key: &str, value: &[u8], ticket: T) {
        let record = BaseRecord::with_opaque_to(topic, Box::new(ticket))
            .key(key)
            .payload(value);
        if let Err((error, record)) = self.client.send(record) {
            tracing::debug!(event = "best_effort_record_lost", topic, %error);
            record.delivery_opaque.settle(false);
        }
    }
}
