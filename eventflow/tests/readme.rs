//! The README's tables are what the code does: every code with its status, every reason for a dead letter, every metric; nothing else.

#![allow(clippy::unwrap_used, reason = "a test")]

use axum::response::IntoResponse;
use contracts::RejectionCode;
use contracts::webhook::signature::SignatureError;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use producer::error::ApiError;
use runtime::publisher::PublishError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const README: &str = include_str!("../../README.md");

/// The text under a heading, up to the next one.
fn section(heading: &str) -> &'static str {
    let (_, rest) = README
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap()
}

/// The cells of a section's table, without its head.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let rows = section(heading)
        .lines()
        .filter(|line| line.starts_with('|'));
    rows.skip(2)
        .map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn owned<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// Every source file of every crate.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    let (root, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), Vec::new());
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path().join("src");
        if folder.is_dir() {
            collect(&folder, &mut found);
        }
    }
    assert!(found.len() > 30, "the sources were found");
    found
}

/// The text literals in a file's `fn code`: one a variant, and the compiler sees to it that no variant is without.
fn codes_in(file: &str) -> BTreeSet<String> {
    let all = sources();
    let (_, text) = all
        .iter()
        .find(|(path, _)| path.ends_with(file))
        .unwrap_or_else(|| panic!("no {file}"));
    let (_, rest) = text.split_once("pub fn code(").unwrap();
    let codes = owned(
        rest.split("\n    }")
            .next()
            .unwrap()
            .split('"')
            .skip(1)
            .step_by(2),
    );
    assert!(!codes.is_empty(), "{file}");
    codes
}

/// One of every answer that is not 200.
fn refusals() -> Vec<ApiError> {
    use SignatureError::{
        DuplicateHeader, InFuture, MalformedHeader, Mismatch, MissingHeader, SecretExpired, TooOld,
    };
    let text = String::new;
    let signatures = [
        DuplicateHeader,
        InFuture,
        MalformedHeader,
        Mismatch,
        MissingHeader,
        SecretExpired,
        TooOld,
    ];
    let publishing = [
        PublishError::QueueFull,
        PublishError::NotAcknowledged(text()),
        PublishError::TooLarge,
        PublishError::Refused(text()),
    ];
    let others = [
        ApiError::EmptyBody,
        ApiError::BrokenBody,
        ApiError::AmbiguousLength,
        ApiError::MalformedBatch(text()),
        ApiError::TooManyEvents(1),
        ApiError::MalformedPayload,
        ApiError::BadApiKey,
        ApiError::IngestClosed,
        ApiError::UnknownSource,
        ApiError::NotFound,
        ApiError::MethodNotAllowed,
        ApiError::BodyTimeout,
        ApiError::BodyTooLarge(1),
        ApiError::EventTooLarge(1),
        ApiError::UnsupportedEncoding,
        ApiError::OverQuota {
            retry_after_seconds: 1,
        },
        ApiError::TooManyFailures {
            retry_after_seconds: 1,
        },
        ApiError::Overloaded,
        ApiError::Draining,
    ];
    signatures
        .map(ApiError::Signature)
        .into_iter()
        .chain(publishing.map(ApiError::Publish))
        .chain(others)
        .collect()
}

#[test]
fn the_readme_has_every_answer_of_the_edge_with_its_status_and_whether_to_come_back() {
    let refusals = refusals();
    let known: BTreeSet<String> = refusals
        .iter()
        .map(|error| error.code().to_owned())
        .collect();
    let declared = [
        "producer/src/error.rs",
        "contracts/src/signature.rs",
        "runtime/src/publisher/error.rs",
    ]
    .map(codes_in);
    assert_eq!(
        known,
        declared.into_iter().flatten().collect(),
        "the list above has every variant"
    );
    let answers: BTreeMap<String, (String, bool)> = refusals
        .into_iter()
        .map(|error| {
            let (code, response) = (error.code().to_owned(), error.into_response());
            (
                code,
                (
                    response.status().as_u16().to_string(),
                    response.headers().contains_key("retry-after"),
                ),
            )
        })
        .collect();
    let mut written = BTreeMap::new();
    for row in table("What the edge answers") {
        let come_back = row[0].contains("Retry-After");
        let statuses: Vec<&str> = row[0]
            .split('+')
            .next()
            .unwrap()
            .split(',')
            .map(str::trim)
            .collect();
        let groups: Vec<&str> = row[1].split('·').collect();
        assert_eq!(
            statuses.len(),
            groups.len(),
            "one group of codes a status: {row:?}"
        );
        for (status, group) in statuses.iter().zip(groups) {
            for code in quoted(group) {
                let before = written.insert(code.to_owned(), ((*status).to_owned(), come_back));
                assert_eq!(before, None, "{code} is there twice");
            }
        }
    }
    assert_eq!(written, answers);
}

#[test]
fn the_readme_has_every_code_of_the_recovery_api_and_of_a_replays_items() {
    let tables = section("Dead letters");
    let cells = |from: &str| {
        let rows = tables
            .split_once(from)
            .unwrap()
            .1
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        rows.map(|row| {
            row.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
    };
    let written: Vec<_> = cells("| status | codes of recovery's API |")
        .iter()
        .flat_map(|row| quoted(row[1]))
        .collect();
    let known: BTreeSet<String> = ["recovery/src/api/problem.rs", "recovery/src/error.rs"]
        .map(codes_in)
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(owned(written), known);
    let written = owned(
        cells("| code of a replay's item | meaning |")
            .iter()
            .flat_map(|row| quoted(row[0])),
    );
    let files = sources();
    for code in &written {
        let literal = format!("\"{code}\"");
        let in_runner = |path: &Path| {
            path.to_string_lossy().contains("recovery/src/runner")
                || path.ends_with("publisher/error.rs")
        };
        let used = files
            .iter()
            .any(|(path, text)| in_runner(path) && text.contains(&literal));
        assert!(used, "{code}");
    }
    let (_, claim) = files
        .iter()
        .find(|(path, _)| path.ends_with("recovery/src/runner/claim.rs"))
        .unwrap();
    let skips = claim
        .split("#[cfg(test)]")
        .next()
        .unwrap()
        .split("Decision::Skip(\"")
        .skip(1);
    for code in skips.map(|rest| rest.split('"').next().unwrap()) {
        assert!(written.contains(code), "{code}");
    }
}

#[test]
fn the_readme_has_every_reason_for_a_dead_letter_in_the_order_of_the_code() {
    let written: Vec<_> = table("Why a record is dead-lettered")
        .iter()
        .map(|row| (quoted(row[0])[0], row[1]))
        .collect();
    let known: Vec<_> = RejectionCode::ALL
        .iter()
        .map(|code| (code.code(), code.meaning()))
        .collect();
    assert_eq!(written, known);
}

#[test]
fn the_readme_has_every_code_of_ready_and_of_the_logs() {
    let files = sources();
    let declaring = files
        .iter()
        .filter(|(_, text)| text.contains("pub fn code("))
        .map(|(path, _)| path.file_name().unwrap().to_str().unwrap());
    let read = [
        "config.rs",
        "error.rs",
        "postgres.rs",
        "problem.rs",
        "registry.rs",
        "rejection.rs",
        "signature.rs",
    ];
    assert_eq!(
        owned(declaring),
        owned(read),
        "every file that declares codes is read by these tests"
    );
    let rejections = owned(RejectionCode::ALL.iter().map(|code| code.code()));
    let mut known: BTreeSet<String> = [
        "runtime/src/registry.rs",
        "runtime/src/postgres.rs",
        "runtime/src/config.rs",
    ]
    .map(codes_in)
    .into_iter()
    .flatten()
    .collect();
    for (_, text) in &files {
        for call in ["StageError::wait(", "StageError::stop("] {
            // Calls whose code is not a literal pass one on that is declared elsewhere.
            let literals = text
                .split(call)
                .skip(1)
                .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            known.extend(literals.map(str::to_owned));
        }
    }
    assert!(
        known.contains("database_unavailable") && known.contains("handler_contract"),
        "the calls were found: {known:?}"
    );
    let (_, paragraph) = section("Why a record is dead-lettered")
        .split_once("In `/ready` and the logs")
        .unwrap();
    let written = owned(quoted(&format!(
        "`{}",
        paragraph.split_once('`').unwrap().1
    )));
    let without = |codes: &BTreeSet<String>| {
        codes
            .difference(&rejections)
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(without(&written), without(&known));
}

/// Remembers what is described.
#[derive(Default)]
struct Described(Mutex<BTreeMap<String, String>>);

impl Described {
    fn note(&self, name: &KeyName, description: &SharedString) {
        let before = self
            .0
            .lock()
            .unwrap()
            .insert(name.as_str().to_owned(), description.to_string());
        assert_eq!(before, None, "{} is described twice", name.as_str());
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        assert!(
            name.as_str().ends_with("_total"),
            "a counter's name ends in _total: {}",
            name.as_str()
        );
        self.note(&name, &description);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.note(&name, &description);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        self.note(&name, &description);
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn the_readme_has_every_metric_with_its_help_text() {
    let described = Described::default();
    metrics::with_local_recorder(&described, || {
        runtime::metrics::describe();
        producer::metrics::describe();
        validator::metrics::describe();
        analytics::metrics::describe();
        persistence::metrics::describe();
        recovery::metrics::describe();
        simulator::metrics::describe();
        registry::metrics::describe();
    });
    let described = described.0.into_inner().unwrap();
    // Every name in the code is described: none is counted without a help text.
    let mut named = BTreeSet::new();
    for (_, text) in sources() {
        named.extend(owned(text.split('"').filter(|text| {
            text.starts_with("eventflow_") && !text.contains(char::is_whitespace)
        })));
    }
    assert_eq!(named, described.keys().cloned().collect());
    let rows = table("Metrics");
    let written: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (quoted(row[0])[0].to_owned(), row[1].to_owned()))
        .collect();
    assert_eq!(written.len(), rows.len(), "a metric is there twice");
    for (name, help) in &described {
        assert_eq!(written.get(name), Some(help), "README, metric {name}");
    }
    assert_eq!(written, described);
}
