//! Replays as jobs: planned, tried, applied, paused, stopped, looked at.

use crate::Recovery;
use crate::error::Refusal;
use crate::model::{Item, Job, LogEntry, Selection};

impl Recovery {
    /// Freezes a selection's open dead letters into a job. The same `key` again answers the same job.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when nothing is selected.
    pub async fn plan(
        &self,
        who: &str,
        selection: &Selection,
        reason: &str,
        key: &str,
        policy: Option<&str>,
    ) -> Result<Job, Refusal> {
        let _ = (who, selection, reason, key, policy);
        todo!()
    }

    /// Starts a planned job, or changes the rate of a running one. Idempotent.
    ///
    /// # Errors
    /// [`Refusal::NeedsConfirmation`], [`Refusal::NeedsApproval`], [`Refusal::WrongState`]
    pub async fn apply(&self, who: &str, job: &str, rate: Option<f64>, yes: bool) -> Result<Job, Refusal> {
        let _ = (who, job, rate, yes);
        todo!()
    }

    /// A second person's word for a job that needs it.
    ///
    /// # Errors
    /// [`Refusal::WrongState`] for the person who planned it.
    pub async fn approve(&self, who: &str, job: &str) -> Result<Job, Refusal> {
        let _ = (who, job);
        todo!()
    }

    /// Sends no more until [`resume`](Self::resume). Idempotent.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn pause(&self, who: &str, job: &str) -> Result<Job, Refusal> {
        let _ = (who, job);
        todo!()
    }

    /// Goes on with a paused job. Idempotent.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn resume(&self, who: &str, job: &str) -> Result<Job, Refusal> {
        let _ = (who, job);
        todo!()
    }

    /// Sends no more for good; what was sent is followed to its end. Idempotent.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn stop(&self, who: &str, job: &str) -> Result<Job, Refusal> {
        let _ = (who, job);
        todo!()
    }

    /// One job, with its progress.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]
    pub async fn job(&self, job: &str) -> Result<Job, Refusal> {
        let _ = job;
        todo!()
    }

    /// Its items, in order; those in one of `states`, or all.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]
    pub async fn items(&self, job: &str, states: &[String], limit: u32) -> Result<Vec<Item>, Refusal> {
        let _ = (job, states, limit);
        todo!()
    }

    /// Jobs, the newest first.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn history(&self, limit: u32) -> Result<Vec<Job>, Refusal> {
        let _ = limit;
        todo!()
    }

    /// The audit log, the newest first; of one job or dead letter, or all.
    ///
    /// # Errors
    /// [`Refusal`]
    pub async fn log(&self, job: Option<&str>, letter: Option<i64>, limit: u32) -> Result<Vec<LogEntry>, Refusal> {
        let _ = (job, letter, limit);
        todo!()
    }
}
