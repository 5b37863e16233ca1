//! Dead letters listed, grouped, shown.

use crate::Recovery;
use crate::error::Refusal;
use crate::model::{Group, Letter, LetterDetail, Letters, Selection, Stats};

impl Recovery {
    /// Dead letters of a selection (open ones, unless it says), the newest first; `before` goes on after a page.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn letters(&self, selection: &Selection, before: Option<i64>) -> Result<Letters, Refusal> {
        let _ = (selection, before);
        todo!()
    }

    /// Groups with dead letters in the selection's states, the largest first.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn groups(&self, selection: &Selection) -> Result<Vec<Group>, Refusal> {
        let _ = selection;
        todo!()
    }

    /// Everything about one.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn letter(&self, id: i64) -> Result<LetterDetail, Refusal> {
        let _ = id;
        todo!()
    }

    /// Sums.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn stats(&self) -> Result<Stats, Refusal> {
        todo!()
    }

    /// One page of a selection as JSON lines that [`import`](Self::import) reads: value, key and headers verbatim.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn export(
        &self,
        selection: &Selection,
        before: Option<i64>,
    ) -> Result<(Vec<serde_json::Value>, Option<i64>), Refusal> {
        let _ = (selection, before, None::<Letter>);
        todo!()
    }

    /// Takes exported dead letters in; those that are there already are left as they are. Answers how many were new.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn import(&self, who: &str, lines: &[serde_json::Value]) -> Result<u64, Refusal> {
        let _ = (who, lines);
        todo!()
    }
}
