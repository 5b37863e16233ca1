//! What a person decides of many open dead letters, with a reason: that they are given up, or that the vendor sent them.
//!
//! A source in onboarding accepts what anybody posts. What was not verified is a dead letter that no replay sends, whoever asks, until somebody
//! says by name and with a reason that it is genuine. Where the role asks for approval, the replay then needs a second person, as one of edited
//! values does.

use super::apply::{self, Author};
use super::selected::{log_entry, needs_confirmation, push_open, unconfirmed, work};
use crate::audit_log::{self, clean};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Selection;
use crate::query::known;
use crate::replay::approval::IS_NOT_GENUINE;
use sqlx::QueryBuilder;

/// Most dead letters of one statement: one over a flood would not end within its limit.
const BATCH: i64 = 5_000;
/// A count for a person ends here.
const MAX_COUNTED: i64 = 1_000_000;

/// What can be decided.
pub(super) struct Decision {
    /// Completes "this would ... 7 dead letters"
    verb: &'static str,
    /// What is missing without a reason
    no_reason: &'static str,
    /// In the audit log
    action: &'static str,
    /// The number's name in the audit log
    counted: &'static str,
    /// Which of the open ones it is about; those that it was said of before are not among them
    about: &'static str,
    /// Of the numbers `$1`, by `$2`, for the reason `$3`
    update: &'static str,
}

/// They will not be replayed.
pub(super) const DISCARD: Decision = Decision {
    verb: "discard",
    no_reason: "give a reason: nothing else says why the event was given up",
    action: "dead_letter.discard",
    counted: "discarded",
    about: "true",
    update: "UPDATE dead_letters SET state = 'discarded', settled_at = clock_timestamp(), settled_by = $2, reason = $3
         WHERE id = ANY($1)",
};

/// The vendor sent them, though the edge could not verify that.
pub(super) const GENUINE: Decision = Decision {
    verb: "call genuine",
    no_reason: "give a reason: how do you know that the vendor sent it?",
    action: "dead_letter.genuine",
    counted: "genuine",
    about: IS_NOT_GENUINE,
    update: "UPDATE dead_letters SET genuine_by = $2, genuine_at = clock_timestamp(), genuine_reason = $3
         WHERE id = ANY($1) AND genuine_by IS NULL",
};

/// Part of a decision that was carried out.
struct Part {
    decided: i64,
    /// The lowest number of it: what is left is below
    lowest: i64,
}

impl Decision {
    /// Carries it out in parts: each is done and logged as one. Returns of how many.
    pub(super) async fn carry_out(
        &self,
        context: &Context,
        author: &Author<'_>,
        selection: &Selection,
        yes: bool,
    ) -> Result<u64, RecoveryError> {
        apply::name(author.who)?;
        known::check(context, selection).await?;
        if author.reason.trim().is_empty() {
            return Err(RecoveryError::Invalid(self.no_reason.to_owned()));
        }
        // What came after the person looked is not meant: anybody may have sent it.
        let newest = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM dead_letters");
        let mut up_to: i64 = work(newest.fetch_one(&context.pool)).await?;
        let max = selection.limit.map_or(i64::MAX, i64::from);
        if !yes {
            let count = work(self.count(context, selection, up_to)).await?;
            if needs_confirmation(context, selection, count as u64) && count > 0 {
                return Err(unconfirmed(self.verb, count as u64));
            }
        }
        let mut decided = 0;
        while decided < max {
            // Each part has its own time: a flood takes longer than any one of them may.
            let part = self.part(
                context,
                author,
                selection,
                up_to,
                (max - decided).min(BATCH),
            );
            let Some(part) = work(part).await? else { break };
            decided += part.decided;
            up_to = part.lowest - 1;
        }
        Ok(decided.unsigned_abs())
    }

    /// Of how many it would be, as far as a person counts.
    async fn count(
        &self,
        context: &Context,
        selection: &Selection,
        up_to: i64,
    ) -> Result<i64, sqlx::Error> {
        let mut query = QueryBuilder::new("SELECT count(*) FROM (");
        push_open(&mut query, selection, self.about, up_to, MAX_COUNTED);
        query.push(") AS wanted");
        query.build_query_scalar().fetch_one(&context.pool).await
    }

    /// The newest so many, in one transaction with their entry in the log; none when there are none. The second time there are none: nothing
    /// is changed, nothing is logged.
    async fn part(
        &self,
        context: &Context,
        author: &Author<'_>,
        selection: &Selection,
        up_to: i64,
        max: i64,
    ) -> Result<Option<Part>, sqlx::Error> {
        let mut transaction = context.pool.begin().await?;
        let mut query = QueryBuilder::new("");
        push_open(&mut query, selection, self.about, up_to, max);
        let ids: Vec<i64> = query
            .build_query_scalar()
            .fetch_all(&mut *transaction)
            .await?;
        let Some(lowest) = ids.iter().min().copied() else {
            return Ok(None);
        };
        // In the order of their numbers, as everybody locks them.
        let lock = "SELECT id FROM dead_letters WHERE id = ANY($1) AND state = 'open' ORDER BY id FOR UPDATE";
        let ids: Vec<i64> = sqlx::query_scalar(lock)
            .bind(ids)
            .fetch_all(&mut *transaction)
            .await?;
        let update = sqlx::query(self.update)
            .bind(ids)
            .bind(clean(author.who))
            .bind(clean(author.reason));
        let decided = update.execute(&mut *transaction).await?.rows_affected();
        if decided > 0 {
            let counts = serde_json::json!({ self.counted: decided });
            let entry = log_entry(author, self.action, selection, counts);
            audit_log::write(&mut transaction, entry).await?;
            transaction.commit().await?;
        }
        Ok(Some(Part {
            decided: i64::try_from(decided).unwrap_or(i64::MAX),
            lowest,
        }))
    }
}
