//! What every measurement knows: how often, how much, on which brokers, and where goals are noted.

use crate::brokers::Brokers;
use crate::figures::{Goal, Run};
use crate::report::Goals;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a run.
pub(crate) struct Bench {
    pub(crate) brokers: Brokers,
    pub(crate) runs: usize,
    pub(crate) seconds: u64,
    pub(crate) events: u64,
    pub(crate) backlog: u64,
    pub(crate) dead_letters: u64,
    pub(crate) outage: Duration,
    /// What `script/bench --peers` built
    pub(crate) peers: Option<PathBuf>,
    pub(crate) goals: Goals,
}

impl Bench {
    /// The goal that counts on these brokers.
    pub(crate) fn goal(&self, embedded: f64, real: f64) -> f64 {
        match self.brokers {
            Brokers::Embedded => embedded,
            Brokers::Real(_) => real,
        }
    }

    /// Notes the ratio of ours to a baseline.
    pub(crate) fn note_ratio(&self, what: &str, at_least: f64, ours: &Run, base: &Run) {
        let ratio = ours.rate() / base.rate();
        self.goals.note(what, Goal::AtLeast(at_least), ratio);
    }
}
