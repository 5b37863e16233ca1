//! What became of what was sent: stored or a duplicate, as persistence says; failed again, as the index writes. Needs no lock: two
//! instances that run this at once resolve different dead letters.

use super::metrics as names;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::ItemState;
use crate::persistence_views;
use crate::replay::jobs::within;
use crate::replay::revalidation;
use crate::replay::state::{self, Settled};
use runtime::faults;
use sqlx::FromRow;
use std::collections::BTreeMap;
use store::fate::RecordedFate;

/// Most items resolved in one transaction.
const PAGE: i64 = 2000;

/// What persistence says of a record that was sent.
#[derive(FromRow)]
struct SettledReplay {
    job: String,
    letter: i64,
    fate: RecordedFate,
    who: String,
}

/// Resolves what persistence has stored or found a duplicate since, then ends the jobs of which nothing is awaited any more.
pub(crate) async fn settle(context: &Context) -> Result<(), RecoveryError> {
    let there = within(async { Ok(persistence_views::is_there(&context.pool).await?) });
    // Items of revalidations have numbers below zero.
    let mut after = if there.await? { Some(0) } else { None };
    if after.is_some() {
        let retyped = revalidation::settle(context).await?;
        metrics::counter!(names::REPLAYED, "outcome" => "retyped").increment(retyped);
    }
    while let Some(from) = after {
        after = within(settle_page(context, from)).await?;
    }
    within(finish(context)).await
}

/// Resolves the awaited items after a dead letter; answers the last one looked at, or none at the end.
async fn settle_page(context: &Context, after: i64) -> Result<Option<i64>, RecoveryError> {
    let mut transaction = context.pool.begin().await?;
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT dead_letter_id FROM replay_items WHERE state = 'sent' AND dead_letter_id > $1 ORDER BY dead_letter_id LIMIT $2",
    )
    .bind(after)
    .bind(PAGE)
    .fetch_all(&mut *transaction)
    .await?;
    let next = ids.last().copied();
    // Dead letters are locked first and in order, as everybody does.
    let rows: Vec<SettledReplay> = sqlx::query_as(persistence_views::SETTLED_REPLAYS)
        .bind(&context.pipeline.raw)
        .bind(&ids)
        .fetch_all(&mut *transaction)
        .await?;
    if rows.is_empty() {
        return Ok(next);
    }
    let (mut settled, mut counts) = (Settled::default(), BTreeMap::<&str, u64>::new());
    for row in rows {
        let outcome = match row.fate {
            RecordedFate::Stored => ItemState::Stored,
            RecordedFate::Duplicate => ItemState::Duplicate,
            RecordedFate::Filtered => ItemState::Filtered,
        };
        *counts.entry(row.fate.as_str()).or_default() += 1;
        settled.add(row.job, row.letter, outcome, row.who);
    }
    state::resolve(&mut transaction, &settled).await?;
    faults::kill_point("replay_outcome_in_transaction");
    transaction.commit().await?;
    for (outcome, count) in counts {
        metrics::counter!(names::REPLAYED, "outcome" => outcome).increment(count);
    }
    Ok(next)
}

/// A running job ends when every item has its outcome; a stopped one when those that were sent have theirs.
async fn finish(context: &Context) -> Result<(), RecoveryError> {
    let mut transaction = context.pool.begin().await?;
    let ended = state::finish(&mut transaction).await?;
    for job in &ended {
        let counts = job
            .counts
            .as_deref()
            .and_then(|counts| serde_json::from_str(counts).ok());
        let counts: serde_json::Value = counts.unwrap_or_default();
        tracing::info!(event = "replay_ended", job = job.id, state = %job.state, %counts);
        let entry = crate::audit_log::Entry {
            who: "recovery",
            action: "replay.end",
            job: Some(&job.id),
            counts,
            ..Default::default()
        };
        crate::audit_log::write(&mut transaction, entry).await?;
    }
    Ok(transaction.commit().await?)
}
