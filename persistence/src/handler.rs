//! The stage: from framed Avro to rows, one outcome a record.

use crate::store::{Row, RowFate, Store};
use contracts::{Rejection, RejectionCode, framing, headers};
use runtime::consumer::{Handler, Outcome, Record, Start, Transient};
use runtime::registry::{Registry, RegistryError};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest a handler works on one batch: below the group's `max.poll.interval.ms`.
const DEADLINE: Duration = Duration::from_secs(30);

/// The persistence stage.
#[derive(Debug)]
pub struct Persistence {
    store: Store,
    registry: Registry,
    group: String,
    runtime: tokio::runtime::Handle,
    /// The database's next offsets of what we are assigned; `None` where it has none yet.
    positions: Positions,
    /// Where the offsets go once the batch's dead letters are acknowledged, and how many there were, by partition.
    after_dead_letters: BTreeMap<(String, i32), (i64, i64)>,
}

/// Next offsets by topic and partition.
pub type Positions = BTreeMap<(String, i32), Option<i64>>;

impl Persistence {
    /// A stage that has not been assigned anything yet.
    #[must_use]
    pub fn new(store: Store, registry: Registry, group: &str, runtime: tokio::runtime::Handle) -> Self {
        Self {
            store,
            registry,
            group: group.to_owned(),
            runtime,
            positions: Positions::new(),
            after_dead_letters: BTreeMap::new(),
        }
    }

    /// Decodes a record into a row, or says why it cannot be one.
    async fn row<'a>(registry: &mut Registry, record: &Record<'a>) -> Result<Result<Row<'a>, Rejection>, Transient> {
        let (schema_id, datum) = match framing::unframe(record.value()) {
            Ok(framed) => framed,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let decoder = match registry.decoder(schema_id).await {
            Ok(decoder) => decoder,
            Err(error @ RegistryError::Unavailable(_)) => return Err(Transient::wait(error.code(), error)),
            Err(error @ (RegistryError::UnknownId(_) | RegistryError::Unusable { .. })) => {
                return Ok(Err(Rejection::new(RejectionCode::UnknownSchemaId, None, error.to_string())));
            }
        };
        Ok(match decoder.decode(datum) {
            Ok(event) => Ok(Row::new(record, schema_id, datum, event)),
            Err(error) => Err(Rejection::new(RejectionCode::BadDatum, None, error.to_string())),
        })
    }

    async fn settle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, Transient> {
        let mut rows = Vec::with_capacity(batch.len());
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(batch.len());
        for record in batch {
            outcomes.push(match Self::row(&mut self.registry, record).await? {
                Ok(row) => {
                    rows.push(row);
                    None
                }
                Err(rejection) => Some(Outcome::Reject(rejection)),
            });
        }
        let undecoded: Vec<_> =
            batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_some()).map(|(record, _)| *record).collect();
        let ends = ends_of(batch);
        let stored = self.store.write(&self.group, &rows, &undecoded, &ends, &mut self.positions).await?;
        let mut fates = stored.into_iter();
        let outcomes: Vec<Outcome> = outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(|| fates.next().map_or(Outcome::Done, outcome_of)))
            .collect();
        self.after_dead_letters.clear();
        for (record, outcome) in batch.iter().zip(&outcomes) {
            if matches!(outcome, Outcome::Reject(_)) {
                let place = (record.topic.to_owned(), record.partition);
                let end = ends
                    .iter()
                    .find(|end| end.topic == record.topic && end.partition == record.partition)
                    .map_or(0, |end| end.next);
                self.after_dead_letters.entry(place).or_insert((end, 0)).1 += 1;
            }
        }
        note_age(batch);
        Ok(outcomes)
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
        Self { opening, stage: None }
    }

    fn opened(&mut self) -> Result<&mut Persistence, Transient> {
        if self.stage.is_none() {
            self.stage = self.opening.try_recv().ok();
        }
        self.stage.as_mut().ok_or_else(|| Transient::wait("database_unavailable", "the database is not up yet"))
    }
}

impl Handler for Early {
    fn stage(&self) -> &'static str {
        "persistence"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, Transient> {
        self.opened()?.handle(batch)
    }

    fn settled(&mut self) -> Result<(), Transient> {
        self.opened()?.settled()
    }

    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, Transient> {
        self.opened()?.positions(partitions)
    }
}

/// What a batch covers of one partition.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// Topic
    pub topic: &'a str,
    /// Partition
    pub partition: i32,
    /// First offset in the batch
    pub first: i64,
    /// Offset after the last in the batch
    pub next: i64,
}

fn ends_of<'a>(batch: &[Record<'a>]) -> Vec<End<'a>> {
    let mut ends: Vec<End<'a>> = Vec::new();
    for record in batch {
        match ends.iter_mut().find(|end| end.partition == record.partition && end.topic == record.topic) {
            Some(end) => end.next = record.offset + 1,
            None => {
                ends.push(End {
                    topic: record.topic,
                    partition: record.partition,
                    first: record.offset,
                    next: record.offset + 1,
                });
            }
        }
    }
    ends
}

fn outcome_of(fate: RowFate) -> Outcome {
    match fate {
        RowFate::Stored | RowFate::Duplicate | RowFate::StoredBefore => Outcome::Done,
        RowFate::Conflict(detail) => Outcome::Reject(Rejection::new(RejectionCode::Conflict, None, detail)),
        RowFate::Refused(detail) => Outcome::Reject(Rejection::new(RejectionCode::RowRefused, None, detail)),
    }
}

fn note_age(batch: &[Record<'_>]) {
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
    for record in batch {
        if let Some(received) = record.header_text(headers::RECEIVED_AT).and_then(|text| text.parse::<i128>().ok()) {
            #[expect(clippy::cast_precision_loss, reason = "seconds for a histogram")]
            metrics::histogram!(crate::metrics::AGE_SECONDS).record((now - received).max(0) as f64 / 1e6);
        }
    }
}

impl Handler for Persistence {
    fn stage(&self) -> &'static str {
        "persistence"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, Transient> {
        let runtime = self.runtime.clone();
        runtime.block_on(async {
            tokio::time::timeout(DEADLINE, self.settle(batch))
                .await
                .unwrap_or_else(|_| Err(Transient::wait("database_timeout", "the batch took too long; trying again")))
        })
    }

    fn settled(&mut self) -> Result<(), Transient> {
        if self.after_dead_letters.is_empty() {
            return Ok(());
        }
        let runtime = self.runtime.clone();
        runtime.block_on(self.store.move_past_dead_letters(&self.group, &self.after_dead_letters, &mut self.positions))?;
        self.after_dead_letters.clear();
        Ok(())
    }

    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, Transient> {
        let runtime = self.runtime.clone();
        self.positions = runtime.block_on(self.store.positions(&self.group, partitions))?;
        // A database without offsets starts at the oldest record there is: the group's commits mean rows of some other database.
        Ok(partitions
            .iter()
            .map(|place| self.positions.get(place).copied().flatten().map_or(Start::Beginning, Start::Offset))
            .collect())
    }
}
