//! A replay: one dead letter, two jobs that have selected it, two instances that run jobs, and the retry topic.
//!
//! In words: **one claim puts at most one record into the retry topic, and an event that is stored is never an open or discarded dead letter,
//! whoever crashes when.**
//!
//! It assumes that a stage gives one record of the retry topic the same outcome whenever it reads it. Where the rules change between two
//! readings of one record ([`Bug::RulesChangeInBetween`]), the same record can be dead-lettered and then stored.

use stateright::{Model, Property};

const JOBS: usize = 2;
const RUNNERS: usize = 2;

/// A way to get it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A dead letter is claimed whatever its state is
    ClaimUnchecked,
    /// What may have been sent is sent again without a look into the retry topic
    SentAgainUnlooked,
    /// Another instance looks into the retry topic while records may be on their way there
    NoGrace,
    /// Two instances run one job, and take its chunk for their own
    NoLock,
    /// The assumption: a record that failed is read again, by other rules
    RulesChangeInBetween,
}

/// Replays as they are, or with a bug.
#[derive(Debug, Clone, Copy, Default)]
pub struct Replay {
    /// What is wrong with it
    pub bug: Option<Bug>,
}

/// The dead letter (`recovery/src/model/dead_letter.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Letter {
    Open,
    Replaying(usize),
    Resolved,
    Discarded,
}

/// A job's item (`recovery/src/replay/state.rs`); sent as so many-th replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    Pending,
    Skipped,
    Sending(u8),
    Sent(u8),
    Stored,
    Failed,
}

/// What an instance has in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Chunk {
    job: usize,
    count: u8,
    handed_over: bool,
}

/// A record of the retry topic, by what identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sent {
    job: usize,
    count: u8,
    /// Once it was read: whether it passed
    passed: Option<bool>,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    letter: Letter,
    /// How often it was replayed, as its row says
    count: u8,
    items: [Item; JOBS],
    claimed_by: [Option<usize>; JOBS],
    /// The advisory lock of a job
    locked_by: [Option<usize>; JOBS],
    runners: [Option<Chunk>; RUNNERS],
    /// On their way to the broker, whatever became of their sender
    wire: Vec<(usize, u8)>,
    topic: Vec<Sent>,
    /// Dead letters again that the index has not read
    again: Vec<u8>,
    stored: bool,
}

/// One step of an instance, a stage, the index, or a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is explained where it happens")]
pub enum Action {
    Lock(usize, usize),
    Claim(usize, usize),
    HandOver(usize),
    Append(usize),
    Lose(usize),
    Mark(usize),
    GiveUp(usize),
    FindSent(usize, usize),
    Crash(usize),
    Consume(usize, bool),
    Index,
    Resolve(usize),
    Discard,
}

impl Replay {
    fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn may_look(self, state: &State, runner: usize, job: usize) -> bool {
        let on_its_way = state.wire.iter().any(|(of, _)| *of == job);
        // job.rs `unsettled_for`: a claim of its own was awaited longer than the client tries; that of another gets `grace`.
        !on_its_way || (self.has(Bug::NoGrace) && state.claimed_by[job] != Some(runner))
    }
}

impl Model for Replay {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            letter: Letter::Open,
            count: 0,
            items: [Item::Pending; JOBS],
            claimed_by: [None; JOBS],
            locked_by: [None; JOBS],
            runners: [None; RUNNERS],
            wire: Vec::new(),
            topic: Vec::new(),
            again: Vec::new(),
            stored: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for runner in 0..RUNNERS {
            actions.push(Action::Crash(runner));
            match state.runners[runner] {
                Some(Chunk {
                    handed_over: false, ..
                }) => actions.push(Action::HandOver(runner)),
                Some(Chunk { job, count, .. }) => {
                    if !state.wire.contains(&(job, count)) {
                        actions.push(Action::GiveUp(runner));
                    }
                    if has(state, job, count) {
                        actions.push(Action::Mark(runner));
                    }
                }
                None => {
                    for job in 0..JOBS {
                        let holds = state.locked_by[job] == Some(runner)
                            || (self.has(Bug::NoLock) && state.locked_by[job].is_some());
                        match (state.locked_by[job], state.items[job]) {
                            (None, _) => actions.push(Action::Lock(runner, job)),
                            (Some(_), Item::Pending) if holds => {
                                actions.push(Action::Claim(runner, job));
                            }
                            (Some(_), Item::Sending(_))
                                if holds
                                    && (self.has(Bug::NoLock)
                                        || self.may_look(state, runner, job)) =>
                            {
                                actions.push(Action::FindSent(runner, job));
                            }
                            (Some(_), _) => {}
                        }
                    }
                }
            }
        }
        for at in 0..state.wire.len() {
            actions.extend([Action::Append(at), Action::Lose(at)]);
        }
        for (at, record) in state.topic.iter().enumerate() {
            let again = self.has(Bug::RulesChangeInBetween) && record.passed == Some(false);
            if record.passed.is_none() || again {
                actions.push(Action::Consume(at, true));
            }
            if record.passed.is_none() {
                actions.push(Action::Consume(at, false));
            }
        }
        if !state.again.is_empty() {
            actions.push(Action::Index);
        }
        actions.extend((0..JOBS).map(Action::Resolve));
        actions.push(Action::Discard);
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            // job.rs `lock`
            Action::Lock(runner, job) => state.locked_by[job] = Some(runner),
            // claim.rs `claim`, `decide`, `note`; state.rs `claim`, `skip`: one transaction.
            Action::Claim(runner, job) => {
                if state.letter == Letter::Open || self.has(Bug::ClaimUnchecked) {
                    let count = state.count + 1;
                    state.letter = Letter::Replaying(job);
                    state.items[job] = Item::Sending(count);
                    state.claimed_by[job] = Some(runner);
                    state.runners[runner] = Some(Chunk {
                        job,
                        count,
                        handed_over: false,
                    });
                } else {
                    state.items[job] = Item::Skipped;
                }
            }
            // send.rs `publish`
            Action::HandOver(runner) => {
                let chunk = state.runners[runner].as_mut()?;
                chunk.handed_over = true;
                state.wire.push((chunk.job, chunk.count));
            }
            // The broker takes what is on its way, also of a sender that is gone; or it never gets there.
            Action::Append(at) => {
                let (job, count) = state.wire.remove(at);
                state.topic.push(Sent {
                    job,
                    count,
                    passed: None,
                });
            }
            Action::Lose(at) => drop(state.wire.remove(at)),
            // send.rs `mark`, state.rs `sent`
            Action::Mark(runner) => {
                let Chunk { job, count, .. } = state.runners[runner].take()?;
                if state.items[job] == Item::Sending(count) {
                    state.items[job] = Item::Sent(count);
                }
            }
            // No acknowledgement within `ACKNOWLEDGED_WITHIN`, which is longer than the client tries: nothing is on its way any more.
            Action::GiveUp(runner) => state.runners[runner] = None,
            // send.rs `find_sent`, state.rs `release`, `sent`
            Action::FindSent(_, job) => {
                let Item::Sending(count) = state.items[job] else {
                    return None;
                };
                if has(&state, job, count) && !self.has(Bug::SentAgainUnlooked) {
                    state.items[job] = Item::Sent(count);
                } else {
                    state.items[job] = Item::Pending;
                    if state.letter == Letter::Replaying(job) {
                        state.letter = Letter::Open;
                    }
                }
            }
            // The lock goes with the connection.
            Action::Crash(runner) => {
                state.runners[runner] = None;
                for holder in &mut state.locked_by {
                    *holder = holder.filter(|holder| *holder != runner);
                }
            }
            // A stage on the path: a row, or a dead letter again.
            Action::Consume(at, passes) => {
                state.topic[at].passed = Some(passes);
                if passes {
                    state.stored = true;
                } else {
                    state.again.push(state.topic[at].count);
                }
            }
            // index/write.rs `REPLACE`, state.rs `FAIL_AGAIN`
            Action::Index => {
                let again = state.again.remove(0);
                if again > state.count {
                    state.count = again;
                    if matches!(state.letter, Letter::Replaying(_)) {
                        state.letter = Letter::Open;
                    }
                    for item in &mut state.items {
                        if let Item::Sending(count) | Item::Sent(count) = *item
                            && count <= again
                        {
                            *item = Item::Failed;
                        }
                    }
                }
            }
            // outcome.rs `settle_page`, state.rs `resolve`
            Action::Resolve(job) => {
                let sent = matches!(state.items[job], Item::Sent(_));
                if sent && state.stored && state.letter == Letter::Replaying(job) {
                    (state.letter, state.items[job]) = (Letter::Resolved, Item::Stored);
                }
            }
            Action::Discard => {
                if state.letter == Letter::Open {
                    state.letter = Letter::Discarded;
                }
            }
        }
        (state != *before).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.topic.len() <= 3 && state.wire.len() <= 2 && state.count <= 2
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "a claim is in the retry topic once at most",
                |_, state: &State| {
                    let twice = |(at, record): (usize, &Sent)| {
                        let rest = &state.topic[at + 1..];
                        rest.iter()
                            .any(|other| (other.job, other.count) == (record.job, record.count))
                    };
                    !state.topic.iter().enumerate().any(twice)
                },
            ),
            Property::always("an event never has two fates", |_, state: &State| {
                !state.stored || matches!(state.letter, Letter::Replaying(_) | Letter::Resolved)
            }),
            Property::sometimes("it is resolved", |_, state: &State| {
                state.letter == Letter::Resolved
            }),
            Property::sometimes(
                "one job fails and the other succeeds",
                |_, state: &State| state.items == [Item::Failed, Item::Stored],
            ),
            Property::sometimes(
                "one job finds it claimed by the other",
                |_, state: &State| {
                    state.items.contains(&Item::Skipped) && state.letter != Letter::Discarded
                },
            ),
        ]
    }
}

/// Whether the retry topic has the record of this claim (send.rs `read_back`).
fn has(state: &State, job: usize, count: u8) -> bool {
    let is_it = |sent: &Sent| (sent.job, sent.count) == (job, count);
    state.topic.iter().any(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{broken, holds};

    #[test]
    fn a_claim_is_sent_once_at_most_and_no_event_has_two_fates() {
        let states = holds(Replay::default());
        println!("{states} states");
        assert!(states > 1_000, "{states}");
    }

    #[test]
    fn the_checker_finds_each_bug() {
        let (twice, two_fates) = (
            "a claim is in the retry topic once at most",
            "an event never has two fates",
        );
        for (bug, properties) in [
            (Bug::ClaimUnchecked, [twice, two_fates]),
            (Bug::SentAgainUnlooked, [twice, two_fates]),
            (Bug::NoGrace, [twice, two_fates]),
            (Bug::NoLock, [twice, two_fates]),
            (Bug::RulesChangeInBetween, [two_fates, two_fates]),
        ] {
            let found = broken(Replay { bug: Some(bug) });
            assert!(
                found.is_some_and(|found| properties.contains(&found)),
                "{bug:?}"
            );
        }
    }
}
