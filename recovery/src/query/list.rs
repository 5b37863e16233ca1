//! Dead letters in pages, and the groups they form.

use super::{known, select};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{DeadLetter, DeadLetterGroup, DeadLetterPage, Selection};
use sqlx::{PgConnection, QueryBuilder};

/// Dead letters a page, unless the selection has a limit; and at most.
const PAGE: u32 = 100;
pub(super) const MAX_PAGE: u32 = 1000;

/// The columns of [`DeadLetter`], from `dead_letters d` and `groups g`.
macro_rules! columns {
    () => {
        "d.id, d.state, d.group_id AS \"group\", g.stage, g.code, g.source, g.event_type, d.event_id, d.entity_key, d.detail, \
         d.consumer_group, d.disposition, d.attempts, d.replay_count, d.first_failed_at, d.last_failed_at, \
         d.origin_topic || ':' || d.origin_partition || ':' || d.origin_offset AS origin, d.edit_id IS NOT NULL AS edited, \
         d.job_id AS job, d.resolution, d.reason, d.unproven, d.genuine_by, d.genuine_reason"
    };
}
pub(super) use columns;

/// Dead letters of a selection (open ones, unless it says), the newest first; `before` continues after a page.
///
/// # Errors
/// [`RecoveryError`]
pub async fn dead_letters(
    context: &Context,
    selection: &Selection,
    before: Option<i64>,
) -> Result<DeadLetterPage, RecoveryError> {
    known::check(context, selection).await?;
    let limit = selection.limit.unwrap_or(PAGE).min(MAX_PAGE);
    let mut connection = context.pool.acquire().await?;
    let page = select::page(&mut connection, selection, before, limit).await?;
    let letters = by_ids(&mut connection, &page.ids).await?;
    let whole = before.is_none() && letters.len() < limit as usize;
    let total = page.total.or(whole.then_some(letters.len() as i64));
    let last_settled_at =
        sqlx::query_scalar("SELECT max(settled_at) FROM dead_letters WHERE settled_at IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
    Ok(DeadLetterPage {
        letters,
        total,
        last_settled_at,
    })
}

async fn by_ids(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<Vec<DeadLetter>, RecoveryError> {
    let letters = sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM dead_letters d JOIN groups g ON g.id = d.group_id WHERE d.id = ANY($1) ORDER BY d.id DESC"
    ));
    Ok(letters.bind(ids).fetch_all(connection).await?)
}

/// Groups with dead letters in the selection's states, the largest first.
///
/// # Errors
/// [`RecoveryError`]
pub async fn groups(
    context: &Context,
    selection: &Selection,
) -> Result<Vec<DeadLetterGroup>, RecoveryError> {
    known::check(context, selection).await?;
    let limit = i64::from(selection.limit.unwrap_or(MAX_PAGE));
    let mut query = QueryBuilder::new(
        "SELECT g.id, g.stage, g.code, g.source, g.event_type, g.open, g.replaying, g.resolved, g.discarded, g.first_seen, \
         g.last_seen, g.sample FROM ",
    );
    let Selection {
        id,
        event_id,
        entity_key,
        contains,
        since,
        until,
        ..
    } = selection;
    let filters_letters = !id.is_empty()
        || event_id.is_some()
        || entity_key.is_some()
        || contains.is_some()
        || since.is_some()
        || until.is_some();
    if filters_letters {
        // The counters know nothing of such filters: counted.
        query.push(
            "(SELECT d.group_id AS id, count(*) FILTER (WHERE d.state = 'open') AS open, \
             count(*) FILTER (WHERE d.state = 'replaying') AS replaying, count(*) FILTER (WHERE d.state = 'resolved') AS resolved, \
             count(*) FILTER (WHERE d.state = 'discarded') AS discarded, count(*) AS n, min(d.first_failed_at) AS first_seen, \
             max(d.last_failed_at) AS last_seen, max(d.id) AS sample FROM dead_letters d WHERE ",
        );
        select::push_conditions(&mut query, selection);
        query.push(
            " GROUP BY d.group_id) c JOIN LATERAL (SELECT c.id, stage, code, source, event_type, c.open, c.replaying, c.resolved, \
             c.discarded, c.first_seen, c.last_seen, c.sample, c.n FROM groups WHERE groups.id = c.id) g ON true",
        );
    } else {
        query.push("(SELECT *, ");
        select::push_count(&mut query, selection);
        query.push(" AS n FROM groups) g WHERE g.n > 0");
        select::push_group_filters(&mut query, selection);
    }
    query
        .push(" ORDER BY g.n DESC, g.id LIMIT ")
        .push_bind(limit);
    let mut connection = context.pool.acquire().await?;
    select::with_timeout(&mut connection, query).await
}
