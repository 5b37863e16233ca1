//! A reading of the cluster, and whether everything before it has been settled since. The proof is in [`crate::barrier`].

use super::pages::Reading;
use crate::barrier::{self, Barrier, PartitionOffsets};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::kafka;
use sqlx::{FromRow, PgPool};

/// A reading of the cluster.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    id: i64,
    topic: String,
    low: PartitionOffsets,
    high: PartitionOffsets,
    /// What the first stage on the path had committed: every record before is settled once the barrier is passed
    settled: PartitionOffsets,
    barrier: Barrier,
}

/// As it is stored; offsets and barrier are JSON.
#[derive(FromRow)]
struct CheckpointRow {
    id: i64,
    low: String,
    high: String,
    settled: String,
    barrier: String,
}

impl Checkpoint {
    /// Reads the cluster: how far the first stage has come, and then where what it wrote ends.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub(super) async fn take(context: &Context) -> Result<Self, RecoveryError> {
        let topic = context.pipeline.raw.clone();
        let Some(first) = context.pipeline.path().next() else {
            return Err(RecoveryError::Unavailable(
                "no stage of the pipeline is on the path to a row; set on_path in --pipeline"
                    .to_owned(),
            ));
        };
        let settled = barrier::committed(context, first, &topic).await?;
        let barrier = Barrier::behind_output(context, first).await?;
        let raw = topic.clone();
        let watermarks = kafka::query(context, move |kafka| {
            runtime::admin::watermarks(kafka, &raw)
        });
        let watermarks = watermarks.await?;
        let low = watermarks
            .iter()
            .map(|&(partition, low, _)| (partition, low));
        let high = watermarks
            .iter()
            .map(|&(partition, _, high)| (partition, high));
        let (low, high): (PartitionOffsets, PartitionOffsets) = (low.collect(), high.collect());
        let mut transaction = context.pool.begin().await?;
        // They say which offsets a time range had; a year is as far as anybody asks back.
        sqlx::query("DELETE FROM audit_checkpoints WHERE topic = $1 AND at < clock_timestamp() - interval '400 days'")
            .bind(&topic)
            .execute(&mut *transaction)
            .await?;
        let id = sqlx::query_scalar(
            "INSERT INTO audit_checkpoints (topic, low, high, settled, barrier)
             VALUES ($1, $2::jsonb, $3::jsonb, $4::jsonb, $5::jsonb) RETURNING id",
        )
        .bind(&topic)
        .bind(to_json(&low)?)
        .bind(to_json(&high)?)
        .bind(to_json(&settled)?)
        .bind(to_json(&barrier)?)
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Self {
            id,
            topic,
            low,
            high,
            settled,
            barrier,
        })
    }

    /// The oldest one that was not reached yet: a restart goes on with it. One of an hour ago may wait for offsets that will never come,
    /// those of a recreated topic say.
    pub(super) async fn pending(
        context: &Context,
        topic: &str,
    ) -> Result<Option<Self>, RecoveryError> {
        let rows: Vec<CheckpointRow> = sqlx::query_as(
            "SELECT id, low::text, high::text, settled::text, barrier::text FROM audit_checkpoints
             WHERE topic = $1 AND reached_at IS NULL AND barrier IS NOT NULL AND at > now() - interval '1 hour'
             ORDER BY id",
        )
        .bind(topic)
        .fetch_all(&context.pool)
        .await?;
        for row in rows {
            let checkpoint = Self {
                id: row.id,
                topic: topic.to_owned(),
                low: from_json(&row.low)?,
                high: from_json(&row.high)?,
                settled: from_json(&row.settled)?,
                barrier: from_json(&row.barrier)?,
            };
            if checkpoint.barrier.fits(&context.pipeline) {
                return Ok(Some(checkpoint));
            }
        }
        Ok(None)
    }

    /// Takes the steps of the proof that can be taken now; after the last one examines what is new, and again what changed. `None` when
    /// it was reached, else what it waits for.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub(super) async fn advance(
        &mut self,
        context: &Context,
    ) -> Result<Option<String>, RecoveryError> {
        let behind = self.barrier.advance(context).await?;
        if behind.is_some() {
            store_barrier(&context.pool, self.id, &self.barrier).await?;
            return Ok(behind);
        }
        super::pages::examine_pages(context, &self.topic, &self.readings()).await?;
        sqlx::query("UPDATE audit_checkpoints SET reached_at = clock_timestamp() WHERE id = $1")
            .bind(self.id)
            .execute(&context.pool)
            .await?;
        // What it has overtaken says nothing new.
        sqlx::query(
            "DELETE FROM audit_checkpoints WHERE topic = $1 AND id < $2 AND reached_at IS NULL",
        )
        .bind(&self.topic)
        .bind(self.id)
        .execute(&context.pool)
        .await?;
        Ok(None)
    }

    fn readings(&self) -> Vec<Reading> {
        let reading = |(&partition, &high)| {
            let low = self.low.get(&partition).copied().unwrap_or(0);
            // A partition the first stage never committed has nothing settled yet.
            let settled = self.settled.get(&partition).copied().unwrap_or(low);
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

async fn store_barrier(pool: &PgPool, id: i64, barrier: &Barrier) -> Result<(), RecoveryError> {
    sqlx::query("UPDATE audit_checkpoints SET barrier = $2::jsonb WHERE id = $1")
        .bind(id)
        .bind(to_json(barrier)?)
        .execute(pool)
        .await?;
    Ok(())
}

fn to_json(value: &impl serde::Serialize) -> Result<String, RecoveryError> {
    serde_json::to_string(value).map_err(|error| unreadable(&error))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, RecoveryError> {
    serde_json::from_str(text).map_err(|error| unreadable(&error))
}

fn unreadable(error: &serde_json::Error) -> RecoveryError {
    RecoveryError::Unavailable(format!(
        "a stored checkpoint of the audit cannot be read: {error}"
    ))
}
