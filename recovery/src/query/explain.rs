//! A dead letter in plain words: what failed, where, what today's checks say, and what to type next.

mod advice;
mod pointer;
mod today;

pub use pointer::value_at;

use super::{no_such_dead_letter, plain};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DeadLetterState, Explanation, Format, Time};
use crate::replay::runner::replay_letter::{Headers, headers_of};
use contracts::RejectionCode;
use contracts::event::{HeaderValues as _, Mapping};
use contracts::pipeline::{Pipeline, Stage, Values};
use sqlx::FromRow;

/// Longest value or rule shown, in characters.
const SHOWN: usize = 200;

/// What is explained.
#[derive(Debug, FromRow)]
struct Case {
    id: i64,
    group_id: i64,
    state: DeadLetterState,
    family: Format,
    stage: String,
    code: String,
    source: String,
    detail: String,
    consumer_group: String,
    replay_count: i32,
    original: Option<Vec<u8>>,
    value_bytes: Option<i32>,
    /// What a replay would send instead
    edited: Option<Vec<u8>>,
    origin_topic: String,
    origin_partition: i32,
    origin_offset: i64,
    /// Unverified, and nobody has said that it is genuine
    not_genuine: bool,
    open: i64,
    first_seen: Option<Time>,
    headers: String,
}

impl Case {
    /// What a replay would send.
    fn current(&self) -> Option<&[u8]> {
        self.edited.as_deref().or(self.original.as_deref())
    }

    fn headers(&self) -> Result<Headers, RecoveryError> {
        let decoded = headers_of(&self.headers);
        Ok(decoded.map_err(|problem| sqlx::Error::Decode(problem.into()))?)
    }

    /// Its stage, when that is one of the pipeline's.
    fn stage_of<'a>(&self, pipeline: &'a Pipeline) -> Option<&'a Stage> {
        pipeline.stage_of(&self.consumer_group, &self.stage)
    }
}

/// What failed, where, since when, how many are similar, and what to do next.
///
/// # Errors
/// [`RecoveryError::NotFound`]
pub async fn explain(context: &Context, id: i64) -> Result<Explanation, RecoveryError> {
    let case: Option<Case> = sqlx::query_as(
        "SELECT d.id, d.group_id, d.state,
                CASE d.family WHEN 'eventflow' THEN d.family ELSE 'unknown' END AS family, g.stage, g.code, g.source, d.detail, d.consumer_group, d.replay_count,
                d.value AS original, d.value_bytes, e.value AS edited, d.origin_topic, d.origin_partition, d.origin_offset, coalesce(d.unproven = 'unverified' AND d.genuine_by IS NULL, false) AS not_genuine,
                g.open, g.first_seen, d.headers::text AS headers
         FROM dead_letters d JOIN groups g ON g.id = d.group_id LEFT JOIN edits e ON e.id = d.edit_id WHERE d.id = $1",
    )
    .bind(id)
    .fetch_optional(&context.pool)
    .await?;
    let case = case.ok_or_else(|| no_such_dead_letter(id))?;
    let code = RejectionCode::ALL
        .iter()
        .copied()
        .find(|known| known.code() == case.code);
    let today = today::check(context, &case).await?;
    let is_raw = case
        .stage_of(&context.pipeline)
        .is_some_and(|stage| stage.values == Values::Raw);
    let body = case
        .original
        .as_deref()
        .and_then(|value| std::str::from_utf8(value).ok())
        .filter(|_| is_raw);
    let at = pointer::of_detail(&case.detail, is_raw);
    let value = body.and_then(|body| match at {
        Some(pointer) => pointer::shown_at(body, pointer),
        None if code == Some(RejectionCode::NotJson) => pointer::broken_at(body),
        None => None,
    });
    let (vendors, headers) = (context.vendors.get(), case.headers()?);
    let rule = body.zip(at).and_then(|(body, pointer)| {
        let found = vendors.mappings.find(headers.as_slice(), body.as_bytes());
        let envelope = found.ok()?;
        let contract = context.contracts.contract_of(&envelope).ok()?;
        pointer::rule_at(
            &contract.schema_json,
            pointer.strip_prefix(envelope.payload_at)?,
        )
    });
    let meaning = code.map_or(
        "A code of another system: its documentation, and the detail, say what it means",
        RejectionCode::meaning,
    );
    // Nobody said where things are, and they are not where EventFlow's own envelope has them.
    let source = headers.as_slice().one(contracts::kafka::headers::SOURCE);
    let mapping = source.and_then(|source| vendors.mappings.get(source));
    let is_unmapped = mapping.is_some_and(|mapping| !mapping.is_given())
        && body.is_some_and(|body| Mapping::is_other_envelope(body.as_bytes()));
    Ok(Explanation {
        letter: case.id,
        code: plain(&case.code, SHOWN),
        meaning: meaning.to_owned(),
        detail: plain(&case.detail, 1000),
        pointer: at.map(|pointer| plain(pointer, SHOWN)),
        value: value.map(|value| plain(&value, SHOWN)),
        rule: rule.map(|rule| plain(&rule, SHOWN)),
        next: advice::next(&case, code, at, today.passes, is_unmapped),
        today: plain(&today.words, 1000),
        began_at: case.first_seen,
        like_it: case.open,
    })
}
