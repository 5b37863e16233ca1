//! Rules, dashboards and the runbook, held against each other and against a running pipeline that a real Prometheus scrapes: no
//! expression may be empty for a name or a label that nobody exposes.

#![allow(clippy::unwrap_used, reason = "a test")]

mod expressions;
mod files;
mod world;

use expressions::{metrics_in, operands};
use std::collections::{BTreeMap, BTreeSet};
use world::{World, has_prometheus, until};

/// What has nothing to say while all is well, and why. Nothing else may be empty, and each of these must be.
const EMPTY_WHILE_WELL: [(&str, &str); 15] = [
    ("ALERTS", "no alert fires"),
    ("[6h] offset 15m", "nothing was six hours ago"),
    ("offset 1d", "nothing was a day ago"),
    (
        "eventflow_consumer_waits_total[2m]",
        "no outage; the second half of the test makes one",
    ),
    (
        "by (stage, code) (rate(eventflow_consumer_waits_total[3m]",
        "no outage",
    ),
    ("waits_total{stage=\"validator\"}", "no outage"),
    ("revalidations_refused_total", "nothing is revalidated"),
    (
        "eventflow_consumer_transactions_total",
        "delivery is at least once",
    ),
    ("waits_total{stage=\"analytics\"}", "no outage"),
    ("waits_total{stage=\"persistence\"}", "no outage"),
    ("waits_total{stage=\"recovery\"}", "no outage"),
    ("waits_total{code=\"registry_unavailable\"}", "no outage"),
    (
        "eventflow_recovery_replay_waits_total",
        "no replay is blocked",
    ),
    (
        "eventflow_analytics_errors_total",
        "what the validator lets through can be read",
    ),
    (
        "eventflow_analytics_events_outside_window_total",
        "no event is an hour old",
    ),
];

/// What must have data: where it stands, and the labels that what is written beside it relies on.
#[derive(Default)]
struct Expressions(BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>);

impl Expressions {
    fn add(&mut self, place: &str, expression: &str, labels: BTreeSet<String>) {
        let (places, all) = self.0.entry(expression.to_owned()).or_default();
        places.insert(place.to_owned());
        all.extend(labels);
    }

    fn add_dashboards(&mut self) {
        for (place, expression, legend) in files::targets() {
            let expression = expression
                .replace("$__rate_interval", "3m")
                .replace("$__range", "5m");
            assert!(!expression.contains('$'), "{place}: {expression}");
            self.add(&place, &expression, between(&legend, "{{", "}}"));
        }
    }

    async fn add_rules(&mut self, world: &World) {
        for rule in world.rules().await {
            let text = |key: &str| rule[key].as_str().unwrap().to_owned();
            assert!(
                ["ok", "unknown"].contains(&text("health").as_str()),
                "{rule}"
            );
            if rule["type"] == "recording" {
                self.add(&text("name"), &text("name"), BTreeSet::new());
                self.add(&text("name"), &text("query"), BTreeSet::new());
                continue;
            }
            // The first operand gives an alert its labels.
            let mut labels = between(&rule["annotations"].to_string(), "$labels.", "}}");
            for operand in operands(&text("query")) {
                self.add(&text("name"), &operand, std::mem::take(&mut labels));
            }
        }
    }

    /// Those that have no data, or not the labels that are relied on.
    async fn lacking(&self, world: &World) -> BTreeMap<String, String> {
        let mut lacking = BTreeMap::new();
        for (expression, (places, labels)) in &self.0 {
            let series = world.series(expression).await;
            if series.is_empty() {
                lacking.insert(expression.clone(), format!("{places:?}: no data"));
            } else if let Some(label) = labels
                .iter()
                .find(|label| !series.iter().all(|(found, _)| found.contains_key(*label)))
            {
                lacking.insert(
                    expression.clone(),
                    format!("{places:?}: no label {label} in {:?}", series[0].0),
                );
            }
        }
        lacking
    }
}

/// The words between these, such as the labels of a legend.
fn between(text: &str, open: &str, close: &str) -> BTreeSet<String> {
    text.split(open)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(close)?.0.trim().to_owned()))
        .collect()
}

#[test]
fn every_metric_that_is_asked_for_is_exposed_and_every_one_is_shown() {
    let (exposed, recorded) = (files::exposed(), files::recorded());
    let base = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts
            .iter()
            .filter_map(|part| name.strip_suffix(part))
            .find(|whole| exposed.contains(*whole));
        whole.unwrap_or(name).to_owned()
    };
    let (mut asked, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let dashboards: Vec<String> = files::targets()
        .into_iter()
        .map(|(_, expression, _)| expression)
        .collect();
    for expression in dashboards.iter().map(String::as_str) {
        shown.extend(metrics_in(expression).into_iter().map(base));
    }
    // Recorded names stand in the rules' text too.
    for line in [files::RECORDING, files::ALERTS]
        .into_iter()
        .flat_map(str::lines)
    {
        let line = line.trim();
        if !line.starts_with('#') && !line.starts_with("- name:") {
            asked.extend(metrics_in(line).into_iter().map(base));
        }
    }
    let known = |name: &String| {
        exposed.contains(name)
            || recorded.contains(name.as_str())
            || name == "up"
            || name == "ALERTS"
    };
    let unknown: Vec<_> = asked.union(&shown).filter(|name| !known(name)).collect();
    assert!(unknown.is_empty(), "nobody exposes {unknown:?}");
    let unused: Vec<_> = recorded
        .iter()
        .filter(|name| !asked.contains(**name) && !shown.contains(**name))
        .collect();
    assert!(unused.is_empty(), "recorded for nobody: {unused:?}");
    let hidden: Vec<_> = exposed.difference(&shown).collect();
    assert!(hidden.is_empty(), "on no dashboard: {hidden:?}");
}

fn is_excused(expression: &str) -> bool {
    EMPTY_WHILE_WELL
        .iter()
        .any(|(part, _)| expression.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_has_data_on_a_running_pipeline_and_no_alert_fires_until_something_breaks()
{
    if !has_prometheus() {
        return;
    }
    let mut world = World::start().await;
    until("Prometheus has read the rules", async || {
        !world.rules().await.is_empty()
    })
    .await;
    let mut all = Expressions::default();
    all.add_rules(&world).await;
    let rules = all.0.len();
    all.add_dashboards();
    assert!(
        rules > 40 && all.0.len() > rules + 80,
        "{rules} of {}",
        all.0.len()
    );

    world.authorize().await;
    // On-call fixes and replays, so that replays have something to show. Twice: Prometheus sees no rise in a series' first value.
    for chunks in [0.0, 1.0] {
        let seen = "eventflow_recovery_replay_chunk_duration_seconds_count";
        until("the replay before this one is seen", async || {
            world.sum(seen).await >= chunks
        })
        .await;
        // Not the gauge, which is of the last scrape and may still count what the replay before this one stored.
        let open = ["dlq", "ls", "--code", "missing_field", "--limit", "1"];
        until("dead letters to fix", async || {
            world.on_call(&open).await["letters"] != serde_json::json!([])
        })
        .await;
        let patch = r#"[{"op":"add","path":"/payload/provider_auth_id","value":"auth_4711"}]"#;
        world
            .on_call(&[
                "dlq",
                "edit",
                "--code",
                "missing_field",
                "--patch",
                patch,
                "--reason",
                "a test",
                "--yes",
            ])
            .await;
        let apply = [
            "replay",
            "apply",
            "--code",
            "missing_field",
            "--reason",
            "a test",
            "--yes",
        ];
        // 1: one that came after the edit is not edited, and fails again.
        world.on_call_or(&apply, &[0, 1]).await;
    }

    // All is well: nothing is empty but what must be, and nothing fires.
    let mut empty = BTreeMap::new();
    until("every expression has data", async || {
        empty = all.lacking(&world).await;
        assert!(
            world
                .alerts()
                .await
                .iter()
                .all(|(_, state)| state != "firing"),
            "{:?}",
            world.alerts().await
        );
        let unexcused: Vec<_> = empty
            .iter()
            .filter(|(expression, _)| !is_excused(expression))
            .collect();
        if !unexcused.is_empty() {
            println!("waiting for {unexcused:#?}");
        }
        unexcused.is_empty()
    })
    .await;
    for (part, why) in EMPTY_WHILE_WELL {
        let matching: Vec<_> = all
            .0
            .keys()
            .filter(|expression| expression.contains(part))
            .collect();
        assert!(!matching.is_empty(), "nothing asks for {part}");
        let filled: Vec<_> = matching
            .into_iter()
            .filter(|expression| !empty.contains_key(*expression))
            .collect();
        assert!(filled.is_empty(), "not empty, though {why}: {filled:?}");
    }
    assert_eq!(world.without_help().await, Vec::<String>::new());
    until("no alert is pending", async || {
        world.alerts().await.is_empty()
    })
    .await;

    // The database goes: persistence waits, and the alerts of that begin to count.
    world.postgres.stop_server().unwrap();
    let waits = "rate(eventflow_consumer_waits_total{stage=\"persistence\", code=\"database_unavailable\", role=\"persistence\"}[2m])";
    until("waits are seen", async || world.sum(waits).await > 0.0).await;
    for name in ["OutagePause", "RoleNotReady"] {
        until(name, async || {
            world
                .alerts()
                .await
                .contains(&(name.to_owned(), "pending".to_owned()))
        })
        .await;
    }
    let waits = ["OutagePause", "persistence: Waits", "overview: Waits"].map(str::to_owned);
    all.0
        .retain(|_, (places, _)| waits.iter().any(|place| places.contains(place)));
    assert_eq!(all.0.len(), waits.len());
    assert_eq!(all.lacking(&world).await, BTreeMap::new());
    world.postgres.start_server().unwrap();
    for role in ["persistence", "recovery"] {
        world.until_ready(role).await;
    }

    // And the counts agree: what Prometheus counted at the edge is what it counted at the end.
    world.stop_traffic();
    let fates = "sum(eventflow_persistence_events_stored_total) + sum(eventflow_persistence_events_duplicate_total) + sum(eventflow_persistence_events_filtered_total)
        + sum(eventflow_recovery_dead_letters_indexed_total) - sum(eventflow_recovery_replayed_total{outcome=~\"stored|duplicate|filtered\"})";
    until("every accepted event has its fate", async || {
        let accepted = world.sum("eventflow_producer_events_accepted_total").await;
        // Handed to Kafka and not answered: may be in the topic.
        let unconfirmed = world
            .sum("eventflow_producer_events_unconfirmed_total")
            .await;
        let fates = world.sum(fates).await;
        println!("accepted {accepted}, unconfirmed {unconfirmed}, fates {fates}");
        accepted > 100.0 && (accepted..=accepted + unconfirmed).contains(&fates)
    })
    .await;
    assert!(world.sum("eventflow_unaccounted_records").await.abs() < f64::EPSILON);
}
