//! A real Apache Kafka of a test's own.

use runtime::kafka::KafkaArgs;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Longest start of a cluster's brokers, once their controllers run.
const START: Duration = Duration::from_secs(120);

/// A real Apache Kafka, killed when dropped. Started by `infra/kafka/local/kafka`. A secure one has a user for each principal of the pipeline.
pub struct RealKafka {
    script: PathBuf,
    /// Its files
    pub directory: TempDir,
    env: HashMap<String, String>,
    /// Of a cluster of several
    cluster_id: Option<String>,
}

impl RealKafka {
    /// None, with a loud line that names the test, when this machine cannot run one; a panic where nothing may be skipped.
    #[must_use]
    pub fn start(test: &str, secure: bool) -> Option<Self> {
        let mut kafka = Self::prepare(test)?;
        let users = contracts::pipeline::Pipeline::built_in()
            .principals()
            .into_keys()
            .collect::<Vec<_>>()
            .join(",");
        let secure: &[&str] = if secure {
            &["--secure", "--users", &users]
        } else {
            &[]
        };
        kafka.env = kafka.call(&[&["start"], secure].concat());
        Some(kafka)
    }

    /// One that is not started yet.
    #[must_use]
    pub fn prepare(test: &str) -> Option<Self> {
        let Some(script) = std::env::var_os("EVENTFLOW_TEST_KAFKA_SCRIPT").map(PathBuf::from)
        else {
            let why = "no Apache Kafka here; run script/test, which fetches it";
            assert!(
                std::env::var_os("EVENTFLOW_TEST_REQUIRE_ALL").is_none(),
                "{test} may not be skipped: {why}"
            );
            // Straight to the terminal: libtest would keep it to itself.
            std::io::stderr()
                .write_all(format!("SKIPPED: {test}: {why}\n").as_bytes())
                .unwrap();
            return None;
        };
        let directory = tempfile::Builder::new()
            .prefix("eventflow-kafka-")
            .tempdir()
            .unwrap();
        Some(Self {
            script,
            directory,
            env: HashMap::new(),
            cluster_id: None,
        })
    }

    /// Starts a prepared one with these settings; it is up when it listens at these addresses.
    pub fn start_with(&self, properties: &BTreeMap<String, String>, addresses: &[&str]) {
        let lines = |pairs: Vec<(&str, &str)>| {
            pairs
                .iter()
                .map(|(name, value)| format!("{name}={value}\n"))
                .collect::<String>()
        };
        let file = self.directory.path().join("settings");
        std::fs::write(
            &file,
            lines(
                properties
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect(),
            ),
        )
        .unwrap();
        let ports = addresses
            .iter()
            .map(|address| address.rsplit_once(':').unwrap().1)
            .collect::<Vec<_>>()
            .join(",");
        let mut command = vec![
            "start",
            "--properties",
            file.to_str().unwrap(),
            "--listens",
            &ports,
        ];
        if let Some(id) = &self.cluster_id {
            command.extend(["--cluster", id]);
        }
        self.call(&command);
    }

    /// One of Kafka's own programs.
    pub fn tool(&self, class: &str, arguments: &[&str]) {
        let mut run = Command::new(&self.script);
        run.args(["tool", class, "--bootstrap-server", self.get("BOOTSTRAP")])
            .args(arguments);
        let output = run.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{class}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn call(&self, command: &[&str]) -> HashMap<String, String> {
        let mut run = Command::new(&self.script);
        run.arg(command[0])
            .arg("--dir")
            .arg(self.directory.path())
            .args(&command[1..]);
        let output = run.stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    /// What the script printed at the start, such as `BOOTSTRAP`.
    #[must_use]
    pub fn get(&self, key: &str) -> &str {
        &self.env[key]
    }

    /// By its plaintext listener.
    #[must_use]
    pub fn plain(&self) -> KafkaArgs {
        KafkaArgs::plaintext(self.get("BOOTSTRAP"))
    }

    /// Stops it, or kills it.
    pub fn stop(&self, kill: bool) {
        self.call(if kill { &["stop", "--kill"] } else { &["stop"] });
    }

    /// Starts it again: same data, same ports.
    pub fn restart(&self) {
        self.call(&["restart"]);
    }

    /// SIGSTOP: its connections stay open, and nothing answers on them.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.directory.path().join("pid")).unwrap();
        let sent = Command::new("kill").args([signal, pid.trim()]).status();
        assert!(sent.unwrap().success(), "kill {signal} {pid}");
    }
}

/// Three brokers, each a controller too, that keep everything three times; two copies acknowledge. Killed when dropped.
pub struct RealCluster {
    /// In the order of their ids, from 1
    pub brokers: Vec<RealKafka>,
    bootstrap: String,
}

impl RealCluster {
    /// As [`RealKafka::start`].
    #[must_use]
    pub async fn start(test: &str) -> Option<Self> {
        let address = super::free_address;
        let addresses: Vec<_> = (0..3).map(|_| (address(), address())).collect();
        let voters: Vec<_> = (1..)
            .zip(&addresses)
            .map(|(id, (_, controller))| format!("{id}@{controller}"))
            .collect();
        let mut brokers = Vec::new();
        for _ in &addresses {
            let mut broker = RealKafka::prepare(test)?;
            broker.cluster_id = Some("EventFlowTestCluster1w".to_owned());
            brokers.push(broker);
        }
        for ((id, broker), (listener, controller)) in (1..).zip(&brokers).zip(&addresses) {
            let mut properties: BTreeMap<String, String> = [
                ("process.roles", "broker,controller"),
                ("controller.listener.names", "CONTROLLER"),
                ("inter.broker.listener.name", "PLAIN"),
                (
                    "listener.security.protocol.map",
                    "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
                ),
                ("auto.create.topics.enable", "false"),
                ("default.replication.factor", "3"),
                ("min.insync.replicas", "2"),
                ("offsets.topic.num.partitions", "8"),
                ("group.initial.rebalance.delay.ms", "0"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
            let data = broker.directory.path().join("data");
            properties.extend([
                ("node.id".to_owned(), id.to_string()),
                ("controller.quorum.voters".to_owned(), voters.join(",")),
                (
                    "listeners".to_owned(),
                    format!("PLAIN://{listener},CONTROLLER://{controller}"),
                ),
                ("log.dirs".to_owned(), data.display().to_string()),
            ]);
            // The first brokers listen only once most controllers are there.
            broker.start_with(&properties, &[controller]);
        }
        for (listener, _) in &addresses {
            super::until("a broker listens", START, async || {
                TcpStream::connect(listener).is_ok()
            })
            .await;
        }
        let listeners = addresses.iter().map(|(listener, _)| listener.as_str());
        let bootstrap = listeners.collect::<Vec<_>>().join(",");
        Some(Self { brokers, bootstrap })
    }

    /// All of its brokers.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl Drop for RealKafka {
    fn drop(&mut self) {
        let mut stop = Command::new(&self.script);
        stop.arg("stop")
            .arg("--kill")
            .arg("--dir")
            .arg(self.directory.path())
            .stdin(Stdio::null());
        if let Err(error) = stop.status() {
            println!(
                "the broker of {} may be left running: {error}",
                self.directory.path().display()
            );
        }
    }
}
