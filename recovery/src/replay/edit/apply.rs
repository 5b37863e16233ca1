//! One edit: what it changes, and the change written.

use super::{MAX_BYTES, exact_json, key, value};
use crate::audit_log::clean;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::index::row::entity_key;
use crate::model::DeadLetterState;
use crate::query::no_such_dead_letter;
use crate::replay::runner::no_destination;
use crate::replay::runner::replay_letter::{self, ReplayLetter};
use sqlx::PgConnection;
use std::borrow::Cow;

/// Who edits, and why.
pub(super) struct Author<'a> {
    pub(super) who: &'a str,
    pub(super) reason: &'a str,
}

/// What an edit makes of a value.
pub(super) enum Change {
    To(EditedTo),
    /// The original again
    Back,
}

/// A new value.
pub(super) struct EditedTo {
    value: Vec<u8>,
    /// That a replay of it is sent with
    key: Option<Vec<u8>>,
    /// JSON Patch from the original, for people
    patch: String,
}

pub(super) fn name(who: &str) -> Result<(), RecoveryError> {
    if who.trim().is_empty() {
        return Err(RecoveryError::Invalid(
            "give the name of who makes the change".to_owned(),
        ));
    }
    Ok(())
}

pub(super) fn size(text: &str) -> Result<(), RecoveryError> {
    if text.len() > MAX_BYTES {
        return Err(RecoveryError::Invalid(format!(
            "the edited value has {} bytes; it must have at most {MAX_BYTES}",
            text.len()
        )));
    }
    Ok(())
}

/// The dead letter, locked, if it can be edited.
pub(super) async fn open_letter(
    connection: &mut PgConnection,
    id: i64,
) -> Result<ReplayLetter, RecoveryError> {
    let letter = replay_letter::lock(connection, &[id])
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| no_such_dead_letter(id))?;
    open(letter)
}

/// It, if it can be edited.
pub(super) fn open(letter: ReplayLetter) -> Result<ReplayLetter, RecoveryError> {
    if letter.state != DeadLetterState::Open {
        return Err(RecoveryError::WrongState(format!(
            "dead letter {} is {}; only open ones can be edited",
            letter.id, letter.state
        )));
    }
    Ok(letter)
}

/// What a new text changes; nothing when it is what would be sent anyway.
pub(super) async fn change(
    context: &Context,
    letter: &ReplayLetter,
    text: &str,
) -> Result<Option<Change>, RecoveryError> {
    if context.pipeline.retry_of(&letter.group).is_none() {
        let why = no_destination(&context.pipeline, &letter.group);
        return Err(RecoveryError::WrongState(format!(
            "dead letter {} cannot be replayed, so it cannot be edited: {why}",
            letter.id
        )));
    }
    let now = value::text(context, letter, letter.outgoing()).await?;
    if text == now
        && letter.outgoing().is_some_and(|sent| {
            value::stage_of_avro(context, letter).is_some()
                || *value::opened(context, letter, sent) == *text.as_bytes()
        })
    {
        return Ok(None);
    }
    let original = match &letter.edit {
        None => now,
        Some(_) => value::text(context, letter, letter.value.as_deref()).await?,
    };
    let bytes = value::bytes(context, letter, text)
        .await
        .map_err(|refusal| value::of_letter(letter.id, refusal))?;
    value::same_event(context, letter, &original, text)?;
    let key = key::of_edit(context, letter, &original, text)?;
    if letter.outgoing() == Some(&bytes) {
        return Ok(None);
    }
    if letter.value.as_deref() == Some(&bytes) {
        return Ok(Some(Change::Back));
    }
    Ok(Some(Change::To(EditedTo {
        value: bytes,
        key,
        patch: patch_between(&original, text),
    })))
}

/// From the original to the edited text; of an original that is no JSON, the whole.
fn patch_between(original: &str, edited: &str) -> String {
    let edited = exact_json::read(edited).unwrap_or_default();
    let patch = match exact_json::read(original) {
        Ok(original) => {
            serde_json::to_value(json_patch::diff(&original, &edited)).unwrap_or_default()
        }
        Err(_) => serde_json::json!([{"op": "replace", "path": "", "value": edited}]),
    };
    exact_json::write(&patch)
}

/// Writes edits: the new values, and what a replay sends from now on. The originals stay.
pub(super) async fn write(
    connection: &mut PgConnection,
    author: &Author<'_>,
    changes: &[(ReplayLetter, Change)],
) -> Result<(), sqlx::Error> {
    let mut edits: Vec<(i64, &EditedTo)> = Vec::new();
    // What a dead letter is found by follows what would be sent.
    let mut found_by: Vec<(i64, Option<Cow<'_, str>>)> = Vec::new();
    let mut back = Vec::new();
    for (letter, change) in changes {
        let key = match change {
            Change::To(edit) => {
                edits.push((letter.id, edit));
                edit.key.as_deref()
            }
            Change::Back => {
                back.push(letter.id);
                letter.key.as_deref()
            }
        };
        found_by.push((letter.id, entity_key(key)));
    }
    let (ids, edits): (Vec<i64>, Vec<&EditedTo>) = edits.into_iter().unzip();
    sqlx::query(
        "WITH made AS (INSERT INTO edits (dead_letter_id, edited_by, reason, value, key, patch)
                       SELECT e.id, $5, $6, e.value, e.key, e.patch::json
                       FROM UNNEST($1::bigint[], $2::bytea[], $3::bytea[], $4::text[]) AS e (id, value, key, patch)
                       RETURNING id, dead_letter_id)
         UPDATE dead_letters d SET edit_id = made.id FROM made WHERE d.id = made.dead_letter_id",
    )
    .bind(ids)
    .bind(edits.iter().map(|edit| &*edit.value).collect::<Vec<_>>())
    .bind(edits.iter().map(|edit| edit.key.as_deref()).collect::<Vec<_>>())
    .bind(edits.iter().map(|edit| &*edit.patch).collect::<Vec<_>>())
    .bind(clean(author.who))
    .bind(clean(author.reason))
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE dead_letters SET edit_id = NULL WHERE id = ANY($1)")
        .bind(back)
        .execute(&mut *connection)
        .await?;
    let (ids, keys): (Vec<i64>, Vec<Option<Cow<'_, str>>>) = found_by.into_iter().unzip();
    sqlx::query(
        "UPDATE dead_letters d SET entity_key = f.key FROM UNNEST($1::bigint[], $2::text[]) AS f (id, key)
         WHERE d.id = f.id AND d.entity_key IS DISTINCT FROM f.key",
    )
    .bind(ids)
    .bind(keys)
    .execute(connection)
    .await
    .map(drop)
}
