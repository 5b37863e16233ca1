//! The demo's closing act: what on-call does about dead letters, on the demo's own, by the commands of docs/ON-CALL.md.
//!
//! Every command is typed as a person would, this program once more, against recovery's API.

use crate::oncall::quoted;
use crate::pipeline::{Pipeline, TOKEN};
use anyhow::Context;
use serde_json::{Value, json};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// Longest wait for the index to have every dead letter.
const INDEXED: Duration = Duration::from_secs(20);
/// Longest a command may take.
const COMMAND: Duration = Duration::from_secs(60);

/// What the vendor tells on the telephone, by code: the mistake can be mended, and so.
const MENDS: [(&str, &str, &str); 3] = [
    (
        "missing_field",
        r#"[{"op":"add","path":"/payload/provider_auth_id","value":"auth_by_telephone"}]"#,
        "the vendor gave the missing id by telephone",
    ),
    (
        "blank_field",
        r#"[{"op":"replace","path":"/payload/order_id","value":"ord_by_telephone"}]"#,
        "the vendor gave the order by telephone",
    ),
    (
        "unknown_currency",
        r#"[{"op":"replace","path":"/payload/currency","value":"USD"}]"#,
        "the vendor says all of these are US dollars",
    ),
];

/// How the act ended.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Act {
    /// The code of the dead letters that were mended; none when no code of this run can be
    pub(crate) mended: Option<String>,
    pub(crate) replay: Value,
    pub(crate) audit: Value,
}

/// Types commands and shows what they answer, or only acts.
struct Stage<'a> {
    pipeline: &'a Pipeline,
    silent: bool,
}

/// Plays it. An error is a command that failed: then so did the demo.
pub(crate) async fn play(pipeline: &Pipeline, silent: bool) -> anyhow::Result<Act> {
    let stage = Stage { pipeline, silent };
    stage.indexed().await?;
    stage.say("\nThe dead letters are indexed. What on-call does about them (docs/ON-CALL.md):")?;
    stage.show(&["dlq", "groups"]).await?;
    let groups = stage.ask(&["dlq", "groups"]).await?;
    let found = MENDS.iter().find_map(|(code, patch, reason)| {
        let group = groups["groups"]
            .as_array()?
            .iter()
            .find(|group| group["code"] == *code && group["open"].as_i64() > Some(0))?;
        Some((
            code,
            patch,
            reason,
            group["id"].to_string(),
            group["sample"].to_string(),
        ))
    });
    let mut act = Act::default();
    if let Some((code, patch, reason, group, sample)) = found {
        stage.show(&["explain", &sample]).await?;
        stage
            .show(&[
                "dlq", "edit", "--group", &group, "--patch", patch, "--reason", reason, "--yes",
            ])
            .await?;
        stage
            .show(&["replay", "plan", "--group", &group, "--reason", reason])
            .await?;
        let history = stage.ask(&["replay", "history", "--limit", "1"]).await?;
        let job = history["replays"][0]["id"]
            .as_str()
            .context("no replay was planned")?
            .to_owned();
        stage.show(&["replay", "dry-run", &job]).await?;
        stage.show(&["replay", "apply", &job, "--yes"]).await?;
        stage.show(&["dlq", "ls", "--group", &group]).await?;
        act.mended = Some((*code).to_owned());
        act.replay = stage.ask(&["replay", "status", &job]).await?;
    } else {
        stage.say("\nNone of this run's dead letters can be mended by a person: the values they need are nowhere.")?;
    }
    stage.show(&["audit", "--now"]).await?;
    act.audit = stage.ask(&["audit"]).await?;
    Ok(act)
}

impl Stage<'_> {
    fn say(&self, text: &str) -> std::io::Result<()> {
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
            format!("http://{}", self.pipeline.recovery),
        );
        command
            .env("EVENTFLOW_RECOVERY_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Types a command; what it says goes to the terminal.
    async fn show(&self, words: &[&str]) -> anyhow::Result<()> {
        self.say(&format!(
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
            .context("no answer in time")??;
        anyhow::ensure!(
            status.success(),
            "`eventflow {}` ended with {status}",
            words.join(" ")
        );
        Ok(())
    }

    /// The same question, answered as JSON.
    async fn ask(&self, words: &[&str]) -> anyhow::Result<Value> {
        let mut command = self.command(words)?;
        let output = command.arg("--json").stderr(Stdio::null()).output();
        let output = tokio::time::timeout(COMMAND, output)
            .await
            .context("no answer in time")??;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`eventflow {}` gave no JSON", words.join(" ")))
    }

    /// Waits until the index has read the dead-letter topic to its end.
    async fn indexed(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + INDEXED;
        loop {
            let stats = self.ask(&["dlq", "stats"]).await.unwrap_or(json!({}));
            if stats["index_lag"] == 0 {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "the dead letters are not indexed within {} s: {stats}",
                INDEXED.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
