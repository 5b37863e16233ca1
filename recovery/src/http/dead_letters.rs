//! Dead letters over HTTP: listed, shown, explained, edited, discarded, exported. And questions about events.

use super::RequestPermit;
use super::input::{Body, Key, Named, Query, without_nul};
use super::problem::ApiProblem;
use super::tokens::Who;
use crate::audit;
use crate::context::Context;
use crate::model::{
    Audit, AuditHours, DeadLetterDetail, DeadLetterPage, EditPreview, EditSummary, Explanation,
    IndexStats, Now, PatchPreview, Selection, Trace,
};
use crate::now;
use crate::query::{detail, explain, export, list, stats, trace};
use crate::replay::edit;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;

type Answer<T> = Result<Json<T>, ApiProblem>;

pub(super) async fn list(
    State(context): State<Context>,
    mut query: Query,
) -> Answer<DeadLetterPage> {
    let (selection, before) = (query.selection()?, query.number("before")?);
    query.end()?;
    Ok(Json(
        list::dead_letters(&context, &selection, before).await?,
    ))
}

pub(super) async fn groups(State(context): State<Context>, mut query: Query) -> Answer<Value> {
    let selection = query.selection()?;
    query.end()?;
    Ok(Json(
        json!({"groups": list::groups(&context, &selection).await?}),
    ))
}

pub(super) async fn stats(State(context): State<Context>, query: Query) -> Answer<IndexStats> {
    query.end()?;
    Ok(Json(stats::stats(&context).await?))
}

pub(super) async fn now(State(context): State<Context>, query: Query) -> Answer<Now> {
    query.end()?;
    Ok(Json(now::now(&context).await?))
}

pub(super) async fn show(
    State(context): State<Context>,
    Named(id): Named<i64>,
    query: Query,
) -> Answer<DeadLetterDetail> {
    query.end()?;
    Ok(Json(detail::dead_letter(&context, id).await?))
}

pub(super) async fn explain(
    State(context): State<Context>,
    Named(id): Named<i64>,
    query: Query,
) -> Answer<Explanation> {
    query.end()?;
    Ok(Json(explain::explain(&context, id).await?))
}

pub(super) async fn value(
    State(context): State<Context>,
    Named(id): Named<i64>,
    query: Query,
) -> Answer<Value> {
    query.end()?;
    Ok(Json(
        json!({"text": edit::editable_text(&context, id).await?}),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewValue {
    text: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn edit(
    State(context): State<Context>,
    who: Who,
    Named(id): Named<i64>,
    query: Query,
    Body(asked): Body<NewValue>,
) -> Answer<EditSummary> {
    query.end()?;
    without_nul("reason", &asked.reason)?;
    Ok(Json(
        edit::edit(&context, &who.0, id, &asked.text, &asked.reason).await?,
    ))
}

pub(super) async fn check(
    State(context): State<Context>,
    Named(id): Named<i64>,
    query: Query,
    Body(asked): Body<NewValue>,
) -> Answer<EditPreview> {
    query.end()?;
    Ok(Json(edit::check(&context, id, &asked.text).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patch {
    selection: Selection,
    /// As text: a number keeps its digits
    patch: Box<RawValue>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    yes: bool,
}

pub(super) async fn patch(
    State(context): State<Context>,
    who: Who,
    query: Query,
    Key(key): Key,
    Body(asked): Body<Patch>,
) -> Answer<EditSummary> {
    query.end()?;
    without_nul("reason", &asked.reason)?;
    clean(&asked.selection)?;
    Ok(Json(
        edit::patch(
            &context,
            &who.0,
            &asked.selection,
            asked.patch.get(),
            &asked.reason,
            &key,
            asked.yes,
        )
        .await?,
    ))
}

pub(super) async fn preview(
    State(context): State<Context>,
    query: Query,
    Body(asked): Body<Patch>,
) -> Answer<PatchPreview> {
    query.end()?;
    clean(&asked.selection)?;
    Ok(Json(
        edit::preview(&context, &asked.selection, asked.patch.get()).await?,
    ))
}

/// What a person decides of a selection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    selection: Selection,
    reason: String,
    #[serde(default)]
    yes: bool,
}

pub(super) async fn discard(
    State(context): State<Context>,
    who: Who,
    query: Query,
    Body(asked): Body<Decided>,
) -> Answer<Value> {
    query.end()?;
    without_nul("reason", &asked.reason)?;
    clean(&asked.selection)?;
    Ok(Json(
        json!({"discarded": edit::discard(&context, &who.0, &asked.selection, &asked.reason, asked.yes).await?}),
    ))
}

pub(super) async fn genuine(
    State(context): State<Context>,
    who: Who,
    query: Query,
    Body(asked): Body<Decided>,
) -> Answer<Value> {
    query.end()?;
    without_nul("reason", &asked.reason)?;
    clean(&asked.selection)?;
    Ok(Json(
        json!({"genuine": edit::genuine(&context, &who.0, &asked.selection, &asked.reason, asked.yes).await?}),
    ))
}

/// A query refuses NUL word by word; a body's selection is looked at whole.
pub(super) fn clean(selection: &Selection) -> Result<(), ApiProblem> {
    let lists = [
        &selection.code,
        &selection.stage,
        &selection.source,
        &selection.event_type,
    ];
    let words = [
        &selection.event_id,
        &selection.entity_key,
        &selection.contains,
    ];
    let mut texts = lists
        .into_iter()
        .flatten()
        .chain(words.into_iter().flatten());
    texts.try_for_each(|text| without_nul("selection", text))
}

/// Page by page, so that any number costs the memory of one. An error in the middle breaks the connection off, which no client takes
/// for the end.
pub(super) async fn export(
    State(context): State<Context>,
    Extension(permit): Extension<RequestPermit>,
    mut query: Query,
) -> Result<Response, ApiProblem> {
    let selection = query.selection()?;
    query.end()?;
    let left = selection.limit.map_or(usize::MAX, |limit| limit as usize);
    let first = export::export(&context, &selection, None).await?;
    let pages = futures_util::stream::try_unfold((Some(first), left), move |(page, left)| {
        let (context, selection, permit) = (context.clone(), selection.clone(), permit.clone());
        async move {
            let _permit = permit;
            let Some((lines, next)) = page else {
                return Ok::<_, ApiProblem>(None);
            };
            let mut text = String::new();
            for line in lines.iter().take(left) {
                text.push_str(line);
                text.push('\n');
            }
            let left = left.saturating_sub(lines.len());
            let page = match next {
                Some(before) if left > 0 => {
                    Some(export::export(&context, &selection, Some(before)).await?)
                }
                _ => None,
            };
            Ok(Some((Bytes::from(text), (page, left))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"dead-letters.jsonl\"",
        ),
    ];
    Ok((headers, axum::body::Body::from_stream(pages)).into_response())
}

pub(super) async fn trace(State(context): State<Context>, mut query: Query) -> Answer<Trace> {
    let asked = query.text("q")?;
    query.end()?;
    let problem = "give an event id, an entity key (payment id) or a traceparent".to_owned();
    let asked = asked.ok_or(ApiProblem::BadValue {
        word: "q".to_owned(),
        problem,
    })?;
    Ok(Json(trace::trace(&context, &asked).await?))
}

/// Hours of the audit, unless asked.
const HOURS: u16 = 24;

pub(super) async fn audit_hours(
    State(context): State<Context>,
    mut query: Query,
) -> Answer<AuditHours> {
    let hours = query.number("hours")?.unwrap_or(HOURS);
    query.end()?;
    Ok(Json(audit::hours(&context, hours).await?))
}

/// Longest wait for an audit up to now, in seconds: less than a request may take.
const MAX_WITHIN_SECONDS: u16 = 300;

pub(super) async fn audit(State(context): State<Context>, mut query: Query) -> Answer<Audit> {
    let (topic, from, to) = (query.text("topic")?, query.time("from")?, query.time("to")?);
    let within: Option<u16> = query.number("within")?;
    query.end()?;
    if let Some(seconds) = within {
        let deadline = Duration::from_secs(seconds.min(MAX_WITHIN_SECONDS).into());
        audit::audit_now(&context, deadline).await?;
    }
    Ok(Json(
        audit::audit(&context, topic.as_deref(), from, to).await?,
    ))
}
