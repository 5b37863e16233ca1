//! One line per check for a person, one document for a script.

use super::edge::Edge;
use crate::oncall::{CommandError, line, print, print_json};
use serde::Serialize;
use std::io::IsTerminal;
use std::time::Duration;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckResult {
    Passed,
    Failed,
    Skipped,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    name: &'static str,
    verdict: CheckResult,
    seconds: f64,
    /// What was seen, or what is wrong and what to do
    detail: String,
    /// For `eventflow trace`
    event_ids: Vec<String>,
}

impl Check {
    pub(super) fn new(
        name: &'static str,
        verdict: CheckResult,
        took: Duration,
        detail: String,
    ) -> Self {
        Self {
            name,
            verdict,
            seconds: took.as_secs_f64(),
            detail,
            event_ids: Vec::new(),
        }
    }

    pub(super) fn of(self, event_ids: Vec<String>) -> Self {
        Self { event_ids, ..self }
    }
}

/// Durations of a few samples.
#[derive(Debug, Serialize)]
pub(super) struct Millis {
    p50: f64,
    max: f64,
    samples: usize,
}

impl Millis {
    pub(super) fn of(mut all: Vec<Duration>) -> Option<Self> {
        all.sort_unstable();
        let millis = |duration: &Duration| (duration.as_secs_f64() * 10_000.0).round() / 10.0;
        Some(Self {
            p50: millis(&all[all.len().checked_sub(1)? / 2]),
            max: millis(all.last()?),
            samples: all.len(),
        })
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Latency {
    /// From the request to its 200, here
    pub(super) webhook_to_answer_ms: Option<Millis>,
    /// From the receipt at the edge to the row, by their clocks
    pub(super) webhook_to_row_ms: Option<Millis>,
}

/// The run as one JSON document. Its field names are kept.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    run: String,
    url: String,
    source: String,
    /// recovery, database or none
    fates: &'static str,
    verdict: Option<CheckResult>,
    seconds: f64,
    checks: Vec<Check>,
    pub(super) latency: Latency,
    #[serde(skip)]
    as_json: bool,
}

impl Report {
    pub(super) fn new(run: &str, edge: &Edge, fates: &'static str, as_json: bool) -> Self {
        Self {
            run: run.to_owned(),
            url: edge.base.clone(),
            source: edge.source.clone(),
            fates,
            verdict: None,
            seconds: 0.0,
            checks: Vec::new(),
            latency: Latency::default(),
            as_json,
        }
    }

    pub(super) fn begin(&self) -> Result<(), CommandError> {
        let fates = match self.fates {
            "none" => "fates are not looked up",
            "database" => "fates from the database",
            _ => "fates from recovery's API",
        };
        self.print(&format!(
            "{}: {}, source {}; {fates}",
            self.run, self.url, self.source
        ))
    }

    /// Adds a check, and prints its result at once.
    pub(super) fn add(&mut self, check: Check) -> Result<(), CommandError> {
        let result = match check.verdict {
            CheckResult::Passed => "passed",
            CheckResult::Failed => "FAILED",
            CheckResult::Skipped => "skipped",
        };
        self.print(&format!(
            "  {result:<7}  {:<9}  {:>6.2} s  {}",
            check.name, check.seconds, check.detail
        ))?;
        self.checks.push(check);
        Ok(())
    }

    /// The result of the run, last.
    pub(super) fn end(mut self, took: Duration, require_fates: bool) -> Result<(), CommandError> {
        let named = |result| {
            let names = self
                .checks
                .iter()
                .filter(move |check| check.verdict == result)
                .map(|check| check.name);
            names.collect::<Vec<_>>()
        };
        let (failed, skipped, passed) = (
            named(CheckResult::Failed),
            named(CheckResult::Skipped),
            named(CheckResult::Passed).len(),
        );
        // An edge behind a proxy that hides /ready was still seen to work.
        let missing: Vec<_> = skipped
            .iter()
            .filter(|name| require_fates && **name != "ready")
            .copied()
            .collect();
        let mut why = Vec::new();
        if !failed.is_empty() {
            why.push(format!("failed: {}", failed.join(", ")));
        }
        if !missing.is_empty() {
            why.push(format!("required, but skipped: {}", missing.join(", ")));
        }
        let good = why.is_empty();
        if good && !skipped.is_empty() {
            why.push(format!("skipped: {}", skipped.join(", ")));
        }
        let why = why.join("; ");
        let sums = format!("{passed} of {} checks", self.checks.len());
        let sums = if good {
            format!("passed: {sums}")
        } else {
            format!("FAILED: only {sums} passed")
        };
        let sums = format!("{sums} in {:.1} s", took.as_secs_f64());
        self.verdict = Some(if good {
            CheckResult::Passed
        } else {
            CheckResult::Failed
        });
        self.seconds = took.as_secs_f64();
        for (what, millis) in [
            ("to the answer", &self.latency.webhook_to_answer_ms),
            ("to the row", &self.latency.webhook_to_row_ms),
        ] {
            if let Some(Millis { p50, max, samples }) = millis {
                self.print(&format!(
                    "  webhook {what:<13}  p50 {p50} ms, max {max} ms, {samples} samples"
                ))?;
            }
        }
        if self.as_json {
            print_json(&serde_json::to_string_pretty(&self)?)?;
        } else if why.is_empty() {
            self.print(&sums)?;
        } else {
            self.print(&format!("{sums}; {why}"))?;
        }
        if good {
            Ok(())
        } else {
            Err(CommandError::failed(format!(
                "smoke of {}: {why}",
                self.url
            )))
        }
    }

    fn print(&self, text: &str) -> Result<(), CommandError> {
        if self.as_json {
            Ok(())
        } else {
            print(&format!("{}\n", line(text)))
        }
    }
}

/// Tells a person at a terminal what is waited for.
#[expect(clippy::print_stderr, reason = "beside the answer, for a person")]
pub(super) fn waiting(left: Duration) {
    if std::io::stderr().is_terminal() {
        eprintln!("  waiting at most {} s for their fates", left.as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_samples_have_a_median_and_a_maximum() {
        assert!(Millis::of(Vec::new()).is_none());
        let millis = Millis::of([5, 1, 9, 3].map(Duration::from_millis).to_vec())
            .map(|all| (all.p50, all.max, all.samples));
        assert_eq!(millis, Some((3.0, 9.0, 4)));
    }
}
