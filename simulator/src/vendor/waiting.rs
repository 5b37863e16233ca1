//! What waits to be sent again: bounded in number and in bytes, ordered by when it is due. Knows no clock: times are since the start.

use contracts::webhook::resends::Resends;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// Longest that a receiver's `Retry-After` is followed.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The wait before the attempt after `attempts` of them, by the vendor's schedule shortened by a factor, and never less than the receiver's
/// `Retry-After` shortened alike; `None` where the vendor gives up.
#[must_use]
pub fn wait(
    resends: &Resends,
    attempts: usize,
    factor: f64,
    retry_after: Option<Duration>,
) -> Option<Duration> {
    let wait = resends.after.get(attempts.checked_sub(1)?)?;
    let least = retry_after.unwrap_or_default().min(MOST_RETRY_AFTER);
    Some((*wait).max(least).div_f64(factor))
}

/// Items with a size, by when they are due.
#[derive(Debug)]
pub struct Waiting<T> {
    /// When, and a number that tells two of one time apart
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    items: BTreeMap<u64, (usize, T)>,
    next: u64,
    bytes: usize,
    most_items: usize,
    most_bytes: usize,
}

impl<T> Waiting<T> {
    /// Takes at most so many items and bytes.
    #[must_use]
    pub fn new(most_items: usize, most_bytes: usize) -> Self {
        Self {
            due: BinaryHeap::new(),
            items: BTreeMap::new(),
            next: 0,
            bytes: 0,
            most_items,
            most_bytes,
        }
    }

    /// Adds an item that is due then.
    ///
    /// # Errors
    /// The item, when it has no room.
    pub fn add(&mut self, due: Duration, bytes: usize, item: T) -> Result<(), T> {
        if self.items.len() >= self.most_items || self.bytes + bytes > self.most_bytes {
            return Err(item);
        }
        self.bytes += bytes;
        self.due.push(Reverse((due, self.next)));
        self.items.insert(self.next, (bytes, item));
        self.next += 1;
        Ok(())
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the next one, if it is due by `now`.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        self.next_due().filter(|due| *due <= now)?;
        let Reverse((_, number)) = self.due.pop()?;
        let (bytes, item) = self.items.remove(&number)?;
        self.bytes -= bytes;
        Some(item)
    }

    /// Takes all, due or not.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.due.clear();
        self.bytes = 0;
        std::mem::take(&mut self.items)
            .into_values()
            .map(|(_, item)| item)
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;
    use contracts::webhook::preset;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// The times at which an event that is never accepted is sent, by a clock of the test's own.
    fn sent(preset: &str, factor: f64) -> Vec<f64> {
        let resends = preset::resends(preset);
        let mut waiting = Waiting::new(1, 1000);
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        let mut attempts = 0;
        loop {
            times.push(now.as_secs_f64());
            attempts += 1;
            let Some(wait) = wait(&resends, attempts, factor, None) else {
                assert!(waiting.is_empty());
                return times;
            };
            waiting.add(now + wait, 10, attempts).unwrap();
            let due = waiting.next_due().unwrap();
            if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                assert_eq!(waiting.pop(before), None, "not too soon");
            }
            now = due;
            assert_eq!(waiting.pop(now), Some(attempts));
        }
    }

    #[test]
    fn a_vendor_sends_on_its_own_schedule_shortened_by_the_factor() {
        assert_eq!(sent("zoom", 1.0), [0.0, 300.0, 1500.0, 5100.0]);
        assert_eq!(sent("zoom", 60.0), [0.0, 5.0, 25.0, 85.0]);
        assert_eq!(sent("slack", 60.0), [0.0, 0.0, 1.0, 6.0]);
        assert_eq!(sent("github", 60.0), [0.0], "GitHub never sends again");
        assert_eq!(sent("svix", 1.0).last(), Some(&99_305.0));
        assert!(sent("adyen", 3600.0).len() == 13);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_up_to_a_minute() {
        let resends = preset::resends("slack");
        assert_eq!(
            wait(&resends, 1, 1.0, Some(seconds(7.0))),
            Some(seconds(7.0))
        );
        assert_eq!(
            wait(&resends, 1, 1.0, Some(seconds(9999.0))),
            Some(seconds(60.0))
        );
        assert_eq!(
            wait(&resends, 2, 10.0, Some(seconds(7.0))),
            Some(seconds(6.0))
        );
        assert_eq!(wait(&resends, 4, 1.0, Some(seconds(7.0))), None);
    }

    #[test]
    fn what_has_no_room_comes_back_and_room_is_given_back() {
        let mut waiting = Waiting::new(3, 100);
        waiting.add(seconds(2.0), 40, "b").unwrap();
        waiting.add(seconds(1.0), 40, "a").unwrap();
        assert_eq!(waiting.add(seconds(1.0), 21, "too large"), Err("too large"));
        waiting.add(seconds(2.0), 20, "c").unwrap();
        assert_eq!(waiting.add(seconds(1.0), 0, "too many"), Err("too many"));
        assert_eq!(waiting.pop(seconds(9.0)), Some("a"));
        waiting.add(seconds(3.0), 40, "d").unwrap();
        let rest: Vec<_> = std::iter::from_fn(|| waiting.pop(seconds(9.0))).collect();
        assert_eq!(rest, ["b", "c", "d"], "in the order in which they are due");
        waiting.add(seconds(1.0), 100, "all").unwrap();
        assert_eq!(waiting.drain().collect::<Vec<_>>(), ["all"]);
        assert_eq!((waiting.len(), waiting.next_due()), (0, None));
    }
}
