//! What a role says of a database, a broker and a registry that it cannot reach: at its start, and with `--check --connect`.

use crate::{assert_clean, eventflow};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{cluster, free_address, kafka_flags};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// Starts a role, and reads its log until a line has all of these words; then ends it. Everything read, or the log without such a line.
fn log_until(
    arguments: &[&str],
    environment: &[(&str, &str)],
    words: &[&str],
) -> Result<String, String> {
    let mut role = Command::new(env!("CARGO_BIN_EXE_eventflow"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(role.stderr.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut read = String::new();
    let found = loop {
        let Ok(line) = lines.recv_timeout(DEADLINE) else {
            break Err(read);
        };
        let found = words.iter().all(|word| line.contains(word));
        read = format!("{read}{line}\n");
        if found {
            break Ok(read);
        }
    };
    role.kill().unwrap();
    role.wait().unwrap();
    found
}

#[test]
fn a_role_that_cannot_reach_its_database_says_where_it_is_and_why() {
    let closed = free_address();
    let url = format!("postgres://me:LEAKED@{closed}/orders");
    for role in ["persistence", "recovery"] {
        let log = log_until(
            &[
                role,
                "--ops-listen=127.0.0.1:0",
                "--kafka-brokers=127.0.0.1:1",
            ],
            &[
                ("EVENTFLOW_DATABASE_URL", &url),
                ("EVENTFLOW_RECOVERY_LISTEN", "127.0.0.1:0"),
            ],
            &[
                &closed,
                "database orders",
                "refused",
                "check host and port in --database-url",
            ],
        );
        let log = log.unwrap();
        assert_clean(role, &log);
        // It is the first that is said of the database, not what is left after 30 s.
        let before = log
            .lines()
            .filter(|line| line.contains("check=\"database\""));
        assert_eq!(before.count(), 1, "{log}");
    }
}

#[test]
fn recovery_without_a_token_says_that_nobody_can_use_it() {
    let log = log_until(
        &[
            "recovery",
            "--ops-listen=127.0.0.1:0",
            "--listen=127.0.0.1:0",
        ],
        &[("EVENTFLOW_DATABASE_URL", "postgres://me@127.0.0.1:1/db")],
        &["no_tokens_configured", "--api-token"],
    );
    log.unwrap();
}

#[test]
fn without_a_database_url_no_role_starts() {
    for role in ["persistence", "recovery"] {
        for start in [&[role, "--check"][..], &[role]] {
            let (code, output) = eventflow(start, &[]);
            assert!(
                code == Some(2)
                    && output.contains("--database-url")
                    && output.contains("EVENTFLOW_DATABASE_URL"),
                "{output}"
            );
        }
    }
}

#[test]
fn check_connect_says_of_everything_whether_it_can_be_reached() {
    let closed = free_address();
    let url = format!("postgres://me:LEAKED@{closed}/orders");
    let registry = format!("http://me:LEAKED@{closed}");
    for (role, used) in [
        ("producer", &["Kafka"][..]),
        ("validator", &["Kafka", "schema registry"]),
        ("analytics", &["Kafka", "schema registry"]),
        ("persistence", &["Kafka", "schema registry", "PostgreSQL"]),
        ("recovery", &["Kafka", "schema registry", "PostgreSQL"]),
    ] {
        let (code, output) = eventflow(
            &[role, "--check", "--connect", "--kafka-brokers", &closed],
            &[
                ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", "a-secret"),
                ("EVENTFLOW_DATABASE_URL", &url),
                ("EVENTFLOW_REGISTRY_URL", &registry),
            ],
        );
        assert_eq!(code, Some(1), "{output}");
        assert_clean(role, &output);
        for name in used {
            let line = format!("failed  {name} at {closed}");
            assert!(output.contains(&line), "{line}: {output}");
        }
        assert_eq!(output.matches("failed  ").count(), used.len(), "{output}");
    }
}

#[test]
fn check_connect_passes_where_everything_answers() {
    let broker = EmbeddedBroker::start(&[]).unwrap();
    let listen = free_address();
    let mut registry = Command::new(env!("CARGO_BIN_EXE_eventflow"))
        .args(["registry", "--listen", &listen])
        .env_clear()
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (registry_url, database_url) = (format!("http://{listen}"), cluster().url());
    let kafka = kafka_flags(&broker.kafka());
    let mut arguments = vec!["persistence", "--check", "--connect"];
    arguments.extend(kafka.iter().map(String::as_str));
    let environment = [
        ("EVENTFLOW_REGISTRY_URL", registry_url.as_str()),
        ("EVENTFLOW_DATABASE_URL", &database_url),
    ];
    // The registry takes a moment to listen.
    let deadline = std::time::Instant::now() + DEADLINE;
    let output = loop {
        let (code, output) = eventflow(&arguments, &environment);
        if code == Some(0) || std::time::Instant::now() > deadline {
            break output;
        }
    };
    registry.kill().unwrap();
    registry.wait().unwrap();
    assert_eq!(output.matches("ok      ").count(), 3, "{output}");
    assert!(!output.contains("failed"), "{output}");
}
