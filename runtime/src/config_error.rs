//! The error of a setting: in a file of its own, since what [`crate::config`] is made of needs it too.

/// A setting that cannot work. The process exits with code 2 and names it.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    /// The flag, as typed: `--webhook-secret`
    pub setting: String,
    /// What is wrong and what to do
    pub problem: String,
}

impl ConfigError {
    /// `setting` as typed on the command line; `problem` ends with what to do.
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            problem: problem.into(),
        }
    }

    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "bad_configuration"
    }
}
