//! The recovery walkthrough at the end of the demo: what on-call does about dead letters, by the commands of docs/ON-CALL.md.
//!
//! Every command runs this program once more against recovery's API, as a person at a terminal would.

use super::config::TOKEN;
use super::vendors::PAYMENTS;
use crate::oncall::quoted;
use anyhow::Context;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Longest wait for the index to have every dead letter.
const INDEXED: Duration = Duration::from_secs(20);
/// Longest a command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// Codes whose mistake can be fixed by asking the vendor: the code, the patch, the reason, and whether the same value is true for all of a group. An
/// id is not: it belongs to one event.
const FIXES: [(&str, &str, &str, bool); 3] = [
    (
        "missing_field",
        r#"[{"op":"add","path":"/payload/provider_auth_id","value":"auth_from_vendor"}]"#,
        "the vendor supplied the missing id",
        false,
    ),
    (
        "blank_field",
        r#"[{"op":"replace","path":"/payload/order_id","value":"ord_from_vendor"}]"#,
        "the vendor supplied the order id",
        false,
    ),
    (
        "unknown_currency",
        r#"[{"op":"replace","path":"/payload/currency","value":"USD"}]"#,
        "the vendor confirms that all of these are US dollars",
        true,
    ),
];

/// What the walkthrough did.
#[derive(Debug, Default, serde::Serialize)]
pub(super) struct Walkthrough {
    /// Code of the dead letters that were fixed; none when no code of this run can be
    pub(super) fixed: Option<String>,
    pub(super) replay: Value,
    pub(super) audit: Value,
}

/// Runs commands and shows them with their output, unless `silent`.
struct Shell {
    recovery: SocketAddr,
    silent: bool,
}

/// Runs it against recovery's API at this address.
///
/// # Errors
/// A command that failed: then so did the demo.
pub(super) async fn run(recovery: SocketAddr, silent: bool) -> anyhow::Result<Walkthrough> {
    let shell = Shell { recovery, silent };
    shell.wait_until_indexed().await?;
    shell
        .print("\nThe dead letters are indexed. What on-call does about them (docs/ON-CALL.md):")?;
    shell.show(&["dlq", "groups"]).await?;
    let groups = shell.query(&["dlq", "groups"]).await?;
    let found = FIXES.iter().find_map(|(code, patch, reason, is_of_all)| {
        let group = groups["groups"].as_array()?.iter().find(|group| {
            let is_ours = group["source"] == PAYMENTS && group["code"] == *code;
            is_ours && group["open"].as_i64() > Some(0)
        })?;
        let sample = group["sample"].to_string();
        let which = match is_of_all {
            true => ["--group".to_owned(), group["id"].to_string()],
            false => ["--id".to_owned(), sample.clone()],
        };
        Some((code, patch, reason, which, sample))
    });
    let mut walkthrough = Walkthrough::default();
    if let Some((code, patch, reason, which, sample)) = found {
        let [flag, number] = &which;
        shell.show(&["explain", &sample]).await?;
        shell
            .show(&[
                "dlq", "edit", flag, number, "--patch", patch, "--reason", reason, "--yes",
            ])
            .await?;
        shell
            .show(&["replay", "plan", flag, number, "--reason", reason])
            .await?;
        let history = shell.query(&["replay", "ls", "--limit", "1"]).await?;
        let job = history["replays"][0]["id"]
            .as_str()
            .context("no replay was planned")?
            .to_owned();
        shell.show(&["replay", "dry-run", &job]).await?;
        shell.show(&["replay", "apply", &job, "--yes"]).await?;
        shell.show(&["dlq", "ls", flag, number]).await?;
        walkthrough.fixed = Some((*code).to_owned());
        walkthrough.replay = shell.query(&["replay", "status", &job]).await?;
    } else {
        shell.print(
            "\nNone of this run's dead letters can be fixed: their correct values are not known.",
        )?;
    }
    shell.show(&["audit", "--now"]).await?;
    walkthrough.audit = shell.query(&["audit"]).await?;
    Ok(walkthrough)
}

/// The error of a command that takes too long.
fn unfinished(words: &[&str]) -> String {
    format!(
        "`eventflow {}` did not finish within {} s",
        words.join(" "),
        COMMAND.as_secs()
    )
}

impl Shell {
    fn print(&self, text: &str) -> std::io::Result<()> {
        if self.silent {
            Ok(())
        } else {
            writeln!(std::io::stdout(), "{text}")
        }
    }

    fn command(&self, words: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words).env(
            "EVENTFLOW_RECOVERY_URL",
            format!("http://{}", self.recovery),
        );
        command
            .env("EVENTFLOW_RECOVERY_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs a command; its output goes to the terminal.
    async fn show(&self, words: &[&str]) -> anyhow::Result<()> {
        self.print(&format!(
            "\n$ eventflow {}",
            words
                .iter()
                .map(|word| quoted(word))
                .collect::<Vec<_>>()
                .join(" ")
        ))?;
        let mut command = self.command(words)?;
        if self.silent {
            command.stdout(Stdio::null());
        }
        let status = tokio::time::timeout(COMMAND, command.status())
            .await
            .with_context(|| unfinished(words))??;
        anyhow::ensure!(
            status.success(),
            "`eventflow {}` ended with {status}",
            words.join(" ")
        );
        Ok(())
    }

    /// Runs a command with `--json`.
    async fn query(&self, words: &[&str]) -> anyhow::Result<Value> {
        let mut command = self.command(words)?;
        let output = command.arg("--json").stderr(Stdio::null()).output();
        let output = tokio::time::timeout(COMMAND, output)
            .await
            .with_context(|| unfinished(words))??;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`eventflow {}` printed no JSON", words.join(" ")))
    }

    /// Waits until the index has read the dead-letter topic to its end.
    async fn wait_until_indexed(&self) -> anyhow::Result<()> {
        let (began, deadline) = (Instant::now(), Instant::now() + INDEXED);
        loop {
            let stats = self.query(&["dlq", "stats"]).await.unwrap_or(json!({}));
            // Measured since: what is known from before says nothing of the last dead letters.
            let age = stats["index_lag_age_seconds"].as_f64();
            let is_new = age.is_some_and(|age| age < began.elapsed().as_secs_f64());
            if stats["index_lag"] == 0 && is_new {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "dead letters not indexed within {} s: {stats}",
                INDEXED.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
