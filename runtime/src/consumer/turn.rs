//! One turn after the other: collect a batch, settle it, store its offsets.

use super::assignment::GroupConsumer;
use super::topics::Look;
use super::waiting::{BREAKER, RIGHTS, WORLD, Waited};
use super::{ConsumerSettings, Handler, Outcome, Record, Report};
use crate::breaker::Breaker;
use crate::clock::now_micros;
use crate::health::Health;
use crate::metrics as names;
use crate::publisher::Publisher;
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often `poll` returns to look around when there is nothing to read.
pub(super) const IDLE_POLL: Duration = Duration::from_millis(50);

pub(super) struct Loop<'c, H> {
    pub(super) settings: ConsumerSettings,
    pub(super) handler: H,
    pub(super) stage: &'static str,
    pub(super) publisher: Option<Publisher>,
    pub(super) health: Health,
    pub(super) shutdown: CancellationToken,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) consumer: &'c GroupConsumer,
    /// Records that came out of a paused client all the same: first in the next batch.
    pub(super) early: Vec<BorrowedMessage<'c>>,
    /// While topics are missing: the next look for them.
    pub(super) look: Option<Look>,
    breaker: Breaker,
    report: Report,
}

impl<'c, H: Handler> Loop<'c, H> {
    pub(super) fn new(
        settings: ConsumerSettings,
        handler: H,
        publisher: Option<Publisher>,
        health: Health,
        shutdown: CancellationToken,
        runtime: tokio::runtime::Handle,
        consumer: &'c GroupConsumer,
    ) -> Self {
        let breaker = Breaker::new(settings.breaker);
        let stage = handler.stage();
        // From the start, at zero: a series that begins with its first failure hides it from `increase`.
        metrics::counter!(names::COMMIT_FAILURES, "stage" => stage).increment(0);
        let (early, report) = (Vec::new(), Report::default());
        Self {
            settings,
            handler,
            stage,
            publisher,
            health,
            shutdown,
            runtime,
            consumer,
            early,
            look: None,
            breaker,
            report,
        }
    }

    pub(super) fn until_shutdown(mut self) -> anyhow::Result<Report> {
        while !self.shutdown.is_cancelled() {
            self.settle_assignment()?;
            self.look_for_topics();
            let generation = self.consumer.context().generation();
            let batch = self.collect()?;
            if !self.is_current(generation) {
                // The partitions changed while polling: these records belong to whoever has them now.
                self.early.clear();
                continue;
            }
            if batch.is_empty() {
                self.refuse_fatal()?;
                // Silence means "caught up" only where records could come from.
                if self.health.is_ready() {
                    metrics::gauge!(names::LAG_SECONDS, "stage" => self.stage).set(0.0);
                }
                continue;
            }
            let started = Instant::now();
            if self.settle(&batch, generation)? {
                if let Err(error) = self.consumer.store_offsets(&ends_of(&batch)?) {
                    // The client stores nothing for partitions it has lost: their new owner reads the batch again.
                    metrics::counter!(names::COMMIT_FAILURES, "stage" => self.stage).increment(1);
                    tracing::warn!(event = "offset_store_failed", stage = self.stage, %error);
                }
                metrics::histogram!(names::BATCH_SECONDS, "stage" => self.stage)
                    .record(started.elapsed());
                continue;
            }
            tracing::warn!(
                event = "batch_let_go",
                stage = self.stage,
                records = batch.len(),
                "uncommitted; it is read again"
            );
            if self.shutdown.is_cancelled() {
                self.report.left_unsettled = batch.len() as u64;
            }
        }
        Ok(self.report)
    }

    /// Whether the partitions are still those of this generation.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        self.consumer.context().generation() == generation
    }

    /// Polls a batch: what is there now, up to the bounds; after the first record it waits at most the batch's age for more.
    fn collect(&mut self) -> anyhow::Result<Vec<BorrowedMessage<'c>>> {
        let mut batch = std::mem::take(&mut self.early);
        let mut bytes: usize = batch.iter().map(|message| message.payload_len()).sum();
        let mut age_ends = (!batch.is_empty()).then(Instant::now);
        while batch.len() < self.settings.batch_records && bytes < self.settings.batch_bytes {
            let patience = match age_ends {
                None => IDLE_POLL,
                Some(end) => end.saturating_duration_since(Instant::now()),
            };
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    bytes += message.payload_len();
                    batch.push(message);
                    age_ends.get_or_insert_with(|| Instant::now() + self.settings.batch_age);
                }
                Some(Err(error)) => {
                    self.note_poll_error(&error)?;
                    if self.shutdown.is_cancelled() {
                        break;
                    }
                }
                None => break,
            }
        }
        Ok(batch)
    }

    /// Brings every record of the batch to its next home. False: let go, nothing of it may be committed.
    fn settle(&mut self, batch: &[BorrowedMessage<'c>], generation: u64) -> anyhow::Result<bool> {
        let records: Vec<Record<'_>> = batch
            .iter()
            .map(|message| self.record_of(message))
            .collect();
        self.note_lag(&records);
        metrics::counter!(names::RECORDS_CONSUMED, "stage" => self.stage)
            .increment(records.len() as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch size")]
        metrics::histogram!(names::BATCH_RECORDS, "stage" => self.stage)
            .record(records.len() as f64);
        let mut outcomes = Vec::with_capacity(records.len());
        let mut flight = self.flight(records.len());
        let mut attempts = 1;
        for piece in records.chunks(self.settings.piece_records) {
            let Some((judged, tried)) = self.judge(piece, &records, generation)? else {
                return Ok(false);
            };
            attempts = attempts.max(tried);
            let places = outcomes.len()..outcomes.len() + judged.len();
            outcomes.extend(judged);
            self.send(&mut flight, places, &records, &outcomes, attempts)?;
        }
        if !self.land(flight, &records, &outcomes, attempts, generation)? {
            return Ok(false);
        }
        let mut attempt = 0;
        while let Err(error) = self.handler.settled() {
            if error.must_stop() {
                return Err(error.into());
            }
            if self.wait(&error, attempt, generation, &records)? == Waited::LetGo {
                return Ok(false);
            }
            attempt += 1;
        }
        for check in [WORLD, BREAKER, RIGHTS] {
            self.health.set(check, Ok(()));
        }
        metrics::gauge!(names::BREAKER_OPEN, "stage" => self.stage).set(0.0);
        self.count(&outcomes);
        Ok(true)
    }

    fn record_of<'m>(&self, message: &'m BorrowedMessage<'_>) -> Record<'m> {
        let record = Record::of(message);
        match &self.settings.retry {
            Some(retry) if retry.topic == record.topic => record.as_replay(retry.max_replays),
            Some(_) | None => record,
        }
    }

    /// The outcomes of a piece of the batch, once the world and the breaker let them through, and how often it was tried. None: let go.
    fn judge(
        &mut self,
        piece: &[Record<'_>],
        batch: &[Record<'_>],
        generation: u64,
    ) -> anyhow::Result<Option<(Vec<Outcome>, u32)>> {
        for attempt in 0.. {
            let waited = match self.handler.handle(piece) {
                Ok(outcomes) => {
                    anyhow::ensure!(
                        outcomes.len() == piece.len(),
                        "{}: one outcome a record is needed",
                        self.stage
                    );
                    // Replays failed before, so failing again says nothing of a deploy: they neither open the breaker nor close it.
                    let live = outcomes
                        .iter()
                        .zip(piece)
                        .filter(|(_, record)| !record.is_replay());
                    let live = live.map(|(outcome, _)| outcome.rejection());
                    if !self
                        .breaker
                        .would_open(live.clone().map(|verdict| verdict.is_some()))
                    {
                        self.breaker.admit(live.map(|verdict| verdict.is_some()));
                        return Ok(Some((outcomes, attempt + 1)));
                    }
                    self.hold(live, attempt, generation, batch)?
                }
                Err(error) if error.must_stop() => return Err(error.into()),
                Err(error) => self.wait(&error, attempt, generation, batch)?,
            };
            if waited == Waited::LetGo {
                break;
            }
        }
        Ok(None)
    }

    pub(super) fn note_lag(&self, records: &[Record<'_>]) {
        if let Some(oldest) = records
            .iter()
            .map(|record| record.timestamp_ms)
            .filter(|&time| time > 0)
            .min()
        {
            #[expect(clippy::cast_precision_loss, reason = "seconds for a gauge")]
            let lag = (now_micros() / 1000 - oldest).max(0) as f64 / 1000.0;
            metrics::gauge!(names::LAG_SECONDS, "stage" => self.stage).set(lag);
        }
    }

    fn count(&mut self, outcomes: &[Outcome]) {
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
        self.report.done += done;
        self.report.forwarded += forwarded;
        self.report.dead_lettered += dead_lettered;
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

/// The offset after the last record of each partition in the batch.
fn ends_of(batch: &[BorrowedMessage<'_>]) -> KafkaResult<TopicPartitionList> {
    let mut ends: Vec<(&str, i32, i64)> = Vec::new();
    for message in batch {
        let next = message.offset() + 1;
        match ends.iter_mut().find(|(topic, partition, _)| {
            *partition == message.partition() && *topic == message.topic()
        }) {
            Some(end) => end.2 = next,
            None => ends.push((message.topic(), message.partition(), next)),
        }
    }
    let mut list = TopicPartitionList::with_capacity(ends.len());
    for (topic, partition, next) in ends {
        list.add_partition_offset(topic, partition, Offset::Offset(next))?;
    }
    Ok(list)
}
