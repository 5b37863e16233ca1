//! Replays as jobs: planned, tried, applied, paused, stopped, looked at.
//!
//! A change of a job locks its row, looks at its state, changes it and writes the audit log, all in one transaction. Two people who do the
//! same at once get the same answer, and one of them a change.

mod change;
mod plan;
mod show;

use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::{Item, Job, JobState, LogEntry, Selection};

/// Most dead letters of one job.
pub const MOST_ITEMS: i64 = 1_000_000;
/// Most records a second.
pub const MOST_RATE: f64 = 100_000.0;
/// A recovery role that has not been seen for so long is gone.
pub const ROLE_GONE_SECONDS: i32 = 10;

/// Database work, or a refusal when the database is silent: its own time limits end statements, not silence.
pub(crate) async fn within<T>(
    work: impl Future<Output = Result<T, RecoveryError>>,
) -> Result<T, RecoveryError> {
    tokio::time::timeout(store::DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(store::silent().into()))
}

impl JobState {
    /// As the database and the API spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        }
    }

    /// From the database's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Planned,
            Self::Running,
            Self::Paused,
            Self::Stopped,
            Self::Finished,
        ]
        .into_iter()
        .find(|state| state.word() == word)
    }
}

impl Context {
    /// Freezes a selection's open dead letters into a job. The same `key` again answers the same job.
    ///
    /// # Errors
    /// [`RecoveryError::NotFound`] when nothing is selected.
    pub async fn plan(
        &self,
        who: &str,
        selection: &Selection,
        reason: &str,
        key: &str,
        policy: Option<&str>,
    ) -> Result<Job, RecoveryError> {
        let id = plan::plan(
            self,
            &plan::Wanted {
                who,
                selection,
                reason,
                key,
                policy,
            },
        )
        .await?;
        self.job(&id).await
    }

    /// Starts a planned job, or changes the rate of a running one. Idempotent.
    ///
    /// # Errors
    /// [`RecoveryError::NeedsConfirmation`], [`RecoveryError::NeedsApproval`], [`RecoveryError::WrongState`]
    pub async fn apply(
        &self,
        who: &str,
        job: &str,
        rate: Option<f64>,
        yes: bool,
    ) -> Result<Job, RecoveryError> {
        within(change::apply(self, who, job, rate, yes)).await?;
        self.job(job).await
    }

    /// A second person's word for a job that needs it.
    ///
    /// # Errors
    /// [`RecoveryError::WrongState`] for the person who planned it.
    pub async fn approve(&self, who: &str, job: &str) -> Result<Job, RecoveryError> {
        within(change::approve(self, who, job)).await?;
        self.job(job).await
    }

    /// Sends no more until [`resume`](Self::resume). Idempotent.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn pause(&self, who: &str, job: &str) -> Result<Job, RecoveryError> {
        within(change::switch(self, who, job, &change::PAUSE)).await?;
        self.job(job).await
    }

    /// Goes on with a paused job. Idempotent.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn resume(&self, who: &str, job: &str) -> Result<Job, RecoveryError> {
        within(change::switch(self, who, job, &change::RESUME)).await?;
        self.job(job).await
    }

    /// Sends no more for good; what was sent is followed to its end. Idempotent.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn stop(&self, who: &str, job: &str) -> Result<Job, RecoveryError> {
        within(change::switch(self, who, job, &change::STOP)).await?;
        self.job(job).await
    }

    /// One job, with its progress.
    ///
    /// # Errors
    /// [`RecoveryError::NotFound`]
    pub async fn job(&self, job: &str) -> Result<Job, RecoveryError> {
        let found = within(show::jobs(self, Some(job), 1)).await?;
        found.into_iter().next().ok_or_else(|| unknown(job))
    }

    /// Its items, in order; those in one of `states`, or all.
    ///
    /// # Errors
    /// [`RecoveryError::NotFound`]
    pub async fn items(
        &self,
        job: &str,
        states: &[String],
        limit: u32,
    ) -> Result<Vec<Item>, RecoveryError> {
        within(show::items(self, job, states, limit)).await
    }

    /// Jobs, the newest first.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn history(&self, limit: u32) -> Result<Vec<Job>, RecoveryError> {
        within(show::jobs(self, None, limit.clamp(1, 200))).await
    }

    /// The audit log, the newest first; of one job or dead letter, or all.
    ///
    /// # Errors
    /// [`RecoveryError`]
    pub async fn log(
        &self,
        job: Option<&str>,
        letter: Option<i64>,
        limit: u32,
    ) -> Result<Vec<LogEntry>, RecoveryError> {
        within(show::log(self, job, letter, limit)).await
    }
}

pub(crate) fn unknown(job: &str) -> RecoveryError {
    let shown: String = job.chars().filter(|c| !c.is_control()).take(40).collect();
    RecoveryError::NotFound(format!(
        "there is no replay {shown}; `eventflow replay history` lists them"
    ))
}
