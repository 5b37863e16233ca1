//! Which raw topic the index began with: [`store::raw_topic`], and that persistence means the same one.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::persistence_views;
use contracts::kafka::headers::RawCoordinates;
use runtime::admin::TopicIdsReader;
use runtime::consumer::StageError;
use sqlx::postgres::PgPool;
use std::time::Duration;
use store::fault::classify;
use store::raw_topic::RawTopic;

/// Longest wait for a topic's id.
const KAFKA_DEADLINE: Duration = Duration::from_secs(5);

/// Learns which raw topic the index began with: persistence's where it has one, else the one with this id. Rows and dead letters are joined by
/// their coordinates, so both must mean the same topic.
///
/// # Errors
/// [`StageError`]; stops when persistence began with another.
pub(crate) async fn learn(pool: &PgPool, seen: Option<&str>) -> Result<RawTopic, StageError> {
    let mut theirs: Option<String> = None;
    if persistence_views::is_there(pool).await.map_err(classify)? {
        theirs = sqlx::query_scalar(persistence_views::FIRST_RAW_TOPIC)
            .fetch_optional(pool)
            .await
            .map_err(classify)?;
    }
    let ours: Option<String> = sqlx::query_scalar("SELECT topic_id FROM raw_topic")
        .fetch_optional(pool)
        .await
        .map_err(classify)?;
    let mut topic = RawTopic::default();
    let first = ours.as_deref().or(theirs.as_deref()).or(seen);
    let coordinates = first.map(|id| RawCoordinates {
        topic_id: Some(id),
        partition: 0,
        offset: 0,
    });
    topic.learn(pool, coordinates).await?;
    match (theirs, topic.id()) {
        (Some(theirs), Some(ours)) if theirs != ours => Err(StageError::stop(
            "other_raw_topic",
            format!(
                "persistence's rows began with the raw topic {theirs}, this index with {ours}, which had the same name: the same offsets mean \
                 other records. Build the index again: DROP SCHEMA recovery CASCADE; then `eventflow admin migrate` and `eventflow recovery reindex`"
            ),
        )),
        (_, _) => Ok(topic),
    }
}

/// The epoch of the raw topic that Kafka has now.
///
/// # Errors
/// [`RecoveryError::Unavailable`], also for a command line that works without Kafka.
pub(crate) async fn current_epoch(context: &Context) -> Result<String, RecoveryError> {
    let id = topic_id(context, &context.pipeline.raw).await?;
    let id = id.as_deref();
    Ok(learn(&context.pool, id).await?.epoch(id))
}

/// The id of a topic, where the broker gives any.
///
/// # Errors
/// As [`current_epoch`].
pub(crate) async fn topic_id(
    context: &Context,
    topic: &str,
) -> Result<Option<String>, RecoveryError> {
    let Some(kafka) = &context.kafka else {
        return Err(RecoveryError::Unavailable(
            "this needs Kafka: give --kafka-brokers".to_owned(),
        ));
    };
    let mut ids = TopicIdsReader::new(kafka, [topic.to_owned()])
        .read(KAFKA_DEADLINE)
        .await
        .map_err(|error| RecoveryError::Unavailable(format!("Kafka does not answer: {error:#}")))?;
    Ok(ids.remove(topic))
}

/// What the raw topic is called in the index and the audit, by its epoch.
pub(crate) fn name_of(context: &Context, epoch: &str) -> String {
    [context.pipeline.raw.as_str(), epoch].concat()
}
