//! What PostgreSQL would say of the rows: there already, in conflict, refused, or stored. No row is left behind.

use super::check::{Expected, PredictedFailure};
use super::shown::RowFields;
use super::{DryRunOutcome, Seen};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Prediction;
use crate::persistence_views::{self, StoredEvent};
use crate::replay::jobs::within;
use crate::replay::runner::replay_letter::ReplayLetter;
use contracts::RejectionCode;
use sqlx::PgConnection;
use std::collections::HashMap;
use std::future::ready;
use std::sync::LazyLock;
use store::bisect::bisect;
use store::fate::{Fate, RawEvents, decide};
use store::row::{EventRow, Insert};
use store::scratch;

/// Of this connection alone, and empty in every transaction.
const TABLE: &str = "dry_run_rows";

static INSERT: LazyLock<Insert> = LazyLock::new(|| Insert::into_table(TABLE));

/// What the database knows of some rows.
struct Known {
    /// Of each row, why PostgreSQL refuses it
    refusals: Vec<Option<String>>,
    /// By (source, event id)
    stored: HashMap<(String, String), StoredEvent>,
    events: RawEvents,
}

/// The outcome of each dead letter, given what is expected of it without the database.
pub(super) async fn outcomes(
    recovery: &Context,
    letters: &[ReplayLetter],
    expected: Vec<Expected<'_>>,
    seen: &mut Seen,
) -> Result<Vec<DryRunOutcome>, RecoveryError> {
    let all: Vec<&EventRow<'_>> = expected.iter().filter_map(Expected::row).collect();
    let mut known = within(known(recovery, &all)).await?;
    let mut refusals = std::mem::take(&mut known.refusals).into_iter();
    let outcome = |(letter, expected): (&ReplayLetter, Expected<'_>)| {
        let row = match expected {
            Expected::Row(row) => row,
            Expected::Processed => return DryRunOutcome::processed(letter),
            Expected::Fails(failure) => return DryRunOutcome::fails(letter, failure),
        };
        // In persistence's order: it inserts nothing whose raw record is another event.
        let failure = match (known.events.conflict(&row), refusals.next().flatten()) {
            (Some(conflict), _) => PredictedFailure::new(RejectionCode::Conflict.code(), conflict),
            (None, Some(refusal)) => {
                PredictedFailure::new(RejectionCode::RowRefused.code(), refusal)
            }
            (None, None) => return outcome(letter, &row, known.stored.get(&row.key()), seen),
        };
        DryRunOutcome::fails(letter, failure)
    };
    Ok(letters.iter().zip(expected).map(outcome).collect())
}

async fn known(recovery: &Context, rows: &[&EventRow<'_>]) -> Result<Known, RecoveryError> {
    let mut transaction = recovery.pool.begin().await?;
    let there = persistence_views::is_there(&mut *transaction).await?;
    scratch::create(&mut transaction, TABLE, persistence_views::EVENTS).await?;
    let refusals = refusals(&mut transaction, rows).await?;
    let (mut stored, mut events) = (HashMap::new(), RawEvents::default());
    if there {
        let fine: Vec<&EventRow<'_>> = rows
            .iter()
            .zip(&refusals)
            .filter(|(_, refusal)| refusal.is_none())
            .map(|(row, _)| *row)
            .collect();
        stored = persistence_views::stored_events(&mut transaction, &fine).await?;
        events = persistence_views::raw_events(&mut transaction, rows).await?;
    }
    // What stays is the empty table, for this connection's next page.
    transaction.commit().await?;
    Ok(Known {
        refusals,
        stored,
        events,
    })
}

/// Of each row, why PostgreSQL refuses it.
async fn refusals(
    connection: &mut PgConnection,
    rows: &[&EventRow<'_>],
) -> Result<Vec<Option<String>>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let parts = bisect(
        connection,
        rows,
        |connection, rows| {
            Box::pin(async move {
                INSERT.run(connection, rows).await?;
                Ok(vec![None; rows.len()])
            })
        },
        |_, _, refusal| Box::pin(ready(Ok(vec![Some(refusal.to_string())]))),
    )
    .await?;
    Ok(parts.into_iter().flatten().collect())
}

/// The outcome of a row nothing stands against but what is stored, or would be by an earlier dead letter.
fn outcome(
    letter: &ReplayLetter,
    row: &EventRow<'_>,
    stored: Option<&StoredEvent>,
    seen: &mut Seen,
) -> DryRunOutcome {
    let first = match stored {
        Some(stored) => Some(stored.stored()),
        None => seen.first(row),
    };
    let json = RowFields::of(row).json();
    let raw = first.as_ref().map_or(row.raw, |first| first.raw);
    let (would, code, detail) = match decide(row, first.as_ref()) {
        Fate::Stored => {
            seen.insert(row);
            (Prediction::Store, None, None)
        }
        Fate::StoredBefore => {
            let detail = "this raw record is stored already".to_owned();
            (Prediction::Duplicate, None, Some(detail))
        }
        Fate::Duplicate => {
            let detail = format!(
                "the same event is stored from raw record {}:{}",
                raw.0, raw.1
            );
            (Prediction::Duplicate, None, Some(detail))
        }
        Fate::Conflict(detail) => (
            Prediction::Fail,
            Some(RejectionCode::Conflict),
            Some(detail),
        ),
        Fate::Refused(detail) => (
            Prediction::Fail,
            Some(RejectionCode::RowRefused),
            Some(detail),
        ),
    };
    DryRunOutcome {
        letter: letter.id,
        would,
        code: code.map(|code| code.code()),
        pointer: None,
        detail,
        diff: diff(letter, stored, &json),
        row: Some(json),
    }
}

/// JSON Patch from what is stored to the row; of an edit of what is not stored, from the value before it.
fn diff(
    letter: &ReplayLetter,
    stored: Option<&StoredEvent>,
    row: &serde_json::Value,
) -> Option<serde_json::Value> {
    let patch = match (stored, &letter.edit) {
        (Some(stored), _) => json_patch::diff(&RowFields::of_stored(stored).json(), row),
        (None, Some(edit)) => {
            let before = serde_json::from_slice(letter.value.as_deref()?).ok()?;
            json_patch::diff(&before, &serde_json::from_slice(&edit.value).ok()?)
        }
        (None, None) => return None,
    };
    serde_json::to_value(patch).ok()
}
