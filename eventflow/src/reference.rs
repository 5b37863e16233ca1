//! `docs/reference/` is written from the code: every code, metric, flag, route and preset. The tests here fail when a page is stale;
//! `script/reference` runs them with `EVENTFLOW_WRITE_REFERENCE` set, and then they write the pages instead.

#![allow(clippy::unwrap_used, reason = "a test")]

mod codes;
mod commands;
mod documents;
mod metrics;
mod presets;
mod routes;
mod source;

use clap::CommandFactory;
use std::fmt::Write;
use std::path::PathBuf;

/// The whole command line, as it is parsed.
fn command_line() -> clap::Command {
    crate::Cli::command()
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path)
}

/// Compares a page with what the code says, or writes it.
fn page(name: &str, title: &str, text: &str) {
    let path = repository("docs/reference").join(name);
    let wanted = format!(
        "<!-- Written by script/reference from the code. Change the code, not this page. -->\n\n# {title}\n\n{}\n",
        text.trim()
    );
    if std::env::var_os("EVENTFLOW_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = wanted
        .lines()
        .zip(found.lines().chain(std::iter::repeat("(nothing)")))
        .find(|(wanted, found)| wanted != found);
    assert!(
        wanted == found,
        "docs/reference/{name} is stale; run script/reference. First difference (code, page): {differs:?}"
    );
}

/// A table of Markdown.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        assert_eq!(row.len(), head.len(), "{row:?}");
        let cells: Vec<_> = row
            .iter()
            .map(|cell| cell.replace('\n', " ").replace('|', "\\|"))
            .collect();
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    }
    text
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
