//! The stage: from framed Avro to rows, one outcome a record.

use crate::rows::{Row, RowFate};
use crate::writer::Writer;
use contracts::{Rejection, RejectionCode};
use runtime::consumer::{Handler, Outcome, Record, StageError, Start};
use runtime::registry::{Framed, Registry};
use store::offsets::{Ends, Place, Positions};
use store::within;
use tokio::sync::oneshot;

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
    unsettled: Option<Ends>,
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
        end: usize,
    ) -> Result<Result<Row<'a>, Rejection>, StageError> {
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
        let row = Row::new(record, end, schema_id, datum, event);
        Ok(row.map_err(|problem| Rejection::new(RejectionCode::BadDatum, None, problem)))
    }

    async fn settle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let mut rows = Vec::with_capacity(batch.len());
        let mut rejections: Vec<Option<Rejection>> = Vec::with_capacity(batch.len());
        let mut ends = Ends::default();
        for record in batch {
            let end = ends.cover(record);
            rejections.push(match self.row(record, end).await? {
                Ok(row) => {
                    rows.push(row);
                    None
                }
                Err(rejection) => {
                    ends.hold(end, record.offset);
                    Some(rejection)
                }
            });
        }
        let mut fates = self
            .store
            .write(&self.group, &rows, &mut ends, &mut self.positions)
            .await?
            .into_iter();
        self.unsettled = Some(ends);
        note_age(&rows);
        let outcome = |rejection: Option<Rejection>| match rejection {
            Some(rejection) => Outcome::Reject(rejection),
            None => fates.next().map_or(Outcome::Done, outcome_of),
        };
        Ok(rejections.into_iter().map(outcome).collect())
    }
}

/// The stage while its database is still being made: a member of its group that waits.
#[derive(Debug)]
pub(crate) struct Early {
    opening: oneshot::Receiver<Persistence>,
    stage: Option<Persistence>,
}

impl Early {
    pub(crate) fn new(opening: oneshot::Receiver<Persistence>) -> Self {
        Self {
            opening,
            stage: None,
        }
    }

    fn opened(&mut self) -> Result<&mut Persistence, StageError> {
        if self.stage.is_none() {
            self.stage = self.opening.try_recv().ok();
        }
        self.stage
            .as_mut()
            .ok_or_else(|| StageError::wait("database_unavailable", "the database is not up yet"))
    }
}

impl Handler for Early {
    fn stage(&self) -> &'static str {
        "persistence"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        self.opened()?.handle(batch)
    }

    fn settled(&mut self) -> Result<(), StageError> {
        self.opened()?.settled()
    }

    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, StageError> {
        self.opened()?.positions(partitions)
    }
}

fn outcome_of(fate: RowFate) -> Outcome {
    match fate {
        RowFate::Stored | RowFate::Duplicate | RowFate::StoredBefore => Outcome::Done,
        RowFate::Conflict(detail) => {
            Outcome::Reject(Rejection::new(RejectionCode::Conflict, None, detail))
        }
        RowFate::Refused(detail) => {
            Outcome::Reject(Rejection::new(RejectionCode::RowRefused, None, detail))
        }
    }
}

fn note_age(rows: &[Row<'_>]) {
    let (now, age) = (
        time::OffsetDateTime::now_utc(),
        metrics::histogram!(crate::metrics::AGE_SECONDS),
    );
    rows.iter()
        .filter(|row| !row.replayed)
        .filter_map(|row| row.age_seconds(now))
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
        let Some(ends) = &self.unsettled else {
            return Ok(());
        };
        if ends.has_dead_letters() {
            within(
                &self.runtime,
                self.store
                    .move_past_dead_letters(&self.group, ends, &mut self.positions),
            )?;
        }
        self.unsettled = None;
        Ok(())
    }

    fn positions(&mut self, partitions: &[Place]) -> Result<Vec<Start>, StageError> {
        self.positions = within(&self.runtime, self.store.positions(&self.group, partitions))?;
        // A database without offsets starts at the oldest record there is: the group's commits mean rows of some other database.
        Ok(partitions
            .iter()
            .map(|place| {
                self.positions
                    .get(place)
                    .copied()
                    .flatten()
                    .map_or(Start::Beginning, Start::Offset)
            })
            .collect())
    }
}
