//! Why a record was not published.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a record is not (known to be) in Kafka.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bound on queued records or bytes is reached
    #[error("the publish queue is full")]
    QueueFull,
    /// No acknowledgement in time; the record may or may not be in Kafka
    #[error("not acknowledged in time: {0}")]
    NotAcknowledged(String),
    /// The record is larger than the broker accepts
    #[error("the record is larger than the broker accepts")]
    TooLarge,
    /// The broker refused: a missing ACL, an unknown topic, or a fatal client
    #[error("refused by the broker: {0}")]
    Refused(String),
}

impl PublishError {
    /// Every code there is.
    pub(super) const CODES: [&str; 4] = [
        "publish_queue_full",
        "publish_not_acknowledged",
        "record_too_large",
        "publish_refused",
    ];

    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::QueueFull => "publish_queue_full",
            Self::NotAcknowledged(_) => "publish_not_acknowledged",
            Self::TooLarge => "record_too_large",
            Self::Refused(_) => "publish_refused",
        }
    }
}

/// What a client error means for one record.
pub(super) fn classify(error: &KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => PublishError::QueueFull,
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            PublishError::TooLarge
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::Fatal,
        ) => PublishError::Refused(error.to_string()),
        // Everything else is temporary, and the record may already be in Kafka.
        Some(_) | None => PublishError::NotAcknowledged(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_counted_from_the_start() {
        let text = String::new;
        let all = [
            PublishError::QueueFull,
            PublishError::NotAcknowledged(text()),
            PublishError::TooLarge,
            PublishError::Refused(text()),
        ];
        assert_eq!(all.map(|error| error.code()), PublishError::CODES);
    }
}
