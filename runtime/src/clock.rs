//! The wall clock.

use std::time::SystemTime;

/// Microseconds since the epoch.
#[must_use]
pub fn now_micros() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}
