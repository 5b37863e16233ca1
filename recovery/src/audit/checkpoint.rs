//! A reading of the cluster, and whether everything before it has been settled since. The proof is in [`crate::barrier`].

use super::pages::Reading;
use crate::barrier::{self, Barrier, PartitionOffsets};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::kafka;
use crate::raw_topic;
use runtime::faults;
use sqlx::{FromRow, PgConnection, PgPool};

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
    /// Reads the cluster: how far the first stage has come, and then where what it wrote ends. `epoch` is that of the raw topic there is.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub(super) async fn take(context: &Context, epoch: &str) -> Result<Self, RecoveryError> {
        let raw = context.pipeline.raw.clone();
        let topic = raw_topic::name_of(context, epoch);
        let Some(first) = context.pipeline.path().next() else {
            return Err(RecoveryError::Unavailable(
                "no stage of the pipeline is on the path to a row; set on_path in --pipeline"
                    .to_owned(),
            ));
        };
        let settled = barrier::committed(context, first, &raw).await?;
        let barrier = Barrier::behind_output(context, first).await?;
        let watermarks = kafka::query(context, move |kafka| {
            runtime::admin::watermarks(kafka, &raw)
        });
        let watermarks = watermarks.await?;
        if raw_topic::current_epoch(context).await? != epoch {
            return Err(RecoveryError::Unavailable(format!(
                "topic {} was deleted and created again a moment ago; the audit looks again",
                context.pipeline.raw
            )));
        }
        let low = watermarks
            .iter()
            .map(|&(partition, low, _)| (partition, low));
        let high = watermarks
            .iter()
            .map(|&(partition, _, high)| (partition, high));
        let (low, high): (PartitionOffsets, PartitionOffsets) = (low.collect(), high.collect());
        let is_compacted = is_compacted(context).await;
        let mut transaction = context.pool.begin().await?;
        find_ends_behind(&mut transaction, &topic, &high).await?;
        if let Some(is_compacted) = is_compacted {
            find_compaction(&mut transaction, &topic, is_compacted).await?;
        }
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
        faults::kill_point("audit_checkpoint_taken");
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
        super::pages::examine_ended(context, &self.topic).await?;
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
            let settled = match faults::planted("audit_trusts_high") {
                true => high,
                false => self.settled.get(&partition).copied().unwrap_or(low),
            };
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

/// Whether Kafka may remove records of the raw topic before its retention has passed; `None` when that is not known.
async fn is_compacted(context: &Context) -> Option<bool> {
    let kafka = context.kafka.as_ref()?;
    let setting = runtime::admin::topic_setting(kafka, &context.pipeline.raw, "cleanup.policy");
    match setting.await {
        Ok(policy) => Some(policy?.split(',').any(|policy| policy.trim() == "compact")),
        // Recovery needs no right to read settings; `eventflow admin topics check` reads them, too.
        Err(error) => {
            tracing::debug!(event = "cleanup_policy_unknown", error = %format!("{error:#}"));
            None
        }
    }
}

/// A finding of the topic as a whole, while it is so.
async fn find_compaction(
    connection: &mut PgConnection,
    topic: &str,
    is_compacted: bool,
) -> Result<(), RecoveryError> {
    let statement = if is_compacted {
        "INSERT INTO audit_findings (topic, partition, \"offset\", kind, detail)
         VALUES ($1, 0, 0, 'compacted', 'the topic has cleanup.policy=compact: Kafka removes records that nobody has read; set it to delete')
         ON CONFLICT (topic, partition, \"offset\", kind) DO UPDATE SET healed_at = NULL"
    } else {
        "UPDATE audit_findings SET healed_at = clock_timestamp() WHERE topic = $1 AND kind = 'compacted' AND healed_at IS NULL"
    };
    sqlx::query(statement)
        .bind(topic)
        .execute(connection)
        .await?;
    Ok(())
}

/// Partitions that end before the offset up to which all was accounted for. Records that had their fate are gone, and others get their
/// offsets: the topic was deleted and created again on a broker that gives topics no ids, or Kafka lost acknowledged records.
async fn find_ends_behind(
    connection: &mut PgConnection,
    topic: &str,
    high: &PartitionOffsets,
) -> Result<(), RecoveryError> {
    let (partitions, ends): (Vec<i32>, Vec<i64>) = high.iter().unzip();
    sqlx::query(
        "INSERT INTO audit_findings (topic, partition, \"offset\", kind, detail)
         SELECT f.topic, f.partition, now.high, 'end_behind',
                'the topic ends here, but everything before offset ' || f.next_offset || ' was accounted for: Kafka lost acknowledged records, or \
                 the topic was deleted and created again and has no id'
         FROM UNNEST($2::integer[], $3::bigint[]) AS now (partition, high)
         JOIN audit_frontier f ON f.topic = $1 AND f.partition = now.partition AND now.high < f.next_offset
         WHERE NOT EXISTS (SELECT FROM audit_findings a WHERE a.topic = f.topic AND a.partition = f.partition AND a.kind = 'end_behind'
                           AND a.healed_at IS NULL)
         ON CONFLICT (topic, partition, \"offset\", kind) DO UPDATE SET healed_at = NULL, found_at = clock_timestamp()",
    )
    .bind(topic)
    .bind(partitions)
    .bind(ends)
    .execute(connection)
    .await?;
    Ok(())
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
