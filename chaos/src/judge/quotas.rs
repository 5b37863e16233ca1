//! A source that sends less than its quota is never answered that it is over it, whatever others send.

use super::Finding;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// As far back as requests count: a request may wait for an edge that is paused.
const WINDOW_MICROS: i64 = 10_000_000;

/// A line of a journal: a request has a source, an answer has none.
#[derive(Deserialize)]
struct Line {
    at_micros: i64,
    n: u64,
    source: Option<String>,
    code: Option<String>,
}

/// Answers `over_quota` to sources that sent fewer requests within the last ten seconds than they may in one.
pub(crate) fn unfounded(journals: &[PathBuf], quota: usize) -> anyhow::Result<Vec<Finding>> {
    let mut unfounded: BTreeMap<String, u64> = BTreeMap::new();
    for journal in journals {
        of_journal(journal, quota, &mut unfounded)?;
    }
    let finding = |(source, times): (String, u64)| {
        let what = format!(
            "{source} was told {times} times that it is over its quota of {quota}, and sent fewer in 10 s"
        );
        Finding::new("quota_of_others", what)
    };
    Ok(unfounded.into_iter().map(finding).collect())
}

fn of_journal(
    journal: &Path,
    quota: usize,
    unfounded: &mut BTreeMap<String, u64>,
) -> anyhow::Result<()> {
    let mut sources: HashMap<u64, String> = HashMap::new();
    let mut sent: HashMap<String, VecDeque<i64>> = HashMap::new();
    for line in BufReader::new(std::fs::File::open(journal)?).split(b'\n') {
        // A line that was cut off says nothing.
        let Ok(line) = serde_json::from_slice::<Line>(&line?) else {
            continue;
        };
        if let Some(source) = line.source {
            sent.entry(source.clone())
                .or_default()
                .push_back(line.at_micros);
            sources.insert(line.n, source);
            continue;
        }
        let Some(source) = sources.remove(&line.n) else {
            continue;
        };
        let recent = sent.entry(source.clone()).or_default();
        while recent
            .front()
            .is_some_and(|at| *at < line.at_micros - WINDOW_MICROS)
        {
            recent.pop_front();
        }
        if line.code.as_deref() == Some("over_quota") && recent.len() < quota {
            *unfounded.entry(source).or_default() += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(requests: i64, code: &str) -> usize {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sent = (0..requests).map(|n| {
            format!(r#"{{"at_micros":{n},"n":{n},"source":"acme","url":"u","body":"b","headers":[],"expect":"stored","events":[]}}"#)
        });
        let answer = format!(r#"{{"at_micros":{requests},"n":0,"status":429,"code":"{code}"}}"#);
        let lines: Vec<String> = sent.chain([answer, "{\"at_mic".to_owned()]).collect();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let journals = [file.path().to_owned()];
        unfounded(&journals, 5).unwrap().len()
    }

    #[test]
    fn over_quota_needs_as_many_requests_as_the_quota() {
        assert_eq!(found(2, "over_quota"), 1);
        assert_eq!(found(5, "over_quota"), 0);
        assert_eq!(found(2, "too_many_failures"), 0);
    }
}
