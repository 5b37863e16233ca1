//! The files as they are in the repository: rules, their tests, dashboards, the runbook, the reference's tables.

use serde_json::Value;
use std::collections::BTreeSet;

pub(crate) const CONFIG: &str = include_str!("../../../infra/prometheus/prometheus.yml");
pub(crate) const RECORDING: &str = include_str!("../../../infra/prometheus/recording.rules.yml");
pub(crate) const ALERTS: &str = include_str!("../../../infra/prometheus/alerts.rules.yml");
const RUNBOOK: &str = include_str!("../../../docs/ALERTS.md");
const CODES: &str = include_str!("../../../docs/reference/codes.md");
const METRICS: &str = include_str!("../../../docs/reference/metrics.md");

fn folder(path: &str, extension: &str) -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    let read = |path: std::path::PathBuf| {
        (
            path.file_stem().unwrap().to_string_lossy().into_owned(),
            std::fs::read_to_string(&path).unwrap(),
        )
    };
    let mut files: Vec<_> = files.map(read).collect();
    files.sort();
    files
}

/// Name and content of every dashboard.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let parse = |(name, text): (String, String)| {
        let content = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, content)
    };
    folder("infra/grafana/dashboards", "json")
        .into_iter()
        .map(parse)
        .collect()
}

pub(crate) fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

/// What follows a key, line by line.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.trim().strip_prefix(key))
        .map(str::trim)
}

/// The codes that the edge answers with this status.
fn codes_of(status: &str) -> BTreeSet<&'static str> {
    let (_, edge) = CODES.split_once("\n## What the edge answers\n").unwrap();
    let rows = edge.split("\n## ").next().unwrap().lines();
    let codes: BTreeSet<_> = rows
        .filter_map(|row| {
            row.strip_prefix(&format!("| {status} | `"))?
                .split('`')
                .next()
        })
        .collect();
    assert!(!codes.is_empty(), "{status}");
    codes
}

/// The metrics the roles expose, as the reference lists them, which another test holds against the code.
pub(crate) fn exposed() -> BTreeSet<String> {
    let rows = METRICS
        .lines()
        .filter_map(|line| line.strip_prefix("| `eventflow_"));
    rows.map(|row| format!("eventflow_{}", row.split('`').next().unwrap()))
        .collect()
}

/// The names that rules record.
pub(crate) fn recorded() -> BTreeSet<&'static str> {
    values(RECORDING, "- record:").collect()
}

#[test]
fn every_alert_has_its_heading_and_no_heading_is_orphaned() {
    let alerts: Vec<&str> = values(ALERTS, "- alert:").collect();
    let headings: Vec<&str> = values(RUNBOOK, "### ").collect();
    assert_eq!(
        alerts.iter().collect::<BTreeSet<_>>(),
        headings.iter().collect::<BTreeSet<_>>()
    );
    assert_eq!(alerts.len(), headings.len(), "none is there twice");
    let links: Vec<String> = values(ALERTS, "runbook_url:").map(str::to_owned).collect();
    let wanted: Vec<String> = alerts
        .iter()
        .map(|alert| format!("docs/ALERTS.md#{}", alert.to_lowercase()))
        .collect();
    assert_eq!(links, wanted);
    for rule in ALERTS.split("- alert:").skip(1) {
        for part in ["severity: ", "summary: ", "description: "] {
            assert_eq!(rule.matches(part).count(), 1, "{part}: {rule}");
        }
        assert!(
            ["critical", "warning"]
                .iter()
                .any(|word| rule.contains(&format!("severity: {word} }}"))),
            "{rule}"
        );
    }
    for advice in RUNBOOK
        .split("\n### ")
        .skip(1)
        .map(|text| text.split("\n## ").next().unwrap())
    {
        assert!(
            advice.to_lowercase().contains("**look at**") && advice.contains("**Do**"),
            "{advice}"
        );
    }
}

#[test]
fn every_alert_is_tested_firing_and_not_firing() {
    let tests: String = folder("infra/prometheus/tests", "yml")
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let mut tested = [BTreeSet::new(), BTreeSet::new()];
    for case in tests.split("alertname: ").skip(1) {
        let (name, rest) = case.split_once([',', '\n']).unwrap();
        let fires = !rest.split("exp_alerts:").nth(1).unwrap().starts_with(" []");
        tested[usize::from(fires)].insert(name.trim().to_owned());
    }
    let alerts: BTreeSet<String> = values(ALERTS, "- alert:").map(str::to_owned).collect();
    assert_eq!(tested[0], alerts, "not firing");
    assert_eq!(tested[1], alerts, "firing");
}

/// A code that is added to the edge must not fall through the shares.
#[test]
fn the_shares_of_requests_know_every_code_of_the_edge() {
    let listed = |record: &str| -> BTreeSet<&str> {
        let rule = RECORDING
            .split("- record: ")
            .find(|rule| rule.starts_with(record))
            .unwrap();
        rule.split_once("code=~\"")
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap()
            .split('|')
            .collect()
    };
    assert_eq!(
        listed("source:eventflow_requests_5xx:ratio_rate5m"),
        codes_of("503")
    );
    assert_eq!(
        listed("source:eventflow_requests_429:ratio_rate5m"),
        codes_of("429")
    );
    let headers = codes_of("400")
        .into_iter()
        .filter(|code| code.ends_with("_signature_header"));
    let wanted: BTreeSet<&str> = headers.chain(codes_of("401")).collect();
    assert_eq!(
        listed("source:eventflow_signature_failures:ratio_rate5m"),
        wanted
    );
}

/// Name, expression and legend of every target of every dashboard.
pub(crate) fn targets() -> Vec<(String, String, String)> {
    let mut targets = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in panel["targets"].as_array().unwrap() {
                let text = |key: &str| target[key].as_str().unwrap().to_owned();
                targets.push((
                    format!("{name}: {}", panel["title"].as_str().unwrap()),
                    text("expr"),
                    text("legendFormat"),
                ));
            }
        }
    }
    targets
}

#[test]
fn every_stage_of_the_pipeline_is_scraped() {
    let jobs: BTreeSet<_> = values(CONFIG, "- job_name:").collect();
    for stage in &contracts::pipeline::Pipeline::built_in().stages {
        assert!(jobs.contains(stage.name.as_str()), "{}", stage.name);
    }
}

#[test]
fn dashboards_are_whole() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert_eq!(dashboard["uid"], format!("eventflow-{name}"));
        assert!(
            uids.insert(dashboard["title"].as_str().unwrap().to_owned()),
            "{name}: a title of its own"
        );
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38, "{name}");
        assert_eq!(
            dashboard["templating"]["list"][0]["type"], "datasource",
            "{name}"
        );
        let (mut ids, mut titles, mut covered) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap();
            let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{name}: {title}: an id of its own"
            );
            assert!(titles.insert(title), "{name}: {title}: a title of its own");
            assert!(
                ["timeseries", "stat"].contains(&panel["type"].as_str().unwrap()),
                "{name}: {title}"
            );
            assert!(
                text(&panel["description"]),
                "{name}: {title}: no description"
            );
            assert!(
                text(&panel["fieldConfig"]["defaults"]["unit"]),
                "{name}: {title}: no unit"
            );
            assert_eq!(
                panel["datasource"]["uid"], "${datasource}",
                "{name}: {title}"
            );
            let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(
                place("x") + place("w") <= 24 && place("w") > 0 && place("h") > 0,
                "{name}: {title}: off the grid"
            );
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(covered.insert((x, y)), "{name}: {title}: covers another");
                }
            }
            let targets = panel["targets"].as_array().unwrap();
            let references: BTreeSet<_> = targets
                .iter()
                .map(|target| target["refId"].as_str().unwrap())
                .collect();
            assert!(
                !targets.is_empty() && references.len() == targets.len(),
                "{name}: {title}: a refId each"
            );
            assert!(
                targets
                    .iter()
                    .all(|target| text(&target["expr"]) && text(&target["legendFormat"])),
                "{name}: {title}"
            );
            let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array();
            for pair in steps.into_iter().flat_map(|steps| steps.windows(2)) {
                let at = |step: &Value| step["value"].as_f64().unwrap_or(f64::NEG_INFINITY);
                assert!(
                    at(&pair[0]) < at(&pair[1]),
                    "{name}: {title}: thresholds go up"
                );
            }
        }
    }
    let roles = [
        "registry",
        "producer",
        "validator",
        "analytics",
        "persistence",
        "recovery",
        "simulator",
    ];
    let wanted: BTreeSet<String> = roles
        .map(str::to_owned)
        .into_iter()
        .chain(["overview".to_owned()])
        .collect();
    assert_eq!(
        dashboards()
            .into_iter()
            .map(|(name, _)| name)
            .collect::<BTreeSet<_>>(),
        wanted
    );
}
