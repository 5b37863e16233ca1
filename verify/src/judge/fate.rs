//! Of one raw record: the record, what was made of it, and its fate.

use super::letter;
use crate::avro::Schemas;
use crate::content::{event_differs, row_differs};
use crate::piece::{Expect, OfEvent, OfRaw, Place, Position, Record, Row, Topic};
use crate::report::{Check, Counts, Findings};
use contracts::kafka::headers::{self, dlq};
use std::collections::BTreeMap;

/// What was read of the topics.
pub(crate) struct Scope<'s> {
    /// Names of the topics
    pub(crate) names: BTreeMap<Topic, String>,
    /// Of the raw topic that was read
    pub(crate) epoch: String,
    /// Of each of its partitions, where its oldest record was, and its end before and after everything was read
    pub(crate) raw: BTreeMap<i32, (i64, i64, i64)>,
    /// Topics whose oldest records are gone
    pub(crate) gone: Vec<Topic>,
    /// Topics that were deleted and created again: an offset may be that of an older record
    pub(crate) recreated: Vec<Topic>,
    /// How many raw topics the records and rows are of
    pub(crate) epochs: usize,
    /// Where validated records can be read
    pub(crate) schemas: Option<&'s Schemas>,
}

impl Scope<'_> {
    pub(crate) fn topic(&self, name: &str) -> Option<Topic> {
        let mut names = self.names.iter();
        names.find(|(_, own)| *own == name).map(|(topic, _)| *topic)
    }

    pub(crate) fn is_gone(&self, topic: Topic) -> bool {
        self.gone.contains(&topic) || self.is_recreated(topic)
    }

    pub(crate) fn is_recreated(&self, topic: Topic) -> bool {
        self.recreated.contains(&topic)
    }

    /// Whether there may have been replays that nobody can read any more.
    fn misses_replays(&self) -> bool {
        let is_retry = |topic: &Topic| matches!(topic, Topic::Retry(_));
        self.gone.iter().chain(&self.recreated).any(is_retry)
    }

    /// Whether a record at this position cannot be: it was looked for, or the topic never came as far.
    fn cannot_be(&self, position: &Position) -> bool {
        let is_unknown = |&(low, high, now): &(i64, i64, i64)| {
            position.offset < low || (high..now).contains(&position.offset)
        };
        let range = self.raw.get(&position.partition);
        position.epoch == self.epoch && !range.is_some_and(is_unknown)
    }
}

/// Everything of one raw record.
#[derive(Default)]
pub(super) struct OfOne<'g> {
    pub(super) raw: Option<&'g Record>,
    pub(super) validated: Vec<&'g Record>,
    pub(super) dead: Vec<&'g Record>,
    pub(super) retries: Vec<&'g Record>,
    rows: Vec<&'g Row>,
    /// Source and event id of each
    duplicates: Vec<(&'g str, &'g str)>,
    filtered: Vec<(&'g str, &'g str)>,
    asked: Option<(&'g [Expect], &'g Place, &'g str)>,
}

impl<'g> OfOne<'g> {
    fn new(group: &'g [OfRaw]) -> Self {
        let mut one = Self::default();
        for piece in group {
            match piece {
                OfRaw::Record(record) => match record.topic {
                    Topic::Raw => one.raw = Some(record),
                    Topic::Validated => one.validated.push(record),
                    Topic::Dead => one.dead.push(record),
                    Topic::Retry(_) => one.retries.push(record),
                },
                OfRaw::Row(row) => one.rows.push(row),
                OfRaw::Duplicate { source, event_id } => one.duplicates.push((source, event_id)),
                OfRaw::Filtered { source, event_id } => one.filtered.push((source, event_id)),
                OfRaw::Asked {
                    expects,
                    place,
                    event_id,
                } => one.asked = Some((expects, place, event_id)),
            }
        }
        one
    }

    pub(super) fn of(&self, topic: Topic) -> impl Iterator<Item = &'g Record> {
        let all = [&self.validated, &self.dead, &self.retries];
        let all: Vec<&Record> = all.into_iter().flatten().copied().chain(self.raw).collect();
        all.into_iter().filter(move |record| record.topic == topic)
    }

    fn fates(&self) -> usize {
        self.rows.len() + self.duplicates.len() + self.filtered.len()
    }

    /// A few of what there is, to be shown.
    fn places(&self) -> Vec<Place> {
        let first = |records: &[&Record]| records.first().map(|record| record.place());
        let line = self.asked.map(|(_, place, _)| place.clone());
        let raw = self.raw.map(Record::place);
        let row = self.rows.first().map(|row| row.place());
        [
            line,
            raw,
            first(&self.validated),
            first(&self.dead),
            first(&self.retries),
            row,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Judges what has one raw position; what it says of its event is for the judge of events.
pub(crate) fn judge(
    position: &Position,
    group: &[OfRaw],
    scope: &Scope<'_>,
    counts: &mut Counts,
    found: &mut Findings,
) -> Vec<(String, String, OfEvent)> {
    let one = OfOne::new(group);
    letter::judge(&one, scope, found);
    let Some(raw) = one.raw else {
        if scope.cannot_be(position) {
            let what = format!("there is no raw record {position}");
            found.fail(Check::Invented, what, one.places());
        } else {
            counts.unseen += 1;
        }
        return old_letters(position, &one, scope);
    };
    count(&one, counts);
    judge_fates(&one, scope, found);
    judge_content(&one, raw, scope, found);
    let mut passed = judge_expected(position, &one, raw, scope, found);
    passed.extend(old_letters(position, &one, scope));
    passed
}

fn count(one: &OfOne<'_>, counts: &mut Counts) {
    counts.raw += 1;
    match (
        one.rows.len(),
        one.duplicates.len(),
        one.filtered.len(),
        one.dead.len(),
    ) {
        (1.., _, _, _) => counts.stored += 1,
        (0, 1.., _, _) => counts.duplicate += 1,
        (0, 0, 1.., _) => counts.filtered += 1,
        (0, 0, 0, 1..) => counts.dead_lettered += 1,
        (0, 0, 0, 0) => {}
    }
}

fn judge_fates(one: &OfOne<'_>, scope: &Scope<'_>, found: &mut Findings) {
    found.look(Check::NoFate);
    found.look(Check::TwoFates);
    let (fates, dead) = (one.fates(), !one.dead.is_empty());
    if fates == 0 && !dead {
        let what = match one.validated.is_empty() {
            true => "not validated, not dead-lettered",
            false => "validated, but not stored and not dead-lettered",
        };
        found.fail(Check::NoFate, what, one.places());
    }
    // Each replay that stored nothing was dead-lettered again, or is lost.
    let replay_id = |record: &Record| record.text(headers::REPLAY_ID).map(str::to_owned);
    let came_back = |replay: &&Record| {
        let mut dead = one.dead.iter();
        dead.any(|letter| replay_id(letter) == replay_id(replay))
    };
    if fates == 0 && dead && !one.retries.iter().all(came_back) {
        let what = "replayed, and neither stored nor dead-lettered again";
        found.fail(Check::NoFate, what, one.places());
    }
    if fates > 1 {
        let what = format!(
            "{} rows, {} times a duplicate, {} times filtered",
            one.rows.len(),
            one.duplicates.len(),
            one.filtered.len()
        );
        found.fail(Check::TwoFates, what, one.places());
    }
    if fates > 0 && dead && one.retries.is_empty() && !scope.misses_replays() {
        let what = "it has a fate and a dead letter, and nobody replayed it";
        found.fail(Check::TwoFates, what, one.places());
    }
}

fn judge_content(one: &OfOne<'_>, raw: &Record, scope: &Scope<'_>, found: &mut Findings) {
    // What an edit says instead is in the replay, and not known if that is gone.
    let is_known = |edited: bool| !(edited && scope.misses_replays());
    let edits: Vec<&[u8]> = one
        .retries
        .iter()
        .filter(|replay| replay.has(headers::EDITED_BY))
        .map(|replay| replay.value())
        .collect();
    for row in one
        .rows
        .iter()
        .filter(|row| is_known(row.edited_by.is_some()))
    {
        found.look(Check::FieldDiffers);
        let problem = match row.edited_by {
            None => row_differs(row, raw, raw.value()),
            Some(_) => {
                let problems: Option<Vec<_>> = edits
                    .iter()
                    .map(|value| row_differs(row, raw, value))
                    .collect();
                let unknown = || Some("the row was edited, but no replay was".to_owned());
                problems.and_then(|problems| problems.into_iter().next().or_else(unknown))
            }
        };
        if let Some(problem) = problem {
            found.fail(Check::FieldDiffers, problem, one.places());
        }
    }
    let Some(schemas) = scope.schemas else { return };
    // Of a filtered event there is only the rule.
    for record in one.validated.iter().filter(|record| record.value.is_some()) {
        let edited = record.has(headers::EDITED_BY);
        if !is_known(edited) {
            continue;
        }
        found.look(Check::FieldDiffers);
        let problem = match schemas.read(record.value()) {
            Err(error) => Some(format!("the validated record cannot be read: {error:#}")),
            Ok(made) if edited => {
                let problems: Option<Vec<_>> = edits
                    .iter()
                    .map(|value| event_differs(&made, value, None))
                    .collect();
                problems.and_then(|problems| problems.into_iter().next())
            }
            Ok(made) => event_differs(&made, raw.value(), raw.text(headers::EVENT_ID)),
        };
        if let Some(problem) = problem {
            let mut places = vec![record.place()];
            places.extend(one.places());
            found.fail(Check::FieldDiffers, format!("validated: {problem}"), places);
        }
    }
}

/// What the journal, or the edge, says must become of it.
fn judge_expected(
    position: &Position,
    one: &OfOne<'_>,
    raw: &Record,
    scope: &Scope<'_>,
    found: &mut Findings,
) -> Vec<(String, String, OfEvent)> {
    let codes: Vec<&str> = one
        .dead
        .iter()
        .filter_map(|letter| letter.text(dlq::CODE))
        .collect();
    let mut fail = |check, what: String| found.fail(check, what, one.places());
    if let Some(unproven) = raw.text(headers::UNPROVEN) {
        let fates = one.fates();
        if fates > 0 && !codes.contains(&unproven) {
            fail(
                Check::WrongFate,
                format!("{unproven}, and stored without a dead letter"),
            );
        }
        return Vec::new();
    }
    let Some((expects, _, event_id)) = one.asked else {
        return Vec::new();
    };
    let good = expects.contains(&Expect::Good);
    let wanted: Vec<&str> = expects
        .iter()
        .filter_map(|expect| match expect {
            Expect::Dead(code) => Some(code.as_str()),
            Expect::Good | Expect::Refused | Expect::Any => None,
        })
        .collect();
    if good && wanted.is_empty() {
        found.look(Check::OutageDeadLettered);
        let (conflicts, others): (Vec<&str>, Vec<&str>) =
            codes.iter().partition(|code| **code == "conflict");
        if let Some(code) = others.first() {
            let what = format!("it has no fault, and is dead-lettered as {code}");
            found.fail(Check::OutageDeadLettered, what, one.places());
        }
        if !conflicts.is_empty() {
            // Another content under its id may have come first.
            let places = one.places();
            let conflict = OfEvent::Conflict { places };
            return vec![(raw.source().to_owned(), event_id.to_owned(), conflict)];
        }
        return Vec::new();
    }
    if let Some(code) = wanted.first().filter(|_| !good) {
        found.look(Check::WrongFate);
        // Which of two contents came first is not known; and a contract may allow today what it refused before.
        let replayed = !one.retries.is_empty() || scope.misses_replays();
        let may_be_stored = *code == "conflict" || replayed;
        let is_undecided = one.fates() == 0 && codes.is_empty();
        let is_dead = codes.iter().any(|own| wanted.contains(own));
        if !(is_dead || is_undecided || may_be_stored && codes.is_empty()) {
            let what = match codes.first() {
                Some(other) => format!("it must be dead-lettered as {code}, and is as {other}"),
                None => format!("it must be dead-lettered as {code}, and has another fate"),
            };
            found.fail(Check::WrongFate, what, one.places());
        }
        if *code == "conflict" && codes.is_empty() && one.fates() > 0 {
            // Right only where the other content is the conflict.
            let position = position.clone();
            let taken = OfEvent::TakenInstead { position };
            return vec![(raw.source().to_owned(), event_id.to_owned(), taken)];
        }
    }
    Vec::new()
}

/// Dead letters of a raw topic that was deleted: that an event has one is all that is known.
fn old_letters(
    position: &Position,
    one: &OfOne<'_>,
    scope: &Scope<'_>,
) -> Vec<(String, String, OfEvent)> {
    if position.epoch == scope.epoch || one.fates() > 0 {
        return Vec::new();
    }
    // A letter of the raw record itself has its bytes, by which it was counted.
    let of = |letter: &&Record| {
        let topic = letter.text(dlq::ERRORS_TOPIC)?;
        if scope.topic(topic) == Some(Topic::Raw) {
            return None;
        }
        let event_id = letter.text(headers::EVENT_ID)?;
        let old = OfEvent::OldDead {
            position: position.clone(),
        };
        Some((letter.source().to_owned(), event_id.to_owned(), old))
    };
    one.dead.first().and_then(of).into_iter().collect()
}

#[cfg(test)]
mod tests;
