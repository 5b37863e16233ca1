//! Quotas of sources. Only authentic requests count against a source's quota, so nobody without its secret can use it up; failed verifications
//! have a small bucket of their own, and so has what a source accepts without proof.

use crate::error::ApiError;
use contracts::webhook::source::{Source, Sources};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use runtime::faults;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// What one unit of the quota for unproven requests is worth: an event of so many bytes, or that part of a larger one.
const UNIT_BYTES: usize = 4096;

/// How many units of the quota for unproven requests a body takes.
pub(crate) fn units_of_bytes(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES).max(1)
}

/// Limits of the process that quotas depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// 0: every failure is answered 429
    pub failures_per_second: u32,
    /// Events of one batch
    pub batch_max_events: usize,
}

#[derive(Debug)]
struct Buckets {
    /// What they were made of: a bucket goes on when the files are read again and say the same
    made_of: MadeOf,
    events: Option<DefaultDirectRateLimiter>,
    failures: Option<DefaultDirectRateLimiter>,
    unproven: Option<DefaultDirectRateLimiter>,
    handshakes: Option<DefaultDirectRateLimiter>,
}

/// The numbers of one source's buckets.
#[derive(Debug, PartialEq, Eq)]
struct MadeOf {
    limits: Limits,
    events_per_second: Option<u32>,
    /// Units a second, and the most at once: one request as large as the source allows
    unproven: Option<(u32, u32)>,
}

/// Handshakes answered a second and source before anything is verified: anybody may ask. Vendors ask once, when a URL is set up.
const HANDSHAKES_PER_SECOND: u32 = 10;

/// The buckets of all sources.
#[derive(Debug)]
pub struct Quotas {
    sources: HashMap<String, Arc<Buckets>>,
    clock: DefaultClock,
}

impl MadeOf {
    fn of(source: &Source, limits: Limits) -> Self {
        let largest = match source.takes_many() {
            true => units_of_bytes(source.batch_limit_bytes) + limits.batch_max_events,
            false => units_of_bytes(source.body_limit_bytes),
        };
        let rate = source.trust.unproven_per_second;
        let burst = u32::try_from(largest).unwrap_or(u32::MAX).max(rate);
        Self {
            limits,
            events_per_second: source.quota_per_second,
            unproven: source.trust.accepts_unproven().then_some((rate, burst)),
        }
    }
}

impl Buckets {
    fn new(made_of: MadeOf) -> Self {
        let quota = |rate: u32| NonZeroU32::new(rate).map(Quota::per_second);
        let unproven = made_of.unproven.and_then(|(rate, burst)| {
            let quota = quota(rate)?;
            Some(NonZeroU32::new(burst).map_or(quota, |burst| quota.allow_burst(burst)))
        });
        Self {
            events: made_of
                .events_per_second
                .and_then(quota)
                .map(RateLimiter::direct),
            failures: quota(made_of.limits.failures_per_second).map(RateLimiter::direct),
            unproven: unproven.map(RateLimiter::direct),
            handshakes: quota(HANDSHAKES_PER_SECOND).map(RateLimiter::direct),
            made_of,
        }
    }
}

impl Quotas {
    /// Those of sources that `before` has with the same numbers go on as full as they are.
    #[must_use]
    pub fn new(sources: &Sources, limits: Limits, before: Option<&Self>) -> Self {
        let buckets = |source: &Source| {
            let made_of = MadeOf::of(source, limits);
            let before = before.and_then(|before| before.sources.get(&source.name));
            match before.filter(|before| before.made_of == made_of) {
                Some(before) => Arc::clone(before),
                None => Arc::new(Buckets::new(made_of)),
            }
        };
        Self {
            sources: sources
                .iter()
                .map(|source| (source.name.clone(), buckets(source)))
                .collect(),
            clock: DefaultClock::default(),
        }
    }

    /// Takes `events` from an authentic source's quota.
    ///
    /// # Errors
    /// [`ApiError::OverQuota`], or [`ApiError::TooManyEvents`] for a batch larger than the whole quota: waiting would never admit it.
    pub fn admit(&self, source: &str, events: usize) -> Result<(), ApiError> {
        let own = match faults::planted("quota_over_all_sources") {
            true => self.sources.values().find(|all| all.events.is_some()),
            false => self.sources.get(source),
        };
        let Some(bucket) = own.and_then(|buckets| buckets.events.as_ref()) else {
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

    /// Takes units from what a source accepts without proof, all senders together.
    ///
    /// # Errors
    /// [`ApiError::OverUnprovenQuota`], also for more than there can ever be at once.
    pub fn admit_unproven(&self, source: &str, units: usize) -> Result<(), ApiError> {
        let bucket = self
            .sources
            .get(source)
            .and_then(|buckets| buckets.unproven.as_ref());
        let units = u32::try_from(units)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MAX);
        let retry_after_seconds = match bucket.map(|bucket| bucket.check_n(units)) {
            Some(Ok(Ok(()))) => return Ok(()),
            Some(Ok(Err(until))) => until.wait_time_from(self.clock.now()).as_secs() + 1,
            Some(Err(_)) | None => 60,
        };
        Err(ApiError::OverUnprovenQuota {
            retry_after_seconds,
        })
    }

    /// Takes one from the bucket of handshakes that are not signed.
    ///
    /// # Errors
    /// [`ApiError::OverQuota`]
    pub fn handshake(&self, source: &str) -> Result<(), ApiError> {
        let buckets = self.sources.get(source);
        let bucket = buckets.and_then(|buckets| buckets.handshakes.as_ref());
        if bucket.is_some_and(|bucket| bucket.check().is_ok()) {
            return Ok(());
        }
        Err(ApiError::OverQuota {
            retry_after_seconds: 1,
        })
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
