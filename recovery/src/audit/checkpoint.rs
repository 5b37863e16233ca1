//! A look at the cluster, and whether everything before it has been settled since. The proof is in [`super`].

use super::pages::Reading;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::persistence_views;
use runtime::kafka::KafkaArgs;
use sqlx::PgPool;
use sqlx::Row as _;
use std::collections::BTreeMap;

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

/// One look.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    id: i64,
    topic: String,
    low: Offsets,
    high: Offsets,
    validator_next: Offsets,
    validated_ends: Offsets,
    dlq_ends: Option<Offsets>,
}

/// What is read of the cluster first.
struct Seen {
    low: Offsets,
    high: Offsets,
    validator_next: Offsets,
    validated_ends: Offsets,
}

impl Checkpoint {
    /// Reads the cluster, steps 1 and 2.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub async fn take(recovery: &Context) -> Result<Self, RecoveryError> {
        let topic = recovery.pipeline.raw.clone();
        let (group, validated) = (first(recovery).group.clone(), last(recovery).reads.clone());
        let raw = topic.clone();
        let seen = ask(recovery, move |kafka| {
            let committed = runtime::admin::committed(kafka, &group, &raw)?;
            let validated_ends = runtime::admin::ends(kafka, &validated)?;
            let watermarks = runtime::admin::watermarks(kafka, &raw)?;
            Ok(Seen {
                low: watermarks
                    .iter()
                    .map(|&(partition, low, _)| (partition, low))
                    .collect(),
                high: watermarks
                    .iter()
                    .map(|&(partition, _, high)| (partition, high))
                    .collect(),
                validator_next: committed
                    .into_iter()
                    .filter_map(|(partition, next)| Some((partition, next?)))
                    .collect(),
                validated_ends: validated_ends.into_iter().collect(),
            })
        })
        .await?;
        let Seen {
            low,
            high,
            validator_next,
            validated_ends,
        } = seen;
        let mut transaction = recovery.pool.begin().await?;
        // They tell which offsets a time range had; a year is as far as anybody asks back.
        sqlx::query("DELETE FROM audit_checkpoints WHERE topic = $1 AND at < clock_timestamp() - interval '400 days'")
            .bind(&topic)
            .execute(&mut *transaction)
            .await?;
        let id = sqlx::query_scalar(
            "INSERT INTO audit_checkpoints (topic, low, high, validator_next, validated_ends)
             VALUES ($1, $2::jsonb, $3::jsonb, $4::jsonb, $5::jsonb) RETURNING id",
        )
        .bind(&topic)
        .bind(write(&low))
        .bind(write(&high))
        .bind(write(&validator_next))
        .bind(write(&validated_ends))
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Self {
            id,
            topic,
            low,
            high,
            validator_next,
            validated_ends,
            dlq_ends: None,
        })
    }

    /// The oldest one that was not reached yet: a restart goes on with it. One of an hour ago may wait for offsets that will never come,
    /// those of a topic made anew say.
    pub(super) async fn pending(pool: &PgPool, topic: &str) -> Result<Option<Self>, RecoveryError> {
        let row = sqlx::query(
            "SELECT id, low::text, high::text, validator_next::text, validated_ends::text, dlq_ends::text
             FROM audit_checkpoints WHERE topic = $1 AND reached_at IS NULL AND at > now() - interval '1 hour'
             ORDER BY id LIMIT 1",
        )
        .bind(topic)
        .fetch_optional(pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let offsets = |column: usize| read(&row.try_get::<String, _>(column)?);
        Ok(Some(Self {
            id: row.try_get(0)?,
            topic: topic.to_owned(),
            low: offsets(1)?,
            high: offsets(2)?,
            validator_next: offsets(3)?,
            validated_ends: offsets(4)?,
            dlq_ends: row
                .try_get::<Option<String>, _>(5)?
                .map(|text| read(&text))
                .transpose()?,
        }))
    }

    /// Steps 3 and 4, as far as they go now; then looks at what is new, and again at what changed. `None` when it was reached, else what it
    /// waits for.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub async fn advance(&mut self, recovery: &Context) -> Result<Option<String>, RecoveryError> {
        let pipeline = &recovery.pipeline;
        let dlq_ends = match self.dlq_ends.take() {
            Some(ends) => ends,
            None => {
                let next = read_by_persistence(recovery).await?;
                if let Some(behind) =
                    behind(recovery, &last(recovery).reads, &next, &self.validated_ends).await?
                {
                    return Ok(Some(format!(
                        "{} has not read {behind}",
                        last(recovery).group
                    )));
                }
                let topic = pipeline.dead_letters.clone();
                let ends: Offsets = ask(recovery, move |kafka| runtime::admin::ends(kafka, &topic))
                    .await?
                    .into_iter()
                    .collect();
                sqlx::query("UPDATE audit_checkpoints SET dlq_ends = $2::jsonb WHERE id = $1")
                    .bind(self.id)
                    .bind(write(&ends))
                    .execute(&recovery.pool)
                    .await?;
                ends
            }
        };
        let next = read_by_the_index(recovery).await?;
        let behind = behind(recovery, &pipeline.dead_letters, &next, &dlq_ends).await?;
        self.dlq_ends = Some(dlq_ends);
        if let Some(behind) = behind {
            return Ok(Some(format!(
                "the index of dead letters has not read {behind}"
            )));
        }
        recovery.account(&self.topic, &self.readings()).await?;
        sqlx::query("UPDATE audit_checkpoints SET reached_at = clock_timestamp() WHERE id = $1")
            .bind(self.id)
            .execute(&recovery.pool)
            .await?;
        // What it has overtaken says nothing new.
        sqlx::query(
            "DELETE FROM audit_checkpoints WHERE topic = $1 AND id < $2 AND reached_at IS NULL",
        )
        .bind(&self.topic)
        .bind(self.id)
        .execute(&recovery.pool)
        .await?;
        Ok(None)
    }

    fn readings(&self) -> Vec<Reading> {
        let reading = |(&partition, &high)| {
            let low = self.low.get(&partition).copied().unwrap_or(0);
            // A partition the validator never committed has nothing settled yet.
            let settled = self.validator_next.get(&partition).copied().unwrap_or(low);
            Reading {
                partition,
                low,
                settled,
                high,
            }
        };
        self.high.iter().map(reading).collect()
    }
}

fn first(recovery: &Context) -> &contracts::pipeline::Stage {
    recovery.pipeline.path().next().expect("a path")
}
fn last(recovery: &Context) -> &contracts::pipeline::Stage {
    recovery.pipeline.stores().expect("a path")
}

async fn read_by_persistence(recovery: &Context) -> Result<Offsets, RecoveryError> {
    if !persistence_views::is_there(&recovery.pool).await? {
        return Ok(Offsets::new());
    }
    let rows = sqlx::query_as(persistence_views::NEXT_OFFSETS)
        .bind(&last(recovery).group)
        .bind(&last(recovery).reads)
        .fetch_all(&recovery.pool)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Whichever group of ours read it: they all write to the same index.
async fn read_by_the_index(recovery: &Context) -> Result<Offsets, RecoveryError> {
    let rows = sqlx::query_as("SELECT partition, max(next_offset) FROM consumer_offsets WHERE topic = $1 GROUP BY partition")
        .bind(&recovery.pipeline.dead_letters)
        .fetch_all(&recovery.pool)
        .await?;
    Ok(rows.into_iter().collect())
}

/// The first partition that is not read up to its end. What is left of it may be markers of transactions, or deleted: Kafka is asked.
async fn behind(
    recovery: &Context,
    topic: &str,
    next: &Offsets,
    ends: &Offsets,
) -> Result<Option<String>, RecoveryError> {
    for (&partition, &end) in ends {
        let from = next.get(&partition).copied().unwrap_or(0);
        if from >= end {
            continue;
        }
        let name = topic.to_owned();
        let (left, up_to) = ask(recovery, move |kafka| {
            runtime::admin::read_range(kafka, &name, partition, from..end, 1)
        })
        .await?;
        if !left.is_empty() || up_to < end {
            return Ok(Some(format!("{topic}:{partition} from {from} to {end}")));
        }
    }
    Ok(None)
}

/// Asks Kafka, on a thread that may block.
pub(super) async fn ask<T: Send + 'static>(
    recovery: &Context,
    question: impl FnOnce(&KafkaArgs) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, RecoveryError> {
    let Some(kafka) = recovery.kafka.clone() else {
        return Err(RecoveryError::Unavailable(
            "a checkpoint needs Kafka: give --kafka-brokers".to_owned(),
        ));
    };
    let answer = tokio::task::spawn_blocking(move || question(&kafka)).await;
    let unavailable = |problem: String| {
        RecoveryError::Unavailable(format!("Kafka does not answer the audit: {problem}"))
    };
    answer
        .map_err(|error| unavailable(error.to_string()))?
        .map_err(|error| unavailable(format!("{error:#}")))
}

fn write(offsets: &Offsets) -> String {
    let entries: Vec<String> = offsets
        .iter()
        .map(|(partition, offset)| format!("\"{partition}\":{offset}"))
        .collect();
    format!("{{{}}}", entries.join(","))
}

pub(super) fn read(text: &str) -> Result<Offsets, RecoveryError> {
    serde_json::from_str(text).map_err(|error| {
        RecoveryError::Unavailable(format!("a checkpoint of the audit cannot be read: {error}"))
    })
}
