//! Signed bodies that were accepted, remembered where the scheme signs no time: whoever saw such a request can send it again for ever.
//!
//! What a repeat brings is harmless by its event id: a `duplicate`, which is also the honest fate of a vendor's own resend, so a repeat is
//! accepted like any other request. But a body that is no event makes a dead letter each time, so one body is accepted a bounded number of
//! times. And the bytes of a batch are no event: they are refused at the source's own URL. Only what was acknowledged is remembered, so a
//! vendor that was answered 503 may always come again, and nobody can use up the repeats of a body that is not in Kafka yet.
//!
//! The memory is this process's: it is empty after a start, and of several edges each has its own.

use crate::error::ApiError;
use contracts::webhook::source::Sources;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bodies remembered a source, the latest: about 5 MiB.
const MOST_BODIES: usize = 32_768;
/// Times one body is accepted within the source's horizon. A vendor sends again what was accepted only when it missed the answer.
const MOST_TIMES: u32 = 16;

/// Where a body was posted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostedTo {
    /// The source's own URL
    Single,
    /// Its `/batch`
    Batch,
}

/// The memories of all sources whose scheme signs no time.
#[derive(Debug)]
pub(crate) struct Repeats {
    sources: HashMap<String, Arc<Memory>>,
}

#[derive(Debug)]
struct Memory {
    horizon: Duration,
    bodies: Mutex<Bodies>,
}

#[derive(Debug, Default)]
struct Bodies {
    seen: HashMap<[u8; 32], Seen>,
    /// By the time of the first acceptance, oldest first
    order: VecDeque<([u8; 32], Instant)>,
}

#[derive(Debug)]
struct Seen {
    first: Instant,
    times: u32,
    posted_to: PostedTo,
}

/// A body to be remembered once it is acknowledged.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    memory: &'a Memory,
    digest: [u8; 32],
    posted_to: PostedTo,
}

impl Repeats {
    /// What `before` remembers of a source with the same horizon is still remembered.
    pub(crate) fn new(sources: &Sources, before: Option<&Self>) -> Self {
        let memory = |name: &str, horizon| {
            let before = before.and_then(|before| before.sources.get(name));
            match before.filter(|before| before.horizon == horizon) {
                Some(before) => Arc::clone(before),
                None => Arc::new(Memory {
                    horizon,
                    bodies: Mutex::default(),
                }),
            }
        };
        let sources = sources
            .iter()
            .filter_map(|source| {
                let memory = memory(&source.name, source.resend_horizon?);
                Some((source.name.clone(), memory))
            })
            .collect();
        Self { sources }
    }

    /// An authentic body, to be remembered if it is accepted; `None` where the signed time tells a repeat.
    ///
    /// # Errors
    /// [`ApiError::SignedAsBatch`], [`ApiError::RepeatedTooOften`].
    pub(crate) fn admit(
        &self,
        source: &str,
        body: &[u8],
        posted_to: PostedTo,
        now: Instant,
    ) -> Result<Option<Body<'_>>, ApiError> {
        let Some(memory) = self.sources.get(source) else {
            return Ok(None);
        };
        let digest = Sha256::digest(body).into();
        let mut bodies = memory.bodies();
        bodies.forget(memory.horizon, now);
        match bodies.seen.get(&digest) {
            Some(seen) if seen.posted_to == PostedTo::Batch && posted_to == PostedTo::Single => {
                Err(ApiError::SignedAsBatch)
            }
            Some(seen) if seen.times >= MOST_TIMES => Err(ApiError::RepeatedTooOften {
                retry_after_seconds: (seen.first + memory.horizon)
                    .saturating_duration_since(now)
                    .as_secs()
                    + 1,
            }),
            Some(_) | None => Ok(Some(Body {
                memory,
                digest,
                posted_to,
            })),
        }
    }
}

impl Body<'_> {
    /// SHA-256 of the signed bytes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The broker acknowledged what the body brought. A body that is one event is that event at either URL.
    pub(crate) fn accepted(self, is_one_event: bool, now: Instant) {
        let posted_to = if is_one_event {
            PostedTo::Single
        } else {
            self.posted_to
        };
        let mut bodies = self.memory.bodies();
        if let Some(seen) = bodies.seen.get_mut(&self.digest) {
            seen.times += 1;
            return;
        }
        if bodies.order.len() == MOST_BODIES {
            bodies.forget_oldest();
        }
        bodies.order.push_back((self.digest, now));
        let seen = Seen {
            first: now,
            times: 1,
            posted_to,
        };
        bodies.seen.insert(self.digest, seen);
    }
}

impl Memory {
    fn bodies(&self) -> MutexGuard<'_, Bodies> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bodies {
    fn forget(&mut self, horizon: Duration, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|(_, first)| now.duration_since(*first) >= horizon)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((digest, _)) = self.order.pop_front() {
            self.seen.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Secret;

    const HOUR: Duration = Duration::from_secs(3600);

    fn repeats() -> Repeats {
        let entry = |name: &str, more: &str| {
            format!(
                "[[source]]\nname = \"{name}\"\n{more}\nsecrets = [{{ id = \"k\", from = \"env:S\" }}]\n"
            )
        };
        let text = [
            entry(
                "hub",
                "scheme = \"github\"\nbatches = true\nresend_hours = 1",
            ),
            entry("timed", "scheme = \"eventflow\""),
        ]
        .concat();
        Repeats::new(
            &Sources::from_toml(&text, &|_| Ok(Secret::new("s"))).unwrap(),
            None,
        )
    }

    fn post(
        repeats: &Repeats,
        body: &str,
        posted_to: PostedTo,
        now: Instant,
    ) -> Result<(), &'static str> {
        let is_one_event = body.starts_with('{');
        let body = repeats
            .admit("hub", body.as_bytes(), posted_to, now)
            .map_err(|error| error.code())?;
        body.unwrap().accepted(is_one_event, now);
        Ok(())
    }

    #[test]
    fn a_repeat_is_accepted_a_bounded_number_of_times_within_the_horizon() {
        let (repeats, start) = (repeats(), Instant::now());
        for _ in 0..MOST_TIMES {
            post(&repeats, "{}", PostedTo::Single, start).unwrap();
        }
        for at in [
            start,
            start + HOUR / 2,
            start + HOUR - Duration::from_secs(1),
        ] {
            let refused = post(&repeats, "{}", PostedTo::Single, at);
            assert_eq!(refused, Err("repeated_too_often"));
        }
        post(&repeats, "{ }", PostedTo::Single, start).unwrap();
        post(&repeats, "{}", PostedTo::Single, start + HOUR).unwrap();
    }

    #[test]
    fn what_was_not_acknowledged_is_not_counted() {
        let (repeats, now) = (repeats(), Instant::now());
        for _ in 0..10 * MOST_TIMES {
            let admitted = repeats.admit("hub", b"{}", PostedTo::Single, now).unwrap();
            assert!(admitted.is_some(), "answered 503, and sent again");
        }
        post(&repeats, "{}", PostedTo::Single, now).unwrap();
    }

    #[test]
    fn a_batch_is_no_event_but_a_single_event_cannot_be_kept_out_by_posting_it_as_a_batch() {
        let (repeats, now) = (repeats(), Instant::now());
        post(&repeats, "[{},{}]", PostedTo::Batch, now).unwrap();
        let refused = post(&repeats, "[{},{}]", PostedTo::Single, now);
        assert_eq!(refused, Err("signed_as_batch"));
        post(&repeats, "[{},{}]", PostedTo::Batch, now).unwrap();
        // Whoever posts it to the wrong URL first takes nothing from the vendor.
        post(&repeats, "[{},{},{}]", PostedTo::Single, now).unwrap();
        post(&repeats, "[{},{},{}]", PostedTo::Batch, now).unwrap();
        post(&repeats, "{}", PostedTo::Batch, now).unwrap();
        post(&repeats, "{}", PostedTo::Single, now).unwrap();
    }

    #[test]
    fn the_memory_is_bounded_and_not_kept_where_the_time_is_signed() {
        let (repeats, now) = (repeats(), Instant::now());
        for number in 0..=MOST_BODIES {
            post(&repeats, &number.to_string(), PostedTo::Single, now).unwrap();
        }
        let bodies = repeats.sources["hub"].bodies();
        assert_eq!(bodies.seen.len(), MOST_BODIES);
        assert_eq!(bodies.order.len(), MOST_BODIES);
        let timed = repeats.admit("timed", b"{}", PostedTo::Single, now);
        assert!(timed.unwrap().is_none());
    }
}
