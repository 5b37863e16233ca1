//! The loop: collect a batch, settle it, store its offsets. The parts are composed here and nowhere else.

use super::batch::{Batch, Held};
use super::breaker_report::report;
use super::delivery::{Delivery, Handled, InFlight};
use super::incarnation::Incarnations;
use super::source::Source;
use super::start::{committed, start_offsets};
use super::transaction::Position;
use super::waiting::{Blocked, Interrupted, Waiting};
use super::{Assigned, Handler, Outcome, Record, StageError, StageSummary, checks};
use crate::breaker::Breaker;
use crate::clock::now_micros;
use crate::faults;
use crate::health::Health;
use crate::kafka::brokers::FORGOTTEN;
use crate::metrics as names;
use crate::replay::Retry;
use contracts::kafka::headers;
use contracts::{Rejection, RejectionCode};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often the handler is asked to look.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Why the client is replaced: where partitions are kept through a rebalance, they would be read on from a batch that is perhaps committed.
const IN_DOUBT: &str = "partitions were revoked while a transaction's end was not known; the rest are read on from the committed offsets";

pub(super) struct Loop<'c, H> {
    pub(super) stage: &'static str,
    pub(super) handler: &'c mut H,
    pub(super) source: Source<'c>,
    pub(super) waiting: Waiting,
    /// `None`: the stage dead-letters nothing
    pub(super) breaker: &'c mut Option<Breaker>,
    pub(super) delivery: &'c mut Delivery,
    pub(super) retry: Option<&'c Retry>,
    pub(super) raw_topic: Option<&'c str>,
    pub(super) incarnations: &'c mut Incarnations,
    pub(super) piece_records: usize,
    pub(super) health: Health,
    pub(super) shutdown: CancellationToken,
}

impl<H: Handler> Loop<'_, H> {
    /// Until shutdown, or until the client must be replaced: then it says why. An error leaves the current batch uncommitted.
    pub(super) fn run(mut self, summary: &mut StageSummary) -> anyhow::Result<Option<String>> {
        // From the start, at zero: a series that begins with its first failure hides it from `increase`.
        metrics::counter!(names::COMMIT_FAILURES, "stage" => self.stage).increment(0);
        if self.breaker.is_some() {
            metrics::counter!(names::BREAKER_RELEASES, "stage" => self.stage).increment(0);
        }
        let mut look_at = Instant::now() + LOOK_EVERY;
        while self.source.may_continue() {
            self.start_assigned()?;
            self.source.probe_topics();
            if let Some(topic) = self.incarnations.recreated() {
                return Ok(Some(format!(
                    "topic {topic} was deleted and created again; it is read from its beginning"
                )));
            }
            if look_at <= Instant::now() {
                self.look()?;
                look_at = Instant::now() + LOOK_EVERY;
            }
            if !self.delivery.publishes() {
                self.source.note_connection();
            }
            let Some(batch) = self.source.next_batch()? else {
                continue;
            };
            let started = Instant::now();
            if faults::planted("commit_before_settle") {
                let offsets = batch.next_offsets(self.incarnations.ids(), "")?;
                self.delivery.store(self.source.consumer(), &offsets);
            }
            let settled = self.settle(&batch, summary);
            let is_in_doubt = settled.is_err() && self.delivery.release();
            match settled {
                Ok(()) => metrics::histogram!(names::BATCH_SECONDS, "stage" => self.stage)
                    .record(started.elapsed()),
                Err(Interrupted::Failed(error)) => return Err(error),
                Err(Interrupted::Released) => {
                    if faults::planted("no_drain_on_revoke") {
                        let offsets = batch.next_offsets(self.incarnations.ids(), "")?;
                        self.delivery.store(self.source.consumer(), &offsets);
                        continue;
                    }
                    self.source.read_again(&batch)?;
                    tracing::warn!(
                        event = "batch_released",
                        stage = self.stage,
                        records = batch.len(),
                        is_in_doubt,
                        "not settled here; what is not committed is read again"
                    );
                    if self.shutdown.is_cancelled() {
                        summary.left_unsettled = batch.len() as u64;
                    } else if is_in_doubt && self.source.keeps_others() {
                        return Ok(Some(IN_DOUBT.to_owned()));
                    }
                }
            }
        }
        Ok(self.source.lost_brokers().then(|| FORGOTTEN.to_owned()))
    }

    /// Asks the handler whether all is as it left it; waits while it cannot say.
    fn look(&mut self) -> anyhow::Result<()> {
        let (held, handler) = (self.source.held_nothing(), &mut *self.handler);
        let looked = self.waiting.until_ok(&mut self.source, held, |attempt| {
            handler.look()?;
            Ok(attempt)
        });
        match looked {
            Ok(1) => Ok(()),
            // Nothing was in hand but what came early.
            Err(Interrupted::Released) => self.source.read_again(&Batch::new(Vec::new(), 0)),
            Ok(_) => {
                self.waiting.clear();
                Ok(())
            }
            Err(Interrupted::Failed(error)) => Err(error),
        }
    }

    /// Answers new assignments: asks the handler where to start, and starts there.
    fn start_assigned(&mut self) -> anyhow::Result<()> {
        while let Some(assignment) = self.source.take_assignment()? {
            let (consumer, partitions) = (self.source.consumer(), &assignment.all);
            let (handler, incarnations) = (&mut *self.handler, &mut *self.incarnations);
            let keeps_others = self.source.keeps_others();
            let starts = self
                .waiting
                .until_ok(&mut self.source, assignment.held, |_| {
                    let topic_ids = incarnations.note_assignment(keeps_others)?.clone();
                    let (committed, notes) = committed(consumer, partitions, &topic_ids)?;
                    let assigned = Assigned {
                        topic_ids,
                        committed,
                    };
                    handler.assigned(&assigned);
                    let starts = handler.positions(partitions)?;
                    let starts = start_offsets(consumer, partitions, &starts, &assigned.committed)?;
                    Ok((starts, notes))
                });
            match starts {
                Ok((starts, notes)) if self.source.may_settle(assignment.held) => {
                    if let Some(breaker) = self.breaker.as_mut() {
                        breaker.compare(notes.iter().map(String::as_str));
                    }
                    self.source.start(&starts)?;
                }
                Ok(_) | Err(Interrupted::Released) => {
                    self.source.read_again(&Batch::new(Vec::new(), 0))?;
                    continue;
                }
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
        // The records borrow both, and the ids of an assignment stay while a batch of it is in hand.
        let (headers, ids) = (batch.headers(), self.incarnations.ids().clone());
        let records = batch.records(&headers, self.retry, self.raw_topic, &ids);
        let held = batch.held(&records);
        held.report_lag(self.stage);
        self.count_consumed(records.len());
        let mut outcomes = Vec::with_capacity(records.len());
        let mut in_flight = InFlight::new(records.len());
        let mut attempts = 1;
        for piece in records.chunks(self.piece_records) {
            let (made, tried) = self.handle(piece, held)?;
            faults::kill_point("batch_handled");
            attempts = attempts.max(tried);
            let indices = outcomes.len()..outcomes.len() + made.len();
            outcomes.extend(made);
            let handled = Handled {
                records: &records,
                outcomes: &outcomes,
                attempts,
            };
            self.delivery.send_early(&mut in_flight, indices, handled)?;
        }
        let handled = Handled {
            records: &records,
            outcomes: &outcomes,
            attempts,
        };
        let note = self
            .breaker
            .as_ref()
            .map(|breaker| breaker.note(Instant::now(), now_micros()));
        let offsets = batch
            .next_offsets(&ids, &note.unwrap_or_default())
            .map_err(anyhow::Error::from)?;
        let at = Position {
            consumer: self.source.consumer(),
            offsets: &offsets,
            topic_ids: &ids,
        };
        // Each step is done once where it succeeds; only a transaction that failed is begun again.
        self.waiting.until_ok(&mut self.source, held, |_| {
            self.delivery.publish(&mut in_flight, handled, at)?;
            faults::kill_point("batch_acknowledged");
            self.handler.settled()?;
            faults::kill_point("batch_settled");
            self.delivery.commit(at)?;
            faults::kill_point("offsets_stored");
            Ok(())
        })?;
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
            handler,
            breaker,
            stage,
            ..
        } = self;
        self.waiting.until_ok(&mut self.source, held, |attempt| {
            let mut outcomes = match handler.handle(piece) {
                Err(StageError::Wait { code, .. })
                    if attempt > 3 && faults::planted("outage_dead_letters") =>
                {
                    dead_letter_all(piece, code)
                }
                outcomes => outcomes?,
            };
            if outcomes.len() != piece.len() {
                return Err(Blocked::Stage(StageError::stop(
                    "handler_contract",
                    "the handler must answer one outcome for each record",
                )));
            }
            spare_revalidated(stage, piece, &mut outcomes);
            if let Some(breaker) = breaker.as_mut() {
                // Replays failed before, so failing again says nothing about a deploy: they neither open the breaker nor close it. What came
                // without proof says nothing either, and strangers could open it.
                let live = outcomes
                    .iter()
                    .zip(piece)
                    .filter(|(outcome, record)| {
                        let unproven = |rejection: &Rejection| rejection.code.is_unproven();
                        !record.is_replay() && !outcome.rejection().is_some_and(unproven)
                    })
                    .map(|(outcome, record)| {
                        let source = record.header_text(headers::SOURCE).unwrap_or_default();
                        (source, outcome.rejection())
                    });
                report(stage, &breaker.admit(Instant::now(), held.age(), live)?);
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

/// What a revalidation sends is a copy of an event that is stored: rejected, it stays what it is in the database. A dead letter would be a
/// second fate. The job that sent it finds its row as it was, and says so.
fn spare_revalidated(stage: &'static str, records: &[Record<'_>], outcomes: &mut [Outcome]) {
    for (record, outcome) in records.iter().zip(outcomes) {
        if let Outcome::Reject(rejection) = outcome
            && record.header(headers::REVALIDATES).is_some()
        {
            let code = rejection.code.code();
            metrics::counter!(names::REVALIDATIONS_REFUSED, "stage" => stage, "code" => code)
                .increment(1);
            tracing::warn!(event = "revalidation_refused", stage, code, detail = %rejection, raw = ?record.raw(), "its row stays as it is");
            *outcome = Outcome::Done;
        }
    }
}

/// What an outage would make of a batch where somebody gave up on it: the bug `outage_dead_letters`.
fn dead_letter_all(records: &[Record<'_>], code: &str) -> Vec<Outcome> {
    let rejection = |_| Rejection::new(RejectionCode::RowRefused, None, code);
    records.iter().map(rejection).map(Outcome::Reject).collect()
}
