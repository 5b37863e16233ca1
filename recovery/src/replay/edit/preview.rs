//! What an edit or a patch would make of dead letters, and whether it would be taken. Nothing is locked, nothing is changed.

use super::selected::{push_open, work};
use super::{apply, patch, value};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{EditPreview, PatchPreview, Refusal, Selection};
use crate::query::{known, no_such_dead_letter};
use crate::replay::jobs::within;
use crate::replay::runner::replay_letter::{self, ReplayLetter};
use sqlx::QueryBuilder;

/// Dead letters in the preview of a patch.
const SHOWN: usize = 10;
/// A count for a person ends here.
const MAX_COUNTED: i64 = 100_000;

/// What a new value would change of one dead letter, and why it would be refused.
///
/// # Errors
/// [`RecoveryError`]: there is no such dead letter, or it cannot be edited at all.
pub async fn check(context: &Context, id: i64, text: &str) -> Result<EditPreview, RecoveryError> {
    apply::size(text)?;
    let letters = loaded(context, &[id]).await?;
    let letter = letters.into_iter().next();
    let letter = apply::open(letter.ok_or_else(|| no_such_dead_letter(id))?)?;
    let before = value::text(context, &letter, letter.outgoing()).await?;
    tried(context, &letter, before, text.to_owned()).await
}

/// What a patch would make of the newest ten of a selection.
///
/// # Errors
/// [`RecoveryError`]: no patch, or nothing is selected.
pub async fn preview(
    context: &Context,
    selection: &Selection,
    patch: &str,
) -> Result<PatchPreview, RecoveryError> {
    known::check(context, selection).await?;
    let patch = patch::parse(patch)?;
    let ids: Vec<i64> = work(async {
        let mut query = QueryBuilder::new("");
        push_open(&mut query, selection, "true", i64::MAX, MAX_COUNTED);
        query.build_query_scalar().fetch_all(&context.pool).await
    })
    .await?;
    if ids.is_empty() {
        return Err(patch::none_selected());
    }
    let newest = &ids[..ids.len().min(SHOWN)];
    let mut previews = Vec::with_capacity(newest.len());
    for letter in loaded(context, newest).await? {
        let before = value::text(context, &letter, letter.outgoing()).await?;
        let preview = match patch::patched_text(&letter, &before, &patch) {
            Ok(Some((before, after))) => tried(context, &letter, before, after).await?,
            Ok(None) => unchanged(&letter, before),
            Err(error) => EditPreview {
                refused: Some(refusal(error)?),
                ..unchanged(&letter, before)
            },
        };
        previews.push(preview);
    }
    Ok(PatchPreview {
        selected: ids.len() as i64,
        previews,
    })
}

async fn loaded(context: &Context, ids: &[i64]) -> Result<Vec<ReplayLetter>, RecoveryError> {
    within(async {
        let mut connection = context.pool.acquire().await?;
        Ok(replay_letter::load(&mut connection, ids).await?)
    })
    .await
}

fn unchanged(letter: &ReplayLetter, text: String) -> EditPreview {
    EditPreview {
        letter: letter.id,
        after: text.clone(),
        before: text,
        changes: false,
        refused: None,
    }
}

async fn tried(
    context: &Context,
    letter: &ReplayLetter,
    before: String,
    after: String,
) -> Result<EditPreview, RecoveryError> {
    let (changes, refused) = match apply::change(context, letter, &after).await {
        Ok(change) => (change.is_some(), None),
        Err(error) => (true, Some(refusal(error)?)),
    };
    Ok(EditPreview {
        letter: letter.id,
        before,
        after,
        changes,
        refused,
    })
}

/// Why a value is refused; what is no fault of the value stays an error.
fn refusal(error: RecoveryError) -> Result<Refusal, RecoveryError> {
    match error {
        RecoveryError::StillBroken(rejection) => Ok(Refusal {
            code: rejection.code.code().to_owned(),
            meaning: rejection.code.meaning().to_owned(),
            pointer: rejection.pointer,
            detail: rejection.detail,
        }),
        RecoveryError::Invalid(detail) => Ok(Refusal {
            code: "invalid_request".to_owned(),
            meaning: "This edit is not taken".to_owned(),
            pointer: None,
            detail,
        }),
        error @ (RecoveryError::NotFound(_)
        | RecoveryError::WrongState(_)
        | RecoveryError::NeedsConfirmation(_)
        | RecoveryError::NeedsApproval(_)
        | RecoveryError::Unavailable(_)) => Err(error),
    }
}
