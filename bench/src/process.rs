//! Processes under measurement: started, watched, charged for the CPU they used, and gone when dropped.

use anyhow::Context;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Linux counts CPU time in these (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

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

    fn start(name: &'static str, program: PathBuf, arguments: &[String]) -> anyhow::Result<Self> {
        let address = free_address()?;
        let arguments = arguments
            .iter()
            .map(|argument| argument.replace("{address}", &address));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("EVENTFLOW_LOG", "error,librdkafka=off")
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address nobody listens on, below the ports the kernel gives to outgoing connections, and not given before.
pub(crate) fn free_address() -> anyhow::Result<String> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(port < 32_000, "no free port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(format!("127.0.0.1:{port}"));
        }
    }
}

/// CPU time of a process, without its children.
pub(crate) fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let fields = stat(pid)?;
    let ticks: u32 = fields.get(11).context("utime")?.parse::<u32>()?
        + fields.get(12).context("stime")?.parse::<u32>()?;
    Ok(TICK * ticks)
}

/// CPU time of all of a PostgreSQL server's processes, given one backend of it.
pub(crate) fn cpu_of_server(backend: u32) -> anyhow::Result<Duration> {
    let parent = |pid: u32| {
        stat(pid)
            .ok()
            .and_then(|fields| fields.get(1)?.parse::<u32>().ok())
    };
    let postmaster = parent(backend).context("the backend has ended")?;
    let reaped = stat(postmaster)?;
    let reaped: u32 = reaped.get(13).context("cutime")?.parse::<u32>()?
        + reaped.get(14).context("cstime")?.parse::<u32>()?;
    let mut total = TICK * reaped + cpu_of(postmaster)?;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if parent(pid) == Some(postmaster) {
            total += cpu_of(pid).unwrap_or_default();
        }
    }
    Ok(total)
}

/// The fields of `/proc/PID/stat` from the state on, which is field 3 of proc(5) and number 0 here.
fn stat(pid: u32) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = text.rsplit_once(") ").context("unreadable stat")?;
    Ok(after_name.split(' ').map(str::to_owned).collect())
}
