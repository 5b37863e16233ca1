//! A dead letter's value changed by a person, checked before it is taken; the original stays. And dead letters given up.

use crate::Recovery;
use crate::error::Refusal;
use crate::model::Selection;

/// What an edit did.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Edited {
    /// Dead letters whose value is another now
    pub changed: u64,
    /// Dead letters the patch left as they were
    pub unchanged: u64,
}

impl Recovery {
    /// The value as the text a person edits: what would be sent by a replay now.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn editable(&self, id: i64) -> Result<String, Refusal> {
        let _ = id;
        todo!()
    }

    /// Takes a new value for one dead letter. By nature idempotent: the same value again changes nothing.
    ///
    /// # Errors
    /// [`Refusal::StillBroken`] when the value breaks its contract; nothing is changed then.
    pub async fn edit(&self, who: &str, id: i64, text: &str, reason: &str) -> Result<Edited, Refusal> {
        let _ = (who, id, text, reason);
        todo!()
    }

    /// Applies a JSON Patch (RFC 6902) to every dead letter of a selection: to all or, when one would still be broken, to none.
    ///
    /// # Errors
    /// [`Refusal`], naming the first dead letter that cannot take it.
    pub async fn patch(
        &self,
        who: &str,
        selection: &Selection,
        patch: &serde_json::Value,
        reason: &str,
        yes: bool,
    ) -> Result<Edited, Refusal> {
        let _ = (who, selection, patch, reason, yes);
        todo!()
    }

    /// Gives up the open dead letters of a selection. Answers how many.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn discard(&self, who: &str, selection: &Selection, reason: &str, yes: bool) -> Result<u64, Refusal> {
        let _ = (who, selection, reason, yes);
        todo!()
    }
}
