//! A claimed chunk published, and what is known of it afterwards.

use super::claim::{Claimed, Ends};
use super::metrics as names;
use super::replay_letter::{self, record_headers};
use crate::error::RecoveryError;
use crate::replay::{revalidation, state};
use runtime::admin::Tail;
use runtime::faults;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, PublishError, Publisher};
use sqlx::{Connection, PgConnection};
use std::collections::HashMap;
use std::time::Duration;

/// Longer than the publisher tries one record: after it, a record is in the topic, or will not come.
pub(crate) const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);

/// How a chunk went.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Dead letters whose records are acknowledged
    pub(crate) sent: Vec<i64>,
    /// Dead letters the broker will never take: too large
    pub(crate) too_large: Vec<i64>,
    /// Why the rest is not known to be there
    pub(crate) problem: Option<PublishError>,
}

fn record<'a>(job: &str, claimed: &'a Claimed) -> OutRecord<'a> {
    OutRecord {
        topic: &claimed.topic,
        key: claimed.letter.outgoing_key(),
        value: claimed.letter.outgoing(),
        headers: record_headers(&claimed.letter.retry_headers(job, claimed.count)),
    }
}

/// Publishes a chunk and waits for every acknowledgement.
pub(crate) async fn publish(publisher: &Publisher, job: &str, chunk: &[Claimed]) -> Published {
    let mut batch = publisher.batch(chunk.len());
    let (mut handed, mut refused, mut published) = (
        Vec::with_capacity(chunk.len()),
        Vec::new(),
        Published::default(),
    );
    for claimed in chunk {
        match batch.add(record(job, claimed)) {
            Ok(()) => handed.push(claimed),
            Err(PublishError::TooLarge) => published.too_large.push(claimed.letter.id),
            Err(error) => {
                published.problem = Some(error);
                break;
            }
        }
    }
    faults::kill_point("replay_handed_over");
    let failed: HashMap<usize, PublishError> =
        batch.wait(ACKNOWLEDGED_WITHIN).await.into_iter().collect();
    for (index, claimed) in handed.into_iter().enumerate() {
        match failed.get(&index) {
            None => published.sent.push(claimed.letter.id),
            Some(PublishError::TooLarge) => refused.push(claimed),
            Some(error) => published.problem = Some(error.clone()),
        }
    }
    // A broker refuses what travels together as a whole: alone, only what is itself too large is refused.
    for claimed in refused {
        if published.problem.is_some() {
            break;
        }
        match publisher
            .publish(record(job, claimed), ACKNOWLEDGED_WITHIN)
            .await
        {
            Ok(()) => published.sent.push(claimed.letter.id),
            Err(PublishError::TooLarge) => published.too_large.push(claimed.letter.id),
            Err(error) => published.problem = Some(error),
        }
    }
    published
}

/// Writes down what is known of a chunk. What came back as a dead letter, or was stored, before this has its outcome already and is left alone.
pub(crate) async fn mark(
    connection: &mut PgConnection,
    job: &str,
    published: &Published,
) -> Result<(), RecoveryError> {
    faults::kill_point("replay_acknowledged");
    let mut transaction = connection.begin().await?;
    state::refuse(&mut transaction, job, &published.too_large).await?;
    let sent = state::sent(&mut transaction, job, &published.sent).await?;
    transaction.commit().await?;
    metrics::counter!(names::REPLAYED, "outcome" => "sent").increment(sent);
    metrics::counter!(names::REPLAYED, "outcome" => "failed")
        .increment(published.too_large.len() as u64);
    Ok(())
}

/// An item of which it is not known whether its record is in the retry topic.
struct Unknown {
    letter: i64,
    /// Of its record
    raw: String,
    count: i32,
}

/// A chunk whose acknowledgements nobody saw: what is in the retry topic was sent, the rest is as if it had not been claimed.
/// Answers how many were unknown.
pub(crate) async fn find_sent(
    connection: &mut PgConnection,
    kafka: &KafkaArgs,
    job: &str,
) -> Result<usize, RecoveryError> {
    let unknown = unknown(connection, job).await?;
    if unknown.is_empty() {
        return Ok(0);
    }
    let from: Option<String> =
        sqlx::query_scalar("SELECT sending_from::text FROM replay_jobs WHERE id = $1")
            .bind(job)
            .fetch_one(&mut *connection)
            .await?;
    let from: Ends = serde_json::from_str(from.as_deref().unwrap_or("{}")).unwrap_or_default();
    let wanted: HashMap<(String, String), i64> = unknown
        .iter()
        .map(|item| ((item.raw.clone(), item.count.to_string()), item.letter))
        .collect();
    let (kafka, id) = (kafka.clone(), job.to_owned());
    let found = tokio::task::spawn_blocking(move || read_back(&kafka, &id, &from, &wanted)).await;
    let found = found.map_err(|error| RecoveryError::Unavailable(error.to_string()))?;
    let mut found = found.map_err(|error| {
        RecoveryError::Unavailable(format!("the retry topic cannot be read: {error:#}"))
    })?;
    if faults::planted("unknown_is_sent_again") {
        found.clear();
    }
    let gone: Vec<i64> = unknown
        .iter()
        .map(|item| item.letter)
        .filter(|letter| !found.contains(letter))
        .collect();
    let mut transaction = connection.begin().await?;
    state::release(&mut transaction, job, &gone).await?;
    let sent = state::sent(&mut transaction, job, &found).await?;
    transaction.commit().await?;
    metrics::counter!(names::REPLAYED, "outcome" => "sent").increment(sent);
    metrics::counter!(names::REPLAYED, "outcome" => "released").increment(gone.len() as u64);
    tracing::info!(
        event = "replay_chunk_reconciled",
        job,
        found = found.len(),
        released = gone.len()
    );
    Ok(unknown.len())
}

async fn unknown(connection: &mut PgConnection, job: &str) -> Result<Vec<Unknown>, RecoveryError> {
    let counts: Vec<(i64, Option<i32>)> = sqlx::query_as(
        "SELECT dead_letter_id, replay_count FROM replay_items WHERE job_id = $1 AND state = 'sending'",
    )
    .bind(job)
    .fetch_all(&mut *connection)
    .await?;
    let counts: HashMap<i64, Option<i32>> = counts.into_iter().collect();
    let ids: Vec<i64> = counts.keys().copied().collect();
    let letters = replay_letter::load(&mut *connection, &ids).await?;
    let letters = letters.iter().map(|letter| (letter.id, letter.raw_text()));
    let rows = revalidation::raws(connection, job, &ids).await?;
    let count = |id| counts.get(&id).copied().flatten().unwrap_or_default();
    Ok(letters
        .chain(rows)
        .map(|(letter, raw)| Unknown {
            letter,
            raw,
            count: count(letter),
        })
        .collect())
}

/// The dead letters whose records of this job are in the retry topics, read outside any group.
fn read_back(
    kafka: &KafkaArgs,
    job: &str,
    from: &Ends,
    wanted: &HashMap<(String, String), i64>,
) -> anyhow::Result<Vec<i64>> {
    let mut found = Vec::new();
    for (topic, offsets) in from {
        Tail::since(kafka, topic, offsets)?.visit(|record| {
            if record
                .header(contracts::kafka::headers::REPLAY_ID)
                .as_deref()
                != Some(job)
            {
                return;
            }
            let raw = record
                .header(contracts::kafka::headers::RAW)
                .unwrap_or_default();
            let count = record
                .header(contracts::kafka::headers::REPLAY_COUNT)
                .unwrap_or_default();
            if let Some(letter) = wanted.get(&(raw, count)) {
                found.push(*letter);
            }
        })?;
    }
    Ok(found)
}
