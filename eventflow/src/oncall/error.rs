//! Why a command failed: one line for a person, one exit code for a script.

use super::text;
use serde_json::Value;

/// Exit codes, as every command's help lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It failed, or the audit or a replay found something
    Failed = 1,
    /// Wrong usage or configuration
    Usage = 2,
    /// Needs confirmation, or the approval of a second person
    Confirmation = 3,
}

/// What a command failed with.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CommandError {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Code of the API's error, when the API refused
    pub(crate) code: Option<String>,
    /// The API's whole error
    pub(crate) problem: Option<Value>,
}

impl CommandError {
    pub(crate) fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        Self {
            exit,
            message: text::line(message.as_ref()),
            code: None,
            problem: None,
        }
    }

    pub(crate) fn failed(message: impl AsRef<str>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl AsRef<str>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The API's error; any other answer is not from the API.
    pub(crate) fn from_answer(status: u16, body: &[u8]) -> Self {
        let problem: Option<Value> = serde_json::from_slice(body).ok();
        let text = |name: &str| {
            problem
                .as_ref()
                .and_then(|problem| problem.get(name)?.as_str())
        };
        let (Some(code), Some(detail)) = (text("code"), text("detail")) else {
            return Self::failed(format!(
                "HTTP {status}, but not from the recovery API; check --api-url, and any proxy in front of it"
            ));
        };
        let exit = match (status, code) {
            (_, "needs_confirmation" | "needs_approval") => Exit::Confirmation,
            (400 | 401 | 403, _) | (_, "no_tokens_configured") => Exit::Usage,
            _ => Exit::Failed,
        };
        let message = text::line(&format!("{detail} ({code})"));
        let code = Some(code.to_owned());
        Self {
            exit,
            message,
            code,
            problem,
        }
    }

    pub(crate) fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<serde_json::Error> for CommandError {
    fn from(error: serde_json::Error) -> Self {
        Self::failed(format!(
            "cannot read the answer ({error}); use the same version of eventflow as the recovery role"
        ))
    }
}
