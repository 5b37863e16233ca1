//! The timeline of one event: every step it took through topics and tables, in the order of time.
//!
//! What is asked for is looked up by index in rows, further deliveries and dead letters ([`find`]); what belongs together (the same source
//! and event id, or the same raw record) is one timeline ([`parts`], [`timeline`]), and the stored bytes are verified
//! once more ([`signature`]).

mod find;
mod parts;
mod signature;
mod timeline;

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Timeline, Trace};
use find::{Asked, Found};
use runtime::admin::OwnedRecord;
use signature::KeptHeaders;
use std::collections::BTreeMap;
use std::time::Duration;
use store::row::RawPosition;

/// Most timelines of one answer.
const TIMELINES: usize = 20;
/// Raw records that are read from Kafka, for the first timelines.
const RAW_RECORDS: usize = 5;
/// Longest wait for them: the rest of the timeline is in the database.
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
    let truncated = more || parts.len() > TIMELINES;
    parts.truncate(TIMELINES);
    let (mut timelines, _) = timelines(context, &mut parts).await?;
    timelines.sort_by_key(|timeline| timeline.steps.first().map(|step| step.at));
    Ok(Trace {
        asked: asked.to_owned(),
        timelines,
        truncated,
    })
}

/// One raw record's timeline, and what it was made of.
pub(crate) struct Traced {
    pub(crate) timeline: Timeline,
    /// The record as the vendor sent it, from Kafka or a dead letter
    pub(crate) bytes: Option<RawBytes>,
    /// Numbers of its dead letters
    pub(crate) letters: Vec<i64>,
}

/// A raw record.
pub(crate) struct RawBytes {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: KeptHeaders,
    pub(crate) value: Vec<u8>,
}

/// What happened to a raw record.
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub(crate) async fn of_raw(
    context: &Context,
    position: &RawPosition,
) -> Result<Traced, RecoveryError> {
    let found: Found = find::find_raw(context, position).await?;
    let mut parts = parts::group(context, found);
    parts.retain(|parts| parts.raws.contains(position));
    parts.truncate(1);
    let nothing = || {
        RecoveryError::NotFound(format!(
            "raw record {position} has no fate: it is still in flight, or there is none (eventflow audit)"
        ))
    };
    if let Some(parts) = parts.first_mut() {
        // The question is about this one, also where it is a further delivery.
        parts.first = Some(position.clone());
    }
    let (timelines, mut raw) = timelines(context, &mut parts).await?;
    let parts = parts.into_iter().next().ok_or_else(nothing)?;
    let record = raw.remove(position).and_then(|record| {
        Some(RawBytes {
            key: record.key,
            headers: record.headers,
            value: record.value?,
        })
    });
    let letters = parts.letters.iter().map(|letter| letter.id).collect();
    Ok(Traced {
        timeline: timelines.into_iter().next().ok_or_else(nothing)?,
        bytes: record.or_else(|| parts.kept_bytes(context, position)),
        letters,
    })
}

/// Each part's timeline, and the raw records that Kafka still has.
async fn timelines(
    context: &Context,
    parts: &mut [parts::Parts],
) -> Result<(Vec<Timeline>, BTreeMap<RawPosition, OwnedRecord>), RecoveryError> {
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
    let rows = parts.iter().filter_map(|parts| parts.row.as_ref());
    let rows: Vec<RawPosition> = rows.map(|row| row.raw.clone()).collect();
    let retypings = find::retypings(context, &rows).await?;
    for retyping in retypings {
        let of = |parts: &&mut parts::Parts| {
            let row = parts.row.as_ref();
            row.is_some_and(|row| row.raw == retyping.raw)
        };
        if let Some(parts) = parts.iter_mut().find(of) {
            parts.retypings.push(retyping);
        }
    }
    let build = |parts: &parts::Parts| timeline::build(context, parts, &raw, &history);
    let timelines = parts.iter().map(build).collect();
    Ok((timelines, raw))
}
