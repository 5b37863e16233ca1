//! What is printed: a line a seed, and a table at the end.

use crate::judge::{Finding, Judgement};
use crate::runlog::RunLog;
use crate::schedule::Setting;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use time::OffsetDateTime;

/// What is wrong with a run that could not be judged.
const NO_VERDICT: &str = "no_verdict";

/// One seed and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) build: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) ended_at: OffsetDateTime,
    #[serde(flatten)]
    pub(crate) setting: Setting,
    /// The bug that was switched on
    pub(crate) planted: Option<String>,
    pub(crate) accepted: u64,
    pub(crate) drain_seconds: f64,
    /// Of the whole run, with its start
    pub(crate) took_seconds: f64,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) not_made: u64,
    /// How processes ended by themselves
    pub(crate) ends: BTreeMap<String, u64>,
    pub(crate) wrong: Vec<Finding>,
    /// Where its files are kept, if they are
    pub(crate) kept: Option<PathBuf>,
}

impl Outcome {
    pub(crate) fn new(
        build: &str,
        setting: Setting,
        log: &RunLog,
        judgement: anyhow::Result<Judgement>,
        took: Duration,
    ) -> Self {
        let judgement = judgement.unwrap_or_else(|error| Judgement {
            accepted: 0,
            drain: Duration::ZERO,
            wrong: vec![Finding::new(NO_VERDICT, format!("{error:#}"))],
        });
        Self {
            build: build.to_owned(),
            ended_at: OffsetDateTime::now_utc(),
            setting,
            planted: None,
            accepted: judgement.accepted,
            drain_seconds: judgement.drain.as_secs_f64(),
            took_seconds: took.as_secs_f64(),
            faults: log.faults(),
            not_made: log.skipped(),
            ends: log.ends(),
            wrong: judgement.wrong,
            kept: None,
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Whether it was judged at all.
    pub(crate) fn has_verdict(&self) -> bool {
        self.wrong.iter().all(|finding| finding.check != NO_VERDICT)
    }

    /// One line, and one more for each thing that is wrong, with the command that repeats it.
    pub(crate) fn line(&self) -> String {
        let Setting {
            seed,
            profile,
            brokers,
            duration,
        } = self.setting;
        let verdict = if self.is_ok() { "ok" } else { "FAILED" };
        let mut line = format!(
            "seed {seed} {profile} brokers {brokers}: {verdict}; {} accepted, drained in {:.1} s, {:.0} s in all; faults {}; not made {}; ends {}",
            self.accepted,
            self.drain_seconds,
            self.took_seconds,
            counted(&self.faults),
            self.not_made,
            counted(&self.ends),
        );
        for finding in &self.wrong {
            line.push_str(&format!("\n    {finding}"));
        }
        if let Some(kept) = &self.kept {
            line.push_str(&format!("\n    its log and journals: {}", kept.display()));
        }
        if !self.is_ok() {
            let duration = humantime::format_duration(duration);
            let planted = self.planted.iter().map(|bug| format!(" --planted {bug}"));
            line.push_str(&format!(
                "\n    again: script/chaos --seeds {seed} --for {duration} --brokers {brokers} --profile {profile}{}",
                planted.collect::<String>()
            ));
        }
        line
    }
}

/// `kill:2 pause:1`
fn counted(all: &BTreeMap<String, u64>) -> String {
    let counts = all.iter().map(|(name, count)| format!("{name}:{count}"));
    let counts: Vec<_> = counts.collect();
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.join(" ")
}

/// The table of runs without a planted bug, in Markdown.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| profile | brokers | seeds | accepted webhooks | faults made | longest drain | failed seeds |\n|---|---|---|---|---|---|---|\n",
    );
    let mut groups: BTreeMap<(String, usize), Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.planted.is_none()) {
        let key = (outcome.setting.profile.to_string(), outcome.setting.brokers);
        groups.entry(key).or_default().push(outcome);
    }
    for ((profile, brokers), group) in groups {
        let accepted: u64 = group.iter().map(|one| one.accepted).sum();
        let mut faults: BTreeMap<String, u64> = BTreeMap::new();
        for (kind, count) in group.iter().flat_map(|one| &one.faults) {
            *faults.entry(kind.clone()).or_default() += count;
        }
        let all: u64 = faults.values().sum();
        let drains = group.iter().map(|one| one.drain_seconds);
        let longest = drains.fold(0.0, f64::max);
        let failed = group.iter().filter(|one| !one.is_ok());
        let failed: Vec<_> = failed.map(|one| one.setting.seed.to_string()).collect();
        let failed = match failed.is_empty() {
            true => "none".to_owned(),
            false => failed.join(", "),
        };
        table.push_str(&format!(
            "| `{profile}` | {brokers} | {} | {accepted} | {all}: {} | {longest:.1} s | {failed} |\n",
            group.len(),
            counted(&faults),
        ));
    }
    table.push_str(&last_row(outcomes));
    table
}

/// The last row: all of them.
fn last_row(outcomes: &[Outcome]) -> String {
    let all: Vec<&Outcome> = outcomes
        .iter()
        .filter(|one| one.planted.is_none())
        .collect();
    let accepted: u64 = all.iter().map(|one| one.accepted).sum();
    let faults: u64 = all.iter().flat_map(|one| one.faults.values()).sum();
    let longest = all.iter().map(|one| one.drain_seconds).fold(0.0, f64::max);
    let failed = all.iter().filter(|one| !one.is_ok()).count();
    format!(
        "| all | | {} | {accepted} | {faults} | {longest:.1} s | {failed} |\n",
        all.len()
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::profile::Profile;

    pub(crate) fn outcome(seed: u64, wrong: &[(&str, &str)]) -> Outcome {
        let setting = Setting {
            seed,
            profile: Profile::Roles,
            brokers: 3,
            duration: Duration::from_secs(20),
        };
        let finding = |&(check, what): &(&str, &str)| Finding::new(check, what);
        let judgement = Judgement {
            accepted: 100,
            drain: Duration::from_millis(1500),
            wrong: wrong.iter().map(finding).collect(),
        };
        let folder = tempfile::tempdir().unwrap();
        let log = RunLog::create(&folder.path().join("run.log")).unwrap();
        for kind in ["kill", "kill", "pause"] {
            log.count_fault(kind);
        }
        let took = Duration::from_secs(40);
        Outcome::new("b", setting, &log, Ok(judgement), took)
    }

    #[test]
    fn a_failed_seed_names_the_command_that_repeats_it() {
        assert!(
            outcome(7, &[])
                .line()
                .starts_with("seed 7 roles brokers 3: ok; 100 accepted")
        );
        let failed = outcome(7, &[("two_rows", "a row too many")]).line();
        assert!(
            failed.contains("FAILED") && failed.contains("\n    two_rows: a row too many"),
            "{failed}"
        );
        let again = "again: script/chaos --seeds 7 --for 20s --brokers 3 --profile roles";
        assert!(failed.ends_with(again), "{failed}");
    }

    #[test]
    fn the_table_adds_up_the_seeds_of_a_profile() {
        let mut with_a_bug = outcome(4, &[("lost", "lost")]);
        with_a_bug.planted = Some("answer_before_ack".to_owned());
        let runs = [
            outcome(1, &[]),
            outcome(2, &[("lost", "lost")]),
            outcome(3, &[]),
            with_a_bug,
        ];
        let table = table(&runs);
        let rows = "| `roles` | 3 | 3 | 300 | 9: kill:6 pause:3 | 1.5 s | 2 |\n| all | | 3 | 300 | 9 | 1.5 s | 1 |\n";
        assert!(table.ends_with(rows), "{table}");
    }

    #[test]
    fn what_could_not_be_judged_has_failed() {
        assert!(outcome(1, &[("lost", "lost")]).has_verdict());
        assert!(!outcome(1, &[("no_verdict", "no broker")]).has_verdict());
    }
}
