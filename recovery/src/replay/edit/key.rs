//! The key of an edited replay: what its source's mapping finds in the edited value, as the edge would have found it. The stored event is
//! then found by it.
//!
//! An edit fixes a value; it does not move an event to another entity. The key may change only where it was missing or itself at fault.

use super::value;
use crate::audit_log::clean;
use crate::context::Context;
use crate::error::RecoveryError;
use crate::replay::runner::replay_letter::{ReplayLetter, header_map};
use std::borrow::Cow;

/// The key that a replay of the edited text is sent with.
///
/// # Errors
/// [`RecoveryError::Invalid`] when the edit would change a key that was right.
pub(super) fn of_edit(
    context: &Context,
    letter: &ReplayLetter,
    original: &str,
    edited: &str,
) -> Result<Option<Vec<u8>>, RecoveryError> {
    let Some((id, entity)) = value::places(context, letter) else {
        return Ok(letter.key.clone());
    };
    let headers = header_map(&letter.headers);
    let found = |text: &str| {
        let found = entity.find(&headers, text.as_bytes());
        found.map(Cow::into_owned)
    };
    let (was, is) = (found(original), found(edited));
    // The edge took it from a header, or it is not in the payload: no edit of the value changes it.
    let is_of_value = letter.key.as_deref() == was.as_deref().map(str::as_bytes);
    if (entity.reads_headers() && !is_of_value) || entity.is_empty() {
        return Ok(letter.key.clone());
    }
    if let Some(known) = was.as_deref().filter(|_| was != is)
        && !entity
            .pointers()
            .any(|pointer| value::is_fault(context, letter, (original, edited), &pointer))
    {
        return Err(RecoveryError::Invalid(format!(
            "an edit must not move an event to another entity: keep {entity} {:?} of dead letter {}, which was right; if it belongs to \
             another one, discard this one and have its vendor send it again",
            clean(known),
            letter.id
        )));
    }
    let event_id = || id.find(&headers, edited.as_bytes()).map(Cow::into_owned);
    let key = is.or_else(event_id);
    Ok(key.map(String::into_bytes).or_else(|| letter.key.clone()))
}
