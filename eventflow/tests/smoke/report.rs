//! What `eventflow smoke` answers: read here, and where it runs against a whole pipeline.

use serde_json::Value;
use std::process::Command;
use std::time::Duration;

pub(crate) const ALL_PASSED: &str = "ready passed, accepted passed, tampered passed, stale passed, stored passed, duplicate passed, corrupted passed, \
                                     batch passed, audit passed";

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CommandOutput {
    /// Runs a command to its end, which comes within this time.
    pub(crate) async fn of(command: Command, timeout: Duration) -> Self {
        let mut command = tokio::process::Command::from(command);
        let output = tokio::time::timeout(timeout, command.kill_on_drop(true).output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("does not end: {:?}", command.as_std().get_args()))
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Its one JSON document, with this exit code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Verdicts by check, in order: `ready passed, accepted failed, …`.
pub(crate) fn verdicts(report: &Value) -> String {
    let checks = report["checks"].as_array().unwrap().iter();
    let words: Vec<_> = checks
        .map(|check| {
            format!(
                "{} {}",
                check["name"].as_str().unwrap(),
                check["verdict"].as_str().unwrap()
            )
        })
        .collect();
    words.join(", ")
}

/// The detail of a check.
pub(crate) fn detail<'r>(report: &'r Value, name: &str) -> &'r str {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["name"] == name)
        .find_map(|check| check["detail"].as_str())
        .unwrap()
}
