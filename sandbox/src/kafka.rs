//! A node of a real Apache Kafka, as `infra/kafka/local/kafka` starts it.

use anyhow::Context;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A node and its files. Killed when dropped; the files stay.
#[derive(Debug)]
pub struct Node {
    script: PathBuf,
    directory: PathBuf,
}

impl Node {
    /// One that is not started yet, with its files in this folder.
    #[must_use]
    pub fn new(script: &Path, directory: &Path) -> Self {
        Self {
            script: script.to_owned(),
            directory: directory.to_owned(),
        }
    }

    /// Calls the script with a command and what follows `--dir`. Answers what it printed.
    ///
    /// # Errors
    /// What the script said.
    pub fn call(&self, command: &[&str]) -> anyhow::Result<HashMap<String, String>> {
        let (first, rest) = command.split_first().context("no command")?;
        let mut run = Command::new(&self.script);
        run.arg(first).arg("--dir").arg(&self.directory).args(rest);
        let text = output(&mut run)?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }

    /// Starts it with these settings; it is up when it listens on these ports. `cluster` is the id that the nodes of a cluster share.
    ///
    /// # Errors
    /// What the script said.
    pub fn start_with(
        &self,
        settings: &BTreeMap<String, String>,
        ports: &[&str],
        cluster: Option<&str>,
    ) -> anyhow::Result<()> {
        let file = self.directory.join("settings");
        let lines: Vec<_> = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        std::fs::write(&file, lines.concat())?;
        let (file, ports) = (file.display().to_string(), ports.join(","));
        let mut command = vec!["start", "--properties", &file, "--listens", &ports];
        if let Some(cluster) = cluster {
            command.extend(["--cluster", cluster]);
        }
        self.call(&command).map(drop)
    }

    /// Stops it, or kills it.
    ///
    /// # Errors
    /// What the script said.
    pub fn stop(&self, kill: bool) -> anyhow::Result<()> {
        let command: &[&str] = if kill { &["stop", "--kill"] } else { &["stop"] };
        self.call(command).map(drop)
    }

    /// Starts it again: same data, same ports.
    ///
    /// # Errors
    /// What the script said.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.call(&["restart"]).map(drop)
    }

    /// Sends a signal, such as `STOP`: its connections stay open, and nothing answers on them; then `CONT`.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = std::fs::read_to_string(self.directory.join("pid"))
            .context("the broker does not run")?;
        let mut kill = Command::new("kill");
        kill.args([&format!("-{signal}"), pid.trim()]);
        output(&mut kill).map(drop)
    }
}

/// One of Kafka's own programs, such as `org.apache.kafka.tools.TopicCommand`; what it printed.
///
/// # Errors
/// What the program said.
pub fn tool(
    script: &Path,
    class: &str,
    bootstrap: &str,
    arguments: &[&str],
) -> anyhow::Result<String> {
    let mut run = Command::new(script);
    run.args(["tool", class, "--bootstrap-server", bootstrap])
        .args(arguments);
    output(&mut run)
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.stop(true) {
            tracing::warn!(event = "kafka_left_running", directory = %self.directory.display(), error = format!("{error:#}"));
        }
    }
}

/// The settings of a node that is broker and controller of a cluster, but for its listeners.
#[must_use]
pub fn settings(id: usize, voters: &str, copies: usize, data: &Path) -> BTreeMap<String, String> {
    let copies_in_sync = if copies > 2 { 2 } else { 1 };
    let fixed = [
        ("process.roles", "broker,controller"),
        ("controller.listener.names", "CONTROLLER"),
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.num.partitions", "8"),
        ("transaction.state.log.num.partitions", "8"),
        ("group.initial.rebalance.delay.ms", "0"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let given = [
        ("node.id", id.to_string()),
        ("controller.quorum.voters", voters.to_owned()),
        ("log.dirs", data.display().to_string()),
        ("default.replication.factor", copies.to_string()),
        ("offsets.topic.replication.factor", copies.to_string()),
        (
            "transaction.state.log.replication.factor",
            copies.to_string(),
        ),
        ("min.insync.replicas", copies_in_sync.to_string()),
        ("transaction.state.log.min.isr", copies_in_sync.to_string()),
    ];
    let all = fixed.into_iter().chain(given);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Runs a program to its end.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{:?}: {}",
        command.get_args().next().unwrap_or_default(),
        error.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
