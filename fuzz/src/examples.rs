//! Files of the repository as a beginning: what is valid, and what is invalid in a way that somebody thought of.

use std::path::{Path, PathBuf};

fn contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts")
}

/// All files under a folder of `contracts/` whose path ends so, in order.
pub(crate) fn files(under: &str, ends: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut folders, mut found) = (vec![contracts().join(under)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ends)
                && let Ok(bytes) = std::fs::read(&path)
            {
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

/// A preset's example: its headers as lines, and its body.
pub(crate) fn requests() -> Vec<(String, String, Vec<u8>)> {
    let bodies = ["json", "form", "xml", "txt"];
    let of_preset = |name: &str| {
        let folder = contracts().join("sources").join(name);
        let headers = std::fs::read_to_string(folder.join("headers.txt")).unwrap_or_default();
        let read = |kind: &&str| std::fs::read(folder.join(format!("body.{kind}"))).ok();
        let body = bodies.iter().find_map(read)?;
        Some((name.to_owned(), headers, body))
    };
    contracts::webhook::preset::names()
        .into_iter()
        .filter_map(of_preset)
        .collect()
}
