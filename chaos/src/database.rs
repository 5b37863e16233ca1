//! PostgreSQL of a run, with a standby or with its tables on a small disk. Each role reaches a server by a proxy of its own.

use crate::cluster::blocking;
use crate::schedule::DATABASE_WAYS;
use anyhow::Context;
use sandbox::postgres::PrivatePostgres;
use sandbox::proxy::{Link, Proxy};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

const NAME: &str = "eventflow";
/// Of the small disk, in mebibytes: more than a run writes.
const DISK_MIB: u32 = 512;
/// Longest wait for one statement of a run's own.
const STATEMENT: Duration = Duration::from_secs(20);

/// The servers.
#[derive(Debug)]
pub(crate) struct Database {
    /// The one that is written to first; a fault holds both
    servers: Arc<Mutex<Servers>>,
    /// By way; a proxy for each server
    proxies: BTreeMap<&'static str, Vec<Proxy>>,
    /// As superuser; servers from the first to the last, with `{servers}` for their addresses
    url: String,
    disk: Option<Disk>,
}

#[derive(Debug)]
struct Servers {
    primary: Arc<PrivatePostgres>,
    /// Until it is promoted
    standby: Option<Arc<PrivatePostgres>>,
    /// What failed over
    former: Option<Arc<PrivatePostgres>>,
}

impl Database {
    /// Starts the servers and makes the database.
    pub(crate) async fn start(has_standby: bool, folder: &Path) -> anyhow::Result<Self> {
        let primary = blocking(|| Ok(PrivatePostgres::start(false)?)).await?;
        let disk = if has_standby {
            None
        } else {
            Disk::mount(&folder.join("small-disk"), &primary)?
        };
        let mut admin = PgConnection::connect(&primary.url()).await?;
        let mut create = format!("CREATE DATABASE {NAME}");
        if let Some(disk) = &disk {
            let location = disk.folder.display();
            let tablespace = format!("CREATE TABLESPACE small LOCATION '{location}'");
            sqlx::query(AssertSqlSafe(tablespace))
                .execute(&mut admin)
                .await?;
            create.push_str(" TABLESPACE small");
        }
        sqlx::query(AssertSqlSafe(create))
            .execute(&mut admin)
            .await?;
        admin.close().await?;
        let primary = Arc::new(primary);
        let standby = if has_standby {
            let primary = Arc::clone(&primary);
            Some(Arc::new(
                blocking(move || Ok(primary.start_standby()?)).await?,
            ))
        } else {
            None
        };
        let mut proxies = BTreeMap::new();
        for way in DATABASE_WAYS {
            let mut own = Vec::new();
            for server in [Some(&primary), standby.as_ref()].into_iter().flatten() {
                own.push(Proxy::start(&server.address(), Duration::ZERO).await?);
            }
            proxies.insert(way, own);
        }
        let url = primary
            .url_of(NAME)
            .replace(&primary.address(), "{servers}");
        Ok(Self {
            servers: Arc::new(Mutex::new(Servers {
                primary,
                standby,
                former: None,
            })),
            proxies,
            url,
            disk,
        })
    }

    /// For a role: all servers, by its proxies.
    pub(crate) fn url(&self, way: &str) -> String {
        let own = self.proxies.get(way).into_iter().flatten();
        let addresses: Vec<_> = own.map(Proxy::address).collect();
        self.url.replace("{servers}", &addresses.join(","))
    }

    /// Of its superuser, as every role has it.
    pub(crate) fn password(&self) -> &str {
        let user = self.url.split_once('@').map_or("", |(user, _)| user);
        user.rsplit_once(':').map_or("", |(_, password)| password)
    }

    /// Whether a standby was promoted.
    pub(crate) async fn has_failed_over(&self) -> bool {
        self.servers.lock().await.former.is_some()
    }

    /// For the run's own look at the database: the primary, by no proxy.
    pub(crate) async fn direct(&self) -> String {
        self.servers.lock().await.primary.url_of(NAME)
    }

    /// A connection to the primary.
    pub(crate) async fn connect(&self) -> anyhow::Result<PgConnection> {
        let connected = PgConnection::connect(&self.direct().await);
        connected.await.context("PostgreSQL")
    }

    /// Runs a statement of a fault.
    pub(crate) async fn run(&self, statement: &'static str) -> anyhow::Result<u64> {
        let mut connection = self.connect().await?;
        let run = sqlx::query(statement).execute(&mut connection);
        let done = tokio::time::timeout(STATEMENT, run).await??;
        Ok(done.rows_affected())
    }

    /// Changes the network between a way and the servers.
    pub(crate) fn set(&self, way: &str, link: Link) {
        for proxy in self.proxies.get(way).into_iter().flatten() {
            proxy.set(link);
        }
    }

    /// Does something with the primary, which may take a while.
    async fn with_primary(
        &self,
        act: impl FnOnce(&PrivatePostgres) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let servers = self.servers.lock().await;
        let primary = Arc::clone(&servers.primary);
        blocking(move || act(&primary)).await
    }

    /// SIGKILL to the server.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        self.with_primary(|server| {
            go_on(server);
            Ok(server.kill_server()?)
        })
        .await
    }

    /// Stops the server at once: connections are cut.
    pub(crate) async fn stop(&self) -> anyhow::Result<()> {
        self.with_primary(|server| {
            go_on(server);
            Ok(server.stop_server()?)
        })
        .await
    }

    /// SIGSTOP to all of its processes.
    pub(crate) async fn pause(&self) -> anyhow::Result<()> {
        self.with_primary(|server| Ok(server.signal("STOP")?)).await
    }

    /// Goes on, or starts.
    pub(crate) async fn resume(&self) -> anyhow::Result<()> {
        self.with_primary(|server| match server.signal("CONT") {
            Ok(()) => Ok(()),
            Err(_) => Ok(server.start_server()?),
        })
        .await
    }

    /// The primary is killed, and its standby is promoted. It lacks the transactions of the last while, as a standby that nobody waits for may.
    pub(crate) async fn fail_over(&self, lacks: Duration) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        let sender = sqlx::query_scalar("SELECT pid::text FROM pg_stat_replication")
            .fetch_optional(&mut connection);
        let sender: Option<String> = tokio::time::timeout(STATEMENT, sender).await??;
        let sender = sender.context("the standby does not follow")?;
        let mut servers = self.servers.lock().await;
        signal("STOP", &sender)?;
        tokio::time::sleep(lacks).await;
        let standby = servers
            .standby
            .take()
            .context("there is no standby any more")?;
        let (old, new) = (Arc::clone(&servers.primary), Arc::clone(&standby));
        blocking(move || {
            go_on(&old);
            old.kill_server()?;
            // It is stopped, and does not notice that its server has ended.
            signal("KILL", &sender)?;
            Ok(new.promote()?)
        })
        .await?;
        servers.former = Some(std::mem::replace(&mut servers.primary, standby));
        Ok(())
    }

    /// For a while every write and flush of the primary takes so much longer. `strace` holds each of these system calls up.
    pub(crate) async fn slow_disk(&self, delay: Duration, lasts: Duration) -> anyhow::Result<()> {
        let primary = Arc::clone(&self.servers.lock().await.primary);
        let calls = "pwrite64,pwritev,fsync,fdatasync";
        let mut strace = tokio::process::Command::new("strace");
        strace
            .args([
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &format!("trace={calls}"),
            ])
            .args([
                "-e",
                &format!("inject={calls}:delay_enter={}", delay.as_micros()),
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for process in primary.processes()? {
            strace.args(["-p", &process]);
        }
        let mut strace = strace.spawn().context("cannot start strace")?;
        // It ends by itself when it may not do this, or when the server ends.
        let ended = tokio::time::timeout(lasts, strace.wait()).await;
        if ended.is_err() {
            strace.kill().await?;
            return Ok(());
        }
        let output = strace.wait_with_output().await?;
        anyhow::bail!("strace: {}", String::from_utf8_lossy(&output.stderr).trim())
    }

    /// The small disk, where this run has one.
    pub(crate) fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// Undoes every fault.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        for proxy in self.proxies.values().flatten() {
            proxy.set(Link::Open(Duration::ZERO));
        }
        if let Some(disk) = &self.disk {
            disk.free()?;
        }
        self.resume().await
    }
}

/// To one process.
fn signal(signal: &str, process: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), process])
        .status()?;
    anyhow::ensure!(sent.success(), "process {process} cannot be sent {signal}");
    Ok(())
}

/// A server that is paused does not notice that it should end.
fn go_on(server: &PrivatePostgres) {
    if let Err(error) = server.signal("CONT") {
        tracing::debug!(event = "server_not_running", %error);
    }
}

/// A file system of its own, of a fixed size. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// None where this user may not mount one.
    fn mount(folder: &Path, server: &PrivatePostgres) -> anyhow::Result<Option<Self>> {
        let Some((uid, gid)) = server.user() else {
            return Ok(None);
        };
        std::fs::create_dir_all(folder)?;
        let options = format!("size={DISK_MIB}m,uid={uid},gid={gid},mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder)
            .stderr(Stdio::null())
            .status()?;
        Ok(mounted.success().then(|| Self {
            folder: folder.to_owned(),
        }))
    }

    /// Leaves no free byte.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut file = std::fs::File::create(self.folder.join("filler"))?;
        let block = vec![0; 1 << 16];
        loop {
            match std::io::Write::write_all(&mut file, &block) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Frees what [`Self::fill`] took.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.folder.join("filler")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount")
            .arg("--lazy")
            .arg(&self.folder)
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            tracing::warn!(event = "disk_left_mounted", folder = %self.folder.display());
        }
    }
}
