//! A dead letter's value changed by a person, checked before it is taken; the original stays. And dead letters discarded, or said to be genuine.
//!
//! An edit fixes a value; it does not make another event of it. Where the original says which event it is (its event id, and its source
//! when no `ef.source` header says it), the edited value must say the same: under another id the vendor's next delivery would be stored
//! beside it, one event twice (P5), and a replay would no longer be the same replay (P8). An id that is itself at fault may be changed.

mod apply;
mod decision;
mod exact_json;
mod idempotency;
mod ids;
mod key;
mod patch;
mod preview;
mod selected;
mod value;

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{EditSummary, Selection};
use crate::query::no_such_dead_letter;
use crate::replay::jobs::within;
use decision::{DISCARD, GENUINE};
pub use preview::{check, preview};
use serde_json::Value;
use sqlx::Connection;

/// Longest edited value: the largest record a Kafka client sends by default.
const MAX_BYTES: usize = 1_000_000;

/// The value as the text a person edits: what would be sent by a replay now.
///
/// # Errors
/// [`RecoveryError`]
pub async fn editable_text(context: &Context, id: i64) -> Result<String, RecoveryError> {
    let letter = within(async {
        let mut connection = context.pool.acquire().await?;
        Ok(crate::replay::runner::replay_letter::load(&mut connection, &[id]).await?)
    });
    let letter = letter
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| no_such_dead_letter(id))?;
    value::text(context, &letter, letter.outgoing()).await
}

/// Takes a new value for one dead letter. By nature idempotent: the same value again changes nothing.
///
/// # Errors
/// [`RecoveryError::StillBroken`] when the value breaks its contract; nothing is changed then.
pub async fn edit(
    context: &Context,
    who: &str,
    id: i64,
    text: &str,
    reason: &str,
) -> Result<EditSummary, RecoveryError> {
    apply::name(who)?;
    apply::size(text)?;
    within(async {
        let mut connection = context.pool.acquire().await?;
        let mut transaction = connection.begin().await?;
        let letter = apply::open_letter(&mut transaction, id).await?;
        let Some(change) = apply::change(context, &letter, text).await? else {
            return Ok(EditSummary {
                changed: 0,
                unchanged: 1,
            });
        };
        let author = apply::Author { who, reason };
        apply::write(&mut transaction, &author, &[(letter, change)]).await?;
        let counts = serde_json::json!({"changed": 1});
        let entry = crate::audit_log::Entry {
            who,
            action: "dead_letter.edit",
            letter: Some(id),
            reason,
            counts,
            job: None,
        };
        crate::audit_log::write(&mut transaction, entry).await?;
        transaction.commit().await?;
        Ok(EditSummary {
            changed: 1,
            unchanged: 0,
        })
    })
    .await
}

/// A new value as people write it: JSON where it is JSON, text otherwise; a number whose digits JSON would change is a text.
#[must_use]
pub fn written(value: &str) -> Value {
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Number(number)) if number.to_string() != value => Value::from(value),
        Ok(json) => json,
        Err(_) => Value::from(value),
    }
}

/// Applies a JSON Patch (RFC 6902) to every dead letter of a selection: to all or, when one would still be broken, to none. The same
/// `key` again changes nothing and answers the same.
///
/// # Errors
/// [`RecoveryError`], naming the first dead letter that cannot take it.
pub async fn patch(
    context: &Context,
    who: &str,
    selection: &Selection,
    patch: &str,
    reason: &str,
    key: &str,
    yes: bool,
) -> Result<EditSummary, RecoveryError> {
    patch::patch(
        context,
        &apply::Author { who, reason },
        selection,
        patch,
        key,
        yes,
    )
    .await
}

/// Discards the open dead letters of a selection, in parts: each is done and logged as it is discarded. Returns how many.
///
/// # Errors
/// [`RecoveryError`]
pub async fn discard(
    context: &Context,
    who: &str,
    selection: &Selection,
    reason: &str,
    yes: bool,
) -> Result<u64, RecoveryError> {
    let author = apply::Author { who, reason };
    DISCARD.carry_out(context, &author, selection, yes).await
}

/// Says that the open unverified dead letters of a selection are genuine, in parts: each is done and logged as it is said. Returns how many;
/// those that are verified, or were said to be genuine before, stay as they are.
///
/// # Errors
/// [`RecoveryError`]
pub async fn genuine(
    context: &Context,
    who: &str,
    selection: &Selection,
    reason: &str,
    yes: bool,
) -> Result<u64, RecoveryError> {
    let author = apply::Author { who, reason };
    GENUINE.carry_out(context, &author, selection, yes).await
}
