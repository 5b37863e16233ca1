//! The demo, as a newcomer runs it.

use crate::oncall::until;
use crate::world::free_address;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const ROLES: [&str; 7] = [
    "producer",
    "validator",
    "analytics",
    "persistence",
    "simulator",
    "registry",
    "recovery",
];

/// A demo on free ports, with a temporary folder of its own.
struct Demo {
    command: Command,
    addresses: Vec<String>,
    temporary: TempDir,
}

impl Demo {
    fn new(flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
        let temporary = tempfile::tempdir().unwrap();
        // The private PostgreSQL runs as another user when the tests run as root.
        std::fs::set_permissions(
            temporary.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        command
            .arg("demo")
            .args(flags)
            .env("TMPDIR", temporary.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let addresses: Vec<String> = ROLES.iter().map(|_| free_address()).collect();
        for (role, address) in ROLES.iter().zip(&addresses) {
            command.arg(format!(
                "--{role}-port={}",
                address.rsplit(':').next().unwrap()
            ));
        }
        Self {
            command,
            addresses,
            temporary,
        }
    }

    fn address(&self, role: &str) -> &str {
        &self.addresses[ROLES.iter().position(|name| *name == role).unwrap()]
    }

    /// Runs it to its end. Nothing may be left in the temporary folder.
    fn run(mut self) -> (Option<i32>, String, String) {
        let running = self.command.spawn().unwrap();
        end(running, &self.temporary)
    }
}

fn end(running: Child, temporary: &TempDir) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = running.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (text, err) = (text(stdout), text(stderr));
    assert!(
        is_empty(temporary.path()),
        "left behind: {:?}\n{text}\n{err}",
        std::fs::read_dir(temporary.path())
            .unwrap()
            .collect::<Vec<_>>()
    );
    (status.code(), text, err)
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

async fn until_ready(address: &str) {
    until(&format!("{address} is ready"), async || {
        runtime::http_client::new()
            .get(format!("http://{address}/ready"))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    })
    .await;
}

/// One sentence that names the setting, exit code 2, nothing left.
fn refuses(demo: Demo, words: &[&str]) {
    let (code, text, err) = demo.run();
    assert_eq!(code, Some(2), "{text}\n{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    for word in words {
        assert!(err.contains(word), "{word} is not in: {err}");
    }
}

#[test]
fn the_demo_accounts_for_every_event_with_faults_injected() {
    let (code, text, err) =
        Demo::new(&["--duration", "6s", "--json", "--seed", "3", "--rate", "150"]).run();
    assert_eq!(code, Some(0), "{text}\n{err}");
    let reconciliation: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| reconciliation[name].as_i64().unwrap();
    assert!(number("accepted") > 100, "{reconciliation}");
    assert_eq!(
        (number("in_flight"), number("accepted_from_others")),
        (0, 0)
    );
    assert_eq!(
        number("raw_records"),
        number("stored") + number("duplicates") + number("filtered") + number("dead_lettered")
    );
    by_source_and_type(
        &reconciliation,
        &["payment-authorized", "stripe", "github", "shopify", "slack"],
    );
    assert!(number("filtered") > 0, "GitHub's ping: {reconciliation}");
    assert!(
        number("duplicates") > 0 && number("dead_lettered") > 0,
        "{reconciliation}"
    );
    assert!(
        reconciliation["first_row_seconds"].as_f64().unwrap() > 0.0,
        "{reconciliation}"
    );
    // The walkthrough: what could be fixed was stored, and the audit from the database alone agrees with the reconciliation from outside.
    let (walkthrough, audit) = (
        &reconciliation["recovery"],
        &reconciliation["recovery"]["audit"],
    );
    assert_eq!(walkthrough["fixed"], "missing_field", "{walkthrough}");
    let (fixed, items) = (
        walkthrough["replay"]["by_state"]["stored"]
            .as_i64()
            .unwrap(),
        walkthrough["replay"]["items"].as_i64().unwrap(),
    );
    assert!(
        (fixed, items) == (1, 1),
        "an id belongs to one event: {reconciliation}"
    );
    assert_eq!(audit["records"], reconciliation["raw_records"]);
    assert_eq!(audit["stored"].as_i64(), Some(number("stored") + fixed));
    assert_eq!(audit["duplicate"], reconciliation["duplicates"]);
    assert_eq!(
        audit["dead_lettered"]["open"].as_i64(),
        Some(number("dead_lettered") - fixed)
    );
    assert_eq!(
        (&audit["gaps"], &audit["double_fates"], &audit["in_flight"]),
        (&0.into(), &0.into(), &0.into()),
        "{audit}"
    );
}

/// The table by source and type adds up to the whole, and every vendor is in it, as it is in what was sent.
fn by_source_and_type(reconciliation: &serde_json::Value, sources: &[&str]) {
    let rows = reconciliation["by_type"].as_array().unwrap();
    for (of_row, of_all) in [
        ("stored", "stored"),
        ("duplicate", "duplicates"),
        ("filtered", "filtered"),
        ("dead_lettered", "dead_lettered"),
    ] {
        let sum: i64 = rows.iter().map(|row| row[of_row].as_i64().unwrap()).sum();
        assert_eq!(
            Some(sum),
            reconciliation[of_all].as_i64(),
            "{of_row}: {reconciliation}"
        );
    }
    for source in sources {
        assert!(
            rows.iter().any(|row| row["source"] == *source),
            "{source}: {reconciliation}"
        );
        let sent = &reconciliation["sent_by"][source];
        assert!(
            sent["accepted"].as_u64().unwrap() > 0,
            "{source}: {reconciliation}"
        );
    }
    let sent_by = reconciliation["sent_by"].as_object().unwrap();
    assert_eq!(sent_by.len(), sources.len(), "{reconciliation}");
}

#[test]
fn the_first_line_says_what_is_being_started() {
    let mut demo = Demo::new(&["--duration", "1s", "--no-recovery"]);
    let mut running = demo.command.spawn().unwrap();
    let mut first = [0; 8];
    std::io::Read::read_exact(running.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"starting");
    // Before anything that takes a while: no port answers yet.
    let (code, text, err) = end(running, &demo.temporary);
    assert_eq!(code, Some(0), "{text}\n{err}");
    assert!(
        text.lines()
            .next()
            .unwrap()
            .contains("a private PostgreSQL"),
        "{text}"
    );
}

#[test]
fn packs_are_played_with_their_own_sources_contracts_and_requests() {
    for name in contracts::pack::names() {
        let flags = [
            "--pack",
            name,
            "--duration",
            "4s",
            "--json",
            "--rate",
            "100",
        ];
        let (code, text, err) = Demo::new(&flags).run();
        assert_eq!(code, Some(0), "{text}\n{err}");
        let reconciliation: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pack = contracts::pack::named(name).unwrap();
        let sources: std::collections::BTreeSet<_> =
            pack.requests.iter().map(|request| request.source).collect();
        by_source_and_type(&reconciliation, &sources.into_iter().collect::<Vec<_>>());
        // Dead letters are those that were sent wrong on purpose: the pack's own requests are of its contracts.
        let codes = reconciliation["dead_letters_by_code"].as_object().unwrap();
        assert!(
            codes.keys().all(|code| code == "not_json"),
            "{reconciliation}"
        );
        assert!(
            reconciliation["stored"].as_u64() > Some(100),
            "{reconciliation}"
        );
    }
}

#[test]
fn ones_own_sources_and_contracts_are_played_and_missing_secrets_are_made() {
    let files = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        files.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let sources = files.path().join("sources.toml");
    let text = r#"
        [[source]]
        name = "acme"
        preset = "standard-webhooks"
        secrets = [{ id = "a", from = "env:NOBODY_SET_THIS" }]
        event = { contract = "acme.{type}", unknown = "dead-letter" }

        [[source]]
        name = "adyen"
        preset = "adyen"
        secrets = [{ id = "a", from = "env:NOR_THIS" }]

        [[source]]
        name = "discord"
        preset = "discord"
        secrets = [{ id = "a", from = "env:AND_NO_PUBLIC_KEY" }]
    "#;
    std::fs::write(&sources, text).unwrap();
    let version = files.path().join("contracts/acme.order.shipped/v1");
    std::fs::create_dir_all(version.join("examples/valid")).unwrap();
    let schema =
        r#"{"type":"object","required":["order_id"],"properties":{"order_id":{"type":"string"}}}"#;
    std::fs::write(version.join("schema.json"), schema).unwrap();
    std::fs::write(version.join("schema-id"), "7001").unwrap();
    std::fs::write(
        version.join("examples/valid/plain.json"),
        r#"{"id":"o_1","order_id":"o_1"}"#,
    )
    .unwrap();
    let contracts = files.path().join("contracts");
    let flags = [
        "--sources",
        sources.to_str().unwrap(),
        "--contracts",
        contracts.to_str().unwrap(),
        "--duration",
        "4s",
        "--rate",
        "60",
        "--no-faults",
        "--json",
    ];
    let (code, text, err) = Demo::new(&flags).run();
    assert_eq!(code, Some(0), "{text}\n{err}");
    let reconciliation: serde_json::Value = serde_json::from_str(&text).unwrap();
    by_source_and_type(&reconciliation, &["acme", "adyen", "discord"]);
    let number = |name: &str| reconciliation[name].as_u64().unwrap();
    assert_eq!(
        (number("dead_lettered"), number("duplicates")),
        (0, 0),
        "{reconciliation}"
    );
    let adyen = &reconciliation["sent_by"]["adyen"];
    let (webhooks, events) = (
        adyen["accepted"].as_u64().unwrap(),
        adyen["events_accepted"].as_u64().unwrap(),
    );
    assert_eq!(
        events,
        2 * webhooks,
        "each has two events: {reconciliation}"
    );
    assert_eq!(number("events_accepted"), number("raw_records"));
    let rows = reconciliation["by_type"].as_array().unwrap();
    let typed = rows
        .iter()
        .any(|row| row["source"] == "acme" && row["event_type"] == "order.shipped");
    assert!(typed, "{reconciliation}");
}

#[test]
fn the_walkthrough_runs_the_commands_of_the_runbook() {
    let (code, text, err) = Demo::new(&["--duration", "5s", "--seed", "3", "--rate", "150"]).run();
    assert_eq!(code, Some(0), "{text}\n{err}");
    let typed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("$ eventflow "))
        .collect();
    let runbook = include_str!("../../../docs/ON-CALL.md");
    let steps = [
        "dlq groups",
        "explain",
        "dlq edit",
        "replay plan",
        "replay dry-run",
        "replay apply",
        "dlq ls",
        "audit",
    ];
    for (typed, step) in typed.iter().zip(steps) {
        assert!(typed.starts_with(step), "{typed}");
        assert!(runbook.contains(&format!("$ eventflow {step}")), "{step}");
    }
    assert_eq!(typed.len(), steps.len(), "{text}");
    assert!(
        text.trim_end()
            .ends_with("every record has exactly one fate"),
        "{text}"
    );
    let (code, text, err) = Demo::new(&["--duration", "1s", "--no-recovery"]).run();
    assert_eq!(code, Some(0), "{text}\n{err}");
    assert!(!text.contains("$ eventflow"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_send_while_the_demo_runs_is_accounted_for_and_a_signal_ends_it_well() {
    let mut demo = Demo::new(&["--json"]);
    let running = demo.command.spawn().unwrap();
    for role in ["producer", "validator", "analytics", "persistence"] {
        until_ready(demo.address(role)).await;
    }
    let payment = r#"{"payment_id":"pay_me","order_id":"ord_me","amount":"49.90","currency":"EUR","force_duplicate":true}"#;
    let authorize = format!("http://{}/authorize", demo.address("simulator"));
    let answer = runtime::http_client::new()
        .post(authorize)
        .body(payment)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    let load = format!(
        "--url=http://{}/api/webhooks/payment-authorized",
        demo.address("producer")
    );
    let mut others = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    others
        .args([
            "load",
            "--batch",
            "3",
            "--requests",
            "20",
            "--rate",
            "100",
            &load,
        ])
        .stdout(Stdio::null());
    assert!(others.status().unwrap().success());
    Command::new("kill")
        .arg(running.id().to_string())
        .status()
        .unwrap();
    let (code, text, err) = end(running, &demo.temporary);
    assert_eq!(code, Some(0), "{text}\n{err}");
    let reconciliation: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        reconciliation["accepted_from_others"], 62,
        "{reconciliation}"
    );
}

#[test]
fn a_taken_port_is_a_sentence_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut demo = Demo::new(&[]);
    demo.command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    demo.command
        .args(["demo", "--duration", "1s"])
        .arg(format!("--producer-port={port}"))
        .stdin(Stdio::null());
    demo.command.stdout(Stdio::piped()).stderr(Stdio::piped());
    refuses(demo, &["--producer-port", "choose another"]);
}

#[test]
fn exactly_once_is_refused_on_the_embedded_broker() {
    let mut demo = Demo::new(&[]);
    demo.command.env("EVENTFLOW_DELIVERY", "exactly-once");
    let (code, text, err) = demo.run();
    assert_eq!(code, Some(2), "{text}\n{err}");
    let said = "--delivery: exactly-once needs a broker that keeps transactions";
    assert!(err.contains(said), "{err}");
}

#[test]
fn no_postgresql_is_a_sentence_that_names_the_package() {
    let mut demo = Demo::new(&[]);
    demo.command.env("EVENTFLOW_PG_BIN", demo.temporary.path());
    refuses(demo, &["apt-get install postgresql", "--database-url"]);
}

#[test]
fn no_place_for_the_database_is_a_sentence() {
    let mut demo = Demo::new(&[]);
    demo.command.env("TMPDIR", "/nowhere/at/all");
    refuses(demo, &["TMPDIR", "/nowhere/at/all"]);
}

#[test]
fn a_database_url_that_cannot_work_is_a_sentence_without_its_password() {
    refuses(
        Demo::new(&["--database-url", "me:hunter2@localhost"]),
        &["--database-url", "postgres://"],
    );
    let closed = format!("postgres://me:hunter2@{}/x", free_address());
    let (code, _, err) = Demo::new(&["--database-url", &closed]).run();
    assert_eq!(code, Some(2), "{err}");
    assert!(
        err.contains("is it running") && !err.contains("hunter2"),
        "{err}"
    );
}

#[test]
fn an_unreachable_broker_is_a_sentence() {
    refuses(
        Demo::new(&["--kafka-brokers", &free_address()]),
        &["--kafka-brokers", "is it running"],
    );
}
