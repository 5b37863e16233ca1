//! One JSON Patch (RFC 6902) on every dead letter of a selection: on all or on none.

use super::apply::{self, Author, Change};
use super::idempotency::Idempotency;
use super::ids::{self, IdFields, LiteralId};
use super::selected::{log_entry, needs_confirmation, push_open, unconfirmed, work};
use super::{MAX_BYTES, exact_json, value};
use crate::audit_log::{self, clean};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{EditSummary, Selection};
use crate::query::{known, plain};
use crate::replay::jobs::within;
use crate::replay::runner::replay_letter::{self, ReplayLetter};
use serde_json::Value;
use sqlx::{PgConnection, QueryBuilder};
use std::slice;

/// Most dead letters of one patch: they are locked until it is through.
const MAX_PATCHED: i64 = 100_000;
const PAGE: usize = 100;
/// Most operations of one patch: what fixes a value needs few.
const MAX_OPERATIONS: usize = 100;

pub(super) async fn patch(
    context: &Context,
    author: &Author<'_>,
    selection: &Selection,
    patch: &str,
    key: &str,
    yes: bool,
) -> Result<EditSummary, RecoveryError> {
    apply::name(author.who)?;
    known::check(context, selection).await?;
    let idempotency = Idempotency::new(key, selection, patch)?;
    let patch = parse(patch)?;
    let mut transaction = work(context.pool.begin()).await?;
    if let Some(answer) = within(idempotency.begin(&mut transaction)).await? {
        return Ok(answer);
    }
    let ids = work(selected(&mut transaction, selection)).await?;
    if ids.is_empty() {
        return Err(none_selected());
    }
    if ids.len() as i64 > MAX_PATCHED {
        return Err(RecoveryError::Invalid(format!(
            "more than {MAX_PATCHED} dead letters are selected; patch them in parts with --limit"
        )));
    }
    if needs_confirmation(context, selection, ids.len() as u64) && !yes {
        return Err(unconfirmed("patch", ids.len() as u64));
    }
    let mut edited = EditSummary {
        changed: 0,
        unchanged: 0,
    };
    let mut fields = IdFields::new(context);
    let mut literal: Option<(LiteralId, u64)> = None;
    for page in ids.chunks(PAGE) {
        let letters = work(replay_letter::load(&mut transaction, page)).await?;
        let mut changes: Vec<(ReplayLetter, Change)> = Vec::with_capacity(letters.len());
        for letter in letters {
            let Some((change, id)) = patched(&mut fields, context, &letter, &patch).await? else {
                edited.unchanged += 1;
                continue;
            };
            changes.push((letter, change));
            if let Some(id) = id {
                literal.get_or_insert((id, 0)).1 += 1;
            }
        }
        edited.changed += changes.len() as u64;
        work(apply::write(&mut transaction, author, &changes)).await?;
    }
    if let Some((id, count)) = literal.filter(|(_, count)| *count > 1 && !yes) {
        return Err(one_id_for_many(&id, count));
    }
    let counts = serde_json::json!({"changed": edited.changed, "unchanged": edited.unchanged});
    work(async {
        audit_log::write(
            &mut transaction,
            log_entry(author, "dead_letter.patch", selection, counts),
        )
        .await?;
        idempotency.end(&mut transaction, &edited).await?;
        transaction.commit().await
    })
    .await?;
    Ok(edited)
}

/// A patch as it was written.
pub(super) fn parse(text: &str) -> Result<json_patch::Patch, RecoveryError> {
    let marked =
        exact_json::read(text).map_err(|error| RecoveryError::Invalid(error.to_string()))?;
    let patch: json_patch::Patch = serde_json::from_value(marked).map_err(|error| {
        RecoveryError::Invalid(format!(
            "not a JSON Patch (RFC 6902) such as [{{\"op\":\"replace\",\"path\":\"/payload/currency\",\"value\":\"EUR\"}}]: {error}"
        ))
    })?;
    if patch.len() > MAX_OPERATIONS {
        return Err(RecoveryError::Invalid(format!(
            "the patch has {} operations; at most {MAX_OPERATIONS} are allowed",
            patch.len()
        )));
    }
    Ok(patch)
}

pub(super) fn none_selected() -> RecoveryError {
    RecoveryError::NotFound(
        "no open dead letter is selected; list them with `eventflow dlq ls` and the same selection"
            .to_owned(),
    )
}

/// The refusal of a patch that gives many events or entities the same id.
fn one_id_for_many(id: &LiteralId, count: u64) -> RecoveryError {
    let (pointer, value) = (clean(&id.pointer), plain(&id.value, 100));
    RecoveryError::NeedsConfirmation(format!(
        "this patch would write the same id, {pointer} = {value}, into {count} dead letters, and an id belongs to one event: give each its \
         own with `eventflow dlq edit NUMBER --set {pointer}=VALUE`, or add --yes if this one is true for all of them"
    ))
}

/// What a patch makes of a dead letter, and an id that it writes as it stands.
async fn patched(
    fields: &mut IdFields<'_>,
    context: &Context,
    letter: &ReplayLetter,
    patch: &json_patch::Patch,
) -> Result<Option<(Change, Option<LiteralId>)>, RecoveryError> {
    let text = value::text(context, letter, letter.outgoing()).await?;
    let Some((before, document)) = documents(letter, &text, patch)? else {
        return Ok(None);
    };
    let text = exact_json::write(&document);
    check_size(letter.id, &text)?;
    let id = ids::literal(patch, &fields.of(letter, &text), &before, &document);
    let change = apply::change(context, letter, &text).await?;
    Ok(change.map(|change| (change, id)))
}

/// The text of a dead letter before and after a patch, both with their fields in the same order; nothing when it stays as it is.
pub(super) fn patched_text(
    letter: &ReplayLetter,
    text: &str,
    patch: &json_patch::Patch,
) -> Result<Option<(String, String)>, RecoveryError> {
    let Some((before, document)) = documents(letter, text, patch)? else {
        return Ok(None);
    };
    let text = exact_json::write(&document);
    check_size(letter.id, &text)?;
    Ok(Some((exact_json::write(&before), text)))
}

/// A dead letter's document before and after a patch, where they differ.
fn documents(
    letter: &ReplayLetter,
    text: &str,
    patch: &json_patch::Patch,
) -> Result<Option<(Value, Value)>, RecoveryError> {
    let before = exact_json::read(text).map_err(|error| value::not_json(letter.id, &error))?;
    let mut document = before.clone();
    for (index, operation) in patch.iter().enumerate() {
        json_patch::patch(&mut document, slice::from_ref(operation)).map_err(|mut error| {
            error.operation = index;
            RecoveryError::Invalid(format!(
                "dead letter {} cannot take the patch: {}",
                letter.id,
                clean(&error.to_string())
            ))
        })?;
        // Each copy may double the document; every other operation adds no more than it brings with it.
        if matches!(operation, json_patch::PatchOperation::Copy(_)) {
            check_size(letter.id, &exact_json::write(&document))?;
        }
    }
    Ok((document != before).then_some((before, document)))
}

fn check_size(letter: i64, text: &str) -> Result<(), RecoveryError> {
    if text.len() > MAX_BYTES {
        return Err(RecoveryError::Invalid(format!(
            "dead letter {letter} would have more than {MAX_BYTES} bytes after the patch"
        )));
    }
    Ok(())
}

/// The selection's open dead letters, locked.
async fn selected(
    connection: &mut PgConnection,
    selection: &Selection,
) -> Result<Vec<i64>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT id FROM dead_letters WHERE id IN (");
    push_open(&mut query, selection, "true", i64::MAX, MAX_PATCHED + 1);
    query.push(") AND state = 'open' ORDER BY id FOR UPDATE");
    query.build_query_scalar().fetch_all(connection).await
}
