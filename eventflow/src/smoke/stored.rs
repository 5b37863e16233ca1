//! Whether an event is stored, as its trace says.

use crate::oncall::{Client, CommandError, read};
use recovery::model::{StepKind, Timeline, Trace};
use std::time::Duration;

/// An event that is one row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredEvent {
    /// From its receipt at the edge, where both times are known
    pub(super) took: Option<Duration>,
    /// Where each of its deliveries is in the raw topic
    pub(super) positions: Vec<RawPosition>,
}

/// What one query found.
pub(super) enum Lookup<T> {
    Found(T),
    /// Nothing yet
    Pending,
    /// Something else; waiting does not help
    Wrong(String),
}

/// Partition and offset in the raw topic.
pub(super) type RawPosition = (i32, i64);

/// Of `topic:partition:offset`, as recovery writes positions.
pub(super) fn raw_position(text: &str) -> Option<RawPosition> {
    let mut parts = text.rsplitn(3, ':');
    let (offset, partition) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().map(|_| (partition, offset))
}

pub(super) async fn trace(client: &Client, key: &str) -> Result<Trace, CommandError> {
    read(
        &client
            .get("/api/v1/trace", &[("q", key.to_owned())])
            .await?,
    )
}

fn timelines<'t>(trace: &'t Trace, id: &str) -> impl Iterator<Item = &'t Timeline> {
    trace
        .timelines
        .iter()
        .filter(move |timeline| timeline.event_id.as_deref() == Some(id))
}

/// Whether an event is known to have been delivered again.
pub(super) fn has_duplicate(trace: &Trace, id: &str) -> bool {
    timelines(trace, id)
        .flat_map(|timeline| &timeline.steps)
        .any(|step| step.what == StepKind::Duplicate)
}

/// Whether an event is one row.
pub(super) fn stored_event(trace: &Trace, id: &str) -> Lookup<StoredEvent> {
    let steps_of = |what: StepKind| {
        timelines(trace, id)
            .flat_map(|timeline| &timeline.steps)
            .filter(move |step| step.what == what)
            .collect::<Vec<_>>()
    };
    if let Some(letter) = steps_of(StepKind::DeadLettered).first() {
        return Lookup::Wrong(format!("{id} is dead-lettered: {}", letter.detail));
    }
    match steps_of(StepKind::Stored).as_slice() {
        [] => Lookup::Pending,
        [stored] => {
            let received = steps_of(StepKind::Received);
            let took = received
                .first()
                .map(|received| (stored.at - received.at).try_into().unwrap_or_default());
            Lookup::Found(StoredEvent {
                took,
                positions: received
                    .iter()
                    .filter_map(|step| raw_position(&step.place))
                    .collect(),
            })
        }
        rows => Lookup::Wrong(format!(
            "{id} is {} rows: restore the unique index of persistence.events",
            rows.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use recovery::model::{Time, TraceFate, TraceStep};

    fn timeline(id: &str, steps: &[(&str, i64)]) -> Timeline {
        let steps = steps.iter().map(|(what, at)| TraceStep {
            at: Time::UNIX_EPOCH + time::Duration::milliseconds(*at),
            what: what.parse().unwrap(),
            place: format!("events.raw.v1:2:{at}"),
            detail: "validator: unknown_event_type".to_owned(),
            delay_seconds: 0.0,
        });
        let (entity_key, trace_id, signature) = (None, None, None);
        let (source, verified_again) = (Some("payment-authorized".to_owned()), None);
        let fate = TraceFate::InFlight;
        Timeline {
            event_id: Some(id.to_owned()),
            source,
            entity_key,
            trace_id,
            fate,
            steps: steps.collect(),
            signature,
            verified_again,
        }
    }

    fn outcome(timelines: Vec<Timeline>) -> Result<Option<StoredEvent>, String> {
        match stored_event(
            &Trace {
                asked: "a".to_owned(),
                timelines,
                truncated: false,
            },
            "a",
        ) {
            Lookup::Found(row) => Ok(Some(row)),
            Lookup::Pending => Ok(None),
            Lookup::Wrong(text) => Err(text),
        }
    }

    #[test]
    fn a_row_is_one_row_of_this_event_and_no_dead_letter() {
        assert_eq!(outcome(Vec::new()), Ok(None));
        assert_eq!(outcome(vec![timeline("a", &[("received", 5)])]), Ok(None));
        assert_eq!(
            outcome(vec![timeline("b", &[("received", 5), ("stored", 8)])]),
            Ok(None),
            "another event's"
        );
        let known = StoredEvent {
            took: Some(Duration::from_millis(3)),
            positions: vec![(2, 5), (2, 9)],
        };
        let again = timeline(
            "a",
            &[
                ("received", 5),
                ("stored", 8),
                ("received", 9),
                ("duplicate", 10),
            ],
        );
        assert_eq!(outcome(vec![again]), Ok(Some(known)));
        assert_eq!(
            outcome(vec![timeline("a", &[("stored", 8)])]),
            Ok(Some(StoredEvent {
                took: None,
                positions: Vec::new()
            }))
        );
        let two = outcome(vec![
            timeline("a", &[("stored", 8)]),
            timeline("a", &[("stored", 9)]),
        ]);
        assert!(two.is_err_and(|text| text.contains("2 rows")));
        let dead = outcome(vec![timeline(
            "a",
            &[("received", 5), ("dead_lettered", 6)],
        )]);
        assert!(dead.is_err_and(|text| text.contains("unknown_event_type")));
    }
}
