//! Processes under measurement: started, watched, charged for the CPU they used, and gone when dropped.

use crate::figures::{Stat, resident};
use anyhow::Context;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The secret requests are signed with here; roles find it in [`SECRET_NAME`].
pub(crate) const SECRET: &str = "bench-secret";
/// An environment variable.
pub(crate) const SECRET_NAME: &str = "EVENTFLOW_BENCH_SECRET";
/// Longest orderly end of a process.
const END: Duration = Duration::from_secs(20);

/// A running process.
pub(crate) struct Process {
    pub(crate) name: &'static str,
    child: Child,
    pub(crate) address: String,
}

impl Process {
    /// A role of the `eventflow` beside this program. `{address}` in the arguments becomes a free address, kept as the process's own.
    pub(crate) fn role(name: &'static str, arguments: &[String]) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("eventflow");
        anyhow::ensure!(
            program.exists(),
            "{} is missing: use script/bench",
            program.display()
        );
        let mut with_role = vec![name.to_owned()];
        with_role.extend_from_slice(arguments);
        Self::start(name, program, &with_role)
    }

    /// A part of this program.
    pub(crate) fn part(name: &'static str, arguments: &[String]) -> anyhow::Result<Self> {
        let mut with_part = vec![name.to_owned()];
        with_part.extend_from_slice(arguments);
        Self::start(name, std::env::current_exe()?, &with_part)
    }

    /// Any other program.
    pub(crate) fn start(
        name: &'static str,
        program: PathBuf,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let arguments = arguments
            .iter()
            .map(|argument| argument.replace("{address}", &address));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("EVENTFLOW_LOG", "error,librdkafka=off")
            .env(SECRET_NAME, SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Ok(Self {
            name,
            child: command
                .spawn()
                .with_context(|| format!("cannot start {name}"))?,
            address,
        })
    }

    /// The first line it prints.
    pub(crate) fn first_line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().context("read before")?).read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "{} ended", self.name);
        Ok(line.trim().to_owned())
    }

    /// All it prints, once it has ended by itself.
    pub(crate) fn output(mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut stdout = self.child.stdout.take().context("read before")?;
        std::io::Read::read_to_string(&mut stdout, &mut text)?;
        let status = self.child.wait()?;
        anyhow::ensure!(
            status.success(),
            "{} ended with {status}: {text}",
            self.name
        );
        Ok(text)
    }

    /// Waits until `/ready` answers 200; how long that took.
    pub(crate) async fn until_ready(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            let answer = runtime::http_client::new()
                .get(format!("http://{}/ready", self.address))
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{} ended with {status}", self.name);
            }
            anyhow::ensure!(
                started.elapsed() < Duration::from_secs(60),
                "{} is not ready after 60 s",
                self.name
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// CPU time used so far, user and system.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.child.id()).with_context(|| format!("{} has ended", self.name))
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        resident(&std::fs::read_to_string(format!(
            "/proc/{}/status",
            self.child.id()
        ))?)
    }

    /// Asks it to end, so that a consumer leaves its group at once. Whether it has ended in time.
    #[expect(
        clippy::disallowed_methods,
        reason = "polls for the end of a process, with a deadline"
    )]
    fn end(&mut self) -> bool {
        let asked = Command::new("kill")
            .arg(self.child.id().to_string())
            .stderr(Stdio::null())
            .status();
        let deadline = Instant::now() + END;
        while asked.as_ref().is_ok_and(std::process::ExitStatus::success) {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                ended => return matches!(ended, Ok(Some(_))),
            }
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        if matches!(self.child.try_wait(), Ok(Some(_))) || self.end() {
            return;
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address nobody listens on.
pub(crate) fn free_address() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", sandbox::ports::free_port()?))
}

/// CPU time of a process, without its children.
pub(crate) fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    Ok(stat(pid)?.used)
}

/// CPU time of all of a PostgreSQL server's processes, given one backend of it.
pub(crate) fn cpu_of_server(backend: u32) -> anyhow::Result<Duration> {
    let postmaster = stat(backend).context("the backend has ended")?.parent;
    let own = stat(postmaster)?;
    let mut total = own.children + own.used;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // It may end while it is looked at.
        if let Ok(child) = stat(pid)
            && child.parent == postmaster
        {
            total += child.used;
        }
    }
    Ok(total)
}

fn stat(pid: u32) -> anyhow::Result<Stat> {
    Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat"))?)
}
