//! What was sent long ago and has no outcome: settled once it is certain that nothing will settle it by itself.
//!
//! It is certain when the barrier behind the stage's retry topic is passed ([`crate::barrier`]): the stage has read past everything sent
//! before the barrier was set, and what came of that has reached the database. What still has no outcome then was
//!
//! - sent to a stage on the path to a row: lost. Retention deleted the record, the topic was recreated, or the group was set ahead.
//! - sent to a stage beside the path: processed. Such a stage stores no row that could be found, and would have dead-lettered what it
//!   could not process.
//! - of a revalidation: not typed. Its row is as it was.

use super::metrics as names;
use crate::audit_log::{self, Entry};
use crate::barrier::Barrier;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{ItemState, Time};
use crate::persistence_views;
use crate::replay::jobs::within;
use crate::replay::revalidation;
use crate::replay::state::{self, Settled};
use contracts::pipeline::Stage;
use sqlx::{FromRow, PgConnection};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// On the path, what has no outcome for so long is searched for: persistence's rows usually settle it in much less.
const PATH_SECONDS: i32 = 60;
/// Most items resolved in one transaction.
const PAGE: i64 = 2000;

/// An item without an outcome.
#[derive(FromRow)]
struct Unsettled {
    letter: i64,
    job: String,
    /// Who planned the job
    who: String,
}

/// What a stage beside the path ($1) was sent until then ($2), of the raw topic ($3); at most $4. Locked in order, as by everybody.
const AWAITED: &str =
    "SELECT d.id AS letter, i.job_id AS job, j.created_by AS who
     FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id JOIN replay_jobs j ON j.id = i.job_id
     WHERE i.state = 'sent' AND i.sent_at <= $2 AND d.state = 'replaying' AND d.job_id = i.job_id AND d.consumer_group = $1
       AND of_raw_topic(d.origin_topic, $3)
     ORDER BY d.id LIMIT $4 FOR UPDATE OF d";

/// The search for what one group was sent.
#[derive(Debug)]
struct Search {
    /// What was sent until then
    until: Time,
    barrier: Barrier,
}

/// The searches in progress, by group. They are in memory: a restart begins them again.
#[derive(Debug)]
pub(super) struct Lost {
    searches: BTreeMap<String, Search>,
    every: Duration,
    checked_at: Option<Instant>,
}

impl Lost {
    /// Queries the brokers once in `every`, and only while something has no outcome.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            searches: BTreeMap::new(),
            every,
            checked_at: None,
        }
    }

    /// As far as it goes now. What is unusable for one group is no reason to leave the others alone: the first error is the answer.
    pub(super) async fn check(&mut self, context: &Context) -> Result<(), RecoveryError> {
        if self.checked_at.is_some_and(|at| at.elapsed() < self.every) {
            return Ok(());
        }
        let mut done = Ok(());
        for (stage, retry) in context.pipeline.replayable() {
            done = done.and(search(context, stage, retry, &mut self.searches).await);
        }
        self.checked_at = Some(Instant::now());
        done
    }
}

async fn search(
    context: &Context,
    stage: &Stage,
    retry: &str,
    searches: &mut BTreeMap<String, Search>,
) -> Result<(), RecoveryError> {
    let mut search = match searches.remove(&stage.group) {
        Some(search) => search,
        None => {
            let Some(until) = within(unsettled_until(context, stage)).await? else {
                return Ok(());
            };
            let barrier = Barrier::behind_replays(context, stage, retry).await?;
            Search { until, barrier }
        }
    };
    let behind = search.barrier.advance(context).await;
    match behind {
        Ok(None) => while within(settle(context, stage, search.until)).await? {},
        Ok(Some(behind)) => {
            tracing::debug!(event = "replay_awaited", group = stage.group, behind);
            searches.insert(stage.group.clone(), search);
        }
        Err(error) => {
            searches.insert(stage.group.clone(), search);
            return Err(error);
        }
    }
    Ok(())
}

/// The moment up to which what was sent to this stage is searched for, if there is any.
async fn unsettled_until(context: &Context, stage: &Stage) -> Result<Option<Time>, RecoveryError> {
    // On the path nobody can tell without persistence what has no row.
    if stage.on_path && !persistence_views::is_there(&context.pool).await? {
        return Ok(None);
    }
    let until = sqlx::query_scalar(
        "SELECT now() - make_interval(secs => $2)
         WHERE EXISTS (SELECT FROM replay_items i LEFT JOIN dead_letters d ON d.id = i.dead_letter_id
                       WHERE i.state = 'sent' AND i.sent_at <= now() - make_interval(secs => $2)
                         AND (d.consumer_group = $1 OR i.dead_letter_id < 0 AND $3))",
    );
    Ok(until
        .bind(&stage.group)
        .bind(if stage.on_path { PATH_SECONDS } else { 0 })
        .bind(is_first(context, stage))
        .fetch_optional(&context.pool)
        .await?)
}

/// Whether what a revalidation sends goes to this stage.
fn is_first(context: &Context, stage: &Stage) -> bool {
    let first = revalidation::destination(&context.pipeline);
    first.is_some_and(|(first, _)| first.name == stage.name)
}

/// Settles a page of what still has no outcome. True when there may be more.
async fn settle(context: &Context, stage: &Stage, until: Time) -> Result<bool, RecoveryError> {
    if is_first(context, stage) {
        let mut connection = context.pool.acquire().await?;
        let failed = state::not_retyped(&mut connection, until, PAGE).await?;
        if failed > 0 {
            metrics::counter!(names::REPLAYED, "outcome" => "not_retyped").increment(failed);
            return Ok(true);
        }
    }
    let mut transaction = context.pool.begin().await?;
    let statement = if stage.on_path {
        persistence_views::AWAITED_WITHOUT_ROW
    } else {
        AWAITED
    };
    let items: Vec<Unsettled> = sqlx::query_as(statement)
        .bind(&stage.group)
        .bind(until)
        .bind(&context.pipeline.raw)
        .bind(PAGE)
        .fetch_all(&mut *transaction)
        .await?;
    if items.is_empty() {
        return Ok(false);
    }
    let count = items.len() as u64;
    if stage.on_path {
        lose(&mut transaction, stage, items).await?;
        transaction.commit().await?;
        metrics::counter!(names::REPLAYED, "outcome" => "lost").increment(count);
    } else {
        let mut settled = Settled::default();
        for item in items {
            settled.add(item.job, item.letter, ItemState::Processed, item.who);
        }
        state::resolve(&mut transaction, &settled).await?;
        transaction.commit().await?;
        metrics::counter!(names::REPLAYED, "outcome" => "processed").increment(count);
    }
    Ok(true)
}

/// The items failed, and their dead letters are open again.
async fn lose(
    connection: &mut PgConnection,
    stage: &Stage,
    items: Vec<Unsettled>,
) -> Result<(), RecoveryError> {
    let mut by_job = BTreeMap::<String, i64>::new();
    for item in &items {
        *by_job.entry(item.job.clone()).or_default() += 1;
    }
    let (jobs, letters): (Vec<String>, Vec<i64>) = items
        .into_iter()
        .map(|item| (item.job, item.letter))
        .unzip();
    state::lose(connection, &jobs, &letters).await?;
    for (job, items) in &by_job {
        tracing::warn!(
            event = "replay_lost",
            job,
            group = stage.group,
            items,
            "sent, and gone from the retry topic before it was read"
        );
        let entry = Entry {
            who: "recovery",
            action: "replay.lost",
            job: Some(job),
            counts: serde_json::json!({"items": items}),
            ..Entry::default()
        };
        audit_log::write(connection, entry).await?;
    }
    Ok(())
}
