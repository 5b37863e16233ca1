//! `/api/stats`: the last hour for a person, minute by minute. Amounts are exact decimal text.

use crate::figures::{Figures, MINUTE_MS, Minute, WINDOW_MINUTES};
use serde::Serialize;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The answer. It is about the partitions this instance reads; several instances add up.
#[derive(Debug, Serialize, PartialEq)]
pub struct Stats {
    /// RFC 3339
    pub generated_at: String,
    /// Minutes covered, the current one included
    pub window_minutes: i64,
    /// The offsets the figures were made from
    pub partitions: Vec<PartitionStats>,
    /// All minutes together
    pub total: EventTotals,
    /// Oldest first; a minute that is not here had no event
    pub minutes: Vec<MinuteStats>,
}

/// The offsets of one partition.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct PartitionStats {
    /// Partition of the validated topic
    pub partition: i32,
    /// First offset read
    pub first_offset: i64,
    /// Offset after the last one read
    pub next_offset: i64,
}

/// One minute, by when the edge received the events.
#[derive(Debug, Serialize, PartialEq)]
pub struct MinuteStats {
    /// Its start, RFC 3339
    pub minute: String,
    /// False while the minute lasts. Events that took longer than that to get here are added later all the same
    pub complete: bool,
    /// Its figures
    #[serde(flatten)]
    pub totals: EventTotals,
}

/// Events and amounts of a minute, or of all minutes.
#[derive(Debug, Serialize, PartialEq)]
pub struct EventTotals {
    /// Of all event types
    pub events: u64,
    /// Events by event type
    pub by_event_type: BTreeMap<String, u64>,
    /// Events and amounts by kind, as their contracts say (role `kind`); `other` are those without
    pub by_kind: BTreeMap<String, KindTotals>,
}

/// The events of one kind.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
pub struct KindTotals {
    /// With and without an amount
    pub events: u64,
    /// Exact amounts by ISO 4217 currency
    pub amounts: BTreeMap<String, String>,
    /// Events that are in none of the amounts: they have none, or no currency of the ISO table
    pub without_amount: u64,
}

/// What `/api/stats` answers at this time, milliseconds since the epoch.
#[must_use]
pub fn stats(figures: &Figures, now_ms: i64) -> Stats {
    let now = now_ms.div_euclid(MINUTE_MS);
    let window = figures.window(now_ms);
    let mut total = Minute::default();
    window.values().for_each(|minute| total.add(minute));
    Stats {
        generated_at: rfc3339(now_ms),
        window_minutes: WINDOW_MINUTES,
        partitions: figures
            .covered()
            .into_iter()
            .map(|read| PartitionStats {
                partition: read.partition,
                first_offset: read.first,
                next_offset: read.next,
            })
            .collect(),
        total: totals(figures, &total),
        minutes: window
            .iter()
            .map(|(minute, sums)| MinuteStats {
                minute: rfc3339(minute * MINUTE_MS),
                complete: *minute < now,
                totals: totals(figures, sums),
            })
            .collect(),
    }
}

fn totals(figures: &Figures, minute: &Minute) -> EventTotals {
    EventTotals {
        events: minute.events.values().sum(),
        by_event_type: minute
            .events
            .iter()
            .map(|(index, events)| (figures.event_type_name(*index).to_owned(), *events))
            .collect(),
        by_kind: by_kind(figures, minute),
    }
}

fn by_kind(figures: &Figures, minute: &Minute) -> BTreeMap<String, KindTotals> {
    let mut kinds: BTreeMap<String, KindTotals> = BTreeMap::new();
    for ((kind, currency), sum) in &minute.sums {
        let kind = figures.kind_name(*kind).to_owned();
        let totals = kinds.entry(kind).or_default();
        totals.events += sum.events;
        totals.without_amount += sum.without_amount;
        if let Some(amount) = currency
            .text(sum.minor)
            .filter(|_| sum.events > sum.without_amount)
        {
            totals.amounts.insert(currency.name().to_owned(), amount);
        }
    }
    kinds
}

fn rfc3339(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}
