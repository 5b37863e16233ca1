//! Today's checks over a selection: what would pass, what would fail again and why, what would be stored.

use crate::Recovery;
use crate::error::Refusal;
use crate::model::DryRun;

impl Recovery {
    /// Tries every pending item of a job; the verdicts stay with the items.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn dry_run(&self, who: &str, job: &str) -> Result<DryRun, Refusal> {
        let _ = (who, job);
        todo!()
    }
}
