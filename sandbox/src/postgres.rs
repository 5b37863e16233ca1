//! A private PostgreSQL for demonstrations and tests: the machine's own binaries, a cluster of its own, gone when dropped.
//!
//! PostgreSQL refuses to run as root, so as root the programs run as `postgres` or, without that user, `nobody`.
//!
//! The cluster goes with its owner even when the owner is killed: a small shell waits for the end of a pipe that only the owner
//! holds open, then stops the server and deletes the files. Should that shell be killed as well, the files stay in the
//! temporary folder; a server whose files are deleted notices within a minute and ends by itself.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No program of PostgreSQL's may take longer than this.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until the owner's end of the pipe closes, then leaves nothing. An `initdb` that outlives its owner may still be writing: then the
/// folder is not empty at its removal, and is removed again.
const WATCH: &str = r#"cat >/dev/null; "$1/pg_ctl" stop -m immediate -w -t 30 -s -D "$2/data"
for try in 1 2 3 4 5; do rm -rf "$2" && break; sleep 1; done"#;

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No server programs on this machine
    #[error(
        "no PostgreSQL server programs found: install the package postgresql (apt-get install postgresql), or set EVENTFLOW_PG_BIN to the folder with initdb and pg_ctl, or use --database-url"
    )]
    NotInstalled,
    /// A program failed
    #[error("{program} failed: {output}")]
    Failed {
        /// Program
        program: &'static str,
        /// What it said
        output: String,
    },
    /// Files or ports
    #[error("cannot prepare its files: {0}; they go to TMPDIR ({tmp}), which must exist, be writable and have 200 MB free", tmp = std::env::temp_dir().display())]
    Io(#[from] std::io::Error),
}

impl PostgresError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInstalled => "postgresql_not_installed",
            Self::Failed { .. } => "postgresql_failed",
            Self::Io(_) => "postgresql_io",
        }
    }
}

/// A running cluster. Stopped and deleted when dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: PathBuf,
    watch: Option<Child>,
    directory: tempfile::TempDir,
    user: Option<(u32, u32)>,
    port: u16,
    password: String,
}

impl PrivatePostgres {
    /// Makes a cluster and starts it on a free loopback port. `durable` keeps fsync on; tests do without.
    ///
    /// # Errors
    /// [`PostgresError`], which says what to install.
    pub fn start(durable: bool) -> Result<Self, PostgresError> {
        let programs = find_programs().ok_or(PostgresError::NotInstalled)?;
        let directory = tempfile::Builder::new()
            .prefix("eventflow-postgres-")
            .tempdir()?;
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid))?;
        }
        let port = free_port()?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        let mut cluster = Self {
            programs,
            watch: None,
            directory,
            user,
            port,
            password,
        };
        cluster.watch = Some(cluster.watch()?);
        let password_file = cluster.directory.path().join("password");
        std::fs::write(&password_file, &cluster.password)?;
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&password_file, Some(uid), Some(gid))?;
        }
        let data = cluster.data();
        cluster.run("initdb", |command| {
            command.args([
                "--no-sync",
                "--auth=scram-sha-256",
                "--username=eventflow",
                "--encoding=UTF8",
                "--locale=C",
            ]);
            command
                .arg("--pwfile")
                .arg(&password_file)
                .arg("-D")
                .arg(&data);
        })?;
        std::fs::remove_file(&password_file)?;
        let durability = if durable {
            ""
        } else {
            "fsync = off\nfull_page_writes = off\n"
        };
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nshared_buffers = 128MB\nmax_wal_size = 2GB\nmax_connections = 60\n{durability}"
        );
        let file = data.join("postgresql.conf");
        let existing = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{existing}\n{settings}"))?;
        cluster.start_server()?;
        Ok(cluster)
    }

    /// URL of the database `postgres`, as its superuser. Holds a password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// URL of another database of this cluster.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://eventflow:{}@127.0.0.1:{}/{database}?sslmode=disable",
            self.password, self.port
        )
    }

    /// Starts the server again, same data, same port.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn start_server(&self) -> Result<(), PostgresError> {
        let log = self.directory.path().join("log");
        let deadline = Instant::now() + DEADLINE;
        loop {
            let started = self.run("pg_ctl", |command| {
                command
                    .args(["start", "-w", "-t", "30", "-s"])
                    .arg("-D")
                    .arg(self.data())
                    .arg("-l")
                    .arg(&log);
            });
            // After a kill the last backends take a moment to notice, and keep the shared memory until then.
            let waits = matches!(&started, Err(PostgresError::Failed { output, .. }) if output.contains("shared memory block"));
            if !waits || Instant::now() >= deadline {
                return started;
            }
            pause();
        }
    }

    /// Stops the server: connections are cut, as in an outage.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn stop_server(&self) -> Result<(), PostgresError> {
        self.run("pg_ctl", |command| {
            command
                .args(["stop", "-m", "immediate", "-w", "-t", "30", "-s"])
                .arg("-D")
                .arg(self.data());
        })
    }

    /// Kills the server with SIGKILL, as the kernel does when memory runs out. [`Self::start_server`] brings it back.
    ///
    /// # Errors
    /// What `pg_ctl` said, or that the server does not run.
    pub fn kill_server(&self) -> Result<(), PostgresError> {
        let lock = self.data().join("postmaster.pid");
        let pid = std::fs::read_to_string(&lock)?
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        self.run("pg_ctl", |command| {
            command.args(["kill", "KILL", &pid]);
        })?;
        let deadline = Instant::now() + DEADLINE;
        while !has_ended(&pid) && Instant::now() < deadline {
            pause();
        }
        // Where nobody reaps the dead process, PostgreSQL would take it for a running server.
        std::fs::remove_file(&lock)?;
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn run(
        &self,
        program: &'static str,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<(), PostgresError> {
        let mut command = self.command(self.programs.join(program));
        arguments(&mut command);
        command
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path());
        // The server inherits what pg_ctl writes to: a file, or reading its output would last as long as the server.
        let mut said = tempfile::tempfile()?;
        let mut child = command.stdout(said.try_clone()?).stderr(said.try_clone()?).spawn().map_err(|error| {
            if error.kind() != std::io::ErrorKind::PermissionDenied {
                return PostgresError::Io(error);
            }
            let folder = self.directory.path().display();
            let output = format!("{error}: is {folder} in a folder every user may enter? set TMPDIR to one that is");
            PostgresError::Failed { program, output }
        })?;
        if wait(&mut child)?.is_some_and(|status| status.success()) {
            return Ok(());
        }
        let mut output = String::new();
        std::io::Seek::rewind(&mut said)?;
        std::io::Read::read_to_string(&mut said, &mut output)?;
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        // The log has all starts; the last lines are of this one.
        let log: Vec<&str> = log.lines().collect();
        let newest = log[log.len().saturating_sub(5)..].join("\n");
        Err(PostgresError::Failed {
            program,
            output: gist(&format!("{output}\n{newest}")),
        })
    }

    /// The shell that ends the cluster when this process ends. A group of its own keeps a Ctrl-C at the terminal from it.
    fn watch(&self) -> Result<Child, PostgresError> {
        let mut command = self.command("sh");
        command
            .args(["-c", WATCH, "eventflow-postgres-watch"])
            .arg(&self.programs)
            .arg(self.directory.path());
        command
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command.spawn()?)
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        drop(watch.stdin.take());
        if let Err(error) = wait(&mut watch) {
            tracing::debug!(event = "private_postgres_stop", %error);
        }
    }
}

/// What went wrong, out of all that a program and the server's log say, on one line.
fn gist(output: &str) -> String {
    let tells = |line: &&str| {
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
    let mut lines: Vec<&str> = output.lines().filter(tells).collect();
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
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
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
fn has_ended(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|state| state.starts_with('Z'))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at a condition with a deadline"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// A free port below the ones the kernel gives to outgoing connections: while the server is stopped, none of them takes it.
fn free_port() -> std::io::Result<u16> {
    let mut last = None;
    for _ in 0..100 {
        let port = 15_000
            + u16::from_le_bytes([
                uuid::Uuid::new_v4().as_bytes()[0],
                uuid::Uuid::new_v4().as_bytes()[1],
            ]) % 16_000;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
}

/// The folder with `initdb` and `pg_ctl`: as told, or where Debian keeps them, newest first, or on the path.
fn find_programs() -> Option<PathBuf> {
    let complete =
        |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    if let Some(told) = std::env::var_os("EVENTFLOW_PG_BIN") {
        return Some(PathBuf::from(told)).filter(complete);
    }
    let mut packaged: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    packaged.sort_by_key(|path| {
        let version: u32 = path
            .parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str()?.parse().ok())
            .unwrap_or(0);
        std::cmp::Reverse(version)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    packaged
        .into_iter()
        .chain(std::env::split_paths(&path))
        .find(complete)
}

/// As root: the user to run as. Otherwise none.
fn unprivileged_user() -> Option<(u32, u32)> {
    let own = std::fs::metadata("/proc/self")
        .ok()
        .map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    if own != Some(0) {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|wanted| {
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(wanted))?;
        let mut parts = line.split(':').skip(2);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests;
