//! What is printed: a line a seed, and a table at the end.

use crate::judge::Judgement;
use crate::runlog::RunLog;
use crate::schedule::Setting;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One seed and what became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) setting: Setting,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) skipped: u64,
    pub(crate) ends: BTreeMap<String, u64>,
    pub(crate) judgement: Result<Judgement, String>,
    /// Of the whole run, with its start
    pub(crate) took: Duration,
    /// Where its files are kept, if they are
    pub(crate) kept: Option<PathBuf>,
}

impl Outcome {
    pub(crate) fn new(
        setting: Setting,
        log: Option<&RunLog>,
        judgement: anyhow::Result<Judgement>,
        took: Duration,
    ) -> Self {
        Self {
            setting,
            faults: log.map(RunLog::faults).unwrap_or_default(),
            skipped: log.map(RunLog::skipped).unwrap_or_default(),
            ends: log.map(RunLog::ends).unwrap_or_default(),
            judgement: judgement.map_err(|error| format!("{error:#}")),
            took,
            kept: None,
        }
    }

    /// What is wrong, in sentences.
    pub(crate) fn wrong(&self) -> Vec<&str> {
        match &self.judgement {
            Ok(judgement) => judgement.wrong.iter().map(String::as_str).collect(),
            Err(error) => vec![error.as_str()],
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.wrong().is_empty()
    }

    fn accepted(&self) -> u64 {
        self.judgement
            .as_ref()
            .map_or(0, |judgement| judgement.accepted)
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
        let drain = self
            .judgement
            .as_ref()
            .map_or(0.0, |judgement| judgement.drain.as_secs_f64());
        let counted = |all: Vec<String>| {
            if all.is_empty() {
                "none".to_owned()
            } else {
                all.join(" ")
            }
        };
        let faults = counted(
            self.faults
                .iter()
                .map(|(kind, count)| format!("{kind}:{count}"))
                .collect(),
        );
        let ends = counted(
            self.ends
                .iter()
                .map(|(how, count)| format!("{how}:{count}"))
                .collect(),
        );
        let mut line = format!(
            "seed {seed} {profile} brokers {brokers}: {verdict}; {} accepted, drained in {drain:.1} s, {:.0} s in all; faults {faults}; not made {}; ends {ends}",
            self.accepted(),
            self.took.as_secs_f64(),
            self.skipped,
        );
        for sentence in self.wrong() {
            line.push_str(&format!("\n    {sentence}"));
        }
        if let Some(kept) = &self.kept {
            line.push_str(&format!("\n    its log and journals: {}", kept.display()));
        }
        if !self.is_ok() {
            let duration = humantime::format_duration(duration);
            line.push_str(&format!(
                "\n    again: script/chaos --seeds {seed} --for {duration} --brokers {brokers} --profile {profile}"
            ));
        }
        line
    }
}

/// The table at the end, in Markdown.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| profile | brokers | seeds | accepted webhooks | faults | longest drain | failed seeds |\n|---|---|---|---|---|---|---|\n",
    );
    let mut groups: BTreeMap<(String, usize), Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        let key = (outcome.setting.profile.to_string(), outcome.setting.brokers);
        groups.entry(key).or_default().push(outcome);
    }
    for ((profile, brokers), group) in groups {
        let accepted: u64 = group.iter().map(|one| one.accepted()).sum();
        let faults: u64 = group.iter().flat_map(|one| one.faults.values()).sum();
        let drains = group.iter().filter_map(|one| one.judgement.as_ref().ok());
        let longest = drains.map(|one| one.drain).max().unwrap_or_default();
        let failed: Vec<_> = group
            .iter()
            .filter(|one| !one.is_ok())
            .map(|one| one.setting.seed.to_string())
            .collect();
        let failed = if failed.is_empty() {
            "none".to_owned()
        } else {
            failed.join(", ")
        };
        table.push_str(&format!(
            "| {profile} | {brokers} | {} | {accepted} | {faults} | {:.1} s | {failed} |\n",
            group.len(),
            longest.as_secs_f64(),
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn outcome(seed: u64, wrong: &[&str]) -> Outcome {
        let setting = Setting {
            seed,
            profile: Profile::Roles,
            brokers: 3,
            duration: Duration::from_secs(20),
        };
        let judgement = Judgement {
            accepted: 100,
            drain: Duration::from_millis(1500),
            wrong: wrong.iter().map(|&one| one.to_owned()).collect(),
        };
        let mut outcome = Outcome::new(setting, None, Ok(judgement), Duration::from_secs(40));
        outcome.faults = [("kill", 2), ("pause", 1)].into();
        outcome
    }

    #[test]
    fn a_failed_seed_names_the_command_that_repeats_it() {
        assert!(
            outcome(7, &[])
                .line()
                .starts_with("seed 7 roles brokers 3: ok; 100 accepted")
        );
        let failed = outcome(7, &["a row too many"]).line();
        assert!(
            failed.contains("FAILED") && failed.contains("\n    a row too many"),
            "{failed}"
        );
        let again = "again: script/chaos --seeds 7 --for 20s --brokers 3 --profile roles";
        assert!(failed.ends_with(again), "{failed}");
    }

    #[test]
    fn the_table_adds_up_the_seeds_of_a_profile() {
        let table = table(&[outcome(1, &[]), outcome(2, &["lost"]), outcome(3, &[])]);
        let row = "| roles | 3 | 3 | 300 | 9 | 1.5 s | 2 |\n";
        assert!(table.ends_with(row), "{table}");
    }

    #[test]
    fn what_could_not_be_judged_has_failed() {
        let run = outcome(1, &[]);
        let failed = Outcome::new(
            run.setting,
            None,
            Err(anyhow::anyhow!("no broker")),
            run.took,
        );
        assert_eq!(failed.wrong(), ["no broker"]);
    }
}
