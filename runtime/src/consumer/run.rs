//! The loop: collect a batch, settle it, store its offsets. The parts are composed here and nowhere else.

use super::batch::{Batch, Held};
use super::delivery::{Delivery, Handled, InFlight};
use super::source::Source;
use super::start::start_offsets;
use super::waiting::{Blocked, Interrupted, Waiting};
use super::{Handler, Outcome, Record, StageError, StageSummary, checks};
use crate::breaker::Breaker;
use crate::health::Health;
use crate::metrics as names;
use crate::replay::Retry;
use tokio_util::sync::CancellationToken;

pub(super) struct Loop<'c, H> {
    pub(super) stage: &'static str,
    pub(super) handler: &'c mut H,
    pub(super) source: Source<'c>,
    pub(super) waiting: Waiting,
    /// `None`: off
    pub(super) breaker: &'c mut Option<Breaker>,
    pub(super) delivery: &'c Delivery,
    pub(super) retry: Option<&'c Retry>,
    pub(super) piece_records: usize,
    pub(super) health: Health,
    pub(super) shutdown: CancellationToken,
}

impl<H: Handler> Loop<'_, H> {
    /// Until shutdown, or until the client must be replaced. An error leaves the current batch uncommitted.
    pub(super) fn run(mut self, summary: &mut StageSummary) -> anyhow::Result<()> {
        // From the start, at zero: a series that begins with its first failure hides it from `increase`.
        metrics::counter!(names::COMMIT_FAILURES, "stage" => self.stage).increment(0);
        while self.source.may_continue() {
            self.start_assigned()?;
            self.source.probe_topics();
            if !self.delivery.publishes() {
                self.source.note_connection();
            }
            let Some(batch) = self.source.next_batch()? else {
                continue;
            };
            let started = std::time::Instant::now();
            match self.settle(&batch, summary) {
                Ok(()) => {
                    self.source.store_offsets(&batch)?;
                    metrics::histogram!(names::BATCH_SECONDS, "stage" => self.stage)
                        .record(started.elapsed());
                }
                Err(Interrupted::Failed(error)) => return Err(error),
                Err(Interrupted::Released) => {
                    tracing::warn!(
                        event = "batch_released",
                        stage = self.stage,
                        records = batch.len(),
                        "not committed; it is read again"
                    );
                    if self.shutdown.is_cancelled() {
                        summary.left_unsettled = batch.len() as u64;
                    }
                }
            }
        }
        Ok(())
    }

    /// Answers new assignments: asks the handler where to start, and starts there.
    fn start_assigned(&mut self) -> anyhow::Result<()> {
        while let Some(assignment) = self.source.take_assignment() {
            let (consumer, partitions) = (self.source.consumer(), &assignment.partitions);
            let handler = &mut *self.handler;
            let starts = self
                .waiting
                .until_ok(&mut self.source, assignment.held, |_| {
                    let starts = handler.positions(partitions)?;
                    Ok(start_offsets(consumer, partitions, &starts)?)
                });
            match starts {
                Ok(starts) if self.source.may_settle(assignment.held) => {
                    self.source.start(&starts)?;
                    #[expect(clippy::cast_precision_loss, reason = "a count of partitions")]
                    metrics::gauge!(names::PARTITIONS, "stage" => self.stage)
                        .set(starts.count() as f64);
                }
                Ok(_) | Err(Interrupted::Released) => continue,
                Err(Interrupted::Failed(error)) => return Err(error),
            }
            // Whatever was wrong was with the partitions of before.
            self.waiting.clear();
            for check in [
                checks::AUTHORIZATION,
                checks::OFFSET_OUT_OF_RANGE,
                checks::MEMBERSHIP,
            ] {
                self.health.set(check, Ok(()));
            }
        }
        Ok(())
    }

    /// Brings every record of the batch to its outcome, acknowledged.
    fn settle(&mut self, batch: &Batch<'_>, summary: &mut StageSummary) -> Result<(), Interrupted> {
        let records = batch.records(self.retry);
        let held = batch.held(&records);
        held.report_lag(self.stage);
        self.count_consumed(records.len());
        let mut outcomes = Vec::with_capacity(records.len());
        let mut in_flight = InFlight::new(records.len());
        let mut attempts = 1;
        for piece in records.chunks(self.piece_records) {
            let (made, tried) = self.handle(piece, held)?;
            attempts = attempts.max(tried);
            let indices = outcomes.len()..outcomes.len() + made.len();
            outcomes.extend(made);
            let handled = Handled {
                records: &records,
                outcomes: &outcomes,
                attempts,
            };
            self.delivery.send(&mut in_flight, indices, handled)?;
        }
        let handled = Handled {
            records: &records,
            outcomes: &outcomes,
            attempts,
        };
        self.waiting.until_ok(&mut self.source, held, |_| {
            Ok(self.delivery.await_acks(&mut in_flight, handled)?)
        })?;
        self.waiting
            .until_ok(&mut self.source, held, |_| Ok(self.handler.settled()?))?;
        self.waiting.clear();
        self.health.set(checks::AUTHORIZATION, Ok(()));
        self.count_settled(&outcomes, summary);
        Ok(())
    }

    /// The outcomes of a piece of the batch once neither a dependency nor the breaker blocks them, and how often it was tried.
    fn handle(
        &mut self,
        piece: &[Record<'_>],
        held: Held,
    ) -> Result<(Vec<Outcome>, u32), Interrupted> {
        let Self {
            handler, breaker, ..
        } = self;
        self.waiting.until_ok(&mut self.source, held, |attempt| {
            let outcomes = handler.handle(piece)?;
            if outcomes.len() != piece.len() {
                return Err(Blocked::Stage(StageError::stop(
                    "handler_contract",
                    "the handler must answer one outcome for each record",
                )));
            }
            if let Some(breaker) = breaker.as_mut() {
                // Replays failed before, so failing again says nothing about a deploy: they neither open the breaker nor close it.
                let live = outcomes
                    .iter()
                    .zip(piece)
                    .filter(|(_, record)| !record.is_replay());
                breaker.admit(live.map(|(outcome, _)| outcome.rejection()))?;
            }
            Ok((outcomes, attempt))
        })
    }

    fn count_consumed(&self, records: usize) {
        metrics::counter!(names::RECORDS_CONSUMED, "stage" => self.stage).increment(records as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch size")]
        metrics::histogram!(names::BATCH_RECORDS, "stage" => self.stage).record(records as f64);
    }

    fn count_settled(&self, outcomes: &[Outcome], summary: &mut StageSummary) {
        let (mut done, mut forwarded, mut dead_lettered) = (0, 0, 0);
        for outcome in outcomes {
            match outcome {
                Outcome::Done => done += 1,
                Outcome::Forward(_) => forwarded += 1,
                Outcome::Reject(rejection) => {
                    dead_lettered += 1;
                    metrics::counter!(names::DEAD_LETTERS, "stage" => self.stage, "code" => rejection.code.code()).increment(1);
                }
            }
        }
        summary.done += done;
        summary.forwarded += forwarded;
        summary.dead_lettered += dead_lettered;
        for (outcome, records) in [
            ("done", done),
            ("forwarded", forwarded),
            ("dead_lettered", dead_lettered),
        ] {
            metrics::counter!(names::RECORDS_SETTLED, "stage" => self.stage, "outcome" => outcome)
                .increment(records);
        }
    }
}
