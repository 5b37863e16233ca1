//! What was seen of the roles, kept in memory.

use super::book::Book;
use super::figures::{Counts, Page, What, between};
use super::scrape::Readiness;
use crate::model::{Audit, Time};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// An instance that has no address any more is forgotten after this long.
const FORGET: Duration = Duration::from_secs(600);

/// What the running role has last seen. Cheap to clone; empty where no role runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed(Arc<Mutex<State>>);

impl Observed {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(super) roles: BTreeMap<String, RoleSeen>,
    pub(super) indexed: Option<Indexed>,
    pub(super) looked_at: Option<Time>,
    /// Records of the dead-letter topic not indexed yet, and when that was measured
    pub(crate) index_lag: Option<(i64, Instant)>,
}

/// What the database counts.
#[derive(Debug, Clone)]
pub(super) struct Indexed {
    pub(super) audit: Audit,
    pub(super) open: i64,
    pub(super) replaying: i64,
    /// Open dead letters that wait for a person's word
    pub(super) unproven: i64,
}

/// One look at one instance.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    /// Its address
    pub(super) id: String,
    /// Why it does not answer, where it does not
    pub(super) readiness: Result<Readiness, String>,
    pub(super) page: Page,
}

impl Instance {
    pub(super) fn silent(id: String, problem: String) -> Self {
        Self {
            id,
            readiness: Err(problem),
            page: Page::default(),
        }
    }
}

/// A role, over all its instances.
#[derive(Debug, Default)]
pub(super) struct RoleSeen {
    /// As at the last look
    pub(super) instances: Vec<Instance>,
    /// How far the counters of each instance were, and when it was last seen
    counts: HashMap<String, (Counts, Instant)>,
    pub(super) book: Book,
    noted_at: Option<Instant>,
    /// When each source last sent an event that was accepted
    pub(super) last_seen: HashMap<String, Time>,
}

impl State {
    /// One look at all instances of a role.
    pub(super) fn note(&mut self, role: &str, instances: Vec<Instance>, at: (Instant, Time)) {
        let seen = self.roles.entry(role.to_owned()).or_default();
        seen.note(instances, at);
    }
}

impl RoleSeen {
    fn note(&mut self, instances: Vec<Instance>, (at, time): (Instant, Time)) {
        let mut sum = Counts::new();
        for instance in instances.iter().filter(|it| it.readiness.is_ok()) {
            let page = &instance.page;
            let now = (page.counts.clone(), at);
            // What an instance had counted when it was first seen may be of long ago.
            if let Some((before, _)) = self.counts.insert(instance.id.clone(), now) {
                for (series, more) in between(&before, &page.counts) {
                    *sum.entry(series).or_default() += more;
                }
            }
            for (source, seconds) in &page.last_seen {
                if let Ok(seen) = Time::from_unix_timestamp(*seconds) {
                    self.saw(source, seen);
                }
            }
        }
        for series in sum.keys().filter(|series| series.what == What::Accepted) {
            self.saw(&series.source, time);
        }
        self.counts
            .retain(|_, (_, seen)| at.duration_since(*seen) < FORGET);
        if let Some(before) = self.noted_at.replace(at) {
            self.book.add(at.duration_since(before).as_secs_f64(), sum);
        }
        self.instances = instances;
    }

    fn saw(&mut self, source: &str, at: Time) {
        let last = self.last_seen.entry(source.to_owned()).or_insert(at);
        *last = at.max(*last);
    }
}
