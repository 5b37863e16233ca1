//! A process of a run: started, killed, paused and started again. It does not outlive this program, however that ends.

use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Environment, beside what this program has.
pub(crate) type Environment = Vec<(String, String)>;

/// One process, by its name.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    arguments: Vec<String>,
    environment: Environment,
    log: PathBuf,
    child: Option<Child>,
    starts: u32,
}

impl Process {
    /// An `eventflow` with these arguments, not started yet. What it prints is added to `FOLDER/NAME.log`.
    pub(crate) fn new(
        name: &str,
        arguments: Vec<String>,
        environment: Environment,
        folder: &Path,
    ) -> Self {
        Self {
            name: name.to_owned(),
            arguments,
            environment,
            log: folder.join(format!("{name}.log")),
            child: None,
            starts: 0,
        }
    }

    /// One like it, by another name and with other environment.
    pub(crate) fn another(&self, name: &str, other: &[(&str, &str)]) -> Self {
        let other = other
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            name: name.to_owned(),
            arguments: self.arguments.clone(),
            // Of two of a name, the last counts.
            environment: self.environment.iter().cloned().chain(other).collect(),
            log: self.log.with_file_name(format!("{name}.log")),
            child: None,
            starts: 0,
        }
    }

    /// Starts it, unless it runs, with more environment. The kernel kills it with the thread that calls this.
    pub(crate) fn start(&mut self, more: &[(String, String)]) -> anyhow::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program()?);
        let pairs = self.environment.iter().chain(more);
        let child = command
            .args(&self.arguments)
            .envs(pairs.map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {} with setpriv, of the package util-linux",
                    self.name
                )
            })?;
        self.child = Some(child);
        self.starts += 1;
        Ok(())
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> u32 {
        self.starts
    }

    /// How it ended, if it ended by itself since it was started.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(status)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// A signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) -> anyhow::Result<()> {
        if let Some(child) = &self.child {
            let mut kill = Command::new("kill");
            kill.args([format!("-{signal}"), child.id().to_string()]);
            kill.stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// SIGTERM, then its end within the time given; otherwise SIGKILL and an error.
    pub(crate) async fn terminate(&mut self, within: Duration) -> anyhow::Result<()> {
        self.signal("TERM")?;
        self.until_ended(within).await
    }

    /// [`Self::terminate`], then [`Self::start`], whatever came of the first.
    pub(crate) async fn restart(
        &mut self,
        within: Duration,
        more: &[(String, String)],
    ) -> anyhow::Result<()> {
        let ended = self.terminate(within).await;
        self.start(more)?;
        ended
    }

    /// Its end within the time given; otherwise SIGKILL and an error.
    pub(crate) async fn until_ended(&mut self, within: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + within;
        while let Some(child) = &mut self.child {
            if child.try_wait()?.is_some() {
                self.child = None;
            } else if Instant::now() >= deadline {
                self.kill()?;
                anyhow::bail!("{} did not end within {within:?} of SIGTERM", self.name);
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.kill());
    }
}

/// The `eventflow` beside this program.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("eventflow");
    anyhow::ensure!(
        program.exists(),
        "{} is missing: use script/chaos",
        program.display()
    );
    Ok(program)
}

/// Polls every 50 ms until `reached` answers true; an error that names what was waited for after `within`.
pub(crate) async fn until(
    what: &str,
    within: Duration,
    mut reached: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + within;
    while !reached().await? {
        anyhow::ensure!(
            Instant::now() < deadline,
            "not within {} s: {what}",
            within.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_reached_is_named() {
        let never = until("the impossible", Duration::ZERO, async || Ok(false)).await;
        let error = never.unwrap_err().to_string();
        assert_eq!(error, "not within 0 s: the impossible");
    }
}
