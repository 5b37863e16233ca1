//! `eventflow smoke` as a person and a pipeline meet it: against the demo, against edges that are wrong in one way each, and typed wrongly.

#![allow(clippy::unwrap_used, reason = "a test")]

mod demo;
mod fake;
mod usage;

use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Signs the demo's webhooks.
const SECRET: &str = "eventflow-local-secret";
/// No run takes longer, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// Exit code and output of a run.
#[derive(Debug)]
struct CommandOutput {
    code: Option<i32>,
    out: String,
    err: String,
}

impl CommandOutput {
    /// Its one JSON document, with this exit code.
    #[track_caller]
    fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs smoke to its end; nothing of the caller's environment is inherited.
async fn smoke(arguments: &[&str], environment: &[(&str, &str)]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    command
        .arg("smoke")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = output
        .unwrap_or_else(|_| panic!("does not end: {arguments:?}"))
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    CommandOutput {
        code: status.code(),
        out: text(stdout),
        err: text(stderr),
    }
}

/// Verdicts by check, in order: `ready passed, accepted failed, …`.
fn verdicts(report: &Value) -> String {
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
fn detail<'r>(report: &'r Value, name: &str) -> &'r str {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["name"] == name)
        .find_map(|check| check["detail"].as_str())
        .unwrap()
}
