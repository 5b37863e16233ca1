//! The last hour of a role's counters.

use super::figures::{Counts, Series};
use crate::model::Quantiles;
use std::collections::{BTreeMap, VecDeque};

/// Seconds over which a rate is taken.
const RATE: f64 = 10.0;
/// Seconds over which quantiles are taken: every look is kept so long.
const MINUTES: f64 = 300.0;
/// Seconds of one value of the last hour.
pub(super) const STEP: f64 = 30.0;
/// Values of the last hour.
const STEPS: usize = 120;

/// What was counted meanwhile.
#[derive(Debug, Default)]
struct Slot {
    seconds: f64,
    counts: Counts,
}

impl Slot {
    fn add(&mut self, seconds: f64, counts: impl Iterator<Item = (Series, f64)>) {
        self.seconds += seconds;
        for (series, more) in counts {
            *self.counts.entry(series).or_default() += more;
        }
    }
}

/// Look by look for minutes, and in steps for an hour, without the buckets of histograms.
#[derive(Debug, Default)]
pub(super) struct Book {
    looks: VecDeque<Slot>,
    steps: VecDeque<Slot>,
}

impl Book {
    pub(super) fn add(&mut self, seconds: f64, counts: Counts) {
        if self.steps.back().is_none_or(|step| step.seconds >= STEP) {
            self.steps.push_back(Slot::default());
        }
        if self.steps.len() > STEPS {
            self.steps.pop_front();
        }
        if let Some(step) = self.steps.back_mut() {
            let shown = counts.iter().filter(|(series, _)| !series.what.is_bucket());
            step.add(seconds, shown.map(|(series, more)| (series.clone(), *more)));
        }
        self.looks.push_back(Slot { seconds, counts });
        let mut kept: f64 = self.looks.iter().map(|look| look.seconds).sum();
        while kept > MINUTES {
            kept -= self.looks.pop_front().map_or(MINUTES, |look| look.seconds);
        }
    }

    /// A second, of late; none before two looks.
    pub(super) fn rate(&self, of: impl Fn(&Series) -> bool) -> Option<f64> {
        let (mut seconds, mut sum) = (0.0, 0.0);
        for look in self.looks.iter().rev() {
            seconds += look.seconds;
            sum += of_counts(&look.counts, &of);
            if seconds >= RATE {
                break;
            }
        }
        (seconds > 0.0).then(|| sum / seconds)
    }

    /// Of the last hour.
    pub(super) fn sum(&self, of: impl Fn(&Series) -> bool) -> f64 {
        self.steps.iter().map(|it| of_counts(&it.counts, &of)).sum()
    }

    /// Of the last hour, by label.
    pub(super) fn labels(&self, of: impl Fn(&Series) -> bool) -> BTreeMap<&str, f64> {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (series, more) in self.steps.iter().flat_map(|step| &step.counts) {
            if of(series) {
                *sums.entry(&series.label).or_default() += more;
            }
        }
        sums
    }

    /// The rate in each step of the last hour, the oldest first. A step that has just begun says little, and waits.
    pub(super) fn history(&self, of: impl Fn(&Series) -> bool) -> Vec<f64> {
        let whole = |step: &&Slot| step.seconds >= STEP / 3.0;
        let steps = self.steps.iter().filter(whole);
        steps
            .map(|step| of_counts(&step.counts, &of) / step.seconds)
            .collect()
    }

    /// Of a histogram, over the last minutes.
    pub(super) fn quantiles(&self, of: impl Fn(&Series) -> bool) -> Option<Quantiles> {
        let mut buckets: BTreeMap<&str, f64> = BTreeMap::new();
        for (series, more) in self.looks.iter().flat_map(|look| &look.counts) {
            if of(series) {
                *buckets.entry(&series.label).or_default() += more;
            }
        }
        let bound = |(le, count): (&str, f64)| Some((le.parse::<f64>().ok()?, count));
        let mut buckets: Vec<(f64, f64)> = buckets.into_iter().filter_map(bound).collect();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Some(Quantiles {
            p50: quantile(&buckets, 0.5)?,
            p99: quantile(&buckets, 0.99)?,
        })
    }
}

fn of_counts(counts: &Counts, of: impl Fn(&Series) -> bool) -> f64 {
    let of = |(series, more): (&Series, &f64)| of(series).then_some(*more);
    counts.iter().filter_map(of).sum()
}

/// Within its bucket as if all values were spread evenly, as Prometheus does. Of what is beyond the last bound, that bound.
fn quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let (_, all) = *buckets.last()?;
    let rank = quantile * all;
    let (mut lower, mut below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= rank && count > below {
            if bound.is_infinite() {
                return Some(lower);
            }
            return Some(lower + (bound - lower) * (rank - below) / (count - below));
        }
        (lower, below) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::float_cmp,
        reason = "a test; sums of whole numbers are exact"
    )]
    use super::super::figures::What;
    use super::*;

    fn counts(what: What, label: &str, more: f64) -> Counts {
        let series = Series {
            what,
            source: "acme".to_owned(),
            label: label.to_owned(),
        };
        Counts::from([(series, more)])
    }

    #[test]
    fn an_hour_is_kept_and_not_more() {
        let mut book = Book::default();
        assert_eq!(book.rate(|_| true), None);
        for _ in 0..4000 {
            book.add(2.0, counts(What::Accepted, "", 10.0));
        }
        assert_eq!(book.rate(|_| true), Some(5.0));
        assert_eq!((book.steps.len(), book.looks.len()), (120, 150));
        assert_eq!(book.history(|_| true).len(), 120);
        assert!(book.history(|_| true).iter().all(|rate| *rate == 5.0));
        assert_eq!(book.sum(|series| series.what == What::Accepted), 17_950.0);
        assert_eq!(book.sum(|series| series.what == What::Stored), 0.0);
        for _ in 0..6 {
            book.add(2.0, counts(What::Accepted, "", 10.0));
        }
        assert_eq!(book.steps.len(), 120);
        assert_eq!(book.history(|_| true).len(), 119, "the last has just begun");
    }

    #[test]
    fn buckets_give_quantiles_and_take_no_hour() {
        let mut book = Book::default();
        let mut all = counts(What::StoredWithin, "0.1", 50.0);
        all.extend(counts(What::StoredWithin, "0.2", 100.0));
        all.extend(counts(What::StoredWithin, "+Inf", 100.0));
        book.add(2.0, all);
        let found = book.quantiles(|it| it.what == What::StoredWithin).unwrap();
        assert_eq!((found.p50, found.p99), (0.1, 0.198));
        assert!(book.steps[0].counts.is_empty());
        assert_eq!(book.quantiles(|it| it.what == What::AnsweredWithin), None);
        let beyond = [(0.1, 1.0), (f64::INFINITY, 4.0)];
        assert_eq!(quantile(&beyond, 0.99), Some(0.1));
    }
}
