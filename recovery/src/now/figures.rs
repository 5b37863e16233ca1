//! What is taken from one page of metrics.

use super::roles::EDGE;
use runtime::exposition::{Sample, samples};
use runtime::metrics as names;
use std::collections::{BTreeSet, HashMap};

/// Most series that are kept of one page.
const SERIES: usize = 20_000;

/// A counter that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    /// Events accepted, of a source
    Accepted,
    /// Requests answered, of a source with a code
    Answered,
    /// Requests answered within so many seconds, of a source
    AnsweredWithin,
    /// Records settled, with an outcome
    Settled,
    /// Rows made
    Stored,
    /// Rows made within so many seconds of the receipt, of a source
    StoredWithin,
}

impl What {
    /// Of a histogram: many series, kept for minutes and not for an hour.
    pub(super) fn is_bucket(self) -> bool {
        matches!(self, Self::AnsweredWithin | Self::StoredWithin)
    }
}

/// One series of a counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Series {
    pub(super) what: What,
    /// Empty: of all
    pub(super) source: String,
    /// Code, outcome or bucket
    pub(super) label: String,
}

/// How far each counter is.
pub(super) type Counts = HashMap<Series, f64>;

/// What one instance counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) counts: Counts,
    pub(super) lag_seconds: Option<f64>,
    pub(super) breaker_open: bool,
    /// Sources of which most is dead-lettered
    pub(super) failing: BTreeSet<String>,
    /// By source, when a secret of it last verified a request, since the epoch
    pub(super) last_seen: HashMap<String, i64>,
}

/// Reads the page of an instance of a role. One process may count for several roles, as the demo does: what is taken is what this one counts.
pub(super) fn read(role: &str, stores: bool, text: &str) -> Page {
    let mut page = Page::default();
    for sample in samples(text) {
        if role == EDGE {
            of_edge(&mut page, &sample);
        } else {
            if stores {
                of_store(&mut page, &sample);
            }
            if sample.label("stage").as_deref() == Some(role) {
                of_stage(&mut page, &sample);
            }
        }
    }
    page
}

fn of_edge(page: &mut Page, sample: &Sample<'_>) {
    let what = match sample.name {
        names::EVENTS_ACCEPTED => (What::Accepted, ""),
        names::REQUESTS => (What::Answered, "code"),
        name if is_bucket_of(name, names::REQUEST_SECONDS) => (What::AnsweredWithin, "le"),
        names::SECRET_MATCHED => {
            if let Some(source) = sample.label("source")
                && sample.value > 0.0
            {
                let last = page.last_seen.entry(source.into_owned()).or_default();
                #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch")]
                let at = sample.value as i64;
                *last = at.max(*last);
            }
            return;
        }
        _ => return,
    };
    count(page, what, sample);
}

fn of_store(page: &mut Page, sample: &Sample<'_>) {
    match sample.name {
        names::EVENTS_STORED => count(page, (What::Stored, ""), sample),
        name if is_bucket_of(name, names::ROW_SECONDS) => {
            count(page, (What::StoredWithin, "le"), sample);
        }
        _ => {}
    }
}

fn of_stage(page: &mut Page, sample: &Sample<'_>) {
    match sample.name {
        names::RECORDS_SETTLED => count(page, (What::Settled, "outcome"), sample),
        names::LAG_SECONDS => page.lag_seconds = Some(sample.value),
        names::BREAKER_OPEN => page.breaker_open = sample.value > 0.0,
        names::SOURCE_OVER_RATIO if sample.value > 0.0 => {
            page.failing
                .extend(sample.label("source").map(|source| source.into_owned()));
        }
        _ => {}
    }
}

fn is_bucket_of(name: &str, histogram: &str) -> bool {
    name.strip_prefix(histogram) == Some("_bucket")
}

fn count(page: &mut Page, (what, label): (What, &str), sample: &Sample<'_>) {
    if page.counts.len() >= SERIES || !sample.value.is_finite() {
        return;
    }
    let text = |name: &str| sample.label(name).map(|it| it.into_owned());
    let series = Series {
        what,
        source: text("source").unwrap_or_default(),
        label: text(label).unwrap_or_default(),
    };
    *page.counts.entry(series).or_default() += sample.value;
}

/// What was counted between two pages of an instance. A counter that went back was reset: its process was restarted.
pub(super) fn between(before: &Counts, now: &Counts) -> Counts {
    let more = |(series, &value): (&Series, &f64)| {
        let before = before.get(series).copied().unwrap_or(0.0);
        let more = if value >= before {
            value - before
        } else {
            value
        };
        (more > 0.0).then(|| (series.clone(), more))
    };
    now.iter().filter_map(more).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "sums of whole numbers are exact")]
    use super::*;

    const PAGE: &str = "# of a process with every role\n\
        eventflow_producer_events_accepted_total{source=\"stripe\"} 7\n\
        eventflow_producer_requests_total{source=\"stripe\",code=\"bad\"} 2\n\
        eventflow_producer_request_duration_seconds_bucket{source=\"stripe\",le=\"0.1\"} 9\n\
        eventflow_producer_request_duration_seconds_sum{source=\"stripe\"} 1\n\
        eventflow_producer_secret_last_matched_seconds{source=\"stripe\",secret=\"a\"} 100\n\
        eventflow_producer_secret_last_matched_seconds{source=\"stripe\",secret=\"b\"} 90\n\
        eventflow_consumer_records_settled_total{stage=\"validator\",outcome=\"done\"} 5\n\
        eventflow_consumer_records_settled_total{stage=\"persistence\",outcome=\"done\"} 4\n\
        eventflow_consumer_lag_seconds{stage=\"validator\"} 3.5\n\
        eventflow_consumer_breaker_open{stage=\"validator\"} 1\n\
        eventflow_consumer_source_over_dead_letter_ratio{stage=\"validator\",source=\"acme\"} 1\n\
        eventflow_persistence_events_stored_total 4\n\
        eventflow_persistence_webhook_to_row_seconds_bucket{source=\"stripe\",le=\"+Inf\"} 4\n";

    fn series(what: What, source: &str, label: &str) -> Series {
        Series {
            what,
            source: source.to_owned(),
            label: label.to_owned(),
        }
    }

    #[test]
    fn of_a_page_a_role_is_given_what_it_counts_itself() {
        let edge = read("producer", false, PAGE);
        assert_eq!(edge.counts.len(), 3);
        assert_eq!(edge.counts[&series(What::Accepted, "stripe", "")], 7.0);
        assert_eq!(edge.last_seen["stripe"], 100);
        let validator = read("validator", false, PAGE);
        assert_eq!(validator.counts[&series(What::Settled, "", "done")], 5.0);
        assert_eq!(
            (validator.counts.len(), validator.lag_seconds),
            (1, Some(3.5))
        );
        assert!(validator.breaker_open && validator.failing.contains("acme"));
        let persistence = read("persistence", true, PAGE);
        assert_eq!(persistence.counts[&series(What::Settled, "", "done")], 4.0);
        assert_eq!(
            persistence.counts[&series(What::StoredWithin, "stripe", "+Inf")],
            4.0
        );
        assert_eq!(persistence.counts[&series(What::Stored, "", "")], 4.0);
        assert!(!persistence.breaker_open);
    }

    #[test]
    fn a_process_that_began_anew_counts_from_zero() {
        let one = series(What::Stored, "", "");
        let counts = |value| Counts::from([(one.clone(), value)]);
        assert_eq!(between(&counts(5.0), &counts(8.0)), counts(3.0));
        assert_eq!(between(&counts(5.0), &counts(2.0)), counts(2.0));
        assert_eq!(between(&counts(5.0), &counts(5.0)), Counts::new());
        assert_eq!(between(&Counts::new(), &counts(2.0)), counts(2.0));
    }
}
