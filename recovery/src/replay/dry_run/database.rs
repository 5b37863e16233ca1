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
use std::collections::HashMap;
use std::sync::LazyLock;
use store::copies::Copies;
use store::fate::{Fate, RawEvents, decide};
use store::refused::Refusals;
use store::row::{EventRow, Insert};
use store::scratch;

/// Of this connection alone, and empty in every transaction.
const TABLE: &str = "dry_run_rows";

static INSERT: LazyLock<Insert> = LazyLock::new(|| Insert::into_table(TABLE));

static COPIES: LazyLock<Copies> =
    LazyLock::new(|| Copies::among(persistence_views::BODIES, persistence_views::STORED_EVENTS));

/// What the database knows of some rows.
struct Known {
    refusals: Refusals,
    /// By (source, event id)
    stored: HashMap<(String, String), StoredEvent>,
    events: RawEvents,
    /// By index, the id under which the signed body is stored
    copies: HashMap<usize, String>,
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
    let mut place = 0..;
    let outcome = |(letter, expected): (&ReplayLetter, Expected<'_>)| {
        let row = match expected {
            Expected::Row(row) => row,
            Expected::Processed => return DryRunOutcome::processed(letter),
            Expected::Filtered(rule) => return DryRunOutcome::filtered(letter, &rule),
            Expected::Fails(failure) => return DryRunOutcome::fails(letter, failure),
        };
        // In persistence's order: it inserts nothing whose raw record is another event.
        let refusal = refusals.next().flatten();
        let copy = place.next().and_then(|place| known.copies.get(&place));
        let conflict = match refusal {
            Some(_) => known.events.conflict_of_refused(&row),
            None => known.events.conflict(&row),
        };
        let failure = match (conflict, refusal) {
            (Some(conflict), _) => PredictedFailure::new(RejectionCode::Conflict.code(), conflict),
            (None, Some(refusal)) => {
                PredictedFailure::new(RejectionCode::RowRefused.code(), refusal.to_string())
            }
            (None, None) => {
                let copy = copy.cloned().or_else(|| seen.body(&row));
                return outcome(letter, &row, copy, known.stored.get(&row.key()), seen);
            }
        };
        DryRunOutcome::fails(letter, failure)
    };
    Ok(letters.iter().zip(expected).map(outcome).collect())
}

async fn known(recovery: &Context, rows: &[&EventRow<'_>]) -> Result<Known, RecoveryError> {
    let mut transaction = recovery.pool.begin().await?;
    let there = persistence_views::is_there(&mut *transaction).await?;
    scratch::create(&mut transaction, TABLE, persistence_views::EVENTS).await?;
    let refusals = INSERT.refusals(&mut transaction, rows).await?;
    let (mut stored, mut events) = (HashMap::new(), RawEvents::default());
    let mut copies = HashMap::new();
    if there {
        let fine: Vec<&EventRow<'_>> = rows
            .iter()
            .zip(&refusals)
            .filter(|(_, refusal)| refusal.is_none())
            .map(|(row, _)| *row)
            .collect();
        stored = persistence_views::stored_events(&mut transaction, &fine).await?;
        events = persistence_views::raw_events(&mut transaction, rows).await?;
        // A refused row has no text that can be asked for.
        let places: Vec<usize> = (0..rows.len())
            .filter(|place| refusals[*place].is_none())
            .collect();
        copies = COPIES.find(&mut transaction, &fine).await?;
        copies = copies
            .into_iter()
            .map(|(place, first)| (places[place], first))
            .collect();
    }
    // What stays is the empty table, for this connection's next page.
    transaction.commit().await?;
    Ok(Known {
        refusals,
        stored,
        events,
        copies,
    })
}

/// The outcome of a row nothing stands against but what is stored, or would be by an earlier dead letter.
fn outcome(
    letter: &ReplayLetter,
    row: &EventRow<'_>,
    copy: Option<String>,
    stored: Option<&StoredEvent>,
    seen: &mut Seen,
) -> DryRunOutcome {
    let first = match stored {
        Some(stored) => Some(stored.beside(row)),
        None => seen.first(row),
    };
    let json = RowFields::of(row).json();
    let raw = first.as_ref().map_or(&row.raw, |first| &first.raw);
    let fate = match copy {
        Some(first) => Fate::Copy(first),
        None => decide(row, first.as_ref()),
    };
    let (would, code, detail) = match fate {
        Fate::Stored => {
            seen.insert(row);
            (Prediction::Store, None, None)
        }
        Fate::StoredBefore if letter.revalidates.is_some() => {
            let detail = format!(
                "today's contracts give it {}, which says no more than the one that its row has",
                row.contract.unwrap_or("none")
            );
            (Prediction::Unchanged, Some("unchanged"), Some(detail))
        }
        Fate::StoredBefore => {
            let detail = "this raw record is stored already".to_owned();
            (Prediction::Duplicate, None, Some(detail))
        }
        Fate::Retyped => {
            let before = stored.and_then(|stored| stored.contract.as_deref());
            let detail = format!(
                "its row has contract {} and would have {}",
                before.unwrap_or_default(),
                row.contract.unwrap_or_default()
            );
            (Prediction::Retype, None, Some(detail))
        }
        Fate::Copy(first) => {
            let detail = format!("the same signed body is stored as event {first}");
            (Prediction::Duplicate, None, Some(detail))
        }
        Fate::Duplicate => {
            let detail = format!("the same event is stored from raw record {raw}");
            (Prediction::Duplicate, None, Some(detail))
        }
        Fate::Conflict(detail) => (
            Prediction::Fail,
            Some(RejectionCode::Conflict.code()),
            Some(detail),
        ),
        Fate::Refused(detail) => (
            Prediction::Fail,
            Some(RejectionCode::RowRefused.code()),
            Some(detail),
        ),
    };
    DryRunOutcome {
        letter: letter.id,
        would,
        code,
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
