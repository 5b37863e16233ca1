//! The switches of `runtime::faults` are those that the code asks for, each once or more, and each promise has one.
#![cfg(feature = "faults")]
#![allow(clippy::unwrap_used, reason = "a test")]

use runtime::faults::{PLANTED, POINTS};
use std::collections::BTreeSet;
use std::path::Path;

/// Every text that some crate's code gives this function.
fn asked_for(function: &str, folder: &Path, found: &mut BTreeSet<String>) {
    let call = ["faults::", function, "(\""].concat();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            asked_for(function, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let calls = text.split(&call).skip(1);
            found.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}

fn in_all_crates(function: &str) -> BTreeSet<String> {
    let (root, mut found) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        BTreeSet::new(),
    );
    for entry in std::fs::read_dir(root).unwrap() {
        let code = entry.unwrap().path().join("src");
        if code.is_dir() {
            asked_for(function, &code, &mut found);
        }
    }
    found
}

#[test]
fn every_switch_is_in_the_code_and_every_hook_in_a_list() {
    let names: BTreeSet<String> = PLANTED.iter().map(|bug| bug.name.to_owned()).collect();
    assert_eq!(names, in_all_crates("planted"));
    assert_eq!(names.len(), PLANTED.len(), "a name is there twice");
    let names: BTreeSet<String> = POINTS.iter().map(|point| point.name.to_owned()).collect();
    assert_eq!(names, in_all_crates("kill_point"));
    assert_eq!(names.len(), POINTS.len(), "a name is there twice");
}

#[test]
fn every_promise_is_broken_by_some_bug() {
    for number in 1..=12 {
        let promise = format!("P{number}");
        assert!(
            PLANTED.iter().any(|bug| bug.promise == promise),
            "{promise}"
        );
    }
    let profiles = [
        "roles", "brokers", "database", "network", "replay", "growth", "mixed",
    ];
    for bug in PLANTED {
        assert!(profiles.contains(&bug.profile), "{}", bug.name);
    }
}
