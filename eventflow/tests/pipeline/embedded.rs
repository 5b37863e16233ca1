//! The demo, as a newcomer runs it.

use crate::world::free_address;
use std::process::{Command, Stdio};

fn demo(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    command.arg("demo").args(flags).stdin(Stdio::null());
    for role in ["producer", "validator", "analytics", "persistence", "simulator", "registry"] {
        let address = free_address();
        command.arg(format!("--{role}-port={}", address.rsplit(':').next().unwrap()));
    }
    command
}

#[test]
fn the_demo_accounts_for_every_event_with_faults_injected() {
    let output = demo(&["--for", "6s", "--json", "--seed", "3", "--rate", "150"]).output().unwrap();
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{said}");
    let ledger: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| ledger[name].as_i64().unwrap();
    assert!(number("accepted") > 100, "{ledger}");
    assert_eq!(number("in_flight"), 0);
    assert_eq!(number("raw_records"), number("stored") + number("duplicates") + number("dead_lettered"));
    assert!(number("duplicates") > 0 && number("dead_lettered") > 0, "{ledger}");
}

#[test]
fn a_taken_port_is_a_sentence_and_exit_code_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
    command.args(["demo", "--for", "1s"]).arg(format!("--producer-port={port}")).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--producer-port") && said.contains("choose another"), "{said}");
}
