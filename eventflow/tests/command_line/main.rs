//! The command line, as a person meets it: `--check` and `--help` of every role, and no secret in anything it says.

#![allow(clippy::unwrap_used, reason = "a test")]

mod check;
mod connect;
mod contracts;
mod former_spellings;
mod help;
mod one_off;
mod packs;
mod secrets;
mod send;
mod simulator;
mod sources;
mod vendor;
mod views;

use std::process::{Command, Stdio};

const ROLES: [&str; 7] = [
    "producer",
    "validator",
    "analytics",
    "persistence",
    "recovery",
    "simulator",
    "registry",
];
/// Every variable that can hold a secret, with one in it.
const SECRETS: [(&str, &str); 9] = [
    ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "LEAKED-signing-secret"),
    ("EVENTFLOW_INGEST_API_KEY", "LEAKED-api-key"),
    (
        "EVENTFLOW_DATABASE_URL",
        "postgres://user:LEAKED-database-password@127.0.0.1:1/database",
    ),
    ("EVENTFLOW_KAFKA_PASSWORD", "LEAKED-kafka-password"),
    (
        "EVENTFLOW_KAFKA_CONFIG",
        "ssl.key.password=LEAKED-key-password",
    ),
    ("EVENTFLOW_REGISTRY_PASSWORD", "LEAKED-registry-password"),
    (
        "EVENTFLOW_REGISTRY_URL",
        "http://user:LEAKED-registry-url@127.0.0.1:1",
    ),
    (
        "EVENTFLOW_WEBHOOK_URL",
        "http://user:LEAKED-webhook-url@127.0.0.1:1/hook",
    ),
    ("EVENTFLOW_RECOVERY_TOKEN", "LEAKED-recovery-token"),
];

/// Runs to the end; the exit code and everything that was printed. Nothing of the caller's environment is inherited.
fn eventflow(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), text)
}

/// Asserts that none of the secrets was printed.
fn assert_clean(what: &str, output: &str) {
    assert!(
        !output.is_empty(),
        "{what} prints nothing, so this proves nothing"
    );
    assert!(
        !output.contains("LEAKED"),
        "{what} shows a secret: {output}"
    );
}
