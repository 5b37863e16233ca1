//! Revalidations: events that are stored under the generic contract, or an older version, validated once more by today's contracts.
//!
//! A revalidation is a job whose items are rows. What it sends is a row's raw record as Kafka has it, to the first stage, by whose retry topic it
//! takes the way of every event; persistence then types its row ([`store::fate::Fate::Retyped`]). The event is stored and stays so: only what
//! today's checks expect to type its row is sent, and what a stage refuses although they did is no dead letter
//! ([`contracts::kafka::headers::REVALIDATES`]).

mod plan;
mod rows;

pub(crate) use plan::freeze;
pub use plan::plan;

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Prediction;
use crate::replay::dry_run::{self, DryRunOutcome};
use crate::replay::jobs::within;
use crate::replay::runner::claim::Decided;
use crate::replay::runner::replay_letter::{ReplayLetter, raw_header};
use contracts::pipeline::{Pipeline, Stage};
pub(crate) use rows::{Named, Page, page};
use sqlx::PgConnection;
use std::collections::HashMap;
use store::row::RawPosition;

/// The stage that validates raw records, and its retry topic.
pub(crate) fn destination(pipeline: &Pipeline) -> Option<(&Stage, &str)> {
    let first = pipeline.path().next()?;
    Some((first, first.retry.as_deref()?))
}

/// What becomes of the next items, at most so many: checked as a dry run does it.
///
/// # Errors
/// [`RecoveryError::Unavailable`] while Kafka, the registry or the database does not answer.
pub(crate) async fn decide_next(
    context: &Context,
    job: &str,
    records: usize,
) -> Result<Decided, RecoveryError> {
    let Some((_, topic)) = destination(&context.pipeline) else {
        return Err(no_destination());
    };
    let mut page = page(context, job, 0, records).await?;
    let outcomes = outcomes(context, &mut page).await?;
    let letters = page.letters.into_iter().map(|letter| (letter.id, letter));
    let mut letters: HashMap<i64, ReplayLetter> = letters.collect();
    let mut decided = Decided::default();
    for outcome in outcomes {
        match (outcome.would, letters.remove(&outcome.letter)) {
            (Prediction::Retype, Some(letter)) => decided.send(letter, topic.to_owned()),
            (_, _) => {
                let detail = outcome.detail.unwrap_or_default();
                let code = outcome.code.unwrap_or(rows::UNCHANGED);
                decided.skip(outcome.letter, code, &detail);
            }
        }
    }
    Ok(decided)
}

/// What would become of the items of a page, in order.
pub(crate) async fn outcomes(
    context: &Context,
    page: &mut Page,
) -> Result<Vec<DryRunOutcome>, RecoveryError> {
    let mut outcomes = dry_run::outcomes_of(context, &page.letters).await?;
    outcomes.append(&mut page.decided);
    outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.letter));
    Ok(outcomes)
}

fn no_destination() -> RecoveryError {
    RecoveryError::WrongState(
        "the pipeline's first stage has no retry topic, so that nothing can be sent to it"
            .to_owned(),
    )
}

/// How `ef.raw` names the raw records of these items, those that are rows.
pub(crate) async fn raws(
    connection: &mut PgConnection,
    job: &str,
    items: &[i64],
) -> Result<Vec<(i64, String)>, sqlx::Error> {
    let found: Vec<(i64, i32, i64, String)> = sqlx::query_as(
        "SELECT dead_letter_id, raw_partition, raw_offset, raw_epoch FROM replay_items
         WHERE job_id = $1 AND dead_letter_id = ANY($2) AND dead_letter_id < 0",
    )
    .bind(job)
    .bind(items)
    .fetch_all(connection)
    .await?;
    let raw = |(item, partition, offset, epoch)| {
        let raw = RawPosition {
            epoch,
            partition,
            offset,
        };
        (item, raw_header(&raw))
    };
    Ok(found.into_iter().map(raw).collect())
}

/// Most items settled in one transaction.
const PAGE: i64 = 2000;

/// Settles events that were sent, and whose rows are typed now.
pub(crate) async fn settle(context: &Context) -> Result<u64, RecoveryError> {
    let mut all = 0;
    loop {
        let settled = within(async {
            let mut connection = context.pool.acquire().await?;
            Ok(crate::replay::state::retyped(&mut connection, PAGE).await?)
        })
        .await?;
        all += settled;
        if settled == 0 {
            return Ok(all);
        }
    }
}
