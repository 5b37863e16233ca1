//! Dead letters and replays of one raw record: verbatim, with a documented code, and for a reason.

use super::fate::{OfOne, Scope};
use crate::piece::{Record, Topic};
use crate::report::{Check, Findings};
use contracts::RejectionCode;
use contracts::kafka::headers::{self, dlq};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

pub(super) fn judge(one: &OfOne<'_>, scope: &Scope<'_>, found: &mut Findings) {
    for letter in &one.dead {
        found.look(Check::NotVerbatim);
        if let Some(problem) = altered(letter, one, scope) {
            let mut places = vec![letter.place()];
            places.extend(one.raw.map(Record::place));
            found.fail(Check::NotVerbatim, problem, places);
        }
        found.look(Check::BadCode);
        if let Some(problem) = undocumented(letter) {
            found.fail(Check::BadCode, problem, vec![letter.place()]);
        }
    }
    judge_twice(one, found);
    for replay in &one.retries {
        found.look(Check::ReplayUnfounded);
        let revalidates = replay.has(headers::REVALIDATES);
        if one.dead.is_empty() && !revalidates && !scope.is_gone(Topic::Dead) {
            let what = "a replay, but no dead letter of this raw record";
            found.fail(Check::ReplayUnfounded, what, vec![replay.place()]);
        }
        found.look(Check::NotVerbatim);
        let mut before = one.dead.iter().copied().chain(one.raw);
        let is_edited = replay.has(headers::EDITED_BY);
        let known = !one.dead.is_empty() || one.raw.is_some();
        if !is_edited && known && !before.any(|letter| letter.value == replay.value) {
            let what = "an unedited replay of other bytes than its dead letter has";
            let mut places = vec![replay.place()];
            places.extend(one.dead.first().map(|letter| letter.place()));
            found.fail(Check::NotVerbatim, what, places);
        }
    }
}

/// Each replay of a raw record says how many there were before it, counted when it failed again: two of one number were sent for one dead letter.
fn judge_twice(one: &OfOne<'_>, found: &mut Findings) {
    let mut seen: BTreeMap<(Topic, &str), &Record> = BTreeMap::new();
    let of_letters = one
        .retries
        .iter()
        .filter(|replay| !replay.has(headers::REVALIDATES));
    for replay in of_letters {
        let Some(count) = replay.text(headers::REPLAY_COUNT) else {
            continue;
        };
        found.look(Check::ReplayedTwice);
        if let Some(first) = seen.insert((replay.topic, count), replay) {
            let what = format!("replay {count} of this raw record is in its retry topic twice");
            let places = vec![first.place(), replay.place()];
            found.fail(Check::ReplayedTwice, what, places);
        }
    }
}

/// How a dead letter differs from the record that failed.
fn altered(letter: &Record, one: &OfOne<'_>, scope: &Scope<'_>) -> Option<String> {
    let Some(topic) = letter.text(dlq::ERRORS_TOPIC) else {
        return Some("it does not say in which topic it failed".to_owned());
    };
    let Some(topic) = scope.topic(topic) else {
        return Some(format!(
            "it failed in {topic:?}, which is no topic of the pipeline"
        ));
    };
    let number = |name| letter.text(name).and_then(|text| text.parse::<i64>().ok());
    let place = (number(dlq::ERRORS_PARTITION), number(dlq::ERRORS_OFFSET));
    let of_topic: Vec<&Record> = one.of(topic).collect();
    let there = of_topic
        .iter()
        .find(|record| place == (Some(i64::from(record.partition)), Some(record.offset)));
    // A topic that was deleted and created again has other records at the same place: then any copy will do.
    let is_recreated = scope.epochs > 1 || scope.is_recreated(topic);
    let (failed, is_known) = match there {
        Some(record) if !is_recreated => (vec![*record], true),
        _ => (of_topic, false),
    };
    let gone = scope.is_gone(topic);
    if failed.is_empty() {
        let gone = gone || is_recreated;
        return (!gone).then(|| "the record that it says has failed is not there".to_owned());
    }
    let problem = |record: &&Record| -> Option<&'static str> {
        if letter.value != record.value {
            return Some("its bytes are not those of the record that failed");
        }
        if letter.key != record.key {
            return Some("its key is not that of the record that failed");
        }
        let has_raw = record.has(headers::RAW);
        let own = |(name, _): &&(String, Option<ByteBuf>)| {
            !dlq::ALL.contains(&name.as_str()) && (has_raw || name != headers::RAW)
        };
        let same = letter
            .headers
            .iter()
            .filter(own)
            .eq(record.headers.iter().filter(own));
        (!same).then_some("its headers are not those of the record that failed")
    };
    let problems: Option<Vec<_>> = failed.iter().map(problem).collect();
    // What is left may be another replay of the same raw record.
    let problems = problems.filter(|_| is_known || !gone);
    problems.and_then(|problems| problems.first().map(|&problem| problem.to_owned()))
}

/// What is wrong with why it was dead-lettered.
fn undocumented(letter: &Record) -> Option<String> {
    let code = letter.text(dlq::CODE).unwrap_or("(none)");
    let Some(known) = RejectionCode::ALL.iter().find(|one| one.code() == code) else {
        return Some(format!("{code} is not a code of a dead letter"));
    };
    let disposition = letter.text(dlq::DISPOSITION).unwrap_or("(none)");
    (disposition != known.disposition())
        .then(|| format!("{code} is {}, not {disposition}", known.disposition()))
}
