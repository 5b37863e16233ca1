//! What became of runs, in a file to which each adds a line, so that many can be run one part at a time.

use crate::report::Outcome;
use crate::schedule::Setting;
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// A file of outcomes, or none.
#[derive(Debug)]
pub(crate) struct Results {
    file: Option<File>,
    before: Vec<Outcome>,
}

impl Results {
    /// Reads what is there, to be continued.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self {
                file: None,
                before: Vec::new(),
            });
        };
        let cannot = || format!("cannot open the results {}", path.display());
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(cannot)?;
        let text = std::fs::read_to_string(path).with_context(cannot)?;
        let read = |(number, line): (usize, &str)| {
            let not_one = || {
                let (file, number) = (path.display(), number + 1);
                format!("line {number} of {file} is no result: remove it, then run this again")
            };
            serde_json::from_str(line).with_context(not_one)
        };
        let before = text.lines().enumerate().map(read);
        Ok(Self {
            file: Some(file),
            before: before.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Whether a run of this build has a verdict.
    pub(crate) fn has(&self, build: &str, setting: &Setting, planted: Option<&str>) -> bool {
        self.find(build, setting, planted).is_some()
    }

    /// What became of it.
    pub(crate) fn find(
        &self,
        build: &str,
        setting: &Setting,
        planted: Option<&str>,
    ) -> Option<&Outcome> {
        self.before.iter().find(|one| {
            one.build == build
                && one.setting == *setting
                && one.planted.as_deref() == planted
                && one.has_verdict()
        })
    }

    /// Adds a line.
    pub(crate) fn add(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(mut file) = self.file.as_ref() else {
            return Ok(());
        };
        let line = serde_json::to_string(outcome)? + "\n";
        file.write_all(line.as_bytes())
            .context("cannot write the results")
    }

    /// What was there when it was opened.
    pub(crate) fn into_outcomes(self) -> Vec<Outcome> {
        self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::outcome;

    #[test]
    fn what_was_run_is_not_run_again_unless_it_is_another_build_or_has_no_verdict() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results");
        let (sound, none) = (outcome(7, &[]), outcome(8, &[("no_verdict", "no broker")]));
        let results = Results::open(Some(&path)).unwrap();
        assert!(!results.has("b", &sound.setting, None));
        results.add(&sound).unwrap();
        results.add(&none).unwrap();
        let again = Results::open(Some(&path)).unwrap();
        assert!(again.has("b", &sound.setting, None));
        assert!(!again.has("b", &none.setting, None));
        assert!(!again.has("c", &sound.setting, None));
        assert!(!again.has("b", &sound.setting, Some("secret_logged")));
        assert_eq!(again.into_outcomes()[0].accepted, sound.accepted);
        std::fs::write(&path, "{\"build\":\"b").unwrap();
        let cut_off = Results::open(Some(&path)).unwrap_err().to_string();
        assert!(cut_off.starts_with("line 1 of "), "{cut_off}");
    }
}
