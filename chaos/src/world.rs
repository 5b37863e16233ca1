//! Everything that a run has: brokers, servers, the roles as processes, and who starts them again when they end.

use crate::cluster::Cluster;
use crate::database::Database;
use crate::judge::secrets::Named;
use crate::process::{Environment, Process, program, until};
use crate::runlog::RunLog;
use crate::schedule::{MEMBERS, Setting};
use crate::traffic::{SOURCES, Traffic, source_names};
use anyhow::Context;
use sandbox::ports::free_port;
use simulator::vendor::Folder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// The token of on-call, made for a run that nobody else reaches.
const TOKEN: &str = "chaos-token-of-on-call";
/// Longest start of a role, on a machine that is busy with all the others.
pub(crate) const READY: Duration = Duration::from_secs(120);
/// A command of on-call, or of an administrator.
const COMMAND: Duration = Duration::from_secs(180);
/// Policies look at dead letters often, since a run is short.
const POLICIES: &str = "every = \"2s\"\n[[policy]]\nname = \"chaos\"\ncodes = [\"unknown_source\", \"unknown_event_type\", \"missing_field\"]\nyoungest = \"1s\"\nrate = 50\nbackoff = \"2s\"\n";

/// What a run has.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) database: Database,
    members: BTreeMap<&'static str, Member>,
    pub(crate) log: RunLog,
    /// Where everything of the run is
    pub(crate) folder: PathBuf,
    /// What no process may print
    pub(crate) secrets: Vec<Named>,
    /// Topics that were deleted and created again
    pub(crate) recreated: Mutex<BTreeSet<String>>,
    recovery: String,
    registry: String,
    /// Starts ended roles again
    watch: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone)]
struct Member {
    process: Arc<Mutex<Process>>,
    ops: String,
}

impl World {
    /// Starts all of it, and waits until every role is ready. What the roles print goes to `folder`.
    pub(crate) async fn start(
        setting: &Setting,
        planted: Option<&str>,
        folder: &Path,
        log: RunLog,
    ) -> anyhow::Result<(Self, Traffic)> {
        let script = crate::kafka_script()?;
        let (cluster, database) = tokio::try_join!(
            Cluster::start(&script, setting.brokers),
            Database::start(setting.has_standby(), folder)
        )?;
        let sources = Folder::copy_of(&folder.join("sources"), SOURCES, &[])?;
        let (registry, recovery) = (address()?, address()?);
        let edges = [address()?, address()?];
        let policies = folder.join("policies.toml");
        std::fs::write(&policies, POLICIES)?;
        let mut environment: Environment = [
            ("EVENTFLOW_REGISTRY_URL", format!("http://{registry}")),
            ("EVENTFLOW_SOURCES", sources.file().display().to_string()),
            ("EVENTFLOW_POLICIES", policies.display().to_string()),
            ("EVENTFLOW_RECOVERY_LISTEN", recovery.clone()),
            ("EVENTFLOW_AUDIT_SECONDS", "1".to_owned()),
            (
                "EVENTFLOW_RECOVERY_API_TOKENS",
                "on-call:operator=env:EVENTFLOW_RECOVERY_TOKEN".to_owned(),
            ),
            ("EVENTFLOW_RECOVERY_TOKEN", TOKEN.to_owned()),
            (
                "EVENTFLOW_KAFKA_CONFIG",
                "session.timeout.ms=6000".to_owned(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(planted) = planted {
            environment.push(("EVENTFLOW_PLANTED".to_owned(), planted.to_owned()));
        }
        let mut members = BTreeMap::new();
        for name in MEMBERS {
            let (role, number) = name.split_once('-').unwrap_or((name, "1"));
            let mut own = environment.clone();
            let ops = match (role, number) {
                ("registry", _) => {
                    own.push(("EVENTFLOW_REGISTRY_LISTEN".to_owned(), registry.clone()));
                    registry.clone()
                }
                _ => address()?,
            };
            if role == "producer" {
                let edge = if number == "1" { &edges[0] } else { &edges[1] };
                own.push(("EVENTFLOW_PRODUCER_LISTEN".to_owned(), edge.clone()));
            }
            own.push(("EVENTFLOW_OPS_LISTEN".to_owned(), ops.clone()));
            own.push((
                "EVENTFLOW_KAFKA_BROKERS".to_owned(),
                cluster.bootstrap(role),
            ));
            own.push(("EVENTFLOW_DATABASE_URL".to_owned(), database.url(role)));
            let process = Process::new(name, vec![role.to_owned()], own, folder);
            let process = Arc::new(Mutex::new(process));
            members.insert(name, Member { process, ops });
        }
        let traffic = Traffic::new(setting, &sources, &edges, folder);
        let secrets = secrets(&sources, &database)?;
        let world = Self {
            cluster,
            database,
            members,
            log,
            folder: folder.to_owned(),
            secrets,
            recreated: Mutex::default(),
            recovery,
            registry: format!("http://{registry}"),
            watch: Mutex::new(None),
        };
        world.administer(setting).await?;
        for name in MEMBERS {
            world.member(name)?.lock().await.start(&[])?;
        }
        world.until_ready().await?;
        world.watch().await;
        Ok((world, traffic))
    }

    /// Topics and tables, as an administrator makes them.
    async fn administer(&self, setting: &Setting) -> anyhow::Result<()> {
        self.apply_topics(setting.brokers).await?;
        self.eventflow(&["admin", "migrate"]).await.map(drop)
    }

    /// Makes the topics that are missing, with so many copies.
    pub(crate) async fn apply_topics(&self, copies: usize) -> anyhow::Result<()> {
        let copies = copies.to_string();
        let apply = ["admin", "topics", "apply", "--replication", &copies];
        self.eventflow(&apply).await.map(drop)
    }

    /// Runs a command of `eventflow` that must succeed; what it printed.
    pub(crate) async fn eventflow(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.output(arguments).await?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(
            output.status.success(),
            "{}: {}: {} {printed}",
            arguments[..arguments.len().min(2)].join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(printed)
    }

    /// Runs a command of `eventflow` to its end, as on-call and administrators do.
    pub(crate) async fn output(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = tokio::process::Command::new(program()?);
        command
            .args(arguments)
            .env(
                "EVENTFLOW_RECOVERY_URL",
                format!("http://{}", self.recovery),
            )
            .env("EVENTFLOW_RECOVERY_TOKEN", TOKEN)
            .env("EVENTFLOW_REGISTRY_URL", &self.registry)
            .env(
                "EVENTFLOW_KAFKA_BROKERS",
                self.cluster.direct().kafka_brokers,
            )
            .env("EVENTFLOW_DATABASE_URL", self.database.direct().await)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = tokio::time::timeout(COMMAND, command.output()).await;
        let ended = ended.with_context(|| format!("{arguments:?} did not end in time"))?;
        Ok(ended?)
    }

    /// A process by its name.
    pub(crate) fn member(&self, name: &str) -> anyhow::Result<Arc<Mutex<Process>>> {
        let member = self
            .members
            .get(name)
            .with_context(|| format!("there is no {name}"))?;
        Ok(Arc::clone(&member.process))
    }

    /// The processes of a role.
    pub(crate) fn members_of(&self, role: &str) -> Vec<Arc<Mutex<Process>>> {
        let own = self
            .members
            .iter()
            .filter(|(name, _)| name.split('-').next() == Some(role));
        own.map(|(_, member)| Arc::clone(&member.process)).collect()
    }

    /// One more member of a role's group, as [`Self::member`] of it is started.
    pub(crate) async fn further(&self, role: &str) -> anyhow::Result<Process> {
        let first = self.member(&format!("{role}-1"))?;
        let further = first.lock().await.another(
            &format!("{role}-3"),
            &[("EVENTFLOW_OPS_LISTEN", &address()?)],
        );
        Ok(further)
    }

    /// Waits until every role says that it can do its job.
    pub(crate) async fn until_ready(&self) -> anyhow::Result<()> {
        for name in self.members.keys() {
            self.until_member_ready(name).await?;
        }
        Ok(())
    }

    /// Waits until a process says that it can do its job.
    pub(crate) async fn until_member_ready(&self, name: &str) -> anyhow::Result<()> {
        let ops = self.members.get(name).map(|member| member.ops.as_str());
        let url = format!("http://{}/ready", ops.context("there is no such process")?);
        let (client, mut last) = (runtime::http_client::new(), String::new());
        let ready = async || {
            let answer = client
                .get(&url)
                .timeout(Duration::from_secs(5))
                .send()
                .await;
            let Ok(answer) = answer else { return Ok(false) };
            let is_ready = answer.status().is_success();
            last = answer.text().await.unwrap_or_default();
            Ok(is_ready)
        };
        let waited = until(&format!("{name} is ready"), READY, ready).await;
        waited.with_context(|| format!("{name} says {last}"))
    }

    /// From now on a role that ends is started again, as an orchestrator does.
    async fn watch(&self) {
        let (members, log) = (self.members.clone(), self.log.clone());
        let watch = tokio::task::spawn_local(async move {
            loop {
                for member in members.values() {
                    let mut process = member.process.lock().await;
                    if let Some(status) = process.ended() {
                        log.note(&format!(
                            "{} ended with {status}: it is started again",
                            process.name
                        ));
                        log.count_end(status);
                        if let Err(error) = process.start(&[]) {
                            log.note(&format!("{error:#}"));
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        *self.watch.lock().await = Some(watch);
    }

    /// Undoes every fault, and starts what does not run.
    pub(crate) async fn heal(&self) -> anyhow::Result<()> {
        self.database.heal().await.context("PostgreSQL")?;
        self.cluster.heal().await.context("Kafka")?;
        for member in self.members.values() {
            let mut process = member.process.lock().await;
            process.signal("CONT")?;
            process.start(&[])?;
        }
        Ok(())
    }

    /// What the roles printed, by name.
    pub(crate) async fn logs(&self) -> BTreeMap<&'static str, String> {
        let mut logs = BTreeMap::new();
        for (name, member) in &self.members {
            logs.insert(*name, member.process.lock().await.log());
        }
        logs
    }

    /// Ends the roles.
    pub(crate) async fn end(&self) -> anyhow::Result<()> {
        if let Some(watch) = self.watch.lock().await.take() {
            watch.abort();
        }
        for member in self.members.values() {
            member.process.lock().await.kill()?;
        }
        Ok(())
    }
}

/// All secrets that the processes of a run are given.
fn secrets(sources: &Folder, database: &Database) -> anyhow::Result<Vec<Named>> {
    let named = |name: String, secret: String| Named { name, secret };
    let mut all = vec![
        named("the token of on-call".to_owned(), TOKEN.to_owned()),
        named(
            "the database's password".to_owned(),
            database.password().to_owned(),
        ),
    ];
    for source in source_names() {
        let secret = sources
            .secret(source)
            .with_context(|| format!("{source} has no secret"))?;
        let secret = String::from_utf8(secret.expose().to_vec())?;
        all.push(named(format!("the secret of {source}"), secret));
    }
    Ok(all)
}

/// An address of this machine that nobody listens on.
pub(crate) fn address() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}
