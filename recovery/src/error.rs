//! Why a question or a change of on-call is refused.

use runtime::consumer::StageError;

/// A refusal: one stable code, one HTTP status, one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// No such dead letter, job or event
    #[error("{0}")]
    NotFound(String),
    /// The request is invalid; nothing was changed
    #[error("{0}")]
    Invalid(String),
    /// The thing is not in a state in which this can be done
    #[error("{0}")]
    WrongState(String),
    /// Too large, or without a filter: needs a word that it is meant
    #[error("{0}")]
    NeedsConfirmation(String),
    /// Needs a second person
    #[error("{0}")]
    NeedsApproval(String),
    /// The edited value breaks its contract: code and detail of the rejection
    #[error("{0}")]
    StillBroken(contracts::Rejection),
    /// The database, the broker or the registry does not answer
    #[error("{0}")]
    Unavailable(String),
}

impl RecoveryError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Invalid(_) => "invalid_request",
            Self::WrongState(_) => "wrong_state",
            Self::NeedsConfirmation(_) => "needs_confirmation",
            Self::NeedsApproval(_) => "needs_approval",
            Self::StillBroken(_) => "still_broken",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::Invalid(_) => 400,
            Self::WrongState(_) | Self::NeedsConfirmation(_) | Self::NeedsApproval(_) => 409,
            Self::StillBroken(_) => 422,
            Self::Unavailable(_) => 503,
        }
    }
}

impl From<StageError> for RecoveryError {
    fn from(error: StageError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<sqlx::Error> for RecoveryError {
    fn from(error: sqlx::Error) -> Self {
        store::fault::classify(error).into()
    }
}
