//! Accepted events over HTTP: searched, and one with everything about it.

use super::input::{Named, Query};
use super::problem::ApiProblem;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{EventDetail, EventFilter, EventPage};
use crate::query::events;
use axum::Json;
use axum::extract::State;

type Answer<T> = Result<Json<T>, ApiProblem>;

/// The words of a filter, as the command line's flags have them.
pub(super) const FILTER: [&str; 8] = [
    "q",
    "source",
    "event_type",
    "fate",
    "field",
    "since",
    "until",
    "limit",
];

fn filter(query: &mut Query) -> Result<EventFilter, ApiProblem> {
    let fates = query.list("fate");
    let fates: Result<_, String> = fates.iter().map(|fate| fate.parse()).collect();
    Ok(EventFilter {
        q: query.text("q")?,
        source: query.list("source"),
        event_type: query.list("event_type"),
        fate: fates.map_err(RecoveryError::Invalid)?,
        field: query.texts("field"),
        since: query.time("since")?,
        until: query.time("until")?,
        limit: query.number("limit")?,
    })
}

pub(super) async fn list(State(context): State<Context>, mut query: Query) -> Answer<EventPage> {
    let (filter, before) = (filter(&mut query)?, query.text("before")?);
    query.end()?;
    Ok(Json(
        events::events(&context, &filter, before.as_deref()).await?,
    ))
}

pub(super) async fn show(
    State(context): State<Context>,
    Named(raw): Named<String>,
    query: Query,
) -> Answer<EventDetail> {
    query.end()?;
    Ok(Json(events::detail(&context, &raw).await?))
}
