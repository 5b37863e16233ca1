//! What a contract does not declare, kept: the text of one JSON object from pointer to value, in one order and without white space, so that
//! the same payload written otherwise is the same text. Numbers stay digit for digit.

use crate::json::{canonical, push_text};
use crate::{Rejection, RejectionCode};

/// The text; `None` when there is nothing.
pub(super) fn text(mut kept: Vec<(String, &str)>, at: &str) -> Result<Option<String>, Rejection> {
    if kept.is_empty() {
        return Ok(None);
    }
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut out = String::with_capacity(kept.iter().map(|(_, value)| value.len() + 32).sum());
    let mut before: Option<&str> = None;
    for (pointer, value) in &kept {
        let refuse = |code: RejectionCode, pointer: &str| {
            let pointer = Some(format!("{at}{pointer}"));
            Rejection::new(code, pointer, code.meaning())
        };
        if before == Some(pointer) {
            return Err(refuse(RejectionCode::DuplicateField, pointer));
        }
        if pointer.contains('\0') {
            return Err(refuse(RejectionCode::NulCharacter, pointer));
        }
        out.push(if before.is_none() { '{' } else { ',' });
        push_text(pointer, &mut out);
        out.push(':');
        canonical(value, &mut out).map_err(|flaw| refuse(flaw.code, &flaw.pointer(pointer)))?;
        before = Some(pointer);
    }
    out.push('}');
    Ok(Some(out))
}
