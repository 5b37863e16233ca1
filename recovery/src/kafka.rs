//! Questions to Kafka, whose client blocks.

use crate::context::Context;
use crate::error::RecoveryError;
use runtime::kafka::KafkaArgs;

/// Queries Kafka on a thread that may block.
///
/// # Errors
/// [`RecoveryError::Unavailable`], also for a command line that works without Kafka.
pub(crate) async fn query<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(&KafkaArgs) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, RecoveryError> {
    let Some(kafka) = context.kafka.clone() else {
        return Err(RecoveryError::Unavailable(
            "this needs Kafka: give --kafka-brokers".to_owned(),
        ));
    };
    let unavailable =
        |problem: String| RecoveryError::Unavailable(format!("Kafka does not answer: {problem}"));
    tokio::task::spawn_blocking(move || work(&kafka))
        .await
        .map_err(|error| unavailable(error.to_string()))?
        .map_err(|error| unavailable(format!("{error:#}")))
}
