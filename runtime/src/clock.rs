//! The wall clock, as every role reads it.

use crate::faults;
use std::time::SystemTime;

/// Now. In tests it may be wrong ([`faults::clock`]).
#[must_use]
pub fn now() -> SystemTime {
    faults::clock(SystemTime::now())
}

/// Microseconds since the epoch.
#[must_use]
pub fn now_micros() -> i64 {
    let elapsed = now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
