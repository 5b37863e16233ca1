//! Failed log-ins, counted by address: nobody guesses a token by trying.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one address within [`WINDOW`]; further ones are not looked at.
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered. Beyond that all others share one count.
const ADDRESSES: usize = 4096;

/// Failures by address, with when the first of them was.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<Option<IpAddr>, (u32, Instant)>>);

impl Attempts {
    /// Whether this address may try again now.
    pub(crate) fn may(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, (_, since)| now.duration_since(*since) < WINDOW);
        let count = |key| failures.get(&key).map_or(0, |(count, _)| *count);
        match failures.contains_key(&address) || failures.len() < ADDRESSES {
            true => count(address) < MOST,
            false => count(None) < MOST,
        }
    }

    pub(crate) fn failed(&self, address: Option<IpAddr>, now: Instant) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = failures.len() >= ADDRESSES && !failures.contains_key(&address);
        let key = if full { None } else { address };
        failures.entry(key).or_insert((0, now)).0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_a_minute_close_the_door_to_one_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let (one, other) = (Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into()));
        for _ in 0..MOST {
            assert!(attempts.may(one, now));
            attempts.failed(one, now);
        }
        assert!(!attempts.may(one, now) && attempts.may(other, now));
        assert!(attempts.may(one, now + WINDOW));
    }

    #[test]
    fn addresses_without_number_share_one_count() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for address in 0..ADDRESSES as u32 + MOST {
            attempts.failed(Some(IpAddr::V4(address.into())), now);
        }
        assert!(!attempts.may(Some([250, 0, 0, 1].into()), now));
        assert!(attempts.may(Some([0, 0, 0, 1].into()), now));
    }
}
