//! When failed commits are worth a log line: a client that waits for its group's coordinator fails ten times a second.

use std::time::{Duration, Instant};

/// How often commits that keep failing are logged.
const EVERY: Duration = Duration::from_secs(60);

/// Commits that failed since the last that succeeded.
#[derive(Debug, Default)]
pub(super) struct CommitLog {
    failed: u64,
    logged_at: Option<Instant>,
}

/// A line to log, with the number of commits that failed in a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CommitLine {
    Failing(u64),
    Recovered(u64),
}

impl CommitLog {
    /// Takes the result of a commit: the first failure is logged, then one a minute, and the first success after them.
    pub(super) fn note(&mut self, succeeded: bool, now: Instant) -> Option<CommitLine> {
        if succeeded {
            let failed = std::mem::take(self).failed;
            return (failed > 0).then_some(CommitLine::Recovered(failed));
        }
        self.failed += 1;
        if self
            .logged_at
            .is_some_and(|at| now.duration_since(at) < EVERY)
        {
            return None;
        }
        self.logged_at = Some(now);
        Some(CommitLine::Failing(self.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_logged_then_one_a_minute_and_the_recovery() {
        let (mut log, start) = (CommitLog::default(), Instant::now());
        assert_eq!(log.note(true, start), None);
        let mut lines = Vec::new();
        for tenth in 0..=1200 {
            let now = start + Duration::from_millis(100 * tenth);
            lines.extend(log.note(false, now).map(|line| (tenth, line)));
        }
        let expected = [(0, 1), (600, 601), (1200, 1201)];
        assert_eq!(
            lines,
            expected.map(|(tenth, count)| (tenth, CommitLine::Failing(count)))
        );
        assert_eq!(log.note(true, start), Some(CommitLine::Recovered(1201)));
        assert_eq!(log.note(true, start), None);
        assert_eq!(log.note(false, start), Some(CommitLine::Failing(1)));
    }
}
