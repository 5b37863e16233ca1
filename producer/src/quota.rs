//! Quotas of sources. Only authentic requests count against a source's quota, so nobody without its secret can use it up;
//! failed verifications have a small bucket of their own.

use crate::error::ApiError;
use contracts::webhook::source::Sources;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;

#[derive(Debug)]
struct Buckets {
    events: Option<DefaultDirectRateLimiter>,
    failures: Option<DefaultDirectRateLimiter>,
}

/// The buckets of all sources.
#[derive(Debug)]
pub struct Quotas {
    sources: HashMap<String, Buckets>,
    clock: DefaultClock,
}

impl Quotas {
    /// `failures_per_second` 0 means every failure is answered 429.
    #[must_use]
    pub fn new(sources: &Sources, failures_per_second: u32) -> Self {
        let limiter = |rate: Option<u32>| {
            rate.and_then(NonZeroU32::new)
                .map(|rate| RateLimiter::direct(Quota::per_second(rate)))
        };
        let sources = sources
            .iter()
            .map(|source| {
                let buckets = Buckets {
                    events: limiter(source.quota_per_second),
                    failures: limiter(Some(failures_per_second)),
                };
                (source.name.clone(), buckets)
            })
            .collect();
        Self {
            sources,
            clock: DefaultClock::default(),
        }
    }

    /// Takes `events` from an authentic source's quota.
    ///
    /// # Errors
    /// [`ApiError::OverQuota`], or [`ApiError::TooManyEvents`] for a batch larger than the whole quota: waiting would never admit it.
    pub fn admit(&self, source: &str, events: usize) -> Result<(), ApiError> {
        let Some(bucket) = self
            .sources
            .get(source)
            .and_then(|buckets| buckets.events.as_ref())
        else {
            return Ok(());
        };
        let events = u32::try_from(events)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MAX);
        match bucket.check_n(events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(ApiError::OverQuota {
                retry_after_seconds: until.wait_time_from(self.clock.now()).as_secs() + 1,
            }),
            Err(capacity) => Err(ApiError::TooManyEvents(
                usize::try_from(capacity.0).unwrap_or(usize::MAX),
            )),
        }
    }

    /// The answer to a failed verification: the failure itself, or 429 when there were too many.
    #[must_use]
    pub fn failed(&self, source: &str, error: ApiError) -> ApiError {
        let bucket = self
            .sources
            .get(source)
            .and_then(|buckets| buckets.failures.as_ref());
        if bucket.is_some_and(|bucket| bucket.check().is_ok()) {
            error
        } else {
            ApiError::TooManyFailures {
                retry_after_seconds: 1,
            }
        }
    }
}
