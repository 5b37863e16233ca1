//! The consumer loop: one partition, two members of a group, and what the broker knows.
//!
//! In words: **whatever crashes, stops, falls silent or is revoked in between, every record before the group's committed offset was forwarded
//! or dead-lettered, and only a record that is itself at fault was dead-lettered.**
//!
//! What a member publishes is not fenced by Kafka, so one that lost its partition may publish a record again: that is allowed. What it
//! commits is refused once the group has another owner.

use stateright::{Model, Property};

/// Records of the partition.
const RECORDS: u8 = 3;
/// By offset, as bits: those that are themselves at fault.
const AT_FAULT: u8 = 0b010;
const MEMBERS: usize = 2;

/// A way to get it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A batch is settled before its acknowledgements
    SettledBeforeAcknowledged,
    /// A batch that a rebalance or a stop interrupts counts as settled
    InterruptedIsSettled,
    /// A batch that waits for a dependency is dead-lettered
    OutageDeadLetters,
    /// A dead letter that the broker refuses is not published again
    FailedDeadLetterSkipped,
    /// Records that arrive while a batch waits are dropped
    EarlyDropped,
    /// A released batch of a partition that stays is not read again
    NotReadAgain,
}

/// The loop as it is, or with a bug.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consumer {
    /// What is wrong with it
    pub bug: Option<Bug>,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    committed: u8,
    /// Bits by offset
    forwarded: u8,
    dead: u8,
    /// As the group sees it
    owner: Option<usize>,
    members: [Member; MEMBERS],
    /// What the handler needs is down
    outage: bool,
}

/// An instance of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Member {
    /// It thinks that the partition is its own
    assigned: bool,
    /// Next record that its client gives it
    position: u8,
    /// Records before `position` that came while a batch waited
    early: u8,
    /// Offset that its client commits next
    stored: Option<u8>,
    hand: Option<Hand>,
}

/// A batch in hand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Hand {
    from: u8,
    to: u8,
    handled: bool,
    /// All of it is to be dead-lettered
    blamed: bool,
    /// Bits by offset: published, and not acknowledged
    awaited: u8,
}

/// One step of a member, of the group, or of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is explained where it happens")]
pub enum Action {
    Assign(usize),
    Poll(usize, u8),
    Handle(usize),
    Acknowledge(usize, u8),
    Skip(usize, u8),
    Settle(usize),
    Commit(usize),
    Early(usize),
    Revoke(usize),
    RevokeOthers(usize),
    Evict,
    Notice(usize),
    Stop(usize),
    Crash(usize),
    Outage,
}

fn bits(from: u8, to: u8) -> u8 {
    (from..to).fold(0, |bits, offset| bits | 1 << offset)
}

impl Consumer {
    fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// A batch is released: nothing of it is committed, and what is still ours is read again (`runtime/src/consumer/run.rs`, `Loop::run`).
    fn release(self, member: &mut Member) {
        if let Some(hand) = member.hand.take()
            && self.has(Bug::InterruptedIsSettled)
        {
            member.stored = Some(hand.to);
        }
    }
}

/// The client commits what is stored; the group takes it from its owner only.
fn commit(state: &mut State, m: usize) {
    let stored = state.members[m].stored.take();
    if let (Some(next), true) = (stored, state.owner == Some(m)) {
        state.committed = next;
    }
}

/// A member leaves the group.
fn leave(state: &mut State, m: usize) {
    state.members[m] = Member::default();
    state.owner = state.owner.filter(|owner| *owner != m);
}

impl Model for Consumer {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Outage);
        if state.owner.is_some() {
            actions.push(Action::Evict);
        }
        for (m, member) in state.members.iter().enumerate() {
            actions.push(Action::Crash(m));
            if !member.assigned {
                if state.owner.is_none() {
                    actions.push(Action::Assign(m));
                }
                continue;
            }
            actions.extend([Action::Stop(m), Action::RevokeOthers(m)]);
            actions.push(match state.owner == Some(m) {
                true => Action::Revoke(m),
                false => Action::Notice(m),
            });
            if member.stored.is_some() {
                actions.push(Action::Commit(m));
            }
            let Some(hand) = &member.hand else {
                let from = member.position - member.early;
                let ends = member.position.max(from + 1)..=RECORDS;
                actions.extend(ends.map(|to| Action::Poll(m, to)));
                continue;
            };
            if member.position < RECORDS {
                actions.push(Action::Early(m));
            }
            if !hand.handled {
                if !state.outage || self.has(Bug::OutageDeadLetters) {
                    actions.push(Action::Handle(m));
                }
                continue;
            }
            for offset in (0..RECORDS).filter(|offset| hand.awaited & (1 << offset) != 0) {
                actions.push(Action::Acknowledge(m, offset));
                if self.has(Bug::FailedDeadLetterSkipped) && AT_FAULT & (1 << offset) != 0 {
                    actions.push(Action::Skip(m, offset));
                }
            }
            if hand.awaited == 0 || self.has(Bug::SettledBeforeAcknowledged) {
                actions.push(Action::Settle(m));
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Outage => state.outage = !state.outage,
            // run.rs `start_assigned`, start.rs `start_offsets`: from the group's committed offset.
            Action::Assign(m) => {
                state.owner = Some(m);
                state.members[m] = Member {
                    assigned: true,
                    position: state.committed,
                    ..Member::default()
                };
            }
            // source.rs `collect`: what came early is first.
            Action::Poll(m, to) => {
                let member = &mut state.members[m];
                let from = member.position - member.early;
                (member.position, member.early) = (to, 0);
                member.hand = Some(Hand {
                    from,
                    to,
                    handled: false,
                    blamed: false,
                    awaited: 0,
                });
            }
            // run.rs `handle`, delivery.rs `send`: every record has its outcome, and is with the Kafka client.
            Action::Handle(m) => {
                let hand = state.members[m].hand.as_mut()?;
                hand.handled = true;
                hand.blamed = state.outage;
                hand.awaited = bits(hand.from, hand.to);
            }
            // delivery.rs `await_acks`: what failed is sent again, until it is acknowledged.
            Action::Acknowledge(m, offset) => {
                let hand = state.members[m].hand.as_mut()?;
                hand.awaited &= !(1 << offset);
                if hand.blamed || AT_FAULT & (1 << offset) != 0 {
                    state.dead |= 1 << offset;
                } else {
                    state.forwarded |= 1 << offset;
                }
            }
            Action::Skip(m, offset) => {
                state.members[m].hand.as_mut()?.awaited &= !(1 << offset);
            }
            // run.rs `run`, source.rs `store_offsets`
            Action::Settle(m) => {
                let member = &mut state.members[m];
                member.stored = Some(member.hand.take()?.to);
            }
            // The client, every `COMMIT_EVERY`.
            Action::Commit(m) => commit(&mut state, m),
            // source.rs `wait`: a paused client may still hand out a record.
            Action::Early(m) => {
                let member = &mut state.members[m];
                member.position += 1;
                member.early += u8::from(!self.has(Bug::EarlyDropped));
            }
            // membership.rs `rebalance`: inside `poll`; what is stored is committed, the batch in hand released.
            Action::Revoke(m) => {
                self.release(&mut state.members[m]);
                commit(&mut state, m);
                leave(&mut state, m);
            }
            // source.rs `read_again`: other partitions were revoked, this one stays, and its batch is released.
            Action::RevokeOthers(m) => {
                let member = &mut state.members[m];
                if !self.has(Bug::NotReadAgain) {
                    let unread = member.position - member.early;
                    member.position = member.hand.as_ref().map_or(unread, |hand| hand.from);
                }
                member.early = 0;
                self.release(member);
            }
            // The session ran out (a SIGSTOP, say): the member does not know yet.
            Action::Evict => state.owner = None,
            // membership.rs `rebalance`, lost: the client refuses to store or commit for it.
            Action::Notice(m) => {
                self.release(&mut state.members[m]);
                commit(&mut state, m);
                state.members[m] = Member::default();
            }
            // run.rs `run` at the end: the batch in hand is released, dropping the client commits what is stored.
            Action::Stop(m) => {
                self.release(&mut state.members[m]);
                commit(&mut state, m);
                leave(&mut state, m);
            }
            Action::Crash(m) => leave(&mut state, m),
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "every record before the committed offset has its outcome",
                |_, state: &State| bits(0, state.committed) & !(state.forwarded | state.dead) == 0,
            ),
            Property::always(
                "only a record's own fault dead-letters it",
                |_, state: &State| state.dead & !AT_FAULT == 0,
            ),
            Property::sometimes("all is settled and committed", |_, state: &State| {
                state.committed == RECORDS && state.dead == AT_FAULT
            }),
            Property::sometimes(
                "two members have the same record in hand",
                |_, state: &State| {
                    state
                        .members
                        .iter()
                        .all(|member| member.hand.as_ref().is_some_and(|hand| hand.from == 0))
                },
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{broken, holds};

    #[test]
    fn no_record_is_stepped_over_and_no_outage_makes_a_dead_letter() {
        let states = holds(Consumer::default());
        println!("{states} states");
        assert!(states > 10_000, "{states}");
    }

    #[test]
    fn the_checker_finds_each_bug() {
        let (steps_over, blames) = (
            "every record before the committed offset has its outcome",
            "only a record's own fault dead-letters it",
        );
        for (bug, property) in [
            (Bug::SettledBeforeAcknowledged, steps_over),
            (Bug::InterruptedIsSettled, steps_over),
            (Bug::OutageDeadLetters, blames),
            (Bug::FailedDeadLetterSkipped, steps_over),
            (Bug::EarlyDropped, steps_over),
            (Bug::NotReadAgain, steps_over),
        ] {
            assert_eq!(
                broken(Consumer { bug: Some(bug) }),
                Some(property),
                "{bug:?}"
            );
        }
    }
}
