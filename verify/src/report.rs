//! What was found: a tally of each check, and the first offenders.

use crate::piece::Place;
use serde::Serialize;
use std::collections::BTreeMap;

macro_rules! checks {
    ($($variant:ident = $name:literal, $meaning:literal;)*) => {
        /// What is checked. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $(#[doc = $meaning] $variant,)*
        }

        impl Check {
            /// All, in the order of the report.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// When it fails.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

checks! {
    Lost = "lost", "an event was answered 2xx, and there is no raw record or fate of it";
    AnsweredEarly = "answered_early", "an event was answered 2xx before its raw record was appended";
    AcceptedForgery = "accepted_forgery", "a request that must be refused was answered 2xx, or is in the raw topic";
    Invented = "invented", "a raw record that nobody sent, or was sent less often; a record, row or dead letter of a raw record that does not exist";
    NotVerbatim = "not_verbatim", "bytes, key or headers of a raw record, dead letter or unedited replay are not those it was made from";
    NoFate = "no_fate", "a raw record without a fate";
    TwoFates = "two_fates", "a raw record with two fates, or with a fate and a dead letter that nobody replayed";
    TwoRows = "two_rows", "two rows of one source and event id";
    DuplicateOfNothing = "duplicate_of_nothing", "an event that is only ever a duplicate: its row does not exist";
    WrongFate = "wrong_fate", "an event that must be dead-lettered is not, or with another code";
    OutageDeadLettered = "outage_dead_lettered", "an event without a fault was dead-lettered";
    BadCode = "bad_code", "a dead letter whose code or disposition is not one that EventFlow documents";
    ReplayUnfounded = "replay_unfounded", "a replay of what was never dead-lettered";
    ReplayedTwice = "replayed_twice", "a replay that is in its retry topic twice: sent again, or by two people at once";
    FieldDiffers = "field_differs", "a field of a row or a validated record is not the one that was signed";
    OutOfOrder = "out_of_order", "events of one key were validated in another order than they were received in";
    AuditDiffers = "audit_differs", "eventflow audit counts something else";
    AuditFalseAlarm = "audit_false_alarm", "eventflow audit named a gap or a double fate, and later found that there was none";
    CounterDiffers = "counter_differs", "a counter of a role counts something else";
}

/// What is wrong, and where.
#[derive(Debug, Clone)]
pub(crate) struct Offender {
    pub(crate) what: String,
    pub(crate) places: Vec<Place>,
}

#[derive(Debug, Default)]
struct Tally {
    checked: u64,
    failed: u64,
    first: Vec<Offender>,
}

/// Counts what is checked, and keeps the first offenders of each check.
#[derive(Debug)]
pub(crate) struct Findings {
    tallies: BTreeMap<Check, Tally>,
    most: usize,
}

impl Findings {
    /// Keeps at most so many offenders of each check.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            tallies: BTreeMap::new(),
            most,
        }
    }

    /// Counts something that is judged by a check.
    pub(crate) fn look(&mut self, check: Check) {
        self.tallies.entry(check).or_default().checked += 1;
    }

    pub(crate) fn fail(&mut self, check: Check, what: impl Into<String>, places: Vec<Place>) {
        let tally = self.tallies.entry(check).or_default();
        tally.failed += 1;
        if tally.first.len() < self.most {
            let what = what.into();
            tally.first.push(Offender { what, places });
        }
    }

    #[cfg(test)]
    pub(crate) fn failed(&self) -> Vec<(&'static str, String)> {
        let all = self.tallies.iter();
        let first = |tally: &Tally| tally.first.first().map(|one| one.what.clone());
        all.filter(|(_, tally)| tally.failed > 0)
            .map(|(check, tally)| (check.name(), first(tally).unwrap_or_default()))
            .collect()
    }

    /// Of each check: its number of things judged, of failures, and the first of those.
    pub(crate) fn into_checks(mut self) -> Vec<(Check, u64, u64, Vec<Offender>)> {
        let mut take = |check: Check| {
            let tally = self.tallies.remove(&check).unwrap_or_default();
            (check, tally.checked, tally.failed, tally.first)
        };
        Check::ALL.iter().map(|check| take(*check)).collect()
    }
}

/// A check, done.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// Its stable name
    pub check: &'static str,
    /// How many events, records or rows were judged by it
    pub checked: u64,
    /// How many failed
    pub failed: u64,
    /// Why it was not done, where it was not
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The first of those that failed
    pub offenders: Vec<OffenderReport>,
}

/// What failed, whole.
#[derive(Debug, Clone, Serialize)]
pub struct OffenderReport {
    /// What is wrong
    pub what: String,
    /// Lines of journals, records and rows, as they are
    pub shown: Vec<Box<serde_json::value::RawValue>>,
}

/// What was read.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Requests in the journals
    pub requests: u64,
    /// Events in requests that were answered 2xx
    pub accepted: u64,
    /// Events in requests whose answer leaves open whether they were accepted
    pub unknown: u64,
    /// Lines that were cut off when a client was killed
    pub torn_lines: u64,
    /// Records by topic
    pub records: BTreeMap<String, u64>,
    /// Raw records whose fate is known or owed
    pub raw: u64,
    /// By fate
    pub stored: u64,
    /// By fate
    pub duplicate: u64,
    /// By fate
    pub filtered: u64,
    /// By fate
    pub dead_lettered: u64,
    /// Raw records that were gone before they could be read: nothing is judged of them
    pub unseen: u64,
}

/// The verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// No check failed
    pub clean: bool,
    /// What was read
    pub counts: Counts,
    /// Every check, in a fixed order
    pub checks: Vec<CheckReport>,
    /// Seconds it took
    pub seconds: f64,
}

impl Report {
    /// True when no check failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// How much was judged by the check of this name.
    #[must_use]
    pub fn checked(&self, name: &str) -> u64 {
        let mut checks = self.checks.iter();
        checks
            .find(|one| one.check == name)
            .map_or(0, |one| one.checked)
    }

    /// Names of the checks that failed.
    #[must_use]
    pub fn failed(&self) -> Vec<&'static str> {
        let failed = self.checks.iter().filter(|one| one.failed > 0);
        failed.map(|one| one.check).collect()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = &self.counts;
        writeln!(
            f,
            "journal   {} requests; {} events answered 2xx, {} without a certain answer",
            counts.requests, counts.accepted, counts.unknown
        )?;
        for (topic, records) in &counts.records {
            writeln!(f, "topic     {topic}: {records} records")?;
        }
        writeln!(
            f,
            "fates     {} raw records: {} stored, {} duplicate, {} filtered, {} dead-lettered\n",
            counts.raw, counts.stored, counts.duplicate, counts.filtered, counts.dead_lettered
        )?;
        writeln!(f, "{:<22}{:>12}{:>10}", "CHECK", "CHECKED", "FAILED")?;
        for one in &self.checks {
            let verdict = match (&one.skipped, one.failed) {
                (Some(why), _) => format!("not checked: {why}"),
                (None, 0) => "ok".to_owned(),
                (None, _) => "FAILED".to_owned(),
            };
            writeln!(
                f,
                "{:<22}{:>12}{:>10}  {verdict}",
                one.check, one.checked, one.failed
            )?;
        }
        for one in self.checks.iter().filter(|one| one.failed > 0) {
            writeln!(f, "\n{}, the first of {}:", one.check, one.failed)?;
            for offender in &one.offenders {
                writeln!(f, "  {}", safe(&offender.what))?;
                for shown in &offender.shown {
                    writeln!(f, "    {}", safe(shown.get()))?;
                }
            }
        }
        Ok(())
    }
}

/// One line in which nothing that was sent moves the cursor, changes a colour or the reading direction.
fn safe(text: &str) -> String {
    let escape = |character: char| -> String {
        let hidden = matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        if character.is_control() || hidden {
            character.escape_unicode().to_string()
        } else {
            character.to_string()
        }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checks_are_their_own() {
        let names: std::collections::BTreeSet<_> =
            Check::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
    }

    #[test]
    fn every_check_is_in_the_manual() {
        let manual = include_str!("../../docs/VERIFY.md");
        for check in Check::ALL {
            let row = format!("| `{}` | {} |\n", check.name(), check.meaning());
            assert!(manual.contains(&row), "docs/VERIFY.md lacks: {row}");
        }
    }

    #[test]
    fn what_was_sent_does_not_reach_the_terminal() {
        let shown = safe("a\u{1b}[2J\u{202e}b\r\n\u{9b}");
        assert_eq!(shown, "a\\u{1b}[2J\\u{202e}b\\u{d}\\u{a}\\u{9b}");
    }

    #[test]
    fn only_the_first_offenders_are_kept_and_all_are_counted() {
        let mut findings = Findings::new(2);
        for number in 0..5 {
            findings.look(Check::Lost);
            findings.fail(Check::Lost, format!("event {number}"), Vec::new());
        }
        let checks = findings.into_checks();
        let (check, checked, failed, first) = &checks[0];
        assert_eq!(
            (*check, *checked, *failed, first.len()),
            (Check::Lost, 5, 5, 2)
        );
        assert_eq!(checks.len(), Check::ALL.len());
    }
}
