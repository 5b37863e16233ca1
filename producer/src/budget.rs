//! Memory for request bodies: bounded in all and by peer address, and taken as a body grows, not as it is announced.

use crate::body::CHUNK_BYTES;
use crate::error::ApiError;
use runtime::http::READ_BUFFER_BYTES;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Charged for a request before its body: the buffer that its connection reads into. So the budget bounds how many are read at once, too.
pub(crate) const OPEN_BYTES: usize = READ_BUFFER_BYTES;
/// One peer address may hold this part of the budget with requests that are not verified yet.
const PEER_PART: usize = 4;

/// The memory of request bodies.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    /// By address: what its unverified requests hold. Nobody is listed with nothing.
    peers: HashMap<IpAddr, usize>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            bytes,
            used: Mutex::default(),
        }
    }

    /// The least budget, in bytes, with which one address can send a body of this size, which exists twice when its parts are joined.
    pub(crate) fn least_for(body_bytes: usize) -> usize {
        PEER_PART * (2 * body_bytes + CHUNK_BYTES + OPEN_BYTES)
    }

    /// The charge of one request, whose body is about to be read.
    ///
    /// # Errors
    /// [`ApiError::PeerOverShare`] or [`ApiError::BodyBudgetFull`].
    pub(crate) fn open(&self, peer: IpAddr) -> Result<Charge<'_>, ApiError> {
        let mut charge = Charge {
            budget: self,
            unverified: Some(peer),
            bytes: 0,
        };
        charge.grow(OPEN_BYTES)?;
        Ok(charge)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn leave(&mut self, peer: IpAddr, bytes: usize) {
        if let Some(held) = self.peers.get_mut(&peer) {
            *held -= bytes;
            if *held == 0 {
                self.peers.remove(&peer);
            }
        }
    }
}

/// What one request holds of the budget, until it is answered.
#[derive(Debug)]
pub(crate) struct Charge<'a> {
    budget: &'a Budget,
    unverified: Option<IpAddr>,
    bytes: usize,
}

impl Charge<'_> {
    /// Takes more, before it is allocated.
    ///
    /// # Errors
    /// As [`Budget::open`]; then nothing is taken.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let mut used = self.budget.used();
        if let Some(peer) = self.unverified {
            let held = used.peers.get(&peer).copied().unwrap_or_default();
            if held + bytes > self.budget.bytes / PEER_PART {
                return Err(ApiError::PeerOverShare);
            }
        }
        if used.bytes + bytes > self.budget.bytes {
            return Err(ApiError::BodyBudgetFull);
        }
        used.bytes += bytes;
        if let Some(peer) = self.unverified {
            *used.peers.entry(peer).or_default() += bytes;
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Gives back what is no longer allocated.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let mut used = self.budget.used();
        used.bytes -= bytes;
        if let Some(peer) = self.unverified {
            used.leave(peer, bytes);
        }
        self.bytes -= bytes;
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The request is authentic: from now on it does not count against its address, which a vendor may share with strangers.
    pub(crate) fn verified(&mut self) {
        if let Some(peer) = self.unverified.take() {
            self.budget.used().leave(peer, self.bytes);
        }
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn an_address_has_its_share_until_its_requests_are_verified_and_all_comes_back() {
        let budget = Budget::new(8 * PEER_PART * OPEN_BYTES);
        let mut open: Vec<_> = (0..8).map(|_| budget.open(ONE).unwrap()).collect();
        assert_eq!(budget.open(ONE).unwrap_err().code(), "peer_over_share");
        assert_eq!(open[0].grow(1).unwrap_err().code(), "peer_over_share");
        let other = budget.open(OTHER).unwrap();
        open[0].verified();
        open[0].grow(OPEN_BYTES).unwrap();
        let more = budget.open(ONE).unwrap();
        assert_eq!(budget.used().bytes, 11 * OPEN_BYTES);
        drop((open, other, more));
        let used = budget.used();
        assert_eq!((used.bytes, used.peers.len()), (0, 0));
    }

    #[test]
    fn all_addresses_together_stay_within_the_budget() {
        let budget = Budget::new(PEER_PART * OPEN_BYTES);
        let peers = (1..=4).map(|last| IpAddr::from([10, 0, 0, last]));
        let mut open: Vec<_> = peers.map(|peer| budget.open(peer).unwrap()).collect();
        let refused = budget.open([10, 0, 0, 5].into()).unwrap_err();
        assert_eq!(refused.code(), "body_budget_full");
        assert_eq!(
            budget.used().peers.len(),
            4,
            "who has nothing is not listed"
        );
        open[0].verified();
        assert_eq!(open[0].grow(1).unwrap_err().code(), "body_budget_full");
        open[1].shrink(1);
        open[0].grow(1).unwrap();
    }

    #[test]
    fn the_least_budget_is_enough_for_the_largest_body() {
        let largest = 4 << 20;
        let budget = Budget::new(Budget::least_for(largest));
        let mut charge = budget.open(ONE).unwrap();
        charge.grow(largest).unwrap();
        charge.grow(largest).unwrap();
    }
}
