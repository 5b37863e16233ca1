//! The latest records of one source.

use super::{BreakerSettings, TOGETHER};
use contracts::Rejection;
use std::collections::VecDeque;
use std::time::Instant;

/// A sliding window over the latest records of a source: true is rejected.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    latest: VecDeque<bool>,
    rejected: usize,
    last_at: Option<Instant>,
    code: Option<&'static str>,
    over: Option<Over>,
    was_judged: bool,
}

/// Since when a source is over its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Since(Instant),
    /// Before this process began, or before a hold ended
    Known,
}

/// What its window says of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Too few records
    Unjudged,
    Fine,
    Over,
}

impl Source {
    pub(super) fn push(&mut self, rejection: Option<&Rejection>, window: usize, now: Instant) {
        if self.latest.len() >= window && self.latest.pop_front() == Some(true) {
            self.rejected -= 1;
        }
        self.latest.push_back(rejection.is_some());
        self.last_at = Some(now);
        if let Some(rejection) = rejection {
            self.rejected += 1;
            self.code = Some(rejection.code.code());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "window sizes are small")]
    pub(super) fn judge(&self, settings: &BreakerSettings) -> State {
        let seen = self.latest.len();
        if seen == 0 || seen < settings.window / 10 {
            State::Unjudged
        } else if self.rejected as f64 > settings.max_ratio * seen as f64 {
            State::Over
        } else {
            State::Fine
        }
    }

    /// Notes what was judged. Answers when the source went over its share, came back, or is judged for the first time: then true.
    pub(super) fn note(&mut self, state: State, now: Instant) -> Option<bool> {
        let changed = match (state, self.over) {
            (State::Unjudged, _) => return None,
            (State::Over, None) => {
                self.over = Some(Over::Since(now));
                true
            }
            (State::Fine, Some(_)) => {
                self.over = None;
                true
            }
            (State::Fine, None) | (State::Over, Some(_)) => false,
        };
        let is_first = !std::mem::replace(&mut self.was_judged, true);
        (changed || is_first).then_some(is_first)
    }

    pub(super) fn mark_known(&mut self) {
        self.over = Some(Over::Known);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Over its share for so long that it says nothing about our own rules.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        match self.over {
            None => false,
            Some(Over::Known) => true,
            Some(Over::Since(since)) => now.saturating_duration_since(since) >= TOGETHER,
        }
    }

    pub(super) fn is_active(&self, now: Instant) -> bool {
        self.last_at
            .is_some_and(|at| now.saturating_duration_since(at) < TOGETHER)
    }

    pub(super) fn last_at(&self) -> Option<Instant> {
        self.last_at
    }

    /// The code of the latest rejection.
    pub(super) fn code(&self) -> &'static str {
        self.code.unwrap_or("none")
    }

    /// Rejected of the latest, and how many those are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.rejected, self.latest.len())
    }
}
