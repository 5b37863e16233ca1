//! The stage: from framed Avro to rows, one outcome a record.

use crate::filtered::FilteredEvent;
use crate::writer::{BatchRow, Writer};
use contracts::{Rejection, RejectionCode};
use runtime::consumer::{Assigned, Handler, Outcome, Record, StageError, Start};
use runtime::registry::{Framed, Registry};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use store::fate::Fate;
use store::offsets::{self, BatchOffsets, Positions, TopicPartition};
use store::parts::{Parts, place};
use store::raw_topic::RawTopic;
use store::row::EventRow;
use store::{reach, within};

/// The persistence stage.
#[derive(Debug)]
pub struct Persistence {
    store: Writer,
    registry: Registry,
    group: String,
    runtime: tokio::runtime::Handle,
    /// The database's next offsets of what we are assigned; `None` where it has none yet.
    positions: Positions,
    /// The raw topic the database began with
    raw_topic: RawTopic,
    /// What Kafka says of it
    assigned: Assigned,
    /// What the last batch covered, until its dead letters are acknowledged.
    unsettled: Option<BatchOffsets>,
    /// How far the batch in hand is stored.
    parts: Parts<Outcome>,
    /// When signed bodies were last forgotten
    forgotten: Instant,
}

/// How often signed bodies are forgotten whose time is over.
const FORGET_EVERY: Duration = Duration::from_secs(60);

impl Persistence {
    /// A stage that has not been assigned anything yet.
    #[must_use]
    pub fn new(
        store: Writer,
        registry: Registry,
        group: &str,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        Self {
            store,
            registry,
            group: group.to_owned(),
            runtime,
            positions: Positions::new(),
            raw_topic: RawTopic::default(),
            assigned: Assigned::default(),
            unsettled: None,
            parts: Parts::default(),
            forgotten: Instant::now(),
        }
    }

    /// Decodes a record into a row, or says why it cannot be one.
    async fn row<'a>(
        &mut self,
        record: &Record<'a>,
        polled: Instant,
    ) -> Result<Result<EventRow<'a>, Rejection>, StageError> {
        if let Some(rejection) = record.refused() {
            return Ok(Err(rejection));
        }
        let Framed { schema_id, event } = match self.registry.decode(record.value(), polled).await?
        {
            Ok(framed) => framed,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let Some(raw) = record.raw().map(|raw| self.raw_topic.position(raw)) else {
            let detail = "its ef.raw header names no raw record";
            return Ok(Err(Rejection::new(
                RejectionCode::NoRawRecord,
                None,
                detail,
            )));
        };
        Ok(EventRow::new(
            record.headers(),
            record.key,
            raw,
            schema_id,
            event,
        ))
    }

    /// Stores a part of a batch. `before` are the records before it, whose dead letters are not acknowledged yet.
    async fn settle(
        &mut self,
        before: &[(&Record<'_>, &Outcome)],
        part: &[Record<'_>],
    ) -> Result<Vec<Outcome>, StageError> {
        let named = part.iter().filter_map(Record::raw);
        self.raw_topic.learn(&self.store.pool, named).await?;
        let polled = Instant::now();
        let mut rows = Vec::with_capacity(part.len());
        let mut unwanted = Vec::new();
        let mut settled: Vec<Settled> = Vec::with_capacity(part.len());
        let mut offsets = dead_letters(before.iter().copied());
        for record in part {
            let position = offsets.include(record);
            let raw = || record.raw().map(|raw| self.raw_topic.position(raw));
            let filtered = match record.refused() {
                None => FilteredEvent::of(record, raw, position),
                Some(_) => None,
            };
            settled.push(match filtered {
                Some(Ok(event)) => {
                    unwanted.push(event);
                    Settled::Filtered
                }
                Some(Err(rejection)) => Settled::Rejected(rejection),
                None => match self.row(record, polled).await? {
                    Ok(event) => {
                        rows.push(BatchRow {
                            event,
                            record: position,
                        });
                        Settled::Row
                    }
                    Err(rejection) => Settled::Rejected(rejection),
                },
            });
            if matches!(settled.last(), Some(Settled::Rejected(_))) {
                offsets.block_at(position);
            }
        }
        let written = self
            .store
            .write(&self.group, &rows, &unwanted, offsets, &self.positions)
            .await?;
        self.positions.extend(written.moved);
        record_age(&rows);
        let mut fates = written.fates.into_iter();
        let outcome = |settled: Settled| match settled {
            Settled::Rejected(rejection) => Outcome::Reject(rejection),
            Settled::Filtered => Outcome::Done,
            Settled::Row => fates.next().map_or(Outcome::Done, outcome_of),
        };
        Ok(settled.into_iter().map(outcome).collect())
    }
}

/// What was made of one record.
enum Settled {
    Row,
    Filtered,
    Rejected(Rejection),
}

/// The partitions of these records that must be dead-lettered: their offsets stop before the first of them.
fn dead_letters<'a>(records: impl Iterator<Item = (&'a Record<'a>, &'a Outcome)>) -> BatchOffsets {
    let mut offsets = BatchOffsets::default();
    for (record, outcome) in records {
        if outcome.rejection().is_some() {
            let position = offsets.include(record);
            offsets.block_at(position);
        }
    }
    offsets
}

fn outcome_of(fate: Fate) -> Outcome {
    match fate {
        Fate::Stored | Fate::Duplicate | Fate::Copy(_) | Fate::StoredBefore | Fate::Retyped => {
            Outcome::Done
        }
        Fate::Conflict(detail) => {
            Outcome::Reject(Rejection::new(RejectionCode::Conflict, None, detail))
        }
        Fate::Refused(detail) => {
            Outcome::Reject(Rejection::new(RejectionCode::RowRefused, None, detail))
        }
    }
}

fn record_age(rows: &[BatchRow<'_>]) {
    let now = time::OffsetDateTime::from(runtime::clock::now());
    // Looked up once a batch: by its name and labels a metric costs more than to record in it.
    let mut of_source: BTreeMap<&str, metrics::Histogram> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.event.replayed) {
        let Some(seconds) = row.event.age_seconds(now) else {
            continue;
        };
        let source = row.event.source;
        let age = of_source.entry(source).or_insert_with(
            || metrics::histogram!(crate::metrics::ROW_SECONDS, "source" => source.to_owned()),
        );
        age.record(seconds);
    }
}

impl Handler for Persistence {
    fn stage(&self) -> &'static str {
        "persistence"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let (runtime, mut parts) = (self.runtime.clone(), std::mem::take(&mut self.parts));
        let outcomes = runtime.block_on(parts.settle(batch, place, async |before, part| {
            self.settle(before, part).await
        }));
        self.parts = parts;
        let outcomes =
            outcomes.map_err(|error| runtime.block_on(reach::explain(&self.store.pool, error)))?;
        let mut offsets = BatchOffsets::default();
        for (record, outcome) in batch.iter().zip(&outcomes) {
            let position = offsets.include(record);
            if outcome.rejection().is_some() {
                offsets.block_at(position);
            }
        }
        self.unsettled = Some(offsets);
        Ok(outcomes)
    }

    fn settled(&mut self) -> Result<(), StageError> {
        let Some(offsets) = &self.unsettled else {
            return Ok(());
        };
        if offsets.has_dead_letters() {
            let moved = within(
                &self.runtime,
                self.store
                    .move_past_dead_letters(&self.group, offsets, &self.positions),
            )?;
            self.positions.extend(moved);
        }
        self.unsettled = None;
        Ok(())
    }

    fn assigned(&mut self, assigned: &Assigned) {
        self.assigned.clone_from(assigned);
    }

    fn look(&mut self) -> Result<(), StageError> {
        let looking = offsets::check(&self.store.pool, &self.group, &self.positions);
        within(&self.runtime, looking)?;
        if self.forgotten.elapsed() < FORGET_EVERY {
            return Ok(());
        }
        self.forgotten = Instant::now();
        within(&self.runtime, self.store.forget_bodies())
    }

    fn positions(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Start>, StageError> {
        let starts = offsets::starts(&self.store.pool, &self.group, partitions, &self.assigned);
        let (positions, starts) = within(&self.runtime, starts)?;
        self.positions = positions;
        self.parts.forget();
        Ok(starts)
    }
}
