//! The pipeline as processes, each with its own metrics as in production, simulated vendors, and a Prometheus that scrapes them all.

use crate::files;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{self, free_address, kafka_flags};
use sandbox::postgres::PrivatePostgres;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
const SECRET: &str = "observability-test-secret";
const TOKEN: &str = "anna-0123456789abcdef";
/// What has metrics, and the port of its target in the scrape configuration. The simulator comes last: it needs the edge.
const ROLES: [(&str, u16); 7] = [
    ("registry", 8081),
    ("producer", 9100),
    ("validator", 9100),
    ("analytics", 9100),
    ("persistence", 9100),
    ("recovery", 9100),
    ("simulator", 8080),
];

/// The scrape configuration's target for the machine's disks.
const NODE: &str = "\"node-exporter:9100\"";

/// Killed when dropped.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(crate) struct World {
    pub(crate) postgres: PrivatePostgres,
    processes: BTreeMap<&'static str, Process>,
    addresses: BTreeMap<&'static str, String>,
    recovery: String,
    prometheus: String,
    node: String,
    folder: TempDir,
    _broker: EmbeddedBroker,
}

/// Whether the machine has a Prometheus and its node exporter; a loud line if not, and a panic where nothing may be skipped.
pub(crate) fn has_prometheus() -> bool {
    let found = |program: &&str| {
        let status = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let Some(missing) = ["prometheus", "prometheus-node-exporter"]
        .into_iter()
        .find(|program| !found(program))
    else {
        return true;
    };
    let why = format!("no {missing} here; run infra/prometheus/check, which installs it");
    assert!(
        std::env::var_os("EVENTFLOW_TEST_REQUIRE_ALL").is_none(),
        "may not be skipped: {why}"
    );
    // Straight to the terminal: libtest would keep it to itself.
    std::io::stderr()
        .write_all(format!("SKIPPED: every expression on a running pipeline: {why}\n").as_bytes())
        .unwrap();
    false
}

/// Waits for it; the text says what was waited for.
pub(crate) async fn until(what: &str, reached: impl AsyncFnMut() -> bool) {
    harness::until(what, DEADLINE, reached).await;
}

impl World {
    pub(crate) async fn start() -> Self {
        let broker = EmbeddedBroker::with_pipeline().unwrap();
        let mut world = Self {
            postgres: PrivatePostgres::start(false).unwrap(),
            processes: BTreeMap::new(),
            addresses: ROLES
                .iter()
                .map(|(role, _)| (*role, free_address()))
                .collect(),
            recovery: free_address(),
            prometheus: free_address(),
            node: free_address(),
            folder: tempfile::tempdir().unwrap(),
            _broker: broker,
        };
        let edge = free_address();
        for (role, _) in ROLES {
            let command = world.command(role, &edge);
            world.spawn(role, command);
            world.until_ready(role).await;
        }
        // As in infra/docker-compose.yml, where it sees the volumes' disks; here it sees this machine's.
        let mut command = Command::new("prometheus-node-exporter");
        command.args(["--collector.disable-defaults", "--collector.filesystem"]);
        command.arg(format!("--web.listen-address={}", world.node));
        world.spawn("node-exporter", command);
        let command = world.prometheus();
        world.spawn("prometheus", command);
        world
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) {
        let log = std::fs::File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.processes
            .insert(name, Process(command.spawn().unwrap()));
    }

    fn command(&self, role: &'static str, edge: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
        let address = &self.addresses[role];
        command
            .arg(role)
            .env("EVENTFLOW_WEBHOOK_SIGNING_SECRET", SECRET)
            .env("TOKEN_OF_ANNA", TOKEN);
        if matches!(role, "registry" | "simulator") {
            command.args(["--listen", address]);
        } else {
            command
                .args(["--ops-listen", address])
                .args(kafka_flags(&self._broker.kafka()));
        }
        if matches!(role, "validator" | "analytics" | "persistence" | "recovery") {
            command.arg(format!(
                "--registry-url=http://{}",
                self.addresses["registry"]
            ));
        }
        if matches!(role, "persistence" | "recovery") {
            command.args(["--database-url", &self.postgres.url()]);
        }
        match role {
            "producer" => command.args(["--listen", edge]),
            "recovery" => {
                let policies = self.folder.path().join("policies.toml");
                let policy = "every = \"1s\"\n[[policy]]\nname = \"test\"\ncodes = [\"blank_field\"]\nyoungest = \"1s\"\n";
                std::fs::write(&policies, policy).unwrap();
                command.args([
                    "--listen",
                    &self.recovery,
                    "--audit-seconds=1",
                    "--api-token=anna:operator=env:TOKEN_OF_ANNA",
                ]);
                command.arg("--policies").arg(policies)
            }
            "simulator" => {
                command.arg(format!(
                    "--webhook-url=http://{edge}/api/webhooks/payment-authorized"
                ));
                let faults = ["not_json=0.01", "conflicting=0.01", "bad_signature=0.02"];
                command.args(faults.map(|fault| format!("--fault={fault}")));
                command.args([
                    "--auto-stream-enabled",
                    "--auto-stream-rps=40",
                    "--corruption-rate=0.04",
                    "--seed=7",
                ])
            }
            _ => &mut command,
        };
        command
    }

    /// Prometheus on the repository's own files; only the targets and the pace differ.
    fn prometheus(&self) -> Command {
        let mut config = files::CONFIG.replace(" 15s", " 1s");
        for (role, port) in ROLES {
            let target = format!("\"{role}:{port}\"");
            assert_eq!(config.matches(&target).count(), 1, "{target} is scraped");
            config = config.replace(&target, &format!("\"{}\"", self.addresses[role]));
        }
        assert_eq!(config.matches(NODE).count(), 1, "{NODE} is scraped");
        config = config.replace(NODE, &format!("\"{}\"", self.node));
        assert_eq!(
            (
                config.matches("targets:").count(),
                config.matches(" 1s").count()
            ),
            (ROLES.len() + 1, 2),
            "{config}"
        );
        let write =
            |name: &str, text: &str| std::fs::write(self.folder.path().join(name), text).unwrap();
        write("prometheus.yml", &config);
        write("recording.rules.yml", files::RECORDING);
        write("alerts.rules.yml", files::ALERTS);
        let mut command = Command::new("prometheus");
        command.arg(format!(
            "--config.file={}",
            self.folder.path().join("prometheus.yml").display()
        ));
        command.arg(format!(
            "--storage.tsdb.path={}",
            self.folder.path().join("data").display()
        ));
        command.arg(format!("--web.listen-address={}", self.prometheus));
        command
    }

    pub(crate) async fn until_ready(&self, role: &str) {
        let url = format!("http://{}/ready", self.addresses[role]);
        until(
            &format!("{role} is ready: {}", self.log(role)),
            async || {
                runtime::http_client::new()
                    .get(&url)
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status().is_success())
            },
        )
        .await;
    }

    pub(crate) fn log(&self, name: &str) -> String {
        let path: &Path = self.folder.path();
        std::fs::read_to_string(path.join(format!("{name}.log"))).unwrap_or_default()
    }

    /// One payment that somebody asks the simulator for, as a person would with `curl`.
    pub(crate) async fn authorize(&self) {
        let url = format!("http://{}/authorize", self.addresses["simulator"]);
        let payment =
            r#"{"payment_id":"pay_1","order_id":"order_1","amount":"49.90","currency":"EUR"}"#;
        let answer = runtime::http_client::new()
            .post(url)
            .body(payment)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// No more traffic: the simulator ends as it does on SIGTERM.
    pub(crate) fn stop_traffic(&mut self) {
        let mut simulator = self.processes.remove("simulator").unwrap();
        Command::new("kill")
            .arg(simulator.0.id().to_string())
            .status()
            .unwrap();
        simulator.0.wait().unwrap();
    }

    /// What on-call's command answers to a script.
    pub(crate) async fn on_call(&self, arguments: &[&str]) -> Value {
        self.on_call_or(arguments, &[0]).await
    }

    /// As [`Self::on_call`], where other exit codes are fine, too.
    pub(crate) async fn on_call_or(&self, arguments: &[&str], codes: &[i32]) -> Value {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_eventflow"));
        command
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
            .env(
                "EVENTFLOW_RECOVERY_URL",
                format!("http://{}", self.recovery),
            )
            .env("EVENTFLOW_RECOVERY_TOKEN", TOKEN);
        let output = tokio::time::timeout(DEADLINE, command.output())
            .await
            .unwrap()
            .unwrap();
        let is_fine = output
            .status
            .code()
            .is_some_and(|code| codes.contains(&code));
        assert!(is_fine, "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Prometheus' answer, once it answers.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.prometheus);
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        harness::wait_for(DEADLINE, async || {
            let answer = runtime::http_client::new().get(url.clone()).send().await;
            // While it starts it answers 503 in plain text.
            match answer.and_then(|answer| answer.error_for_status()) {
                Ok(answer) => {
                    let body: Value = answer.json().await.unwrap();
                    assert_eq!(body["status"], "success", "{query:?}: {body}");
                    Ok(body["data"].clone())
                }
                Err(error) => Err(format!(
                    "an answer of Prometheus: {error}\n{}",
                    self.log("prometheus")
                )),
            }
        })
        .await
    }

    /// The labels of every series an expression has now, with a value that is a number.
    pub(crate) async fn series(&self, expression: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let data = self.ask("query", &[("query", expression)]).await;
        let samples = data["result"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|sample| sample["metric"].is_object());
        let read = |sample: &Value| {
            let labels = serde_json::from_value(sample["metric"].clone()).unwrap();
            (
                labels,
                sample["value"][1].as_str().unwrap().parse::<f64>().unwrap(),
            )
        };
        samples
            .map(read)
            .filter(|(_, value)| !value.is_nan())
            .collect()
    }

    /// The sum of an expression; 0 where it is empty.
    pub(crate) async fn sum(&self, expression: &str) -> f64 {
        self.series(&format!("sum({expression})"))
            .await
            .first()
            .map_or(0.0, |(_, value)| *value)
    }

    /// Every rule as Prometheus has read it.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let groups = self.ask("rules", &[]).await;
        groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect()
    }

    /// The metrics of ours that it knows without a help text.
    pub(crate) async fn without_help(&self) -> Vec<String> {
        let metadata: BTreeMap<String, Value> =
            serde_json::from_value(self.ask("metadata", &[]).await).unwrap();
        let ours = metadata
            .into_iter()
            .filter(|(name, _)| name.starts_with("eventflow_"));
        let ours: Vec<_> = ours.collect();
        assert!(ours.len() > 50, "{ours:?}");
        ours.into_iter()
            .filter(|(_, entries)| entries[0]["help"] == "")
            .map(|(name, _)| name)
            .collect()
    }

    /// Names and states of the alerts that are pending or firing; how full this machine's disks are says nothing of the pipeline.
    pub(crate) async fn alerts(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let alerts = self.ask("alerts", &[]).await;
        let alerts = alerts["alerts"].as_array().unwrap().clone();
        let alerts = alerts
            .iter()
            .map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["state"])));
        alerts
            .filter(|(name, _)| !name.starts_with("Disk"))
            .collect()
    }
}
