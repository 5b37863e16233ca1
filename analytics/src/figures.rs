//! Per-minute figures: counts and exact amounts, recomputed from the log after a restart.

use contracts::money::{Decimal, text};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Minutes kept.
pub const WINDOW_MINUTES: i64 = 60;
/// Most event types and currencies a minute distinguishes; the rest is counted as `other`.
const MAX_SERIES: usize = 200;
/// Fraction digits amounts are summed at.
const SCALE: u32 = 4;

/// What one minute adds up to.
#[derive(Debug, Default)]
struct Minute {
    /// Raw coordinates counted: the same raw record, validated twice, counts once
    seen: HashSet<(i32, i64)>,
    /// By event type and currency: events, and the sum of amounts at four fraction digits
    sums: BTreeMap<(String, String), (u64, i128)>,
}

/// The last hour, minute by minute of the records' Kafka time.
#[derive(Debug, Default)]
pub struct Figures {
    minutes: BTreeMap<i64, Minute>,
}

/// One line of `/api/stats`.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Line {
    /// Event type
    pub event_type: String,
    /// ISO 4217
    pub currency: String,
    /// Events
    pub events: u64,
    /// Exact decimal text
    pub amount: String,
}

/// One minute of `/api/stats`.
#[derive(Debug, Serialize, PartialEq)]
pub struct MinuteView {
    /// Unix seconds of its start
    pub minute: i64,
    /// Events
    pub events: u64,
    /// Refunds as a share of authorizations and refunds; none without either
    pub refund_ratio: Option<f64>,
    /// By event type and currency
    pub lines: Vec<Line>,
}

impl Figures {
    /// Counts an event once.
    pub fn add(&mut self, timestamp_ms: i64, raw: (i32, i64), event_type: &str, currency: Option<&str>, amount: Option<&str>) {
        let minute = timestamp_ms.div_euclid(60_000);
        let newest = self.minutes.last_key_value().map_or(minute, |(newest, _)| *newest);
        if minute <= newest - WINDOW_MINUTES {
            return;
        }
        while self.minutes.first_key_value().is_some_and(|(oldest, _)| *oldest <= minute - WINDOW_MINUTES) {
            self.minutes.pop_first();
        }
        let figures = self.minutes.entry(minute).or_default();
        if !figures.seen.insert(raw) {
            return;
        }
        let mut series = (event_type.to_owned(), currency.unwrap_or("none").to_owned());
        if figures.sums.len() >= MAX_SERIES && !figures.sums.contains_key(&series) {
            series = ("other".to_owned(), "other".to_owned());
        }
        let sum = figures.sums.entry(series).or_default();
        sum.0 += 1;
        if let Some(amount) = amount.and_then(|amount| Decimal::parse(amount).ok()).and_then(|amount| amount.rescaled(SCALE)) {
            sum.1 = sum.1.saturating_add(amount);
        }
    }

    /// All minutes, oldest first.
    #[must_use]
    pub fn view(&self) -> Vec<MinuteView> {
        self.minutes.iter().map(|(minute, figures)| view(*minute, figures)).collect()
    }

    /// One minute, by its number since the epoch.
    #[must_use]
    pub fn minute(&self, minute: i64) -> Option<MinuteView> {
        self.minutes.get(&minute).map(|figures| view(minute, figures))
    }
}

fn view(minute: i64, figures: &Minute) -> MinuteView {
    let count = |kind: &str| figures.sums.iter().filter(|((event_type, _), _)| event_type.starts_with(kind)).map(|(_, (events, _))| *events).sum::<u64>();
    let (authorized, refunded) = (count("payment.authorized."), count("payment.refunded."));
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts of one minute")]
    let refund_ratio = (authorized + refunded > 0).then(|| refunded as f64 / (authorized + refunded) as f64);
    let lines: Vec<Line> = figures
        .sums
        .iter()
        .map(|((event_type, currency), (events, amount))| Line { event_type: event_type.clone(), currency: currency.clone(), events: *events, amount: text(*amount, SCALE) })
        .collect();
    MinuteView { minute: minute * 60, events: lines.iter().map(|line| line.events).sum(), refund_ratio, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_log_read_twice_adds_up_to_the_same_figures() {
        let mut figures = Figures::default();
        for _ in 0..2 {
            figures.add(60_000, (0, 1), "payment.authorized.v1", Some("EUR"), Some("0.1"));
            figures.add(60_001, (0, 2), "payment.authorized.v1", Some("EUR"), Some("0.2"));
            figures.add(119_999, (1, 1), "payment.refunded.v1", Some("EUR"), Some("0.3"));
            figures.add(120_000, (0, 3), "payment.authorized.v1", Some("JPY"), Some("5"));
        }
        let view = figures.view();
        assert_eq!(view.len(), 2);
        assert_eq!((view[0].minute, view[0].events), (60, 3));
        assert_eq!(view[0].lines[0].amount, "0.3");
        assert!((view[0].refund_ratio.unwrap() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn memory_is_bounded_in_time_and_in_names() {
        let mut figures = Figures::default();
        for minute in 0..200 {
            figures.add(minute * 60_000, (0, minute), "a", None, None);
        }
        assert_eq!(figures.view().len(), 60);
        figures.add(0, (9, 9), "late", None, None);
        assert_eq!(figures.view()[0].minute, 140 * 60);
        for name in 0..500 {
            figures.add(199 * 60_000, (1, name), &format!("t{name}"), None, None);
        }
        let last = figures.minute(199).unwrap();
        assert_eq!(last.events, 501);
        assert!(last.lines.len() <= MAX_SERIES + 1);
    }
}
