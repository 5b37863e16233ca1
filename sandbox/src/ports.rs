//! Free ports for servers that are stopped and started again.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// A free port below the ones the kernel gives to outgoing connections, so that none of them takes it while its server is stopped. None is
/// given twice in one process.
///
/// # Errors
/// No port could be bound.
pub fn free_port() -> std::io::Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut last = None;
    for _ in 0..100 {
        let random = uuid::Uuid::new_v4();
        let [high, low, ..] = *random.as_bytes();
        let port = 15_000 + u16::from_le_bytes([high, low]) % 16_000;
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !given.get_or_insert_default().insert(port) {
            continue;
        }
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: Vec<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
        assert!(ports.iter().all(|port| (15_000..31_000).contains(port)));
    }
}
