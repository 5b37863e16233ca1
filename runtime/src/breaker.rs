//! The breaker: when too large a share of recent records would be dead-lettered, the fault is ours (a bad deploy, a wrong
//! contract), not the records'. Then the stage stops and waits instead of draining the topic into the dead-letter topic.

/// When the breaker opens.
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// Share of rejected records in the window above which it opens, 0 to 1; above 1 it never opens
    pub share: f64,
    /// Records in the sliding window; it never opens on fewer than half of them
    pub window: usize,
}

/// A sliding window over the last verdicts.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    window: std::collections::VecDeque<bool>,
    rejected: usize,
}

impl Breaker {
    /// Closed, with an empty window.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            window: std::collections::VecDeque::with_capacity(settings.window),
            rejected: 0,
        }
    }

    /// Would these verdicts (true is rejected), after those already admitted, open the breaker? Changes nothing.
    #[must_use]
    pub fn would_open(&self, verdicts: impl Iterator<Item = bool>) -> bool {
        let mut window = self.window.clone();
        let mut rejected = self.rejected;
        let mut open = false;
        for verdict in verdicts {
            slide(&mut window, &mut rejected, self.settings.window, verdict);
            open |= self.is_over(rejected, window.len());
        }
        open
    }

    /// Records verdicts that were let through.
    pub fn admit(&mut self, verdicts: impl Iterator<Item = bool>) {
        for verdict in verdicts {
            slide(
                &mut self.window,
                &mut self.rejected,
                self.settings.window,
                verdict,
            );
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "window sizes are small")]
    fn is_over(&self, rejected: usize, seen: usize) -> bool {
        seen * 2 >= self.settings.window && rejected as f64 > self.settings.share * seen as f64
    }
}

fn slide(
    window: &mut std::collections::VecDeque<bool>,
    rejected: &mut usize,
    size: usize,
    verdict: bool,
) {
    if window.len() >= size.max(1) && window.pop_front() == Some(true) {
        *rejected -= 1;
    }
    window.push_back(verdict);
    *rejected += usize::from(verdict);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bad_records_pass_and_a_bad_deploy_does_not() {
        let mut breaker = Breaker::new(BreakerSettings {
            share: 0.5,
            window: 20,
        });
        assert!(
            !breaker.would_open([true; 9].into_iter()),
            "fewer than half a window says nothing"
        );
        assert!(breaker.would_open([true; 10].into_iter()));
        breaker.admit([false; 20].into_iter());
        assert!(!breaker.would_open([true; 10].into_iter()));
        assert!(breaker.would_open([true; 11].into_iter()));
        breaker.admit([true; 10].into_iter());
        assert!(breaker.would_open([true; 1].into_iter()));
    }
}
