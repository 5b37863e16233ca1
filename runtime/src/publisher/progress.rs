//! What a publisher's records come to, and what that says about Kafka.

use super::PublishError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by a publisher's clients: a failed one is replaced.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    /// When the first record failed since the last acknowledgement: milliseconds from `start`, at least 1; 0 for none
    failing_since: AtomicU64,
    unconfirmed: AtomicU64,
    last_failure: Mutex<Option<Failure>>,
}

/// Why a record was not published, which is not the record's own fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) error: PublishError,
    /// Where it should have gone; empty when unknown
    pub(super) topic: String,
}

/// What has happened until now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) acknowledged: u64,
    pub(super) failed: u64,
    /// How long ago a record failed, without any acknowledgement since
    pub(super) failing_for: Option<Duration>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failing_since: AtomicU64::new(0),
            unconfirmed: AtomicU64::new(0),
            last_failure: Mutex::default(),
        }
    }

    pub(super) fn acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        // Written only when there is something to forget: this is for every record.
        if self.failing_since.load(Ordering::Relaxed) > 0 {
            self.forget_failures();
        }
    }

    /// What failed until now says nothing any more.
    pub(super) fn forget_failures(&self) {
        self.failing_since.store(0, Ordering::Relaxed);
    }

    /// A record failed, or nobody waits for it any more. One that is too large says nothing about Kafka.
    pub(super) fn failed(&self, error: &PublishError, topic: &str) {
        if *error == PublishError::TooLarge {
            return;
        }
        let failure = Failure {
            error: error.clone(),
            topic: topic.to_owned(),
        };
        *self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(failure);
        self.failed.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Where another failure was first, that one counts.
        self.failing_since
            .compare_exchange(0, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
            .ok();
    }

    /// A record without a report has nobody who waits for it.
    pub(super) fn left(&self) {
        self.unconfirmed.fetch_add(1, Ordering::Relaxed);
    }

    /// The report of such a record came.
    pub(super) fn reported(&self) {
        self.unconfirmed.fetch_sub(1, Ordering::Relaxed);
    }

    /// Records that may be in Kafka or not, and that nobody waits for.
    pub(super) fn unconfirmed(&self) -> u64 {
        self.unconfirmed.load(Ordering::Relaxed)
    }

    pub(super) fn seen(&self, now: Instant) -> Seen {
        let since = match self.failing_since.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.start + Duration::from_millis(millis)),
        };
        Seen {
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            failing_for: since.map(|since| now.saturating_duration_since(since)),
        }
    }

    pub(super) fn last_failure(&self) -> Option<Failure> {
        let last = self.last_failure.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How long records must fail, and none be acknowledged, before the role is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the records of the last moments say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Some were acknowledged, and none failed since
    Publishing,
    /// For a second or longer some failed and none was acknowledged
    Failing,
    /// Nothing is known: no record, or a first failure a moment ago
    Unknown,
}

/// Judges by what has happened since it last looked.
#[derive(Debug, Default)]
pub(super) struct Judge {
    last: Seen,
    is_failing: bool,
}

impl Judge {
    /// `pending`: records have no report yet. Without any, and without new failures, a past one says nothing more, and the brokers have to
    /// be asked.
    pub(super) fn look(&mut self, now: Seen, pending: bool) -> Verdict {
        let last = std::mem::replace(&mut self.last, now);
        match now.failing_for {
            Some(time) if time >= PATIENCE => {
                let is_new = !self.is_failing || now.failed > last.failed;
                self.is_failing = true;
                if is_new || pending {
                    Verdict::Failing
                } else {
                    Verdict::Unknown
                }
            }
            Some(_) => Verdict::Unknown,
            None => {
                self.is_failing = false;
                if now.acknowledged > last.acknowledged {
                    Verdict::Publishing
                } else {
                    Verdict::Unknown
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_failures_without_an_acknowledgement_is_failing_until_one_comes_or_nothing_is_left()
     {
        use Verdict::{Failing, Publishing, Unknown};
        let mut judge = Judge::default();
        // Acknowledged and failed so far, milliseconds since the first failure after the last acknowledgement, whether records have no
        // report, and the verdict.
        for (step, (acknowledged, failed, failing_ms, pending, expected)) in [
            (0, 0, None, false, Unknown),
            (0, 0, None, true, Unknown), // on its way
            (5, 0, None, true, Publishing),
            (5, 0, None, true, Unknown), // a pause in which nobody was refused
            (6, 1, Some(100), true, Unknown),
            (6, 1, Some(900), true, Unknown),
            (6, 1, Some(1000), true, Failing),
            (6, 9, Some(1500), true, Failing),
            (6, 9, Some(9000), true, Failing), // no new request, but it still holds some
            (7, 9, None, true, Publishing),
            (7, 12, Some(0), true, Unknown),
            (8, 15, Some(10), true, Unknown), // one partition of many fails
            (8, 16, Some(900), false, Unknown), // refused at once
            (8, 16, Some(1100), false, Failing),
            (8, 16, Some(1400), false, Unknown), // nothing is known any more
            (8, 17, Some(1600), false, Failing),
            (8, 17, None, false, Unknown), // forgotten: the brokers said that all is well
        ]
        .into_iter()
        .enumerate()
        {
            let now = Seen {
                acknowledged,
                failed,
                failing_for: failing_ms.map(Duration::from_millis),
            };
            assert_eq!(judge.look(now, pending), expected, "step {step}");
        }
    }

    #[test]
    fn failures_count_from_the_first_after_the_last_acknowledgement() {
        let progress = Progress::new();
        let later = || Instant::now() + PATIENCE;
        progress.failed(&PublishError::TooLarge, "t");
        let seen = progress.seen(later());
        assert_eq!((seen.failed, seen.failing_for), (0, None), "its own fault");
        progress.failed(&PublishError::QueueFull, "t");
        progress.failed(&PublishError::QueueFull, "t");
        let seen = progress.seen(later());
        assert_eq!(seen.failed, 2);
        assert!(seen.failing_for.unwrap() >= PATIENCE - Duration::from_millis(1));
        assert_eq!(progress.last_failure().unwrap().topic, "t");
        progress.acknowledged();
        let seen = progress.seen(later());
        assert_eq!((seen.acknowledged, seen.failing_for), (1, None));
        progress.failed(&PublishError::QueueFull, "t");
        progress.forget_failures();
        assert_eq!(progress.seen(later()).failing_for, None);
    }
}
