//! Dead letters that will not be replayed, closed with a reason.

use super::apply::{self, Author};
use super::selected::{log_entry, needs_confirmation, push_open, unconfirmed, work};
use crate::audit_log::{self, clean};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Selection;
use sqlx::QueryBuilder;

const DISCARD_BATCH: i64 = 5_000;
/// A count for a person ends here.
const MAX_COUNTED: i64 = 1_000_000;

pub(super) async fn discard(
    context: &Context,
    author: &Author<'_>,
    selection: &Selection,
    yes: bool,
) -> Result<u64, RecoveryError> {
    apply::name(author.who)?;
    if author.reason.trim().is_empty() {
        return Err(RecoveryError::Invalid(
            "give a reason: nothing else says why the event was given up".to_owned(),
        ));
    }
    // What came after the person listed them is not meant; and one statement over a flood would not end within its limit.
    let newest = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM dead_letters");
    let mut up_to: i64 = work(newest.fetch_one(&context.pool)).await?;
    let max = selection.limit.map_or(i64::MAX, i64::from);
    if !yes {
        let count = work(open(context, selection, up_to, MAX_COUNTED)).await?;
        if needs_confirmation(context, selection, count as u64) && count > 0 {
            return Err(unconfirmed("discard", count as u64));
        }
    }
    let mut discarded = 0;
    while discarded < max {
        // Each part has its own time: a flood takes longer than any one of them may.
        let part = discard_some(
            context,
            author,
            selection,
            up_to,
            (max - discarded).min(DISCARD_BATCH),
        );
        let Some(part) = work(part).await? else { break };
        discarded += part.discarded;
        up_to = part.lowest - 1;
    }
    Ok(discarded.unsigned_abs())
}

/// How many are open, as far as `max`.
async fn open(
    context: &Context,
    selection: &Selection,
    up_to: i64,
    max: i64,
) -> Result<i64, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT count(*) FROM (");
    push_open(&mut query, selection, up_to, max);
    query.push(") AS wanted");
    query.build_query_scalar().fetch_one(&context.pool).await
}

/// A part of a discard.
struct Part {
    discarded: i64,
    /// The lowest number of it: what is left is below
    lowest: i64,
}

/// Discards the newest so many, in one transaction with its entry in the log; none when none are open. The second time there are none:
/// nothing is changed, nothing is logged.
async fn discard_some(
    context: &Context,
    author: &Author<'_>,
    selection: &Selection,
    up_to: i64,
    max: i64,
) -> Result<Option<Part>, sqlx::Error> {
    let mut transaction = context.pool.begin().await?;
    let mut query = QueryBuilder::new("");
    push_open(&mut query, selection, up_to, max);
    let ids: Vec<i64> = query
        .build_query_scalar()
        .fetch_all(&mut *transaction)
        .await?;
    let Some(lowest) = ids.iter().min().copied() else {
        return Ok(None);
    };
    // In the order of their numbers, as everybody locks them.
    let lock =
        "SELECT id FROM dead_letters WHERE id = ANY($1) AND state = 'open' ORDER BY id FOR UPDATE";
    let ids: Vec<i64> = sqlx::query_scalar(lock)
        .bind(ids)
        .fetch_all(&mut *transaction)
        .await?;
    let discard = "UPDATE dead_letters SET state = 'discarded', settled_at = clock_timestamp(), settled_by = $2, reason = $3
         WHERE id = ANY($1)";
    let discard = sqlx::query(discard)
        .bind(ids)
        .bind(clean(author.who))
        .bind(clean(author.reason));
    let discarded = discard.execute(&mut *transaction).await?.rows_affected();
    if discarded > 0 {
        let counts = serde_json::json!({"discarded": discarded});
        audit_log::write(
            &mut transaction,
            log_entry(author, "dead_letter.discard", selection, counts),
        )
        .await?;
        transaction.commit().await?;
    }
    Ok(Some(Part {
        discarded: i64::try_from(discarded).unwrap_or(i64::MAX),
        lowest,
    }))
}
