//! The index rebuilt from the dead-letter topic: after its database was lost, or to be sure.
//!
//! It reads the whole topic outside any group and writes through the index's own code, so it may run beside the role, twice, or be stopped
//! half-way: what is there already stays as it is. A lost index also lost what it knew of replays: dead letters whose events persistence has
//! stored are marked resolved at the end, or all of them would look open.

use crate::audit_log;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::index::Indexer;
use crate::index::row::DeadLetterRecord;
use crate::persistence_views;
use runtime::admin::{OwnedRecord, Tail};
use runtime::consumer::StageError;
use std::collections::BTreeMap;
use std::time::Duration;
use store::parts::Parts;
use tokio::sync::mpsc;

/// Records and bytes written at once. As many again may wait to be.
const BATCH_RECORDS: usize = 2000;
const BATCH_BYTES: usize = 8 << 20;
/// Dead letters compared with persistence's fates at once.
const MARK_BATCH: i64 = 20_000;
/// A database that is down is retried so often, after so long each time.
const RETRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reindexed {
    /// Records read
    pub records: u64,
    /// Dead letters the index did not have
    pub new: u64,
    /// Further failures and copies the index did not have
    pub further: u64,
    /// Open dead letters whose events are stored, marked resolved
    pub resolved: u64,
}

/// Reads the dead-letter topic from its oldest record to its present end; `progress` is called after every batch.
///
/// # Errors
/// [`RecoveryError::Invalid`] without Kafka, [`RecoveryError::Unavailable`] when the broker or the database stays away; run it again then.
pub async fn reindex(
    context: &Context,
    who: &str,
    mut progress: impl FnMut(&Reindexed),
) -> Result<Reindexed, RecoveryError> {
    let Some(kafka) = context.kafka.clone() else {
        return Err(RecoveryError::Invalid(
            "a reindex reads Kafka: add --kafka-brokers".to_owned(),
        ));
    };
    let topic = context.pipeline.dead_letters.clone();
    let mut indexer =
        Indexer::new(context).map_err(|error| RecoveryError::Invalid(error.to_string()))?;
    let (batches, mut inbox) = mpsc::channel::<Vec<OwnedRecord>>(1);
    let from = topic.clone();
    let reading = tokio::task::spawn_blocking(move || read(&kafka, &from, &batches));
    let (mut found, mut parts) = (Reindexed::default(), Parts::default());
    while let Some(batch) = inbox.recv().await {
        let dead: Vec<DeadLetterRecord<'_>> = batch
            .iter()
            .map(|record| DeadLetterRecord::owned(&topic, record))
            .collect();
        index_with_retries(&mut indexer, &mut parts, &dead, &mut found).await?;
        progress(&found);
    }
    let read = reading
        .await
        .map_err(|error| RecoveryError::Unavailable(error.to_string()))?;
    read.map_err(|error| {
        RecoveryError::Unavailable(format!(
            "{topic} cannot be read to its end: {error:#}; run it again"
        ))
    })?;
    found.resolved = mark_resolved(context, "reindex").await?;
    progress(&found);
    let counts = serde_json::to_value(found).unwrap_or_default();
    let mut connection = context.pool.acquire().await?;
    audit_log::write(
        &mut connection,
        audit_log::Entry {
            who,
            action: "recovery.reindex",
            counts,
            ..audit_log::Entry::default()
        },
    )
    .await?;
    Ok(found)
}

/// Marks open dead letters resolved whose events are stored.
pub(crate) async fn mark_resolved(context: &Context, by: &str) -> Result<u64, RecoveryError> {
    let persistence = persistence_views::is_there(&context.pool).await?;
    let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM dead_letters")
        .fetch_one(&context.pool)
        .await?;
    let (mut from, last, mut marked) = (0, last.filter(|_| persistence).unwrap_or(0), 0);
    while from < last {
        marked += sqlx::query(persistence_views::RESOLVE_STORED)
            .bind(from)
            .bind(from + MARK_BATCH)
            .bind(&context.pipeline.raw)
            .bind(by)
            .execute(&context.pool)
            .await?
            .rows_affected();
        from += MARK_BATCH;
    }
    Ok(marked)
}

/// Hands the topic over in batches. Blocks while they are written: memory is bounded by two batches and the client's own queue.
fn read(
    kafka: &runtime::kafka::KafkaArgs,
    topic: &str,
    batches: &mpsc::Sender<Vec<OwnedRecord>>,
) -> anyhow::Result<()> {
    let mut tail = Tail::since(kafka, topic, &BTreeMap::new())?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    tail.visit(|record| {
        bytes += record.value.as_ref().map_or(0, Vec::len)
            + record
                .headers
                .iter()
                .map(|(name, _)| name.len() + 64)
                .sum::<usize>();
        batch.push(record);
        if batch.len() == BATCH_RECORDS || bytes >= BATCH_BYTES {
            bytes = 0;
            // Nobody takes them any more: then nobody waits for the end either.
            drop(batches.blocking_send(std::mem::take(&mut batch)));
        }
    })?;
    if !batch.is_empty() {
        drop(batches.blocking_send(batch));
    }
    Ok(())
}

async fn index_with_retries(
    indexer: &mut Indexer,
    parts: &mut Parts<()>,
    dead: &[DeadLetterRecord<'_>],
    found: &mut Reindexed,
) -> Result<(), StageError> {
    let place = |dead: &DeadLetterRecord<'_>| (dead.topic.to_owned(), dead.partition, dead.offset);
    let mut retries = 0;
    loop {
        let indexed = parts.settle(dead, place, async |_, part| {
            let written = indexer.index(part).await?;
            found.records += part.len() as u64;
            found.new += written.new.len() as u64;
            found.further += (written.again.len() + written.copies.len()) as u64;
            Ok(vec![(); part.len()])
        });
        match indexed.await {
            Err(error) if !error.must_stop() && retries < RETRIES => {
                tracing::warn!(event = "reindex_waits", %error);
                retries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            other => return other.map(drop),
        }
    }
}
