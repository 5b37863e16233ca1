//! The story of one event.

use crate::Recovery;
use crate::error::Refusal;
use crate::model::Trace;

impl Recovery {
    /// What happened to an event id, an entity key (payment id), or a traceparent (or its trace id).
    ///
    /// # Errors
    /// [`Refusal::NotFound`]
    pub async fn trace(&self, asked: &str) -> Result<Trace, Refusal> {
        let _ = asked;
        todo!()
    }
}
