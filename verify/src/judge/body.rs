//! Of one source and one value: the requests that sent it, and the raw records that have it.
//!
//! A value that was answered 2xx `a` times, and `u` times without a certain answer, must be in the raw topic at least `a` times and at most
//! `a + u` times.

use crate::piece::{Answer, Expect, OfBody, OfEvent, OfRaw, Place, Position, Record, Sent};
use crate::report::{Check, Findings};
use contracts::kafka::headers;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is passed on to the other judges.
#[derive(Default)]
pub(crate) struct PassedOn {
    pub(crate) raw: Vec<(Position, OfRaw)>,
    /// By source and event id
    pub(crate) events: Vec<(String, String, OfEvent)>,
}

/// Judges what has one source and value. With `others`, records that no journal knows are not judged: somebody else sent them.
///
/// `clocks` is by how much the clocks of brokers and senders differ at most; without it no answer is compared with a time of Kafka's.
pub(crate) fn judge(
    group: Vec<OfBody>,
    others: bool,
    clocks: Option<Duration>,
    found: &mut Findings,
) -> PassedOn {
    let (mut sent, mut raw, mut old) = (Vec::new(), Vec::new(), BTreeSet::new());
    for piece in group {
        match piece {
            OfBody::Sent(one) => sent.push(one),
            OfBody::Raw { position, record } => raw.push((position, record)),
            OfBody::Old { position } => drop(old.insert(position)),
        }
    }
    let mut passed = PassedOn::default();
    let times = |answer: Answer| sent.iter().filter(|one| one.answer == answer).count();
    let (accepted, unknown) = (times(Answer::Accepted), times(Answer::Unknown));
    let lines = |answers: &[Answer]| -> Vec<Place> {
        let of = sent.iter().filter(|one| answers.contains(&one.answer));
        of.map(|one| one.place.clone()).take(4).collect()
    };
    // What must be refused is accepted only as unproven, where its source says so.
    let refused = sent.iter().all(|one| one.expect == Expect::Refused) && !sent.is_empty();
    let is_unproven = |record: &Record| record.has(headers::UNPROVEN);
    if refused {
        found.look(Check::AcceptedForgery);
        let proven: Vec<Place> = raw
            .iter()
            .filter(|(_, record)| !is_unproven(record))
            .map(|(_, record)| record.place())
            .collect();
        if !proven.is_empty() || accepted > raw.len() {
            let mut places = lines(&[Answer::Accepted, Answer::Unknown]);
            places.extend(proven.into_iter().take(4));
            let what = "it must be refused, and was accepted";
            found.fail(Check::AcceptedForgery, what, places);
        }
        return passed;
    }
    for _ in 0..accepted {
        found.look(Check::Lost);
    }
    let known = raw.len() + old.len();
    if known < accepted {
        // Another judge looks whether a raw topic that was deleted had it.
        let first = sent.iter().find(|one| one.answer == Answer::Accepted);
        if let Some(first) = first {
            let missing = OfEvent::Missing {
                place: first.place.clone(),
                times: (accepted - known) as u64,
            };
            passed
                .events
                .push((first.source.clone(), first.event_id.clone(), missing));
        }
    }
    if let Some(clocks) = clocks {
        judge_times(&sent, &raw, clocks, found);
    }
    for (position, record) in &raw {
        judge_raw(record, &sent, others, found);
        if let Some(first) = sent.first() {
            let mut expects: Vec<Expect> = sent.iter().map(|one| one.expect.clone()).collect();
            expects.sort();
            expects.dedup();
            let asked = OfRaw::Asked {
                expects,
                place: first.place.clone(),
                event_id: first.event_id.clone(),
            };
            passed.raw.push((position.clone(), asked));
        }
    }
    if raw.len() > accepted + unknown && !sent.is_empty() {
        let mut places = lines(&[Answer::Accepted, Answer::Unknown, Answer::Refused]);
        places.extend(raw.iter().map(|(_, record)| record.place()).take(4));
        let what = format!(
            "{} raw records of it, but it was answered 2xx {accepted} times, and {unknown} times without a certain answer",
            raw.len()
        );
        found.fail(Check::Invented, what, places);
    }
    let conflict = |one: &&Sent| matches!(&one.expect, Expect::Dead(code) if code == "conflict");
    for one in sent.iter().filter(conflict) {
        passed.events.push((
            one.source.clone(),
            one.event_id.clone(),
            OfEvent::Conflicting,
        ));
    }
    passed
}

/// The first answer 2xx comes after the first raw record was appended, the second after the second, and so on.
fn judge_times(sent: &[Sent], raw: &[(Position, Record)], clocks: Duration, found: &mut Findings) {
    let accepted = sent.iter().filter(|one| one.answer == Answer::Accepted);
    let mut answers: Vec<(i64, &Sent)> = accepted
        .filter_map(|one| Some((one.answered_at_micros?, one)))
        .collect();
    answers.sort_by_key(|(at, _)| *at);
    let mut appended: Vec<(i64, &Record)> = raw
        .iter()
        .filter_map(|(_, record)| Some((record.appended_at_millis? * 1000, record)))
        .collect();
    appended.sort_by_key(|(at, _)| *at);
    let clocks = i64::try_from(clocks.as_micros()).unwrap_or(i64::MAX);
    for ((answered, one), (appended, record)) in answers.into_iter().zip(appended) {
        found.look(Check::AnsweredEarly);
        if answered.saturating_add(clocks) < appended {
            let millis = (appended - answered) / 1000;
            let what = format!("it was answered 2xx {millis} ms before its record was appended");
            let places = vec![one.place.clone(), record.place()];
            found.fail(Check::AnsweredEarly, what, places);
        }
    }
}

fn judge_raw(record: &Record, sent: &[Sent], others: bool, found: &mut Findings) {
    if sent.is_empty() {
        if !others {
            found.look(Check::Invented);
            let what = "a raw record that is in no journal; --allow-others lets others send, too";
            found.fail(Check::Invented, what, vec![record.place()]);
        }
        return;
    }
    found.look(Check::Invented);
    found.look(Check::NotVerbatim);
    // The headers that the edge keeps are those of one request: a signature and its time are of the same.
    let kept = |name: &str| !name.starts_with("ef.") && name != headers::TRACEPARENT;
    let is_of = |one: &Sent| {
        record
            .headers
            .iter()
            .filter(|(name, _)| kept(name))
            .all(|(name, value)| {
                let mut own = one
                    .headers
                    .iter()
                    .filter(|(own, _)| own.eq_ignore_ascii_case(name))
                    .peekable();
                let kept = value.as_ref().map(|value| value.as_slice());
                own.peek().is_none()
                    || own
                        .any(|(_, value)| value == "(not shown)" || Some(value.as_bytes()) == kept)
            })
    };
    if !sent.iter().any(is_of) {
        let mut places = vec![record.place()];
        places.extend(sent.iter().map(|one| one.place.clone()).take(4));
        let what = "its headers are of no request that sent these bytes";
        found.fail(Check::NotVerbatim, what, places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::world::{position, raw, request};

    fn failed(group: Vec<OfBody>) -> (Vec<&'static str>, PassedOn) {
        let mut found = Findings::new(3);
        let passed = judge(group, false, Some(Duration::ZERO), &mut found);
        (
            found.failed().into_iter().map(|(name, _)| name).collect(),
            passed,
        )
    }

    fn sent(expect: Expect, answer: Answer) -> OfBody {
        OfBody::Sent(Sent {
            expect,
            answer,
            ..request()
        })
    }

    fn in_topic(offset: i64) -> OfBody {
        let record = Record { offset, ..raw() };
        OfBody::Raw {
            position: position(offset),
            record,
        }
    }

    #[test]
    fn what_was_answered_2xx_is_in_the_topic_as_often() {
        let good = |answer| sent(Expect::Good, answer);
        let old = |offset| OfBody::Old {
            position: position(offset),
        };
        for (times, group) in [
            (0, vec![good(Answer::Accepted), in_topic(0)]),
            (0, vec![good(Answer::Unknown), in_topic(0)]),
            (0, vec![good(Answer::Unknown)]),
            (0, vec![good(Answer::Refused)]),
            (
                0,
                vec![
                    good(Answer::Unknown),
                    good(Answer::Accepted),
                    in_topic(0),
                    in_topic(1),
                ],
            ),
            (1, vec![good(Answer::Accepted)]),
            (0, vec![good(Answer::Accepted), old(1), old(1)]),
            (
                1,
                vec![
                    good(Answer::Accepted),
                    good(Answer::Accepted),
                    old(1),
                    old(1),
                ],
            ),
            (
                1,
                vec![good(Answer::Accepted), good(Answer::Accepted), in_topic(0)],
            ),
            (2, vec![good(Answer::Accepted), good(Answer::Accepted)]),
        ] {
            let (failed, passed) = failed(group);
            assert_eq!(failed, Vec::<&str>::new());
            let missing = passed.events.iter().find_map(|(_, _, piece)| match piece {
                OfEvent::Missing { times, .. } => Some(*times),
                _ => None,
            });
            assert_eq!(missing.unwrap_or(0), times);
        }
    }

    #[test]
    fn an_answer_comes_after_the_record_it_is_about() {
        let answered = |millis: i64| {
            let at = Some(1000 * millis);
            OfBody::Sent(Sent {
                answered_at_micros: at,
                ..request()
            })
        };
        let appended = |offset: i64, millis: i64| {
            let record = Record {
                offset,
                appended_at_millis: Some(millis),
                ..raw()
            };
            OfBody::Raw {
                position: position(offset),
                record,
            }
        };
        let sound = vec![answered(5), appended(0, 5)];
        assert_eq!(failed(sound).0, Vec::<&str>::new());
        let early = vec![answered(4), appended(0, 5)];
        assert_eq!(failed(early).0, ["answered_early"]);
        let both = |second| {
            vec![
                answered(9),
                answered(5),
                appended(1, second),
                appended(0, 5),
            ]
        };
        assert_eq!(failed(both(8)).0, Vec::<&str>::new());
        assert_eq!(failed(both(12)).0, ["answered_early"]);
        let mut found = Findings::new(1);
        let apart = Some(Duration::from_millis(2));
        judge(vec![answered(4), appended(0, 5)], false, apart, &mut found);
        assert!(found.failed().is_empty(), "the clocks may differ so much");
    }

    #[test]
    fn what_nobody_sent_is_invented() {
        assert_eq!(failed(vec![in_topic(0)]).0, ["invented"]);
        let good = sent(Expect::Good, Answer::Accepted);
        assert_eq!(failed(vec![good, in_topic(0), in_topic(1)]).0, ["invented"]);
        let refused = sent(Expect::Good, Answer::Refused);
        assert_eq!(failed(vec![refused, in_topic(0)]).0, ["invented"]);
        let mut found = Findings::new(1);
        judge(vec![in_topic(0)], true, None, &mut found);
        assert!(found.failed().is_empty(), "others may send, too");
    }

    #[test]
    fn a_forgery_is_accepted_by_an_answer_or_a_record() {
        let forged = |answer| sent(Expect::Refused, answer);
        assert_eq!(failed(vec![forged(Answer::Refused)]).0, Vec::<&str>::new());
        assert_eq!(failed(vec![forged(Answer::Unknown)]).0, Vec::<&str>::new());
        assert_eq!(
            failed(vec![forged(Answer::Accepted)]).0,
            ["accepted_forgery"]
        );
        assert_eq!(
            failed(vec![forged(Answer::Refused), in_topic(0)]).0,
            ["accepted_forgery"]
        );
        let OfBody::Raw {
            position,
            mut record,
        } = in_topic(0)
        else {
            unreachable!()
        };
        record
            .headers
            .push((headers::UNPROVEN.to_owned(), Some(b"stale".to_vec().into())));
        let unproven = OfBody::Raw { position, record };
        assert_eq!(
            failed(vec![forged(Answer::Accepted), unproven]).0,
            Vec::<&str>::new()
        );
    }

    #[test]
    fn the_kept_headers_are_those_of_one_request() {
        let good = || sent(Expect::Good, Answer::Accepted);
        let OfBody::Raw {
            position,
            mut record,
        } = in_topic(0)
        else {
            unreachable!()
        };
        for (name, value) in &mut record.headers {
            if name == "x-signature" {
                *value = Some(b"of another".to_vec().into());
            }
        }
        assert_eq!(
            failed(vec![good(), OfBody::Raw { position, record }]).0,
            ["not_verbatim"]
        );
    }
}
