//! The breaker judges each source by the share of its latest records that would be dead-lettered.
//!
//! A source over that share is reported, and its records are dead-lettered all the same: that loses nothing, and to hold them would hold
//! every other source. The stage is held only when the fault is likely ours, because several sources, most of those active, went over
//! their share together; or because, right after the rules changed (another version of the program, other contracts), every source that
//! was fine before is over. A hold ends by itself.

mod sources;

use crate::faults;
use contracts::Rejection;
use sources::{Source, State};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Sources that go over their share within this time went over together; one that sent nothing for as long is not active.
const TOGETHER: Duration = Duration::from_secs(600);
/// Sources that are remembered; the one that was silent longest makes room.
const MAX_SOURCES: usize = 1000;
/// Sources named in a note.
const MAX_NOTED: usize = 40;
/// Older records are never held, however often the stage is restarted: far less than any sensible retention.
const MAX_HELD_AGE: Duration = Duration::from_secs(24 * 3600);

/// When a source is over its share, and whether the breaker may hold the stage.
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// False: sources are judged and reported, and nothing is held
    pub may_hold: bool,
    /// Share of a source's records in its window that may be rejected, 0 to 1
    pub max_ratio: f64,
    /// Latest records of each source that are counted; a source is judged once a tenth of them are there
    pub window: usize,
    /// Longest time one process holds
    pub longest_hold: Duration,
}

/// What the loop asks before records are dead-lettered.
#[derive(Debug)]
pub(crate) struct Breaker {
    settings: BreakerSettings,
    /// Names the rules this process judges by
    rules: String,
    sources: HashMap<String, Source>,
    change: Change,
    held_since: Option<Instant>,
}

/// Whether the rules changed, and what that has shown.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// As far as is known they did not
    None,
    /// They did, and these sources were fine before
    Untested { fine_before: HashSet<String> },
    /// A source was judged fine by today's rules, or a hold ended
    Tested,
}

/// Why records are not dead-lettered now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BreakerOpen {
    over: Vec<String>,
    first_code: &'static str,
    after_change: bool,
    longest_hold: Duration,
}

impl std::fmt::Display for BreakerOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.over.iter().take(5).cloned().collect::<Vec<_>>();
        let more = self.over.len() - shown.len();
        write!(f, "most records of {}", shown.join(", "))?;
        if more > 0 {
            write!(f, " and {more} more sources")?;
        }
        let since = if self.after_change {
            " since the version or the contracts changed"
        } else {
            ""
        };
        write!(
            f,
            " would be dead-lettered{since} (first code: {}). Nothing is lost: the stage waits, at most {} min. Roll back or fix the contracts, \
             then restart; or restart with --breaker off to dead-letter them",
            self.first_code,
            self.longest_hold.as_secs() / 60
        )
    }
}

/// A source that went over its share, came back, or is judged for the first time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) source: String,
    pub(crate) is_first: bool,
    /// The code of its latest rejection, of a source that is over its share now
    pub(crate) over: Option<&'static str>,
    /// Of its latest records, and how many those are
    pub(crate) rejected: usize,
    pub(crate) seen: usize,
}

/// What became of records the breaker was asked about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) changed: Vec<Changed>,
    /// They were held, and are let through because they were held long enough
    pub(crate) released: bool,
}

impl Breaker {
    /// Judges by these rules. Knows no source yet.
    pub(crate) fn new(settings: BreakerSettings, rules: &str) -> Self {
        Self {
            settings,
            rules: rules.to_owned(),
            sources: HashMap::new(),
            change: Change::None,
            held_since: None,
        }
    }

    /// What the group should remember of these rules: their name, the time (`micros`, since the epoch), the active sources that are fine, and
    /// with a minus those that are not.
    pub(crate) fn note(&self, now: Instant, micros: i64) -> String {
        let mut noted: Vec<_> = self
            .sources
            .iter()
            .filter(|(name, source)| is_plain(name) && (source.is_active(now) || source.is_over()))
            .filter_map(|(name, source)| match source.judge(&self.settings) {
                State::Unjudged if !source.is_over() => None,
                State::Unjudged | State::Over => Some(format!("-{name}")),
                State::Fine => Some(name.clone()),
            })
            .collect();
        noted.sort_unstable();
        noted.truncate(MAX_NOTED);
        [self.rules.clone(), micros.to_string()]
            .into_iter()
            .chain(noted)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Compares today's rules with the group's latest note, whoever wrote it: each partition has the one of its latest commit.
    pub(crate) fn compare<'n>(&mut self, notes: impl IntoIterator<Item = &'n str>) {
        let parsed = notes.into_iter().filter_map(|note| {
            let mut words = note.split_ascii_whitespace();
            let (rules, micros) = (words.next()?, words.next()?.parse::<i64>().ok()?);
            Some((micros, rules, words))
        });
        let Some((_, rules, words)) = parsed.max_by_key(|(micros, ..)| *micros) else {
            return;
        };
        let (over, fine): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with('-'));
        for name in over {
            let source = self.sources.entry(name[1..].to_owned()).or_default();
            source.mark_known();
        }
        if rules == self.rules || self.change == Change::Tested {
            return;
        }
        let fine = fine.into_iter().map(str::to_owned);
        match &mut self.change {
            Change::Untested { fine_before } => fine_before.extend(fine),
            Change::None | Change::Tested => {
                self.change = Change::Untested {
                    fine_before: fine.collect(),
                };
            }
        }
    }

    /// Counts these records, each with its source, unless they must be held: then none is counted. `age` is that of the oldest.
    pub(crate) fn admit<'r>(
        &mut self,
        now: Instant,
        age: Duration,
        records: impl Iterator<Item = (&'r str, Option<&'r Rejection>)> + Clone,
    ) -> Result<Admitted, BreakerOpen> {
        let any_rejected = records.clone().any(|(_, rejection)| rejection.is_some());
        let before = any_rejected.then(|| self.copy_of(records.clone().map(|(source, _)| source)));
        self.count(now, records.clone());
        let mut released = false;
        if let Some(before) = before
            && self.settings.may_hold
            && let Some(open) = self.suspects(now)
        {
            let since = *self.held_since.get_or_insert(now);
            released = age >= MAX_HELD_AGE
                || now.saturating_duration_since(since) >= self.settings.longest_hold;
            if !released {
                self.restore(before);
                return Err(open);
            }
            self.change = Change::Tested;
        }
        self.held_since = None;
        let is_fine = |source: &Source| source.judge(&self.settings) == State::Fine;
        if matches!(self.change, Change::Untested { .. }) && self.sources.values().any(is_fine) {
            self.change = Change::Tested;
        }
        let changed = self.note_changes(now, records.map(|(source, _)| source), released);
        Ok(Admitted { changed, released })
    }

    fn count<'r>(
        &mut self,
        now: Instant,
        records: impl Iterator<Item = (&'r str, Option<&'r Rejection>)>,
    ) {
        let window = self.settings.window.max(1);
        let mut records = records.peekable();
        while let Some((name, first)) = records.next() {
            self.make_room(name);
            let source = self.sources.entry(name.to_owned()).or_default();
            source.push(first, window, now);
            // Records of one source mostly come together.
            while let Some((_, rejection)) = records.next_if(|(next, _)| *next == name) {
                source.push(rejection, window, now);
            }
        }
    }

    fn make_room(&mut self, name: &str) {
        if self.sources.len() < MAX_SOURCES || self.sources.contains_key(name) {
            return;
        }
        let oldest = self
            .sources
            .iter()
            .min_by_key(|(_, source)| (source.is_over(), source.last_at()));
        if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
            self.sources.remove(&oldest);
        }
    }

    fn copy_of<'r>(
        &self,
        names: impl Iterator<Item = &'r str>,
    ) -> HashMap<&'r str, Option<Source>> {
        let mut copies = HashMap::new();
        let mut last = None;
        for name in names {
            if last != Some(name) {
                copies
                    .entry(name)
                    .or_insert_with(|| self.sources.get(name).cloned());
                last = Some(name);
            }
        }
        copies
    }

    fn restore(&mut self, before: HashMap<&str, Option<Source>>) {
        for (name, source) in before {
            match source {
                Some(source) => self.sources.insert(name.to_owned(), source),
                None => self.sources.remove(name),
            };
        }
    }

    /// Whether the fault is likely ours. What has been over its share for long proves nothing.
    fn suspects(&self, now: Instant) -> Option<BreakerOpen> {
        let (mut over, mut fine) = (Vec::new(), 0);
        for (name, source) in &self.sources {
            if source.is_known(now) || !source.is_active(now) {
                continue;
            }
            match source.judge(&self.settings) {
                State::Unjudged => {}
                State::Fine => fine += 1,
                State::Over => over.push((name.clone(), source.code())),
            }
        }
        let after_change = matches!(&self.change, Change::Untested { fine_before }
            if !fine_before.is_empty() && fine_before.iter().all(|name| over.iter().any(|(over, _)| over == name)));
        let one_holds_all = faults::planted("breaker_over_all_sources") && !over.is_empty();
        if !(after_change || one_holds_all || over.len() >= 2 && over.len() > fine) {
            return None;
        }
        over.sort_unstable();
        Some(BreakerOpen {
            first_code: over.first().map_or("none", |(_, code)| code),
            over: over.into_iter().map(|(name, _)| name).collect(),
            after_change,
            longest_hold: self.settings.longest_hold,
        })
    }

    fn note_changes<'r>(
        &mut self,
        now: Instant,
        names: impl Iterator<Item = &'r str>,
        released: bool,
    ) -> Vec<Changed> {
        let mut changed = Vec::new();
        let mut last = None;
        for name in names {
            if last.replace(name) == Some(name) {
                continue;
            }
            let Some(source) = self.sources.get_mut(name) else {
                continue;
            };
            let state = source.judge(&self.settings);
            if let Some(is_first) = source.note(state, now) {
                let (rejected, seen) = source.counts();
                changed.push(Changed {
                    source: name.to_owned(),
                    is_first,
                    over: (state == State::Over).then(|| source.code()),
                    rejected,
                    seen,
                });
            }
        }
        if released {
            self.sources
                .values_mut()
                .filter(|source| source.is_over())
                .for_each(Source::mark_known);
        }
        changed
    }
}

/// As configured sources are named: what else is in a header goes into no note.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
