//! Places for connections: a number in all, and half of it for one client network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Whom shares are counted by: the address, or of IPv6 the network, since whoever has one address there has all of a /64.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(whole) => IpAddr::V6(Ipv6Addr::from_bits(whole.to_bits() >> 64 << 64)),
    }
}

/// All places of one server.
pub(super) struct Places {
    free: Arc<Semaphore>,
    share: usize,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Places {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(connections)),
            share: connections.div_ceil(2),
            held: Arc::default(),
        }
    }

    /// Waits until a place is free.
    pub(super) async fn free(&self) -> OwnedSemaphorePermit {
        let free = Arc::clone(&self.free).acquire_owned();
        free.await.unwrap_or_else(|_| unreachable!("never closed"))
    }

    /// Gives it to a connection from this address; `None` when its network has its share.
    pub(super) fn take(&self, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let network = network_of(address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(network).or_default();
        if *count == self.share {
            return None;
        }
        *count += 1;
        Some(Place {
            _permit: permit,
            network,
            held: Arc::clone(&self.held),
        })
    }
}

/// The place of one open connection.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    network: IpAddr,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.network);
            }
        }
    }
}
