//! Running PostgreSQL's programs, and waiting for processes.

use super::{DEADLINE, PostgresError};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// PostgreSQL's programs, as they are run for one cluster.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) folder: PathBuf,
    /// The cluster's directory
    pub(super) home: PathBuf,
    /// User and group to run as, when this process is root
    pub(super) user: Option<(u32, u32)>,
}

impl Programs {
    /// A command as the unprivileged user.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Sends a signal.
    pub(super) fn kill(&self, signal: &str, pid: &str) -> std::io::Result<()> {
        let sent = self
            .command("kill")
            .args([&format!("-{signal}"), pid])
            .stderr(Stdio::null())
            .status()?;
        if sent.success() {
            return Ok(());
        }
        Err(std::io::Error::other(format!(
            "process {pid} cannot be sent {signal}"
        )))
    }

    /// Runs one of them to its end.
    ///
    /// # Errors
    /// What it printed, and the end of the server's log.
    pub(super) fn run(
        &self,
        program: &'static str,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<(), PostgresError> {
        let mut command = self.command(self.folder.join(program));
        arguments(&mut command);
        command.current_dir(&self.home).env("HOME", &self.home);
        // The server inherits what pg_ctl writes to: a file, or reading its output would last as long as the server.
        let mut printed = tempfile::tempfile()?;
        let mut child = command.stdout(printed.try_clone()?).stderr(printed.try_clone()?).spawn().map_err(|error| {
            if error.kind() != std::io::ErrorKind::PermissionDenied {
                return PostgresError::Io(error);
            }
            let folder = self.home.display();
            let output = format!("{error}: is {folder} in a folder every user may enter? set TMPDIR to one that is");
            PostgresError::Failed { program, output }
        })?;
        if wait(&mut child)?.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let mut output = String::new();
        std::io::Seek::rewind(&mut printed)?;
        std::io::Read::read_to_string(&mut printed, &mut output)?;
        let log = std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
        // The log has all starts; the last lines are of this one.
        let log: Vec<&str> = log.lines().collect();
        let newest = log[log.len().saturating_sub(5)..].join("\n");
        Err(PostgresError::Failed {
            program,
            output: gist(&format!("{output}\n{newest}")),
        })
    }
}

/// The processes that a process has started, by number.
pub(super) fn children_of(pid: &str) -> std::io::Result<Vec<String>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // After the name, which may contain anything: the state, then the parent.
        let parent = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1));
        if parent == Some(pid) {
            children.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(children)
}

/// What went wrong, out of all that a program and the server's log say, on one line.
pub(super) fn gist(output: &str) -> String {
    let is_telling = |line: &&str| {
        [
            "FATAL:",
            "PANIC:",
            "ERROR:",
            "error:",
            "could not",
            "cannot",
        ]
        .iter()
        .any(|word| line.contains(word))
    };
    let mut lines: Vec<&str> = output.lines().filter(is_telling).collect();
    if lines.is_empty() {
        lines = output
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        lines.drain(..lines.len().saturating_sub(3));
    }
    lines.truncate(5);
    let mut gist = lines.join("; ");
    if output.contains("No space left on device") {
        gist.push_str("; free some space, or set TMPDIR to a folder on another disk");
    }
    gist
}

/// How the child ended; none if it had to be killed at the deadline.
pub(super) fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        pause();
    }
}

/// Whether no such process runs: it is gone, or dead and not yet reaped.
pub(super) fn has_ended(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|state| state.starts_with('Z'))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two polls of a condition with a deadline"
)]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}
