//! The audit's checkpoint: one partition of the raw topic, which may be deleted and created again, and every offset on the way to a fate.
//!
//! In words: **what the audit counts as accounted for has a fate in the database, and what it calls a gap has lost its fate for good; stages
//! crash, commit late and read again, and the topic may be another of the same name.**
//!
//! Records that a checkpoint does not cover are in flight: nothing is said of them.

use stateright::{Model, Property};

/// The topic, and the one that was created again.
const TOPICS: usize = 2;
/// Records of each of them.
const RECORDS: [u8; TOPICS] = [1, 2];
/// Records of a topic behind the validator, with those that are published twice.
const MOST: usize = 2;

/// A way to get it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The end of the raw topic is taken for what is settled
    TrustsHigh,
    /// Where the validated topic ends is read before what the validator has committed
    EndsFirst,
    /// The checkpoint does not wait for the index
    IndexNotAwaited,
    /// Positions of the recreated topic are taken for those of the old one
    TopicIdIgnored,
    /// What was committed in the old topic counts for the recreated one: Kafka keeps commits by the topic's name
    CommitOfOldTopicCounts,
}

/// The audit as it is, or with a bug.
#[derive(Debug, Clone, Copy, Default)]
pub struct Audit {
    /// What is wrong with it
    pub bug: Option<Bug>,
}

/// A raw record: which topic, and its offset.
type Raw = (usize, u8);

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    /// The raw topic that there is
    topic: usize,
    high: u8,
    /// What the validator reads next; of which topic it thinks that is
    reads: Raw,
    /// What its group has committed, with the note that says of which topic
    committed: Option<Raw>,
    validated: Vec<Raw>,
    persisted: usize,
    dead_letters: Vec<Raw>,
    indexed: usize,
    /// Bits by offset, for each topic
    rows: [u8; TOPICS],
    letters: [u8; TOPICS],
    /// Stepped over by hand, or deleted before it was read
    lost: [u8; TOPICS],
    checkpoint: Checkpoint,
    /// What the audit says
    accounted: [u8; TOPICS],
    gaps: [u8; TOPICS],
}

/// How far the proof has come (`recovery/src/barrier.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Checkpoint {
    #[default]
    None,
    /// Only with [`Bug::EndsFirst`]
    Ends(usize),
    /// Of a topic, so much is settled
    Settled(Raw),
    /// Persistence must have read so many
    BehindValidated(Raw, usize),
    /// The index must have read so many
    BehindDeadLetters(Raw, usize),
}

/// One step of a stage, of the audit, or of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is explained where it happens")]
pub enum Action {
    Produce,
    Forward,
    Reject,
    StepOver,
    Commit,
    Restart,
    MakeAnew,
    Store,
    Conflict,
    Index,
    ReadSettled,
    ReadEnds,
    Advance,
}

fn bit(offset: u8) -> u8 {
    1 << offset
}

impl Audit {
    fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// What is settled in the topic that there is, as the audit reads it (checkpoint.rs `take`, barrier.rs `committed`).
    fn settled(self, state: &State) -> u8 {
        if self.has(Bug::TrustsHigh) {
            return state.high;
        }
        let counts = |of: usize| of == state.topic || self.has(Bug::CommitOfOldTopicCounts);
        state
            .committed
            .filter(|(of, _)| counts(*of))
            .map_or(0, |(_, next)| next)
    }

    /// Whether the database has a fate of this record (classify.rs `classify`).
    fn has_fate(self, state: &State, (topic, offset): Raw) -> bool {
        let fates = |topic: usize| state.rows[topic] | state.letters[topic];
        let of_another = self.has(Bug::TopicIdIgnored) && fates(1 - topic) & bit(offset) != 0;
        fates(topic) & bit(offset) != 0 || of_another
    }

    /// pages.rs `examine_pages`: what is settled, in one snapshot; what was a gap before is looked at again.
    fn examine(self, state: &mut State, (topic, settled): Raw) {
        for offset in 0..settled {
            let found = self.has_fate(state, (topic, offset));
            let (now, no_longer) = match found {
                true => (&mut state.accounted, &mut state.gaps),
                false => (&mut state.gaps, &mut state.accounted),
            };
            now[topic] |= bit(offset);
            no_longer[topic] &= !bit(offset);
        }
    }
}

impl Model for Audit {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend([Action::Restart, Action::Commit]);
        if state.high < RECORDS[state.topic] {
            actions.push(Action::Produce);
        }
        if state.topic == 0 {
            actions.push(Action::MakeAnew);
        }
        if state.reads.0 == state.topic && state.reads.1 < state.high {
            if state.validated.len() < MOST {
                actions.push(Action::Forward);
            }
            if state.dead_letters.len() < MOST {
                actions.push(Action::Reject);
            }
            actions.push(Action::StepOver);
        }
        if state.persisted < state.validated.len() {
            actions.push(Action::Store);
            if state.dead_letters.len() < MOST {
                actions.push(Action::Conflict);
            }
        }
        if state.indexed < state.dead_letters.len() {
            actions.push(Action::Index);
        }
        actions.push(match (state.checkpoint, self.has(Bug::EndsFirst)) {
            (Checkpoint::None, true) | (Checkpoint::Settled(_), false) => Action::ReadEnds,
            (Checkpoint::None, false) | (Checkpoint::Ends(_), _) => Action::ReadSettled,
            (_, _) => Action::Advance,
        });
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Produce => state.high += 1,
            // The validator: published and acknowledged, not committed yet. A record that it reads again has the same outcome.
            Action::Forward => {
                if state.letters[state.reads.0] & bit(state.reads.1) != 0
                    || state.dead_letters.contains(&state.reads)
                {
                    return None;
                }
                state.validated.push(state.reads);
                state.reads.1 += 1;
            }
            Action::Reject => {
                if state.validated.contains(&state.reads) {
                    return None;
                }
                state.dead_letters.push(state.reads);
                state.reads.1 += 1;
            }
            // A person sets the group ahead.
            Action::StepOver => {
                let (topic, offset) = state.reads;
                let is_known = |records: &[Raw]| records.contains(&(topic, offset));
                if !is_known(&state.validated) && !is_known(&state.dead_letters) {
                    state.lost[topic] |= bit(offset);
                }
                state.reads.1 += 1;
            }
            // Also late: the topic may be another by now, and Kafka takes the commit by the topic's name.
            Action::Commit => state.committed = Some(state.reads),
            // A crash, or the client replaced because the topic is another (incarnation.rs `recreated`, start.rs `committed`).
            Action::Restart => {
                let own = state.committed.filter(|(of, _)| *of == state.topic);
                state.reads = own.unwrap_or((state.topic, 0));
            }
            // What nobody has read of the old one is lost. Kafka deletes the group's commits with the topic.
            Action::MakeAnew => {
                for offset in 0..state.high {
                    let known = |records: &[Raw]| records.contains(&(0, offset));
                    if !known(&state.validated) && !known(&state.dead_letters) {
                        state.lost[0] |= bit(offset);
                    }
                }
                (state.topic, state.high, state.committed) = (1, 0, None);
            }
            // persistence: row and offset in one transaction.
            Action::Store => {
                let (topic, offset) = state.validated[state.persisted];
                state.rows[topic] |= bit(offset);
                state.persisted += 1;
            }
            // A dead letter, acknowledged; then the offset.
            Action::Conflict => {
                let raw = state.validated[state.persisted];
                if state.rows[raw.0] & bit(raw.1) != 0 {
                    return None;
                }
                state.dead_letters.push(raw);
                state.persisted += 1;
            }
            Action::Index => {
                let (topic, offset) = state.dead_letters[state.indexed];
                state.letters[topic] |= bit(offset);
                state.indexed += 1;
            }
            // checkpoint.rs `take`
            Action::ReadSettled => {
                let settled = (state.topic, self.settled(&state));
                state.checkpoint = match state.checkpoint {
                    Checkpoint::Ends(ends) => Checkpoint::BehindValidated(settled, ends),
                    _ => Checkpoint::Settled(settled),
                };
            }
            // checkpoint.rs `take`, barrier.rs `behind_output`; then, whether the topic is still the same.
            Action::ReadEnds => {
                let ends = state.validated.len();
                state.checkpoint = match state.checkpoint {
                    Checkpoint::Settled((topic, _)) if topic != state.topic => Checkpoint::None,
                    Checkpoint::Settled(settled) => Checkpoint::BehindValidated(settled, ends),
                    _ => Checkpoint::Ends(ends),
                };
            }
            // barrier.rs `advance`, checkpoint.rs `advance`
            Action::Advance => match state.checkpoint {
                Checkpoint::BehindValidated(settled, ends) if state.persisted >= ends => {
                    let ends = match self.has(Bug::IndexNotAwaited) {
                        true => 0,
                        false => state.dead_letters.len(),
                    };
                    state.checkpoint = Checkpoint::BehindDeadLetters(settled, ends);
                }
                Checkpoint::BehindDeadLetters(settled, ends) if state.indexed >= ends => {
                    self.examine(&mut state, settled);
                    state.checkpoint = Checkpoint::None;
                }
                _ => return None,
            },
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what is accounted for has its fate", |_, state: &State| {
                (0..TOPICS).all(|topic| {
                    state.accounted[topic] & !(state.rows[topic] | state.letters[topic]) == 0
                })
            }),
            Property::always("what is called a gap was lost", |_, state: &State| {
                (0..TOPICS).all(|topic| state.gaps[topic] & !state.lost[topic] == 0)
            }),
            Property::sometimes(
                "all of the new topic is accounted for",
                |_, state: &State| state.accounted[1] == bit(RECORDS[1]) - 1,
            ),
            Property::sometimes("a gap is found", |_, state: &State| state.gaps[0] != 0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{broken, holds};

    #[test]
    fn what_is_accounted_for_has_its_fate_and_a_gap_was_lost() {
        let states = holds(Audit::default());
        println!("{states} states");
        assert!(states > 10_000, "{states}");
    }

    #[test]
    fn the_checker_finds_each_bug() {
        let (no_fate, no_gap) = (
            "what is accounted for has its fate",
            "what is called a gap was lost",
        );
        for (bug, property) in [
            (Bug::TrustsHigh, no_gap),
            (Bug::EndsFirst, no_gap),
            (Bug::IndexNotAwaited, no_gap),
            (Bug::TopicIdIgnored, no_fate),
            (Bug::CommitOfOldTopicCounts, no_gap),
        ] {
            assert_eq!(broken(Audit { bug: Some(bug) }), Some(property), "{bug:?}");
        }
    }
}
