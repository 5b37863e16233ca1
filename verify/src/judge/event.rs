//! Of one source and event id: its rows, further deliveries, and what is missing.

use crate::piece::{OfEvent, Place, Position};
use crate::report::{Check, Findings};

/// Judges what has one source and event id. `now` is the epoch of the raw topic that was read.
pub(crate) fn judge(
    source: &str,
    event_id: &str,
    group: &[OfEvent],
    now: &str,
    found: &mut Findings,
) {
    let row = || Place::Row {
        source: source.to_owned(),
        event_id: event_id.to_owned(),
    };
    let count = |wanted: fn(&OfEvent) -> bool| group.iter().filter(|piece| wanted(piece)).count();
    let rows = count(|piece| matches!(piece, OfEvent::Row { .. }));
    let duplicates = count(|piece| matches!(piece, OfEvent::Duplicate { .. }));
    if rows > 0 {
        found.look(Check::TwoRows);
    }
    if rows > 1 {
        let what = format!("{rows} rows of {source} {event_id}");
        found.fail(Check::TwoRows, what, vec![row()]);
    }
    if duplicates > 0 {
        found.look(Check::DuplicateOfNothing);
        if rows == 0 {
            let what = format!(
                "{duplicates} further deliveries of {source} {event_id}, which is not stored"
            );
            found.fail(Check::DuplicateOfNothing, what, Vec::new());
        }
    }
    // What a raw topic that was deleted had of it.
    let old = group.iter().filter(|piece| match piece {
        OfEvent::Row { position }
        | OfEvent::Duplicate { position }
        | OfEvent::Filtered { position }
        | OfEvent::OldDead { position } => position.epoch != now,
        OfEvent::Missing { .. }
        | OfEvent::Conflicting
        | OfEvent::Conflict { .. }
        | OfEvent::TakenInstead { .. } => false,
    });
    let old = old.count() as u64;
    let missing = group.iter().filter_map(|piece| match piece {
        OfEvent::Missing { times, place } => Some((*times, place)),
        _ => None,
    });
    let total: u64 = missing.clone().map(|(times, _)| times).sum();
    if total > old {
        let what = format!(
            "{source} {event_id} was answered 2xx {} times more than it is in the raw topic",
            total - old
        );
        let places = missing.map(|(_, place)| place.clone()).take(4).collect();
        found.fail(Check::Lost, what, places);
    }
    judge_contents(source, event_id, group, found);
    let may_conflict = group
        .iter()
        .any(|piece| matches!(piece, OfEvent::Conflicting));
    for piece in group {
        if let OfEvent::Conflict { places } = piece
            && !may_conflict
        {
            let what =
                format!("{source} {event_id} is a conflict, though it was sent with one content");
            found.fail(Check::OutageDeadLettered, what, places.clone());
        }
    }
}

/// Of two contents under one id, one is stored, and what has the other is a dead letter.
fn judge_contents(source: &str, event_id: &str, group: &[OfEvent], found: &mut Findings) {
    let other = |wanted: &Position| {
        let is_it = |piece: &OfEvent| matches!(piece, OfEvent::TakenInstead { position } if position == wanted);
        group.iter().any(is_it)
    };
    let (mut one, mut another) = (None, None);
    for piece in group {
        if let OfEvent::Row { position } | OfEvent::Duplicate { position } = piece {
            let place = if other(position) {
                &mut another
            } else {
                &mut one
            };
            *place = Some(position);
        }
    }
    if let (Some(one), Some(another)) = (one, another) {
        let what = format!(
            "{source} {event_id} was sent with two contents; {one} has the one, {another} the other, and neither is a conflict"
        );
        let (source, event_id) = (source.to_owned(), event_id.to_owned());
        found.fail(
            Check::WrongFate,
            what,
            vec![Place::Row { source, event_id }],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::world::position;

    fn failed(group: &[OfEvent]) -> Vec<&'static str> {
        let mut found = Findings::new(3);
        judge("s", "e", group, "", &mut found);
        found.failed().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn an_event_is_one_row() {
        let row = || OfEvent::Row {
            position: position(0),
        };
        let duplicate = || OfEvent::Duplicate {
            position: position(1),
        };
        assert_eq!(
            failed(&[row(), duplicate(), duplicate()]),
            Vec::<&str>::new()
        );
        assert_eq!(failed(&[row(), row()]), ["two_rows"]);
        assert_eq!(failed(&[duplicate()]), ["duplicate_of_nothing"]);
    }

    #[test]
    fn what_is_missing_is_lost_unless_a_deleted_topic_had_it() {
        let missing = || OfEvent::Missing {
            place: Place::Line { file: 0, at: 0 },
            times: 1,
        };
        assert_eq!(failed(&[missing()]), ["lost"]);
        let old = Position {
            epoch: "@x".to_owned(),
            ..position(0)
        };
        assert_eq!(
            failed(&[
                missing(),
                OfEvent::Row {
                    position: old.clone()
                }
            ]),
            Vec::<&str>::new()
        );
        assert_eq!(
            failed(&[
                missing(),
                OfEvent::OldDead {
                    position: old.clone()
                }
            ]),
            Vec::<&str>::new()
        );
        assert_eq!(
            failed(&[missing(), missing(), OfEvent::Row { position: old }]),
            ["lost"]
        );
        // A row of the topic that was read is of another delivery.
        assert_eq!(
            failed(&[
                missing(),
                OfEvent::Row {
                    position: position(0)
                }
            ]),
            ["lost"]
        );
    }

    #[test]
    fn of_two_contents_one_has_a_fate() {
        let row = |offset| OfEvent::Row {
            position: position(offset),
        };
        let duplicate = |offset| OfEvent::Duplicate {
            position: position(offset),
        };
        let instead = |offset| OfEvent::TakenInstead {
            position: position(offset),
        };
        let none = Vec::<&str>::new();
        assert_eq!(failed(&[row(0), duplicate(1)]), none);
        assert_eq!(failed(&[row(0), duplicate(1), instead(1)]), ["wrong_fate"]);
        assert_eq!(failed(&[duplicate(1), row(0), instead(0)]), ["wrong_fate"]);
        // The other content came first.
        let all = [row(0), duplicate(1), instead(0), instead(1)];
        assert_eq!(failed(&all), none);
    }

    #[test]
    fn a_conflict_needs_another_content() {
        let conflict = || OfEvent::Conflict { places: Vec::new() };
        assert_eq!(failed(&[conflict()]), ["outage_dead_lettered"]);
        assert_eq!(
            failed(&[conflict(), OfEvent::Conflicting]),
            Vec::<&str>::new()
        );
    }
}
