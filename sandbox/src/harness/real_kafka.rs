//! A real Apache Kafka of a test's own.

use crate::kafka::{self, Node};
use runtime::kafka::KafkaArgs;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// Longest start of a cluster's brokers, once their controllers run.
const START: Duration = Duration::from_secs(120);

/// A real Apache Kafka, killed when dropped. Started by `infra/kafka/local/kafka`. A secure one has a user for each principal of the pipeline.
pub struct RealKafka {
    script: PathBuf,
    node: Node,
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
        kafka.env = kafka.node.call(&[&["start"], secure].concat()).unwrap();
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
            node: Node::new(&script, directory.path()),
            script,
            directory,
            env: HashMap::new(),
            cluster_id: None,
        })
    }

    /// Starts a prepared one with these settings; it is up when it listens at these addresses.
    pub fn start_with(&self, properties: &BTreeMap<String, String>, addresses: &[&str]) {
        let port = |address: &&str| address.rsplit_once(':').unwrap().1.to_owned();
        let ports: Vec<_> = addresses.iter().map(port).collect();
        let ports: Vec<_> = ports.iter().map(String::as_str).collect();
        self.node
            .start_with(properties, &ports, self.cluster_id.as_deref())
            .unwrap();
    }

    /// One of Kafka's own programs.
    pub fn tool(&self, class: &str, arguments: &[&str]) {
        kafka::tool(&self.script, class, self.get("BOOTSTRAP"), arguments).unwrap();
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
        self.node.stop(kill).unwrap();
    }

    /// Starts it again: same data, same ports.
    pub fn restart(&self) {
        self.node.restart().unwrap();
    }

    /// SIGSTOP: its connections stay open, and nothing answers on them.
    pub fn pause(&self) {
        self.node.signal("STOP").unwrap();
    }

    /// Goes on after [`Self::pause`].
    pub fn resume(&self) {
        self.node.signal("CONT").unwrap();
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
            let data = broker.directory.path().join("data");
            let mut properties = kafka::settings(id, &voters.join(","), 3, &data);
            properties.extend([
                ("inter.broker.listener.name".to_owned(), "PLAIN".to_owned()),
                (
                    "listener.security.protocol.map".to_owned(),
                    "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
                ),
                (
                    "listeners".to_owned(),
                    format!("PLAIN://{listener},CONTROLLER://{controller}"),
                ),
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
