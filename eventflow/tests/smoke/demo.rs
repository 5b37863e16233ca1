//! Against the running demo, as whoever shows it types it.

use crate::report::{ALL_PASSED, CommandOutput, detail, verdicts};
use crate::{PATIENCE, SECRET, smoke};
use sandbox::harness::{free_address, until};
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A demo on free ports; stopped when dropped.
struct Demo {
    child: Child,
    edge: String,
    recovery: String,
    _temporary: TempDir,
}

impl Demo {
    async fn start() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        // The private PostgreSQL runs as another user when the tests run as root.
        std::fs::set_permissions(
            temporary.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let roles = [
            "producer",
            "recovery",
            "validator",
            "analytics",
            "persistence",
            "simulator",
            "registry",
        ];
        let addresses = roles.map(|_| free_address());
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
        command
            .args(["demo", "--rate", "5", "--no-recovery"])
            .env("TMPDIR", temporary.path());
        for (role, address) in roles.iter().zip(&addresses) {
            let (_, port) = address.rsplit_once(':').unwrap();
            command.arg(format!("--{role}-port={port}"));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut demo = Self {
            child,
            edge: format!("http://{}", addresses[0]),
            recovery: format!("http://{}", addresses[1]),
            _temporary: temporary,
        };
        for ready in [
            format!("{}/ready", demo.edge),
            format!("{}/openapi.json", demo.recovery),
        ] {
            until(&format!("{ready} answers"), PATIENCE, async || {
                let ended = demo.child.try_wait().unwrap();
                assert_eq!(ended, None, "the demo ended, and {ready} never answered");
                runtime::http_client::new()
                    .get(&ready)
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        }
        demo
    }

    async fn smoke(&self, arguments: &[&str]) -> CommandOutput {
        let environment = [
            ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", SECRET),
            ("EVENTFLOW_RECOVERY_TOKEN", "eventflow-demo"),
        ];
        smoke(arguments, &environment).await
    }

    /// What recovery's API answers.
    async fn ask(&self, path: &str) -> Value {
        let request = runtime::http_client::new()
            .get(format!("{}{path}", self.recovery))
            .bearer_auth("eventflow-demo");
        request.send().await.unwrap().json().await.unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It removes its database itself; what does not end is killed.
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .ok();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > deadline {
                self.child.kill().ok();
            }
            std::thread::yield_now();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_passes_every_check_again_and_again_and_keeps_no_open_dead_letter_of_it() {
    let demo = Demo::start().await;
    let (url, recovery) = (
        format!("--url={}", demo.edge),
        format!("--recovery-url={}", demo.recovery),
    );
    let output = demo.smoke(&[&url, &recovery, "--require-fates"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let lines: Vec<&str> = output.out.lines().collect();
    assert_eq!(
        lines.len(),
        1 + 9 + 2 + 1,
        "a head, a line per check, two latencies, the result: {output:?}"
    );
    assert!(
        lines[1..10]
            .iter()
            .all(|line| line.starts_with("  passed   ")),
        "{output:?}"
    );
    assert!(lines[12].starts_with("passed: 9 of 9 checks"), "{output:?}");
    assert_eq!(output.err, "");

    // A whole webhook URL, a batch of another size, for a script.
    let webhooks = format!("--url={}/api/webhooks/payment-authorized", demo.edge);
    let report = demo
        .smoke(&[&webhooks, &recovery, "--batch=7", "--json"])
        .await
        .json(0);
    assert_eq!(verdicts(&report), ALL_PASSED, "{report:#}");
    assert_eq!(
        (&report["verdict"], &report["fates"]),
        (&"passed".into(), &"recovery".into())
    );
    assert_eq!(
        (report["url"].as_str(), report["source"].as_str()),
        (Some(&*demo.edge), Some("payment-authorized"))
    );
    let ids = |name: &str| {
        let check = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["name"] == name)
            .unwrap();
        check["event_ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!((ids("accepted").len(), ids("batch").len()), (5, 7));
    assert!(
        ids("batch")
            .iter()
            .all(|id| id.starts_with(report["run"].as_str().unwrap())),
        "{report:#}"
    );
    for latency in ["webhook_to_answer_ms", "webhook_to_row_ms"] {
        let measured = &report["latency"][latency];
        assert!(
            measured["p50"].as_f64().unwrap() > 0.0 && measured["samples"].as_u64().unwrap() >= 5,
            "{report:#}"
        );
        assert!(
            measured["p50"].as_f64() <= measured["max"].as_f64(),
            "{report:#}"
        );
    }

    // What it left behind is what it says.
    let trace = demo
        .ask(&format!("/api/v1/trace?q={}", ids("duplicate")[0]))
        .await;
    let steps: Vec<&str> = trace["stories"][0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["what"].as_str())
        .collect();
    assert_eq!(
        (
            steps.iter().filter(|step| **step == "stored").count(),
            steps.contains(&"duplicate")
        ),
        (1, true),
        "{trace}"
    );
    let of_corrupted = format!(
        "/api/v1/dead-letters?event_id={}&state=open,discarded",
        ids("corrupted")[0]
    );
    let letters = demo.ask(&of_corrupted).await;
    assert_eq!(
        (
            &letters["letters"][0]["code"],
            &letters["letters"][0]["state"]
        ),
        (&"missing_field".into(), &"discarded".into())
    );
    for refused in ["tampered", "stale"] {
        let nothing = demo
            .ask(&format!("/api/v1/trace?q={}", ids(refused)[0]))
            .await;
        assert_eq!(
            nothing["code"], "not_found",
            "what was refused is nowhere: {nothing}"
        );
    }

    // Without recovery only the edge is checked, and nothing broken is left for on-call.
    let blind = demo.smoke(&[&url, "--json"]).await.json(0);
    assert!(
        verdicts(&blind)
            .ends_with("stale passed, stored skipped, duplicate skipped, corrupted skipped, batch skipped, audit skipped")
    );
    assert!(
        detail(&blind, "corrupted").starts_with("not sent"),
        "{blind:#}"
    );
    // A token that is wrong is wrong usage, before anything is sent.
    let wrong = [
        ("EVENTFLOW_WEBHOOK_SIGNING_SECRET", SECRET),
        ("EVENTFLOW_RECOVERY_TOKEN", "LEAKED-wrong-token"),
    ];
    let output = smoke(&[&url, &recovery], &wrong).await;
    assert!(
        output.code == Some(2) && output.out.is_empty() && output.err.contains("bad_token"),
        "{output:?}"
    );
    assert!(!output.err.contains("LEAKED"), "{output:?}");
    // A source the edge does not have.
    let other = demo
        .smoke(&[&url, "--source=nobody", "--json"])
        .await
        .json(1);
    assert!(
        detail(&other, "accepted").contains("404 unknown_source"),
        "{other:#}"
    );
    // Fates that were asked for and cannot be looked up fail.
    let nowhere = demo
        .smoke(&[
            &url,
            "--recovery-url=http://127.0.0.1:1",
            "--deadline=4s",
            "--json",
        ])
        .await
        .json(1);
    for check in ["stored", "duplicate", "corrupted", "batch", "audit"] {
        assert!(
            detail(&nowhere, check).contains("cannot reach the recovery API"),
            "{nowhere:#}"
        );
    }
}
