//! Replays and revalidations over HTTP: planned, tried, applied, approved, paused, stopped, listed. And the audit log.

use super::dead_letters::clean;
use super::input::{Body, Key, Named, Query, without_nul};
use super::problem::ApiProblem;
use super::tokens::Who;
use crate::audit_log;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{AuditLogCheck, DryRun, Job, Selection};
use crate::replay::{dry_run, jobs, revalidation};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

type Answer<T> = Result<Json<T>, ApiProblem>;

/// How many of a list, unless asked.
const DEFAULT: u32 = 100;
/// How many of a list at most.
const MAX: u32 = 10_000;

fn limit(query: &mut Query) -> Result<u32, ApiProblem> {
    match query.number("limit")?.unwrap_or(DEFAULT) {
        limit @ 1..=MAX => Ok(limit),
        _ => Err(ApiProblem::BadValue {
            word: "limit".to_owned(),
            problem: format!("must be between 1 and {MAX}"),
        }),
    }
}

/// States of jobs or of items.
fn states<S: FromStr<Err = String>>(query: &mut Query) -> Result<Vec<S>, ApiProblem> {
    let states = query.list("state");
    let states: Result<Vec<S>, String> = states.iter().map(|state| state.parse()).collect();
    Ok(states.map_err(RecoveryError::Invalid)?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    selection: Selection,
    #[serde(default)]
    reason: String,
}

impl Plan {
    fn checked(self, query: Query) -> Result<Self, ApiProblem> {
        query.end()?;
        without_nul("reason", &self.reason)?;
        clean(&self.selection)?;
        Ok(self)
    }
}

pub(super) async fn plan(
    State(context): State<Context>,
    who: Who,
    query: Query,
    Key(key): Key,
    Body(asked): Body<Plan>,
) -> Answer<Job> {
    let Plan { selection, reason } = asked.checked(query)?;
    let job = jobs::plan(&context, &who.0, &selection, &reason, &key, None).await?;
    Ok(Json(job))
}

pub(super) async fn plan_revalidation(
    State(context): State<Context>,
    who: Who,
    query: Query,
    Key(key): Key,
    Body(asked): Body<Plan>,
) -> Answer<Job> {
    let Plan { selection, reason } = asked.checked(query)?;
    let job = revalidation::plan(&context, &who.0, &selection, &reason, &key).await?;
    Ok(Json(job))
}

pub(super) async fn dry_run(
    State(context): State<Context>,
    who: Who,
    Named(job): Named<String>,
    query: Query,
) -> Answer<DryRun> {
    query.end()?;
    Ok(Json(dry_run::dry_run(&context, &who.0, &job).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Apply {
    rate: Option<f64>,
    yes: bool,
}

pub(super) async fn apply(
    State(context): State<Context>,
    who: Who,
    Named(job): Named<String>,
    query: Query,
    Body(asked): Body<Apply>,
) -> Answer<Job> {
    query.end()?;
    if asked
        .rate
        .is_some_and(|rate| !(rate > 0.0 && rate <= 100_000.0))
    {
        let problem = "must be more than 0 and at most 100000 records a second".to_owned();
        return Err(ApiProblem::BadValue {
            word: "rate".to_owned(),
            problem,
        });
    }
    Ok(Json(
        jobs::apply(&context, &who.0, &job, asked.rate, asked.yes).await?,
    ))
}

pub(super) async fn approve(
    State(context): State<Context>,
    who: Who,
    Named(job): Named<String>,
    query: Query,
) -> Answer<Job> {
    query.end()?;
    Ok(Json(jobs::approve(&context, &who.0, &job).await?))
}

pub(super) async fn pause(
    State(context): State<Context>,
    who: Who,
    Named(job): Named<String>,
    query: Query,
) -> Answer<Job> {
    query.end()?;
    Ok(Json(jobs::pause(&context, &who.0, &job).await?))
}

pub(super) async fn resume(
    State(context): State<Context>,
    who: Who,
    Named(job): Named<String>,
    query: Query,
) -> Answer<Job> {
    query.end()?;
    Ok(Json(jobs::resume(&context, &who.0, &job).await?))
}

pub(super) async fn stop(
    State(context): State<Context>,
    who: Who,
    Named(job): Named<String>,
    query: Query,
) -> Answer<Job> {
    query.end()?;
    Ok(Json(jobs::stop(&context, &who.0, &job).await?))
}

pub(super) async fn show(
    State(context): State<Context>,
    Named(job): Named<String>,
    query: Query,
) -> Answer<Job> {
    query.end()?;
    Ok(Json(jobs::get(&context, &job).await?))
}

pub(super) async fn items(
    State(context): State<Context>,
    Named(job): Named<String>,
    mut query: Query,
) -> Answer<Value> {
    let (states, limit) = (states(&mut query)?, limit(&mut query)?);
    query.end()?;
    Ok(Json(
        json!({"items": jobs::items(&context, &job, &states, limit).await?}),
    ))
}

pub(super) async fn history(State(context): State<Context>, mut query: Query) -> Answer<Value> {
    let (states, before, limit) = (
        states(&mut query)?,
        query.text("before")?,
        limit(&mut query)?,
    );
    query.end()?;
    Ok(Json(
        json!({"replays": jobs::history(&context, &states, before.as_deref(), limit).await?}),
    ))
}

pub(super) async fn verify_log(
    State(context): State<Context>,
    query: Query,
) -> Answer<AuditLogCheck> {
    query.end()?;
    Ok(Json(audit_log::verify(&context).await?))
}

pub(super) async fn log(State(context): State<Context>, mut query: Query) -> Answer<Value> {
    let (job, letter, before, limit) = (
        query.text("job")?,
        query.number("letter")?,
        query.number("before")?,
        limit(&mut query)?,
    );
    query.end()?;
    Ok(Json(
        json!({"entries": jobs::audit_log(&context, job.as_deref(), letter, before, limit).await?}),
    ))
}
