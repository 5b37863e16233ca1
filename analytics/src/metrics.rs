//! Names and meanings of this role's metrics, and the gauges of the last full minute.

use crate::figures::{Currency, Figures, MINUTE_MS};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use std::collections::BTreeSet;

pub(crate) const PROCESSED: &str = "eventflow_analytics_events_processed_total";
pub(crate) const ERRORS: &str = "eventflow_analytics_errors_total";
pub(crate) const DUPLICATES: &str = "eventflow_analytics_events_duplicate_total";
pub(crate) const OUTSIDE_WINDOW: &str = "eventflow_analytics_events_outside_window_total";
pub(crate) const EVENT_AGE: &str = "eventflow_analytics_event_age_seconds";
pub(crate) const RECEIVE_TO_PROCESS: &str = "eventflow_analytics_receive_to_process_seconds";
pub(crate) const PROCESSING: &str = "eventflow_analytics_processing_duration_seconds";
pub(crate) const LAST_MINUTE_EVENTS: &str = "eventflow_analytics_last_minute_events";
pub(crate) const LAST_MINUTE_KINDS: &str = "eventflow_analytics_last_minute_events_by_kind";
pub(crate) const LAST_MINUTE_AMOUNT: &str = "eventflow_analytics_last_minute_amount";

/// Registers help texts and units.
pub fn describe() {
    describe_counter!(
        PROCESSED,
        "Events processed since the start, by event type, partition and phase (catch_up: published before this stage took the partition)"
    );
    describe_counter!(
        ERRORS,
        "Records that could not be read, by code; persistence dead-letters them"
    );
    describe_counter!(
        DUPLICATES,
        "Further copies of an event (same source and event id) soon after the first, left out of the per-minute figures"
    );
    describe_counter!(
        OUTSIDE_WINDOW,
        "Events received outside the last hour, left out of the per-minute figures"
    );
    describe_histogram!(
        EVENT_AGE,
        Unit::Seconds,
        "From the event's own time to its processing; phase live only"
    );
    describe_histogram!(
        RECEIVE_TO_PROCESS,
        Unit::Seconds,
        "From the webhook's receipt at the edge to its processing; phase live only"
    );
    describe_histogram!(
        PROCESSING,
        Unit::Seconds,
        "Processing time of one event: its share of its batch"
    );
    describe_gauge!(
        LAST_MINUTE_EVENTS,
        "Events received in the last full minute, by event type"
    );
    describe_gauge!(
        LAST_MINUTE_KINDS,
        "Events received in the last full minute, by the kind that their contract says"
    );
    describe_gauge!(
        LAST_MINUTE_AMOUNT,
        "Amount of the last full minute, by kind and currency; Prometheus keeps floats, exact digits are at /api/stats"
    );
}

/// The gauges of the last full minute. It remembers which it has set, so that one without events falls to zero.
#[derive(Debug, Default)]
pub(crate) struct LastMinute {
    amounts: BTreeSet<(usize, Currency)>,
}

impl LastMinute {
    /// Sets every gauge to the minute that ended last.
    pub(crate) fn expose(&mut self, figures: &Figures, now_ms: i64) {
        let minute = figures.minute(now_ms.div_euclid(MINUTE_MS) - 1);
        for (index, name) in figures.event_types().iter().enumerate() {
            let events = minute.events.get(&index).copied().unwrap_or(0);
            gauge!(LAST_MINUTE_EVENTS, "event_type" => name.clone()).set(count(events));
        }
        for (index, name) in figures.kinds().iter().enumerate() {
            gauge!(LAST_MINUTE_KINDS, "kind" => name.clone()).set(count(minute.of_kind(index)));
        }
        self.amounts.extend(minute.sums.keys());
        for key @ (kind, currency) in &self.amounts {
            let minor = minute.sums.get(key).map_or(0, |sum| sum.minor);
            if let Some(amount) = currency
                .text(minor)
                .and_then(|text| text.parse::<f64>().ok())
            {
                gauge!(LAST_MINUTE_AMOUNT, "kind" => figures.kind_name(*kind).to_owned(), "currency" => currency.name().to_owned()).set(amount);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count for a gauge")]
fn count(events: u64) -> f64 {
    events as f64
}
