//! Sums that others have, beside ours: the audit's, and the counters of roles that were not restarted.

use crate::database::{Audited, Snapshot};
use crate::kafka::Ends;
use crate::report::{Check, Counts, Findings};
use anyhow::Context;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use store::DatabaseArgs;

/// A page is examined again when a replay touches it, a moment later.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for the counters of a role.
const DEADLINE: Duration = Duration::from_secs(15);

/// As `eventflow audit --json` prints it.
#[derive(Deserialize)]
struct Printed {
    stored: u64,
    duplicate: u64,
    #[serde(default)]
    filtered: u64,
    dead_lettered: BTreeMap<String, u64>,
    gaps: u64,
    double_fates: u64,
}

/// Compares with what `eventflow audit --json` printed to this file.
pub(crate) fn printed_audit(
    path: &Path,
    counts: &Counts,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let cannot = || {
        format!(
            "--audit: {} is not what eventflow audit --json prints",
            path.display()
        )
    };
    let text = std::fs::read(path).with_context(cannot)?;
    let printed: Printed = serde_json::from_slice(&text).with_context(cannot)?;
    let audited = Audited {
        stored: printed.stored,
        duplicate: printed.duplicate,
        filtered: printed.filtered,
        dead_lettered: printed.dead_lettered.values().sum(),
        gaps: printed.gaps,
        double_fates: printed.double_fates,
    };
    judge_audit(&audited, counts, found);
    Ok(())
}

/// Compares with the sums that the audit keeps in the database. Says why where it cannot.
pub(crate) async fn kept_audit(
    database: &DatabaseArgs,
    topic: &str,
    ends: &Ends,
    within: Duration,
    counts: &Counts,
    found: &mut Findings,
) -> anyhow::Result<Option<String>> {
    let deadline = Instant::now() + within;
    loop {
        let last = Instant::now() >= deadline;
        // A snapshot of its own: it is asked again.
        let Some((audited, frontier)) = Snapshot::open(database).await?.audited(topic).await?
        else {
            return Ok(Some("recovery has no audit in this database".to_owned()));
        };
        let reached = ends.iter().all(|(partition, (_, high))| {
            *high == 0
                || frontier
                    .iter()
                    .any(|(own, next)| own == partition && next >= high)
        });
        match reached {
            false if last => {
                let why =
                    "the audit has not come to the end of the topic; wait for it, or give --audit";
                return Ok(Some(why.to_owned()));
            }
            true if last || differs(&audited, counts).is_empty() => {
                judge_audit(&audited, counts, found);
                return Ok(None);
            }
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

fn differs(audited: &Audited, counts: &Counts) -> Vec<(&'static str, u64, u64)> {
    let pairs = [
        ("stored", audited.stored, counts.stored),
        ("duplicate", audited.duplicate, counts.duplicate),
        ("filtered", audited.filtered, counts.filtered),
        ("dead_lettered", audited.dead_lettered, counts.dead_lettered),
    ];
    pairs
        .into_iter()
        .filter(|(_, audit, ours)| audit != ours)
        .collect()
}

fn judge_audit(audited: &Audited, counts: &Counts, found: &mut Findings) {
    for _ in 0..4 {
        found.look(Check::AuditDiffers);
    }
    for (name, audit, ours) in differs(audited, counts) {
        let what = format!("{name}: the audit counts {audit}, the topics and tables have {ours}");
        found.fail(Check::AuditDiffers, what, Vec::new());
    }
    if audited.gaps + audited.double_fates > 0 {
        let what = format!(
            "the audit has found {} gaps and {} double fates",
            audited.gaps, audited.double_fates
        );
        found.fail(Check::AuditDiffers, what, Vec::new());
    }
}

/// What the audit said of a record and took back. Says why where it cannot tell.
pub(crate) async fn false_alarms(
    database: &DatabaseArgs,
    found: &mut Findings,
) -> anyhow::Result<Option<String>> {
    let mut snapshot = Snapshot::open(database).await?;
    let Some(taken_back) = snapshot.taken_back().await? else {
        return Ok(Some(
            "the database was set back to an earlier state".to_owned(),
        ));
    };
    found.look(Check::AuditFalseAlarm);
    for what in taken_back {
        found.fail(Check::AuditFalseAlarm, what, Vec::new());
    }
    Ok(None)
}

/// A counter, and between what it must be.
struct Bounds {
    name: &'static str,
    least: u64,
    most: u64,
}

/// Compares the counters of these `/metrics` pages, summed up.
pub(crate) async fn counters(
    urls: &[String],
    counts: &Counts,
    others: bool,
    raw: u64,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let client = runtime::http_client::builder().timeout(DEADLINE).build()?;
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for url in urls {
        let url = match url.ends_with("/metrics") {
            true => url.clone(),
            false => format!("{}/metrics", url.trim_end_matches('/')),
        };
        let cannot = || format!("--metrics: no counters at {url}");
        let answer = client
            .get(&url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        let text = answer
            .with_context(cannot)?
            .text()
            .await
            .with_context(cannot)?;
        for (name, value) in text.lines().filter_map(sample) {
            *sums.entry(name.to_owned()).or_default() += value;
        }
    }
    judge_counters(&sums, counts, others, raw, found);
    Ok(())
}

/// The name and value of a counter's sample: `name{labels} value`.
fn sample(line: &str) -> Option<(&str, u64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let name = series.split('{').next()?;
    (name.ends_with("_total")).then_some((name, value.parse().ok()?))
}

fn judge_counters(
    sums: &BTreeMap<String, u64>,
    counts: &Counts,
    others: bool,
    raw: u64,
    found: &mut Findings,
) {
    let exactly = |name, count| Bounds {
        name,
        least: count,
        most: count,
    };
    let bounds = [
        // An answer may not have arrived.
        Bounds {
            name: "eventflow_producer_events_accepted_total",
            least: counts.accepted,
            most: if others {
                u64::MAX
            } else {
                counts.accepted + counts.unknown
            }
            .min(raw.max(counts.accepted)),
        },
        exactly("eventflow_persistence_events_stored_total", counts.stored),
        exactly(
            "eventflow_persistence_events_duplicate_total",
            counts.duplicate,
        ),
        exactly(
            "eventflow_persistence_events_filtered_total",
            counts.filtered,
        ),
    ];
    for Bounds { name, least, most } in bounds {
        let Some(sum) = sums.get(name) else { continue };
        found.look(Check::CounterDiffers);
        if !(least..=most).contains(sum) {
            let range = match least == most {
                true => least.to_string(),
                false => format!("{least} to {most}"),
            };
            let what = format!("{name} is {sum}, and must be {range}; was a role restarted?");
            found.fail(Check::CounterDiffers, what, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        Counts {
            accepted: 10,
            unknown: 2,
            raw: 11,
            stored: 7,
            duplicate: 2,
            dead_lettered: 2,
            ..Counts::default()
        }
    }

    #[test]
    fn an_audit_that_counts_otherwise_differs() {
        let sound = Audited {
            stored: 7,
            duplicate: 2,
            filtered: 0,
            dead_lettered: 2,
            gaps: 0,
            double_fates: 0,
        };
        let others = [
            Audited { stored: 8, ..sound },
            Audited {
                dead_lettered: 1,
                ..sound
            },
            Audited { gaps: 1, ..sound },
        ];
        let failed = |audited: &Audited| {
            let mut found = Findings::new(1);
            judge_audit(audited, &counts(), &mut found);
            !found.failed().is_empty()
        };
        assert!(!failed(&sound) && others.iter().all(failed));
        let printed = r#"{"stored":7,"duplicate":2,"dead_lettered":{"open":1,"replaying":0,"discarded":1},"gaps":0,"double_fates":0}"#;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), printed).unwrap();
        let mut found = Findings::new(1);
        printed_audit(file.path(), &counts(), &mut found).unwrap();
        assert!(found.failed().is_empty());
        std::fs::write(file.path(), "{}").unwrap();
        assert!(printed_audit(file.path(), &counts(), &mut found).is_err());
    }

    #[test]
    fn counters_are_summed_up_and_compared() {
        let page = "# HELP x y\neventflow_producer_events_accepted_total{source=\"a b\"} 6\neventflow_producer_events_accepted_total{source=\"c\"} 5\n\
                    eventflow_persistence_events_stored_total 7\nother_seconds 1.5\n";
        let mut sums = BTreeMap::new();
        for (name, value) in page.lines().filter_map(sample) {
            *sums.entry(name.to_owned()).or_insert(0) += value;
        }
        let failed = |sums: &BTreeMap<String, u64>| {
            let mut found = Findings::new(1);
            judge_counters(sums, &counts(), false, 11, &mut found);
            !found.failed().is_empty()
        };
        assert!(!failed(&sums));
        for (name, value) in [
            ("eventflow_producer_events_accepted_total", 9),
            ("eventflow_producer_events_accepted_total", 13),
            ("eventflow_persistence_events_stored_total", 8),
        ] {
            let mut other = sums.clone();
            other.insert(name.to_owned(), value);
            assert!(failed(&other), "{name} {value}");
        }
    }
}
