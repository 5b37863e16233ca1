//! The story of one event: every step it took through topics and tables, in the order of time.
//!
//! What is asked for is looked up by index in rows, further deliveries and dead letters ([`find`]); what belongs together (the same source
//! and event id, or the same raw record) is one story ([`parts`]), shown as one time line ([`story`]), and the stored bytes are verified
//! once more ([`signature`]).

mod find;
mod parts;
mod signature;
mod story;

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Trace;
use find::Asked;
use std::time::Duration;

/// Most stories of one answer.
const STORIES: usize = 20;
/// Raw records that are read from Kafka, for the first stories.
const RAW_RECORDS: usize = 5;
/// Longest wait for them: the rest of the story is in the database.
const KAFKA_DEADLINE: Duration = Duration::from_secs(3);
/// Longest thing to ask for, in bytes: no id is longer.
const ASKED_BYTES: usize = 1024;

/// What happened to an event id, an entity key (payment id), or a traceparent (or its trace id).
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub async fn trace(context: &Context, asked: &str) -> Result<Trace, RecoveryError> {
    let asked = asked.trim();
    if asked.is_empty() || asked.len() > ASKED_BYTES || asked.contains('\0') {
        return Err(RecoveryError::Invalid(format!(
            "give an event id, an entity key (payment id), a traceparent or a trace id, of at most {ASKED_BYTES} bytes"
        )));
    }
    let (found, more) = find::find(context, &Asked::of(asked)).await?;
    if found.is_empty() {
        return Err(RecoveryError::NotFound(format!(
            "nothing is stored or dead-lettered under {:?}: it was never accepted, it is still in flight (eventflow audit says how much is), or \
             its dead letter has no readable id (eventflow dlq ls --code not_json)",
            super::plain(asked, 100)
        )));
    }
    let mut parts = parts::group(context, found);
    let truncated = more || parts.len() > STORIES;
    parts.truncate(STORIES);
    let raw = signature::raw_records(
        context,
        parts
            .iter()
            .take(RAW_RECORDS)
            .map(parts::Parts::raw)
            .collect(),
    )
    .await;
    let history = find::history(
        context,
        parts
            .iter()
            .flat_map(|parts| parts.letters.iter().map(|letter| letter.id))
            .collect(),
    )
    .await?;
    let mut stories: Vec<_> = parts
        .iter()
        .map(|parts| story::build(context, parts, &raw, &history))
        .collect();
    stories.sort_by_key(|story| story.steps.first().map(|step| step.at));
    Ok(Trace {
        asked: asked.to_owned(),
        stories,
        truncated,
    })
}
