//! Stored events frozen into the items of a job.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Job, JobKind, Selection};
use crate::persistence_views;
use crate::replay::jobs;
use sqlx::PgConnection;

/// Freezes stored events into a job: of these sources, types and times of receipt, those that are stored under the generic contract or an older
/// version of one of today's. The same `key` again answers the same job.
///
/// # Errors
/// [`RecoveryError::NotFound`] when there are none, [`RecoveryError::Invalid`] for a selection without a source or by anything else.
pub async fn plan(
    context: &Context,
    who: &str,
    selection: &Selection,
    reason: &str,
    key: &str,
) -> Result<Job, RecoveryError> {
    check(selection)?;
    jobs::plan_kind(
        context,
        JobKind::Revalidation,
        who,
        selection,
        reason,
        key,
        None,
    )
    .await
}

fn check(selection: &Selection) -> Result<(), RecoveryError> {
    let Selection {
        source,
        event_type,
        since,
        until,
        limit,
        ..
    } = selection.clone();
    if source.is_empty() {
        return Err(RecoveryError::Invalid(
            "name the source whose stored events are to be validated again".to_owned(),
        ));
    }
    let taken = Selection {
        source,
        event_type,
        since,
        until,
        limit,
        ..Selection::default()
    };
    if taken == *selection {
        return Ok(());
    }
    Err(RecoveryError::Invalid(
        "stored events are selected by source, event_type, since, until and limit, and by nothing else".to_owned(),
    ))
}

/// The items in one statement. Answers how many.
pub(crate) async fn freeze(
    connection: &mut PgConnection,
    context: &Context,
    id: &str,
    selection: &Selection,
    most: i64,
) -> Result<i64, RecoveryError> {
    if !persistence_views::is_there(&mut *connection).await? {
        return Ok(0);
    }
    let frozen = sqlx::query(persistence_views::FREEZE_ROWS)
        .bind(id)
        .bind(&selection.source)
        .bind(context.contracts.outdone())
        .bind(&selection.event_type)
        .bind(selection.since)
        .bind(selection.until)
        .bind(most)
        .execute(connection)
        .await?;
    Ok(i64::try_from(frozen.rows_affected()).unwrap_or(i64::MAX))
}
