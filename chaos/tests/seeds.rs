//! A handful of seeds, one of each of five profiles. `script/chaos` runs more.

use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn every_webhook_has_one_fate_through_the_faults_of_five_seeds() {
    if std::env::var_os("EVENTFLOW_TEST_KAFKA_SCRIPT").is_none() {
        let why = "no Apache Kafka here; run script/test, which fetches it";
        assert!(
            std::env::var_os("EVENTFLOW_TEST_REQUIRE_ALL").is_none(),
            "chaos may not be skipped: {why}"
        );
        // Straight to the terminal: libtest would keep it to itself.
        let line = format!("SKIPPED: chaos: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_chaos"))
        .args(["--seeds", "1..5", "--for", "8s"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{said}");
    assert_eq!(printed.matches(": ok; ").count(), 5, "{printed}");
}
