//! `eventflow smoke` as a person and a pipeline meet it: against the demo, against edges that are wrong in one way each, and typed wrongly.

#![allow(clippy::unwrap_used, reason = "a test")]

mod demo;
mod fake;
mod report;
mod usage;

use report::CommandOutput;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Signs the demo's webhooks.
const SECRET: &str = "eventflow-local-secret";
/// No run takes longer, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(150);

/// Runs smoke to its end; nothing of the caller's environment is inherited.
async fn smoke(arguments: &[&str], environment: &[(&str, &str)]) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    command
        .arg("smoke")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    CommandOutput::of(command, PATIENCE).await
}
