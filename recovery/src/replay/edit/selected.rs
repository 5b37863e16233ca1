//! What changes of many dead letters have in common: what is selected, whether it must be confirmed, how it is logged.

use super::apply::Author;
use crate::audit_log::Entry;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Selection;
use crate::query::select::push_conditions;
use crate::replay::jobs::within;
use sqlx::QueryBuilder;

/// The refusal of a change that is larger than people expect.
pub(super) fn unconfirmed(what: &str, count: u64) -> RecoveryError {
    RecoveryError::NeedsConfirmation(format!(
        "this would {what} {count} dead letters; list them with `eventflow dlq ls` and the same selection, then add --yes"
    ))
}

pub(super) fn needs_confirmation(context: &Context, selection: &Selection, count: u64) -> bool {
    !selection.has_filter()
        || usize::try_from(count).is_ok_and(|count| count > context.args.confirm_above)
}

pub(super) fn log_entry<'a>(
    author: &Author<'a>,
    action: &'a str,
    selection: &Selection,
    mut counts: serde_json::Value,
) -> Entry<'a> {
    counts["selection"] = serde_json::to_value(selection).unwrap_or_default();
    let letter = if let [one] = selection.id.as_slice() {
        Some(*one)
    } else {
        None
    };
    Entry {
        who: author.who,
        action,
        letter,
        reason: author.reason,
        counts,
        job: None,
    }
}

/// Database work. A statement that took too long is not an outage: asked again, it would take as long.
pub(super) async fn work<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, RecoveryError> {
    within(async { work.await.map_err(too_long) }).await
}

fn too_long(error: sqlx::Error) -> RecoveryError {
    match store::fault::sqlstate(&error).as_deref() {
        Some("57014") => RecoveryError::Invalid(
            "the selection takes the database too long; narrow it with --code, --group or --since, or work in parts with --limit"
                .to_owned(),
        ),
        _ => error.into(),
    }
}

/// Appends a query for the numbers of a selection's open dead letters `d`, the newest first; only those of which `also` holds.
pub(super) fn push_open(
    query: &mut QueryBuilder<sqlx::Postgres>,
    selection: &Selection,
    also: &'static str,
    up_to: i64,
    max: i64,
) {
    query
        .push("SELECT d.id FROM dead_letters d WHERE d.state = 'open' AND d.id <= ")
        .push_bind(up_to)
        .push(" AND ");
    push_conditions(query, selection);
    query
        .push(" AND ")
        .push(also)
        .push(" ORDER BY d.id DESC LIMIT ")
        .push_bind(selection.limit.map_or(max, i64::from).min(max));
}
