//! The stage: from framed Avro to rows, one outcome a record.

use crate::writer::{BatchRow, Writer};
use contracts::{Rejection, RejectionCode};
use runtime::consumer::{Handler, Outcome, Record, StageError, Start};
use runtime::registry::{Framed, Registry};
use store::fate::Fate;
use store::offsets::{self, BatchOffsets, Positions, TopicPartition};
use store::row::EventRow;
use store::within;

/// The persistence stage.
#[derive(Debug)]
pub struct Persistence {
    store: Writer,
    registry: Registry,
    group: String,
    runtime: tokio::runtime::Handle,
    /// The database's next offsets of what we are assigned; `None` where it has none yet.
    positions: Positions,
    /// What the last batch covered, until its dead letters are acknowledged.
    unsettled: Option<BatchOffsets>,
}

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
            unsettled: None,
        }
    }

    /// Decodes a record into a row, or says why it cannot be one.
    async fn row<'a>(
        &mut self,
        record: &Record<'a>,
    ) -> Result<Result<EventRow<'a>, Rejection>, StageError> {
        if let Some(rejection) = record.refused_replay() {
            return Ok(Err(rejection));
        }
        let Framed {
            schema_id,
            datum,
            event,
        } = match self.registry.decode(record.value()).await? {
            Ok(framed) => framed,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let (headers, raw) = (record.headers(), record.raw());
        let row = EventRow::new(headers, record.key, raw, schema_id, datum, event);
        Ok(row.map_err(|problem| Rejection::new(RejectionCode::BadDatum, None, problem)))
    }

    async fn settle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let mut rows = Vec::with_capacity(batch.len());
        let mut rejections: Vec<Option<Rejection>> = Vec::with_capacity(batch.len());
        let mut offsets = BatchOffsets::default();
        for record in batch {
            let position = offsets.include(record);
            rejections.push(match self.row(record).await? {
                Ok(event) => {
                    rows.push(BatchRow {
                        event,
                        record: position,
                    });
                    None
                }
                Err(rejection) => {
                    offsets.block_at(position);
                    Some(rejection)
                }
            });
        }
        let written = self
            .store
            .write(&self.group, &rows, offsets, &self.positions)
            .await?;
        self.positions.extend(written.moved);
        self.unsettled = Some(written.offsets);
        record_age(&rows);
        let mut fates = written.fates.into_iter();
        let outcome = |rejection: Option<Rejection>| match rejection {
            Some(rejection) => Outcome::Reject(rejection),
            None => fates.next().map_or(Outcome::Done, outcome_of),
        };
        Ok(rejections.into_iter().map(outcome).collect())
    }
}

fn outcome_of(fate: Fate) -> Outcome {
    match fate {
        Fate::Stored | Fate::Duplicate | Fate::StoredBefore => Outcome::Done,
        Fate::Conflict(detail) => {
            Outcome::Reject(Rejection::new(RejectionCode::Conflict, None, detail))
        }
        Fate::Refused(detail) => {
            Outcome::Reject(Rejection::new(RejectionCode::RowRefused, None, detail))
        }
    }
}

fn record_age(rows: &[BatchRow<'_>]) {
    let (now, age) = (
        time::OffsetDateTime::now_utc(),
        metrics::histogram!(crate::metrics::AGE_SECONDS),
    );
    rows.iter()
        .filter(|row| !row.event.replayed)
        .filter_map(|row| row.event.age_seconds(now))
        .for_each(|seconds| age.record(seconds));
}

impl Handler for Persistence {
    fn stage(&self) -> &'static str {
        "persistence"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let runtime = self.runtime.clone();
        within(&runtime, self.settle(batch))
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

    fn positions(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Start>, StageError> {
        let starts = offsets::starts(&self.store.pool, &self.group, partitions);
        let (positions, starts) = within(&self.runtime, starts)?;
        self.positions = positions;
        Ok(starts)
    }
}
