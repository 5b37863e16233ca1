//! A [`Selection`] as SQL. Every value is bound, never spliced.

use crate::error::Refusal;
use crate::model::{Selection, State};
use sqlx::{PgConnection, Postgres, QueryBuilder};

impl State {
    /// As the database and the API spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replaying => "replaying",
            Self::Resolved => "resolved",
            Self::Discarded => "discarded",
        }
    }
}

/// The states of a selection: open ones, unless it says.
pub(crate) fn states(selection: &Selection) -> Vec<&'static str> {
    if selection.state.is_empty() { vec![State::Open.word()] } else { selection.state.iter().map(|state| state.word()).collect() }
}

/// Appends the selection's conditions on `d` (of dead_letters), without its limit.
pub(crate) fn push_conditions(query: &mut QueryBuilder<Postgres>, selection: &Selection) {
    query.push("d.state = ANY(").push_bind(states(selection)).push(")");
    for (column, values) in [
        ("stage", &selection.stage),
        ("code", &selection.code),
        ("source", &selection.source),
        ("event_type", &selection.event_type),
    ] {
        if !values.is_empty() {
            query
                .push(format!(" AND d.group_id IN (SELECT id FROM groups WHERE {column} = ANY("))
                .push_bind(values.clone())
                .push("))");
        }
    }
    for (column, values) in [("id", &selection.id), ("group_id", &selection.group)] {
        if !values.is_empty() {
            query.push(format!(" AND d.{column} = ANY(")).push_bind(values.clone()).push(")");
        }
    }
    for (column, value) in [("event_id", &selection.event_id), ("entity_key", &selection.entity_key)] {
        if let Some(value) = value {
            query.push(format!(" AND d.{column} = ")).push_bind(value.clone());
        }
    }
    if let Some(since) = selection.since {
        query.push(" AND d.last_failed_at >= ").push_bind(since);
    }
    if let Some(until) = selection.until {
        query.push(" AND d.last_failed_at < ").push_bind(until);
    }
    if let Some(words) = &selection.contains {
        let pattern = words.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        query.push(" AND d.detail ILIKE ").push_bind(format!("%{pattern}%"));
    }
}

/// The dead letters of a selection, the newest first, at most `most` and the selection's own limit.
pub(crate) async fn ids(connection: &mut PgConnection, selection: &Selection, most: u32) -> Result<Vec<i64>, Refusal> {
    let mut query = QueryBuilder::new("SELECT d.id FROM dead_letters d WHERE ");
    push_conditions(&mut query, selection);
    query.push(" ORDER BY d.id DESC LIMIT ").push_bind(i64::from(selection.limit.unwrap_or(most).min(most)));
    Ok(query.build_query_scalar().fetch_all(connection).await?)
}
