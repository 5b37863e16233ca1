//! A private PostgreSQL for demonstrations and tests: the machine's own binaries, a cluster of its own, gone when dropped.
//!
//! PostgreSQL refuses to run as root, so as root the programs run as `postgres` or, without that user, `nobody`.
//!
//! The cluster goes with its owner even when the owner is killed: a small shell waits for the end of a pipe that only the owner
//! holds open, then stops the server and deletes the files. Should that shell be killed as well, the files stay in the
//! temporary folder; a server whose files are deleted notices within a minute and ends by itself.

mod machine;
mod process;
mod watcher;

use crate::ports::free_port;
use machine::{find_programs, unprivileged_user};
use process::{Programs, children_of, has_ended, pause};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use watcher::Watcher;

/// No program of PostgreSQL's may take longer than this.
const DEADLINE: Duration = Duration::from_secs(60);

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
        /// Its file name, such as `initdb`
        program: &'static str,
        /// What it printed, and the end of the server's log
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

/// A running cluster. Stopped and deleted when dropped: the watcher does it, before the directory's handle goes.
#[derive(Debug)]
pub struct PrivatePostgres {
    _watcher: Watcher,
    programs: Programs,
    directory: tempfile::TempDir,
    port: u16,
    password: String,
}

impl PrivatePostgres {
    /// Makes a cluster and starts it on a free loopback port. `durable` keeps fsync on; tests do without.
    ///
    /// # Errors
    /// [`PostgresError`], which says what to install.
    pub fn start(durable: bool) -> Result<Self, PostgresError> {
        let cluster = Self::prepare(uuid::Uuid::new_v4().simple().to_string())?;
        let password_file = cluster.directory.path().join("password");
        std::fs::write(&password_file, &cluster.password)?;
        if let Some((uid, gid)) = cluster.programs.user {
            std::os::unix::fs::chown(&password_file, Some(uid), Some(gid))?;
        }
        cluster.programs.run("initdb", |command| {
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
                .arg(cluster.data());
        })?;
        std::fs::remove_file(&password_file)?;
        let durability = if durable {
            ""
        } else {
            "fsync = off\nfull_page_writes = off\n"
        };
        cluster.configure(&format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 128MB\nmax_wal_size = 2GB\nmax_connections = 60\n{durability}"
        ))?;
        cluster.start_server()?;
        Ok(cluster)
    }

    /// A standby that follows this cluster, read-only until [`Self::promote`]. User and password are the same.
    ///
    /// # Errors
    /// [`PostgresError`]
    pub fn start_standby(&self) -> Result<Self, PostgresError> {
        let standby = Self::prepare(self.password.clone())?;
        standby.programs.run("pg_basebackup", |command| {
            command
                .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"])
                .arg(format!("--port={}", self.port))
                .args(["--host=127.0.0.1", "--username=eventflow", "-D"])
                .arg(standby.data())
                .env("PGPASSWORD", &self.password);
        })?;
        standby.configure("")?;
        standby.start_server()?;
        Ok(standby)
    }

    /// Makes a standby a primary of its own.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn promote(&self) -> Result<(), PostgresError> {
        self.programs.run("pg_ctl", |command| {
            command
                .args(["promote", "-w", "-t", "30", "-s"])
                .arg("-D")
                .arg(self.data());
        })
    }

    /// A directory and a port, without a cluster.
    fn prepare(password: String) -> Result<Self, PostgresError> {
        let programs = find_programs().ok_or(PostgresError::NotInstalled)?;
        let directory = tempfile::Builder::new()
            .prefix("eventflow-postgres-")
            .tempdir()?;
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid))?;
        }
        let programs = Programs {
            folder: programs,
            home: directory.path().to_owned(),
            user,
        };
        Ok(Self {
            _watcher: Watcher::start(&programs)?,
            programs,
            directory,
            port: free_port()?,
            password,
        })
    }

    /// Adds settings to the cluster's own, and its port; the last of a name wins.
    fn configure(&self, settings: &str) -> Result<(), PostgresError> {
        let file = self.data().join("postgresql.conf");
        let existing = std::fs::read_to_string(&file)?;
        std::fs::write(
            &file,
            format!("{existing}\n{settings}port = {}\n", self.port),
        )?;
        Ok(())
    }

    /// `host:port` of the server, as in its URLs.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
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
            "postgres://eventflow:{}@{}/{database}?sslmode=disable",
            self.password,
            self.address()
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
            let started = self.programs.run("pg_ctl", |command| {
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
        self.programs.run("pg_ctl", |command| {
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
        let lock = self.lock();
        let pid = self.postmaster()?;
        self.programs.run("pg_ctl", |command| {
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

    /// Sends a signal to the server and to all of its processes, such as `STOP`: connections stay open, and nothing answers on them; then
    /// `CONT`.
    ///
    /// # Errors
    /// What `kill` said, or that the server does not run.
    pub fn signal(&self, signal: &str) -> std::io::Result<()> {
        let postmaster = self.postmaster()?;
        // The postmaster first: while it is stopped, it starts no further process.
        self.programs.kill(signal, &postmaster)?;
        for child in children_of(&postmaster)? {
            match self.programs.kill(signal, &child) {
                Err(_) if has_ended(&child) => {}
                sent => sent?,
            }
        }
        Ok(())
    }

    /// The server's processes, by number; the first starts all others.
    ///
    /// # Errors
    /// The server does not run.
    pub fn processes(&self) -> std::io::Result<Vec<String>> {
        let postmaster = self.postmaster()?;
        let children = children_of(&postmaster)?;
        Ok([vec![postmaster], children].concat())
    }

    /// User and group that the server runs as, when this process is root.
    #[must_use]
    pub fn user(&self) -> Option<(u32, u32)> {
        self.programs.user
    }

    /// The number of the process that starts all others.
    fn postmaster(&self) -> std::io::Result<String> {
        let lock = std::fs::read_to_string(self.lock())?;
        Ok(lock.lines().next().unwrap_or_default().trim().to_owned())
    }

    fn lock(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }
}

#[cfg(test)]
mod tests;
