//! A real Apache Kafka of a test's own.

use runtime::kafka::KafkaArgs;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A real Apache Kafka, killed when dropped. Started by `infra/kafka/local/kafka`. A secure one has a user for each principal of the pipeline.
pub struct RealKafka {
    script: PathBuf,
    /// Its files
    pub directory: TempDir,
    env: HashMap<String, String>,
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
        self.call(&[
            "start",
            "--properties",
            file.to_str().unwrap(),
            "--listens",
            &ports,
        ]);
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
