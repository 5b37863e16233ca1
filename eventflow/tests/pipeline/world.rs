//! A broker, a database and the roles as processes; all gone when dropped.

use contracts::Secret;
use contracts::kafka::headers;
use contracts::kafka::topics;
use persistence::writer::Writer;
use runtime::admin::read_all;
use runtime::kafka::KafkaArgs;
use sandbox::broker::EmbeddedBroker;
pub(crate) use sandbox::harness::{RealKafka, free_address};
use sandbox::harness::{kafka_flags, wait_for};
use sandbox::postgres::PrivatePostgres;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "pipeline-test-secret";
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);
/// Who may use recovery's API: two people, each with a token of their own in the environment.
pub(crate) const PEOPLE: [(&str, &str); 2] = [
    ("anna", "anna-0123456789abcdef"),
    ("boris", "boris-0123456789abcde"),
];

/// The program under test: this build's, or the one that EVENTFLOW_TEST_PROGRAM names, such as an image's.
pub(crate) fn program() -> std::ffi::OsString {
    std::env::var_os("EVENTFLOW_TEST_PROGRAM")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_eventflow").into())
}

/// A role as a process; killed when dropped.
pub(crate) struct Role {
    child: Child,
    pub(crate) log: PathBuf,
    pub(crate) ops: String,
}

impl Role {
    /// SIGKILL, in place: whoever holds it starts another.
    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(self) -> Option<i32> {
        self.signal("-TERM");
        self.exit_code()
    }

    /// Any signal.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success(), "kill {signal}");
    }

    /// Waits until it ends by itself.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.log());
            std::thread::yield_now();
        }
    }

    /// The most memory it had resident at any time.
    pub(crate) fn peak_memory_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim_end_matches("kB").trim().parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Status and text of one of its operations endpoints.
    pub(crate) async fn ask(&self, path: &str) -> Option<(u16, String)> {
        let response = runtime::http_client::new()
            .get(format!("http://{}{path}", self.ops))
            .send()
            .await
            .ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    pub(crate) async fn until_ready(&self) {
        wait_for(DEADLINE, async || match self.ask("/ready").await {
            Some((200, _)) => Ok(()),
            answer => Err(format!("ready: {answer:?}\n{}", self.log())),
        })
        .await;
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The database and the flags every role shares.
pub(crate) struct World {
    pub(crate) postgres: PrivatePostgres,
    pub(crate) kafka_flags: Vec<String>,
    pub(crate) admin: KafkaArgs,
    logs: TempDir,
    pub(crate) edge: String,
    /// Address of recovery's API
    pub(crate) recovery: String,
    registry: String,
    /// `user:password@` in the registry's URL
    pub(crate) registry_login: &'static str,
    /// Further environment of every role
    pub(crate) environment: Vec<(&'static str, String)>,
    /// URL of the database for a role, where it is not the superuser's
    pub(crate) database: Option<fn(&str, &str) -> String>,
    /// Folder of further event contracts
    pub(crate) contracts: Option<String>,
    started: std::cell::Cell<u32>,
}

/// The embedded broker, in this process, and the flags that lead a role in another one to it.
pub(crate) fn embedded() -> (EmbeddedBroker, Vec<String>) {
    embedded_with(&contracts::pipeline::Pipeline::built_in())
}

/// As [`embedded`], with the topics of another pipeline.
pub(crate) fn embedded_with(
    pipeline: &contracts::pipeline::Pipeline,
) -> (EmbeddedBroker, Vec<String>) {
    let broker = EmbeddedBroker::start(&pipeline.partitions()).unwrap();
    let flags = kafka_flags(&broker.kafka());
    (broker, flags)
}

/// Creates topics on a cluster that may be on its way up.
pub(crate) async fn create_topics(admin: &KafkaArgs, topics: &[(&str, i32)]) {
    wait_for(DEADLINE, async || {
        let created = runtime::admin::create_topics(admin, topics).await;
        created.map_err(|error| format!("{error:#}"))
    })
    .await;
}

impl World {
    pub(crate) async fn new(admin: KafkaArgs, kafka_flags: Vec<String>) -> Self {
        let topology = contracts::pipeline::Pipeline::built_in();
        create_topics(&admin, &topology.partitions()).await;
        Self::on(admin, kafka_flags)
    }

    /// On a cluster that has the topics.
    pub(crate) fn on(admin: KafkaArgs, kafka_flags: Vec<String>) -> Self {
        Self {
            postgres: PrivatePostgres::start(false).unwrap(),
            kafka_flags,
            admin,
            logs: tempfile::tempdir().unwrap(),
            edge: free_address(),
            recovery: free_address(),
            registry: free_address(),
            registry_login: "",
            environment: Vec::new(),
            database: None,
            contracts: None,
            started: 0.into(),
        }
    }

    pub(crate) fn role(&self, role: &str, flags: &[&str]) -> Role {
        self.role_with(role, flags, &self.kafka_flags)
    }

    pub(crate) fn role_with(&self, role: &str, flags: &[&str], kafka_flags: &[String]) -> Role {
        self.started.set(self.started.get() + 1);
        let log = self
            .logs
            .path()
            .join(format!("{role}-{}", self.started.get()));
        let ops = if role == "registry" {
            self.registry.clone()
        } else {
            free_address()
        };
        let mut command = Command::new(program());
        command
            .arg(role)
            .args(flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(contracts) = self
            .contracts
            .as_ref()
            .filter(|_| ["registry", "validator", "recovery"].contains(&role))
        {
            command.args(["--contracts", contracts]);
        }
        let superuser = self.postgres.url();
        let database_url = self
            .database
            .map_or(superuser.clone(), |of| of(role, &superuser));
        let registry_url = self.registry_url();
        match role {
            "registry" => {
                command.args(["--listen", &self.registry]);
            }
            _ => {
                command.args(["--ops-listen", &ops]).args(kafka_flags);
            }
        }
        match role {
            "producer" => {
                command.args(["--listen", &self.edge, "--webhook-signing-secret", SECRET]);
            }
            "validator" | "analytics" => {
                command.args(["--registry-url", &registry_url]);
            }
            "persistence" => {
                command.args([
                    "--registry-url",
                    &registry_url,
                    "--database-url",
                    &database_url,
                ]);
            }
            "recovery" => {
                command.args([
                    "--registry-url",
                    &registry_url,
                    "--database-url",
                    &database_url,
                    "--listen",
                    &self.recovery,
                ]);
                command.args(["--webhook-signing-secret", SECRET, "--audit-seconds", "1"]);
                for (name, token) in PEOPLE {
                    command
                        .arg("--api-token")
                        .arg(format!("{name}:operator=env:TOKEN_OF_{name}"));
                    command.env(format!("TOKEN_OF_{name}"), token);
                }
            }
            _ => {}
        }
        let file = std::fs::File::create(&log).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Role {
            child: command.spawn().unwrap(),
            log,
            ops,
        }
    }

    pub(crate) fn registry_url(&self) -> String {
        format!("http://{}{}", self.registry_login, self.registry)
    }

    /// A file of sources with this text.
    pub(crate) fn sources(&self, text: &str) -> PathBuf {
        let path = self.logs.path().join("sources.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) async fn store(&self) -> Writer {
        let url = Secret::new(self.postgres.url());
        Writer::open(
            &url,
            &self.admin,
            &runtime::health::Health::new(),
            &CancellationToken::new(),
        )
        .await
        .unwrap()
        .unwrap()
    }

    /// One row of the database, as JSON whose numbers keep their digits.
    pub(crate) async fn row(&self, event_id: &str) -> String {
        let pool = sqlx::PgPool::connect(&self.postgres.url()).await.unwrap();
        let query = sqlx::query_scalar(
            "SELECT row_to_json(events)::text FROM persistence.events WHERE event_id = $1",
        );
        query.bind(event_id).fetch_one(&pool).await.unwrap()
    }

    /// Waits until every raw record has a fate, then proves that each has exactly one. Answers how many of each.
    pub(crate) async fn account(
        &self,
    ) -> (BTreeMap<String, usize>, std::collections::HashSet<String>) {
        let store = self.store().await;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let admin = self.admin.clone();
            let (raw, dead) = tokio::task::spawn_blocking(move || {
                (
                    read_all(&admin, topics::RAW).unwrap(),
                    read_all(&admin, topics::DLQ).unwrap(),
                )
            })
            .await
            .unwrap();
            let mut fates: HashMap<(i32, i64), Vec<String>> = HashMap::new();
            let mut ids = std::collections::HashSet::new();
            for fate in store.fates().await.unwrap() {
                fates
                    .entry(fate.raw.place())
                    .or_default()
                    .push(fate.fate.as_str().to_owned());
                ids.insert(fate.event_id);
            }
            for record in &dead {
                let fate = format!(
                    "dead_lettered {}",
                    record.header(headers::dlq::CODE).unwrap()
                );
                let all = fates.entry(record.raw().unwrap()).or_default();
                // A crash between the dead letter's acknowledgement and the commit makes a second copy of the same verdict.
                if !all.contains(&fate) {
                    all.push(fate);
                }
            }
            let missing: Vec<_> = raw
                .iter()
                .filter(|record| !fates.contains_key(&(record.partition, record.offset)))
                .collect();
            if missing.is_empty() {
                let mut counts = BTreeMap::new();
                for (raw, all) in &fates {
                    assert_eq!(all.len(), 1, "raw {raw:?} has {all:?}");
                    *counts.entry(all[0].clone()).or_default() += 1;
                }
                assert_eq!(fates.len(), raw.len(), "no fate without its raw record");
                for record in &dead {
                    let original = raw
                        .iter()
                        .find(|raw| Some((raw.partition, raw.offset)) == record.raw())
                        .unwrap();
                    if record.header(headers::dlq::STAGE).as_deref() == Some("validator") {
                        assert_eq!(
                            (&record.value, &record.key),
                            (&original.value, &original.key),
                            "verbatim"
                        );
                        assert!(
                            original
                                .headers
                                .iter()
                                .all(|header| record.headers.contains(header)),
                            "headers unchanged"
                        );
                    }
                }
                return (counts, ids);
            }
            if Instant::now() > deadline {
                for log in std::fs::read_dir(self.logs.path()).unwrap().flatten() {
                    let text = std::fs::read_to_string(log.path()).unwrap();
                    let tail: Vec<&str> = text.lines().rev().take(15).collect();
                    println!("{}:\n  {}", log.path().display(), tail.join("\n  "));
                }
                panic!(
                    "{} of {} have no fate, such as {}:{}",
                    missing.len(),
                    raw.len(),
                    missing[0].partition,
                    missing[0].offset
                );
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}
