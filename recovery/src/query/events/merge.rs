//! Partitions merged by time, and where the next page goes on.

use super::FoundEvent;
use super::window::{Window, cursor};
use crate::error::RecoveryError;
use crate::model::{EventPage, Time};
use std::collections::{BTreeMap, VecDeque};

/// One partition's part of a page.
struct Part {
    window: Window,
    /// The newest first
    found: VecDeque<FoundEvent>,
    /// There may be more of it in the window
    cut: bool,
    /// Where the next page goes on
    next: i64,
}

/// The newest of all partitions. In one partition the order is that of its offsets.
pub(super) fn page(
    windows: Vec<Window>,
    mut found: Vec<FoundEvent>,
    oldest: &BTreeMap<i32, Option<Time>>,
    limit: usize,
) -> Result<EventPage, RecoveryError> {
    found.sort_by_key(|event| std::cmp::Reverse(event.raw.offset));
    let mut of_partition: BTreeMap<i32, VecDeque<FoundEvent>> = BTreeMap::new();
    for event in found {
        let all = of_partition.entry(event.raw.partition).or_default();
        all.push_back(event);
    }
    let mut parts: Vec<Part> = windows
        .into_iter()
        .map(|window| {
            let found = of_partition.remove(&window.partition).unwrap_or_default();
            Part {
                cut: found.len() >= limit,
                next: window.to,
                window,
                found,
            }
        })
        .collect();
    // Of a partition of which nothing is left here, what is older may be newer than what others have.
    let waits = |part: &Part| {
        let open = part.found.is_empty() && !part.cut && !part.window.is_last();
        open.then(|| oldest.get(&part.window.partition).copied().flatten())
            .flatten()
    };
    let mut events = Vec::new();
    while events.len() < limit {
        let newest = |part: &Part| part.found.front().map(FoundEvent::at);
        let best = parts
            .iter()
            .enumerate()
            .filter_map(|(at, part)| Some((newest(part)?, at)));
        let Some((time, at)) = best.max_by_key(|(time, _)| *time) else {
            break;
        };
        if parts.iter().filter_map(waits).any(|oldest| oldest > time) {
            break;
        }
        let part = &mut parts[at];
        if let Some(event) = part.found.pop_front() {
            part.next = event.raw.offset;
            events.push(event.summary()?);
        }
    }
    let full = events.len() >= limit;
    let mut searched_to = None;
    let mut left = Vec::new();
    for mut part in parts {
        if part.found.is_empty() && !part.cut {
            if part.window.is_last() {
                continue;
            }
            part.next = part.window.from;
            let oldest = oldest.get(&part.window.partition).copied().flatten();
            searched_to = searched_to.max(oldest);
        }
        left.push((part.window, part.next));
    }
    Ok(EventPage {
        events,
        next: cursor(&left),
        searched_to: searched_to.filter(|_| !full),
    })
}
