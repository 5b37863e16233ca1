//! A dead letter in plain words.

use crate::Recovery;
use crate::error::Refusal;
use crate::model::Explanation;

impl Recovery {
    /// What failed, where, since when, how many like it, and what to do next.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]
    pub async fn explain(&self, id: i64) -> Result<Explanation, Refusal> {
        let _ = id;
        todo!()
    }
}
