//! Whether a cluster's transactions are real.
//!
//! A broker can accept every request of a transaction and do nothing of it: librdkafka's mock cluster, our embedded broker, shows aborted
//! records to readers of committed ones and stores no offsets. What such a broker lacks is the state itself: since KIP-664 (Kafka 3.0, 2021)
//! brokers describe the transactions that their coordinator keeps, and one that keeps none does not offer to.

use super::wire::Connection;
use crate::backoff::Backoff;
use crate::config::ConfigError;
use crate::health::Health;
use crate::kafka::{self, KafkaArgs};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest wait for one broker to connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Waits until a broker says that it keeps transactions. `setting` is the flag that needs them.
///
/// # Errors
/// [`ConfigError`]: its transactions are not real. Brokers that do not answer are waited for, until `shutdown`.
pub async fn require_transactions(
    kafka: &KafkaArgs,
    setting: &str,
    health: &Health,
    shutdown: &CancellationToken,
) -> Result<(), ConfigError> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        match keeps_transactions(kafka).await {
            Ok(true) => return Ok(()),
            Ok(false) => {
                return Err(ConfigError::new(
                    setting,
                    "exactly-once needs a broker that keeps transactions (Apache Kafka 3.0 or later); this one, such as the embedded broker of \
                     the demo, only pretends to. Use at-least-once",
                ));
            }
            Err(error) => health.fail_if_fine(kafka::CHECK, format!("{error:#}")),
        }
        let pause = tokio::time::sleep(backoff.next_delay());
        if shutdown.run_until_cancelled(pause).await.is_none() {
            return Ok(());
        }
    }
}

async fn keeps_transactions(kafka: &KafkaArgs) -> anyhow::Result<bool> {
    let mut connection = Connection::open(kafka, CONNECT_WITHIN).await?;
    let answer = connection.ask(&ApiVersionsRequest::default(), 0).await?;
    let describes = ApiKey::DescribeTransactions as i16;
    Ok(answer.api_keys.iter().any(|api| api.api_key == describes))
}
