//! Refused requests over HTTP: listed, grouped, shown, explained.

use super::input::{Named, Query};
use super::problem::ApiProblem;
use crate::context::Context;
use crate::model::{RejectionDetail, RejectionExplanation, RejectionFilter, RejectionPage};
use crate::rejections;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

type Answer<T> = Result<Json<T>, ApiProblem>;

/// The words of a filter, as the command line's flags have them.
pub(super) const FILTER: [&str; 6] = ["source", "code", "peer", "since", "until", "limit"];

fn filter(query: &mut Query) -> Result<RejectionFilter, ApiProblem> {
    Ok(RejectionFilter {
        source: query.list("source"),
        code: query.list("code"),
        peer: query.text("peer")?,
        since: query.time("since")?,
        until: query.time("until")?,
        limit: query.number("limit")?,
    })
}

pub(super) async fn list(
    State(context): State<Context>,
    mut query: Query,
) -> Answer<RejectionPage> {
    let (filter, before) = (filter(&mut query)?, query.number("before")?);
    query.end()?;
    Ok(Json(rejections::list(&context, &filter, before).await?))
}

pub(super) async fn groups(State(context): State<Context>, mut query: Query) -> Answer<Value> {
    let filter = filter(&mut query)?;
    query.end()?;
    let groups = rejections::groups(&context, &filter).await?;
    Ok(Json(json!({"groups": groups})))
}

pub(super) async fn show(
    State(context): State<Context>,
    Named(id): Named<i64>,
    query: Query,
) -> Answer<RejectionDetail> {
    query.end()?;
    Ok(Json(rejections::show(&context, id).await?))
}

pub(super) async fn explain(
    State(context): State<Context>,
    Named(id): Named<i64>,
    query: Query,
) -> Answer<RejectionExplanation> {
    query.end()?;
    Ok(Json(rejections::explain(&context, id).await?))
}
