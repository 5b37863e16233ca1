//! P10: the fate of every raw record, from the database alone.

use crate::Recovery;
use crate::error::Refusal;
use crate::model::{Audit, Time};

impl Recovery {
    /// Every raw record received in a time range (or ever), by fate; gaps and double fates by coordinates.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn audit(&self, topic: Option<&str>, from: Option<Time>, to: Option<Time>) -> Result<Audit, Refusal> {
        let _ = (topic, from, to);
        todo!()
    }
}
