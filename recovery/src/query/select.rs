//! A [`Selection`] as SQL. Every value is bound, never spliced.
//!
//! Three ways to the newest ids, so that none of them reads what it does not list: state and group filters alone go from group to group
//! along one index; a time range is answered from one index without a row; the rest is selective by itself (an id, an event id), or words
//! in the detail, which may scan, for so long and no longer.

use crate::error::RecoveryError;
use crate::index::row::{NAME_BYTES, clean, name};
use crate::model::{DeadLetterState, Selection};
use sqlx::postgres::PgRow;
use sqlx::{Acquire as _, FromRow, PgConnection, Postgres, QueryBuilder};

/// Longest a query may take the database.
const TIMEOUT: &str = "SET LOCAL statement_timeout = '5s'";

/// The same, and no sorting.
const ALONG_AN_INDEX: &str = "SET LOCAL statement_timeout = '5s'; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off";

/// The states of a selection: open ones, unless it says.
fn states(selection: &Selection) -> Vec<DeadLetterState> {
    if selection.state.is_empty() {
        vec![DeadLetterState::Open]
    } else {
        selection.state.clone()
    }
}

/// The columns of groups that a selection narrows, and to what.
fn of_groups(selection: &Selection) -> impl Iterator<Item = (&'static str, Vec<String>)> {
    let Selection {
        stage,
        code,
        source,
        event_type,
        ..
    } = selection;
    [
        ("stage", stage),
        ("code", code),
        ("source", source),
        ("event_type", event_type),
    ]
    .into_iter()
    .filter(|(_, values)| !values.is_empty())
    .map(|(column, values)| {
        (
            column,
            values
                .iter()
                .map(|value| clean(value.into()).into_owned())
                .collect(),
        )
    })
}

/// Appends the selection's conditions on `d` (of dead_letters), without its limit.
pub(crate) fn push_conditions(query: &mut QueryBuilder<Postgres>, selection: &Selection) {
    query
        .push("d.state = ANY(")
        .push_bind(states(selection))
        .push(")");
    for (column, values) in of_groups(selection) {
        query
            .push(format!(
                " AND d.group_id IN (SELECT id FROM groups WHERE {column} = ANY("
            ))
            .push_bind(values)
            .push("))");
    }
    for (column, values) in [("id", &selection.id), ("group_id", &selection.group)] {
        if !values.is_empty() {
            query
                .push(format!(" AND d.{column} = ANY("))
                .push_bind(values.clone())
                .push(")");
        }
    }
    for (column, value) in [
        ("event_id", &selection.event_id),
        ("entity_key", &selection.entity_key),
    ] {
        if let Some(value) = value {
            query
                .push(format!(" AND d.{column} = "))
                .push_bind(name(value.into(), NAME_BYTES).into_owned());
        }
    }
    if let Some(since) = selection.since {
        query.push(" AND d.last_failed_at >= ").push_bind(since);
    }
    if let Some(until) = selection.until {
        query.push(" AND d.last_failed_at < ").push_bind(until);
    }
    if let Some(words) = &selection.contains {
        let pattern = clean(words.into())
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        query
            .push(" AND d.detail ILIKE ")
            .push_bind(format!("%{pattern}%"));
    }
}

/// Ids of a selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) ids: Vec<i64>,
    /// How many match in all, where that costs nothing to know
    pub(crate) total: Option<i64>,
}

/// The newest ids of a selection before an id, at most `limit`.
pub(crate) async fn page(
    connection: &mut PgConnection,
    selection: &Selection,
    before: Option<i64>,
    limit: u32,
) -> Result<Page, RecoveryError> {
    let before = before.unwrap_or(i64::MAX);
    let limit = i64::from(limit);
    let Selection {
        id,
        event_id,
        entity_key,
        contains,
        since,
        until,
        ..
    } = selection;
    if !id.is_empty() || event_id.is_some() || entity_key.is_some() || contains.is_some() {
        let mut query = QueryBuilder::new("SELECT d.id FROM dead_letters d WHERE ");
        push_conditions(&mut query, selection);
        query
            .push(" AND d.id < ")
            .push_bind(before)
            .push(" ORDER BY d.id DESC LIMIT ")
            .push_bind(limit);
        return Ok(Page {
            ids: ids_with_timeout(connection, query).await?,
            total: None,
        });
    }
    let groups = groups(connection, selection).await?;
    let numbers: Vec<i64> = groups.iter().map(|(group, _)| *group).collect();
    if since.is_some() || until.is_some() {
        let mut query = QueryBuilder::new("SELECT d.id FROM dead_letters d WHERE d.state = ANY(");
        query
            .push_bind(states(selection))
            .push(") AND d.group_id = ANY(")
            .push_bind(numbers)
            .push(")");
        if let Some(since) = since {
            query.push(" AND d.last_failed_at >= ").push_bind(*since);
        }
        if let Some(until) = until {
            query.push(" AND d.last_failed_at < ").push_bind(*until);
        }
        // Not the column itself: in the primary key's order the planner would walk all that is newer than the range.
        query
            .push(" AND d.id < ")
            .push_bind(before)
            .push(" ORDER BY d.id + 0 DESC LIMIT ")
            .push_bind(limit);
        return Ok(Page {
            ids: ids_with_timeout(connection, query).await?,
            total: None,
        });
    }
    let ids = along_groups(connection, &numbers, &states(selection), before, limit).await?;
    Ok(Page {
        ids,
        total: Some(groups.iter().map(|(_, count)| count).sum()),
    })
}

/// Of every group and state the newest id; of the `limit` newest of those, all that could be listed. No other group can have one of them.
///
/// Whole rows are compared, not columns with constants: only this index gives that order, so the planner cannot take the primary key,
/// which would walk through all other groups.
async fn along_groups(
    connection: &mut PgConnection,
    groups: &[i64],
    states: &[DeadLetterState],
    before: i64,
    limit: i64,
) -> Result<Vec<i64>, RecoveryError> {
    let ids = sqlx::query_scalar(
        "WITH heads AS MATERIALIZED (
             SELECT g.id AS group_id, s.state, head.id AS newest
             FROM UNNEST($1::bigint[]) AS g (id) CROSS JOIN UNNEST($2::text[]) AS s (state)
             CROSS JOIN LATERAL (
                 SELECT d.id FROM dead_letters d
                 WHERE (d.group_id, d.state, d.id) < (g.id, s.state, $3) AND (d.group_id, d.state, d.id) > (g.id, s.state, 0)
                 ORDER BY d.group_id DESC, d.state DESC, d.id DESC LIMIT 1) head
             ORDER BY newest DESC LIMIT $4)
         SELECT letter.id FROM heads
         CROSS JOIN LATERAL (
             SELECT d.id FROM dead_letters d
             WHERE (d.group_id, d.state, d.id) < (heads.group_id, heads.state, $3)
               AND (d.group_id, d.state, d.id) > (heads.group_id, heads.state, 0)
             ORDER BY d.group_id DESC, d.state DESC, d.id DESC LIMIT $4) letter
         ORDER BY letter.id DESC LIMIT $4",
    )
    .bind(groups)
    .bind(states)
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(ids)
}

/// Groups the selection's group filters let through that have dead letters in its states, with how many.
pub(crate) async fn groups(
    connection: &mut PgConnection,
    selection: &Selection,
) -> Result<Vec<(i64, i64)>, RecoveryError> {
    let mut query = QueryBuilder::new("SELECT g.id, g.n FROM (SELECT *, ");
    push_count(&mut query, selection);
    query.push(" AS n FROM groups) g WHERE g.n > 0");
    push_group_filters(&mut query, selection);
    Ok(query.build_query_as().fetch_all(connection).await?)
}

/// The count of a group's dead letters in the selection's states. The words are ours, not the asker's.
pub(crate) fn push_count(query: &mut QueryBuilder<Postgres>, selection: &Selection) {
    let mut states = states(selection);
    states.sort_unstable();
    states.dedup();
    let columns: Vec<&str> = states.into_iter().map(DeadLetterState::as_str).collect();
    query.push("(").push(columns.join(" + ")).push(")");
}

/// Appends the group filters on `g` (of groups).
pub(crate) fn push_group_filters(query: &mut QueryBuilder<Postgres>, selection: &Selection) {
    for (column, values) in of_groups(selection) {
        query
            .push(format!(" AND g.{column} = ANY("))
            .push_bind(values)
            .push(")");
    }
    if !selection.group.is_empty() {
        query
            .push(" AND g.id = ANY(")
            .push_bind(selection.group.clone())
            .push(")");
    }
}

/// Runs a query that may scan, for so long and no longer. Inside somebody's transaction the limit ends with the query.
pub(crate) async fn with_timeout<T>(
    connection: &mut PgConnection,
    query: QueryBuilder<Postgres>,
) -> Result<Vec<T>, RecoveryError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    with_settings(connection, TIMEOUT, query).await
}

/// As [`with_timeout`], and every order comes from an index: a limit then bounds the rows that are read, whatever the statistics say.
pub(crate) async fn along_an_index<T>(
    connection: &mut PgConnection,
    query: QueryBuilder<Postgres>,
) -> Result<Vec<T>, RecoveryError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    with_settings(connection, ALONG_AN_INDEX, query).await
}

async fn with_settings<T>(
    connection: &mut PgConnection,
    settings: &'static str,
    mut query: QueryBuilder<Postgres>,
) -> Result<Vec<T>, RecoveryError>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let mut guard = connection.begin().await?;
    sqlx::raw_sql(settings).execute(&mut *guard).await?;
    let rows = query
        .build_query_as()
        .fetch_all(&mut *guard)
        .await
        .map_err(too_long)?;
    // Taken back, not committed: that ends the limit, also where the transaction is the caller's.
    guard.rollback().await?;
    Ok(rows)
}

async fn ids_with_timeout(
    connection: &mut PgConnection,
    query: QueryBuilder<Postgres>,
) -> Result<Vec<i64>, RecoveryError> {
    let ids: Vec<(i64,)> = with_timeout(connection, query).await?;
    Ok(ids.into_iter().map(|(id,)| id).collect())
}

fn too_long(error: sqlx::Error) -> RecoveryError {
    if store::fault::sqlstate(&error).as_deref() == Some("57014") {
        return RecoveryError::Invalid(
            "the selection takes the database too long; narrow it with --code, --group or --since"
                .to_owned(),
        );
    }
    error.into()
}
