//! A private PostgreSQL for demonstrations and tests: the machine's own binaries, a cluster of its own, gone when dropped.
//!
//! PostgreSQL refuses to run as root, so as root the programs run as `postgres` or, without that user, `nobody`.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    #[error("cannot prepare a private PostgreSQL: {0}")]
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
        let directory = tempfile::Builder::new().prefix("eventflow-postgres-").tempdir()?;
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid))?;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let cluster = Self { programs, directory, user, port, password: uuid::Uuid::new_v4().simple().to_string() };
        let password_file = cluster.directory.path().join("password");
        std::fs::write(&password_file, &cluster.password)?;
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&password_file, Some(uid), Some(gid))?;
        }
        let data = cluster.data();
        cluster.run("initdb", |command| {
            command.args(["--no-sync", "--auth=scram-sha-256", "--username=eventflow", "--encoding=UTF8", "--locale=C"]);
            command.arg("--pwfile").arg(&password_file).arg("-D").arg(&data);
        })?;
        std::fs::remove_file(&password_file)?;
        let durability = if durable { "" } else { "fsync = off\nfull_page_writes = off\n" };
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
        format!("postgres://eventflow:{}@127.0.0.1:{}/{database}?sslmode=disable", self.password, self.port)
    }

    /// Starts the server again, same data, same port.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn start_server(&self) -> Result<(), PostgresError> {
        let log = self.directory.path().join("log");
        self.run("pg_ctl", |command| {
            command.args(["start", "-w", "-t", "30", "-s"]).arg("-D").arg(self.data()).arg("-l").arg(log);
        })
    }

    /// Stops the server: connections are cut, as in an outage.
    ///
    /// # Errors
    /// What `pg_ctl` said.
    pub fn stop_server(&self) -> Result<(), PostgresError> {
        self.run("pg_ctl", |command| {
            command.args(["stop", "-m", "immediate", "-w", "-t", "30", "-s"]).arg("-D").arg(self.data());
        })
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn run(&self, program: &'static str, arguments: impl FnOnce(&mut Command)) -> Result<(), PostgresError> {
        let mut command = Command::new(self.programs.join(program));
        arguments(&mut command);
        command.current_dir(self.directory.path()).env("HOME", self.directory.path()).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // The server inherits what pg_ctl writes to: a file, or reading its output would last as long as the server.
        let said = tempfile::tempfile()?;
        let status = command.stdout(said.try_clone()?).stderr(said.try_clone()?).status()?;
        if status.success() {
            return Ok(());
        }
        let mut output = String::new();
        let mut said = said;
        std::io::Seek::rewind(&mut said)?;
        std::io::Read::read_to_string(&mut said, &mut output)?;
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        Err(PostgresError::Failed { program, output: format!("{} {}", output.trim(), tail.join("; ")) })
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Err(error) = self.stop_server() {
            tracing::debug!(event = "private_postgres_stop", %error);
        }
    }
}

/// The folder with `initdb` and `pg_ctl`: as told, on the path, or where Debian keeps them, newest first.
fn find_programs() -> Option<PathBuf> {
    let told = std::env::var_os("EVENTFLOW_PG_BIN").map(PathBuf::from);
    let mut packaged: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
    packaged.sort_by_key(|path| {
        let version: u32 = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0);
        std::cmp::Reverse(version)
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    told.into_iter()
        .chain(packaged)
        .chain(std::env::split_paths(&path))
        .find(|folder| folder.join("initdb").exists() && folder.join("pg_ctl").exists())
}

/// As root: the user to run as. Otherwise none.
fn unprivileged_user() -> Option<(u32, u32)> {
    let own = std::fs::metadata("/proc/self").ok().map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    if own != Some(0) {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|wanted| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut parts = line.split(':').skip(2);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}
