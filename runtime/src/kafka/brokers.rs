//! What a Kafka client knows of its brokers, by its own statistics.
//!
//! A broker that has just started may answer with topics but without brokers. librdkafka 2.12 then forgets every broker, the configured ones
//! too, and never connects again ([librdkafka#5301](https://github.com/confluentinc/librdkafka/issues/5301)). Only a new client helps.

use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A client that lists no broker for this long is given up: while it changes brokers it may list none for a moment.
const PATIENCE: Duration = Duration::from_secs(3);
/// Why a client is replaced, for logs and `/ready`.
pub(crate) const FORGOTTEN: &str =
    "the Kafka client knows no broker any more; it is replaced by a new one";

/// Kept up to date by [`note`](Self::note), from a client's statistics callback.
#[derive(Debug, Default)]
pub(crate) struct Brokers {
    forgotten_since: Mutex<Option<Instant>>,
    up: AtomicBool,
}

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    source: String,
    state: String,
}

impl Brokers {
    /// Takes a client's statistics, as JSON. What cannot be read changes nothing.
    pub(crate) fn note(&self, statistics: &[u8], now: Instant) {
        let Ok(Statistics { brokers }) = serde_json::from_slice(statistics) else {
            return;
        };
        // The others are the client's own: the group's coordinator by that name, and one for internal use.
        let mut real = brokers
            .values()
            .filter(|broker| matches!(broker.source.as_str(), "configured" | "learned"))
            .peekable();
        let mut since = self
            .forgotten_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *since = match real.peek() {
            None => Some(since.unwrap_or(now)),
            Some(_) => None,
        };
        self.up
            .store(real.any(|broker| broker.state == "UP"), Ordering::Release);
    }

    /// True when the client will not connect again.
    pub(crate) fn are_forgotten(&self, now: Instant) -> bool {
        self.forgotten_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|since| now.duration_since(since) >= PATIENCE)
    }

    /// True while the client is connected and logged in to at least one broker.
    pub(crate) fn any_is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(brokers: &[(&str, &str)]) -> Vec<u8> {
        let brokers: serde_json::Map<_, _> = brokers
            .iter()
            .enumerate()
            .map(|(id, (source, state))| {
                let broker = serde_json::json!({"nodeid": id, "source": source, "state": state});
                (format!("localhost:{id}"), broker)
            })
            .collect();
        serde_json::json!({"msg_cnt": 0, "brokers": brokers})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn a_client_without_brokers_is_given_up_after_a_while_and_never_one_that_has_some() {
        let (brokers, start) = (Brokers::default(), Instant::now());
        let later = start + PATIENCE;
        assert!(!brokers.are_forgotten(later) && !brokers.any_is_up());
        for (listed, forgotten, up) in [
            (&[("configured", "INIT")][..], false, false),
            (
                &[("learned", "UP"), ("logical", "UP"), ("internal", "INIT")],
                false,
                true,
            ),
            (&[("learned", "DOWN")], false, false),
            (&[("logical", "UP"), ("internal", "INIT")], true, false),
            (&[], true, false),
            (&[("configured", "CONNECT")], false, false),
        ] {
            brokers.note(&statistics(listed), start);
            assert!(!brokers.are_forgotten(start), "{listed:?}");
            assert_eq!(brokers.are_forgotten(later), forgotten, "{listed:?}");
            assert_eq!(brokers.any_is_up(), up, "{listed:?}");
        }
    }

    #[test]
    fn the_time_counts_from_the_first_statistics_without_brokers() {
        let (brokers, start) = (Brokers::default(), Instant::now());
        for second in 0..=PATIENCE.as_secs() {
            brokers.note(&statistics(&[]), start + Duration::from_secs(second));
        }
        brokers.note(b"not JSON", start);
        assert!(brokers.are_forgotten(start + PATIENCE));
    }
}
