//! Confluent's own Python client against this registry: script/test installs it, and says by an environment variable where.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should fail here"
)]

use contracts::kafka::topics;
use runtime::config::ProcessArgs;
use runtime::health::Health;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const SUBJECT: &str = "events.validated.v1-eventflow.order.OrderPlaced";

/// Two versions of one contract.
fn write_versions(directory: &Path) {
    for (version, fields) in [(1, &["order_id"][..]), (2, &["order_id", "note"])] {
        let folder = directory.join(format!("order.placed/v{version}"));
        std::fs::create_dir_all(&folder).unwrap();
        let text = |name: &&str| ((*name).to_owned(), json!({"type": "string"}));
        let properties: serde_json::Map<_, _> = fields.iter().map(text).collect();
        let schema = json!({"type": "object", "required": ["order_id"], "properties": properties});
        std::fs::write(folder.join("schema.json"), schema.to_string()).unwrap();
        std::fs::write(folder.join("schema-id"), (80 + version).to_string()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn confluents_python_client_reads_and_checks_as_against_a_real_one() {
    let Some(python) = std::env::var_os("EVENTFLOW_TEST_CONFLUENT_PYTHON") else {
        let why = "no confluent-kafka here; run script/test, which installs it";
        assert!(
            std::env::var_os("EVENTFLOW_TEST_REQUIRE_ALL").is_none(),
            "may not be skipped: {why}"
        );
        // Straight to the terminal: libtest would keep it to itself.
        std::io::stderr()
            .write_all(format!("SKIPPED: Confluent's Python client: {why}\n").as_bytes())
            .unwrap();
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    write_versions(directory.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = registry::Config {
        listen: listener.local_addr().unwrap(),
        contracts: Some(directory.path().to_owned()),
        topic_validated: topics::VALIDATED.to_owned(),
        process: ProcessArgs::default(),
    };
    let stop = CancellationToken::new();
    let end = stop.clone();
    let server = tokio::spawn(async move {
        runtime::role::serve(&config, listener, Health::starting(), end).await
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/confluent.py");
    let output = Command::new(python)
        .args([script.as_os_str(), url.as_ref(), SUBJECT.as_ref()])
        .output()
        .await
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && out.trim() == "ok", "{out}{err}");
    stop.cancel();
    server.await.unwrap().unwrap();
}
