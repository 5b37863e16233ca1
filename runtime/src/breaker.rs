//! The breaker: when too large a share of recent records would be dead-lettered, the fault is ours (a bad deploy, a wrong
//! contract), not the records'. The stage then holds its batch instead of draining the topic into the dead-letter topic.

use contracts::Rejection;
use std::collections::VecDeque;

/// When the breaker opens.
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// Share of rejected records in the window above which it opens, 0 to 1
    pub max_ratio: f64,
    /// Records in the sliding window; it never opens on fewer than half of them
    pub window: usize,
}

/// A sliding window over the latest records: true is rejected.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    window: Window,
}

/// Why these records are not dead-lettered now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BreakerOpen {
    rejected: usize,
    records: usize,
    first_code: &'static str,
}

impl std::fmt::Display for BreakerOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} of {} records would be dead-lettered (first code: {}), more than --max-dead-letter-ratio allows. Nothing is lost: the stage \
             waits. Fix the contract or roll back the deploy, then restart; or restart with --breaker off to dead-letter them",
            self.rejected, self.records, self.first_code
        )
    }
}

impl Breaker {
    /// Closed, with an empty window.
    pub(crate) fn new(settings: BreakerSettings) -> Self {
        let window = Window {
            latest: VecDeque::with_capacity(settings.window),
            rejected: 0,
        };
        Self { settings, window }
    }

    /// Counts these records after those admitted before, unless one of them would open the breaker: then none is counted.
    pub(crate) fn admit<'r>(
        &mut self,
        records: impl Iterator<Item = Option<&'r Rejection>> + Clone,
    ) -> Result<(), BreakerOpen> {
        let mut window = self.window.clone();
        let mut is_open = false;
        for rejection in records.clone() {
            window.push(rejection.is_some(), self.settings.window);
            is_open |= self.is_over(&window);
        }
        if !is_open {
            self.window = window;
            return Ok(());
        }
        let mut rejections = records.clone().flatten();
        let first_code = rejections.next().map(|rejection| rejection.code.code());
        Err(BreakerOpen {
            rejected: usize::from(first_code.is_some()) + rejections.count(),
            records: records.count(),
            first_code: first_code.unwrap_or("none"),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "window sizes are small")]
    fn is_over(&self, window: &Window) -> bool {
        let seen = window.latest.len();
        seen * 2 >= self.settings.window
            && window.rejected as f64 > self.settings.max_ratio * seen as f64
    }
}

#[derive(Debug, Clone)]
struct Window {
    latest: VecDeque<bool>,
    rejected: usize,
}

impl Window {
    fn push(&mut self, is_rejected: bool, size: usize) {
        if self.latest.len() >= size.max(1) && self.latest.pop_front() == Some(true) {
            self.rejected -= 1;
        }
        self.latest.push_back(is_rejected);
        self.rejected += usize::from(is_rejected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::RejectionCode;

    #[test]
    fn a_few_bad_records_pass_and_a_bad_deploy_does_not() {
        let rejection = Rejection::new(RejectionCode::NotJson, None, "test");
        let bad = |records| std::iter::repeat_n(Some(&rejection), records);
        let breaker_after = |admitted: &[(usize, bool)]| {
            let mut breaker = Breaker::new(BreakerSettings {
                max_ratio: 0.5,
                window: 20,
            });
            for &(records, is_bad) in admitted {
                let records = std::iter::repeat_n(is_bad.then_some(&rejection), records);
                assert_eq!(breaker.admit(records), Ok(()));
            }
            breaker
        };
        assert!(
            breaker_after(&[]).admit(bad(9)).is_ok(),
            "fewer than half a window says nothing"
        );
        let open = breaker_after(&[]).admit(bad(10)).unwrap_err();
        let text = open.to_string();
        assert!(
            text.starts_with("10 of 10 records would be dead-lettered (first code: not_json)"),
            "{text}"
        );
        let mut breaker = breaker_after(&[(20, false)]);
        assert!(
            breaker.admit(bad(11)).is_err(),
            "nothing of it is counted then"
        );
        assert!(breaker.admit(bad(10)).is_ok());
        assert!(breaker.admit(bad(1)).is_err());
    }
}
