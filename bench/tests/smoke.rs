//! That the benchmark still measures: on the embedded broker, with few events. What it prints is looked at, no figure is.

use std::path::Path;
use std::process::Command;

/// A row's way, the tables that the baseline copies, and the view that latencies are read from.
#[test]
fn it_measures_rows_and_latencies() {
    let bench = Path::new(env!("CARGO_BIN_EXE_eventflow-bench"));
    assert!(
        bench.with_file_name("eventflow").exists(),
        "the benchmark runs the program eventflow beside it: cargo build --workspace"
    );
    let output = Command::new(bench)
        .args(["--only=persistence,latency", "--runs=1", "--seconds=1"])
        .arg("--events=20000")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    for part in [
        "one COPY of the same rows",
        "webhook to row p50",
        "goals\n",
        "persistence, of one COPY",
        "webhook to row at 1000/s, p99 in ms",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}
