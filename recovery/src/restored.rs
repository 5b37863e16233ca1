//! A database that was restored to an earlier state.
//!
//! The stages read again from the offsets it has ([`store::offsets`]), so rows and dead letters come back by themselves. What does not is what
//! the index knew of replays: a dead letter that was replayed since is open again, and its event is stored again. What the topics prove
//! counts: once everything that was in them is read, an open dead letter whose event is stored is resolved.

use crate::audit_log;
use crate::barrier::Barrier;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::index::reindex::mark_resolved;
use crate::model::Time;
use crate::persistence_views;

/// The restore that is being dealt with. In memory: a restart begins again.
#[derive(Debug, Default)]
pub(crate) struct Restored(Option<Pending>);

#[derive(Debug)]
struct Pending {
    /// When the newest of the offsets was found set back
    found_at: Time,
    /// All must be passed
    barriers: Vec<Barrier>,
}

impl Restored {
    /// Deals with a restore as far as that goes now.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub(crate) async fn check(&mut self, context: &Context) -> Result<(), RecoveryError> {
        let Some(found_at) = unsettled(context).await? else {
            self.0 = None;
            return Ok(());
        };
        let mut pending = match self.0.take().filter(|pending| pending.found_at == found_at) {
            Some(pending) => pending,
            None => Pending {
                found_at,
                barriers: barriers(context).await?,
            },
        };
        let mut behind = None;
        for barrier in &mut pending.barriers {
            behind = behind.or(barrier.advance(context).await?);
        }
        if let Some(behind) = behind {
            tracing::debug!(event = "restore_waits", behind);
            self.0 = Some(pending);
            return Ok(());
        }
        settle(context, found_at).await
    }
}

/// When offsets were found set back last, if nothing was done about it yet.
async fn unsettled(context: &Context) -> Result<Option<Time>, RecoveryError> {
    let mut found: Option<Time> = sqlx::query_scalar("SELECT max(found_at) FROM set_back_offsets")
        .fetch_one(&context.pool)
        .await?;
    if persistence_views::is_there(&context.pool).await? {
        let theirs: Option<Time> = sqlx::query_scalar(persistence_views::SET_BACK)
            .fetch_one(&context.pool)
            .await?;
        found = found.max(theirs);
    }
    let done: Option<Time> = sqlx::query_scalar("SELECT max(found_at) FROM restores")
        .fetch_one(&context.pool)
        .await?;
    Ok(found.filter(|found| done.is_none_or(|done| done < *found)))
}

/// Behind everything that is in the topics now: what the first stage made, and every replay.
async fn barriers(context: &Context) -> Result<Vec<Barrier>, RecoveryError> {
    let mut barriers = Vec::new();
    if let Some(first) = context.pipeline.path().next() {
        barriers.push(Barrier::behind_output(context, first).await?);
    }
    for (stage, retry) in context.pipeline.replayable() {
        if stage.on_path {
            barriers.push(Barrier::behind_replays(context, stage, retry).await?);
        }
    }
    Ok(barriers)
}

async fn settle(context: &Context, found_at: Time) -> Result<(), RecoveryError> {
    let resolved = mark_resolved(context, "restore").await?;
    let mut transaction = context.pool.begin().await?;
    let done = sqlx::query(
        "INSERT INTO restores (found_at, resolved) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(found_at)
    .bind(i64::try_from(resolved).unwrap_or(i64::MAX))
    .execute(&mut *transaction)
    .await?;
    // Another instance may have been faster.
    if done.rows_affected() > 0 {
        audit_log::write(
            &mut transaction,
            audit_log::Entry {
                who: "recovery",
                action: "recovery.restored",
                counts: serde_json::json!({ "resolved": resolved }),
                ..audit_log::Entry::default()
            },
        )
        .await?;
    }
    transaction.commit().await?;
    tracing::warn!(
        event = "database_restored",
        resolved,
        "the database was set back; everything in the topics is read again"
    );
    Ok(())
}
