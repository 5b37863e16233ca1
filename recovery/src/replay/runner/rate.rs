//! How much of a job is due: a bucket that holds half a second of its rate.

use super::claim::CHUNK_RECORDS;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct RateLimit {
    tokens: f64,
    at: Instant,
}

/// What is due now.
#[derive(Debug, PartialEq)]
pub(super) enum Due {
    /// At most so many records
    Records(usize),
    /// Nothing before so long
    In(Duration),
}

#[expect(clippy::cast_precision_loss, reason = "500")]
fn capacity(rate: f64) -> f64 {
    (rate / 2.0).clamp(1.0, CHUNK_RECORDS as f64).floor()
}

impl RateLimit {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tokens: f64::INFINITY,
            at: now,
        }
    }

    /// Whole chunks: many small ones would cost a transaction each.
    pub(super) fn due(&mut self, rate: f64, now: Instant) -> Due {
        let capacity = capacity(rate);
        self.tokens = (self.tokens + now.saturating_duration_since(self.at).as_secs_f64() * rate)
            .min(capacity);
        self.at = now;
        if self.tokens >= capacity {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to 500"
            )]
            return Due::Records(capacity as usize);
        }
        Due::In(
            Duration::try_from_secs_f64((capacity - self.tokens) / rate).unwrap_or(Duration::MAX),
        )
    }

    pub(super) fn take(&mut self, records: usize) {
        self.tokens -= f64::from(u32::try_from(records).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_is_sent_than_the_rate_and_one_chunk_whatever_the_rate_and_the_looks(
            rate in 0.05_f64..5000.0,
            looks in prop::collection::vec(1_u64..3000, 1..200),
        ) {
            let start = Instant::now();
            let (mut pace, mut now, mut sent) = (RateLimit::new(start), start, 0.0);
            for look in looks {
                now += Duration::from_millis(look);
                if let Due::Records(records) = pace.due(rate, now) {
                    prop_assert!((1..=CHUNK_RECORDS).contains(&records));
                    pace.take(records);
                    sent += f64::from(u32::try_from(records).unwrap());
                }
                let allowed = rate * (now - start).as_secs_f64() + capacity(rate);
                prop_assert!(sent <= allowed + 1e-6, "{sent} of {allowed}");
            }
        }

        #[test]
        fn what_is_said_to_be_due_later_is_due_then(rate in 0.05_f64..5000.0) {
            let start = Instant::now();
            let mut pace = RateLimit::new(start);
            let Due::Records(first) = pace.due(rate, start) else { return Err(TestCaseError::fail("nothing at first")) };
            pace.take(first);
            let Due::In(wait) = pace.due(rate, start) else { return Err(TestCaseError::fail("twice at once")) };
            let later = start + wait + Duration::from_millis(1);
            prop_assert_eq!(pace.due(rate, later), Due::Records(first));
        }
    }
}
