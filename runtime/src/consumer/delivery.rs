//! Outcomes become records, every record an acknowledgement, and the batch a committed offset: at least once, or exactly once in a transaction.

use super::membership::GroupConsumer;
use super::transaction::{Position, Transactions};
use super::{ConsumerSettings, Outcome, Record, StageError};
use crate::clock::now_micros;
use crate::dead_letter;
use crate::faults;
use crate::metrics as names;
use crate::publisher::{self, OutRecord, PublishError, Publisher};
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::time::{Duration, Instant};

/// Longest wait for acknowledgements without a poll.
const SLICE: Duration = Duration::from_secs(1);

/// Publishes what the outcomes of a stage ask for.
pub(super) struct Delivery {
    stage: &'static str,
    group: String,
    publisher: Option<Publisher>,
    /// Exactly once: a batch is a transaction. Otherwise its offsets are stored once all is acknowledged
    transactions: Option<Transactions>,
    dead_letter_topic: Option<String>,
    deadline: Duration,
    runtime: tokio::runtime::Handle,
}

/// Records of a batch, and what the handler made of them.
#[derive(Clone, Copy)]
pub(super) struct Handled<'a> {
    pub(super) records: &'a [Record<'a>],
    /// Of the first of them, or of all
    pub(super) outcomes: &'a [Outcome],
    /// How often the stage has tried them
    pub(super) attempts: u32,
}

/// A record made from another: the index of that one in its batch, and its own among those made from it.
type Made = (usize, usize);

/// Records of a batch on their way to the broker.
pub(super) struct InFlight {
    batches: Vec<PublishedBatch>,
    /// Records the next of `batches` has room for
    capacity: usize,
    refused: Vec<(Made, PublishError)>,
    /// Not acknowledged in time: to be sent again
    resend: Vec<Made>,
    awaited_since: Option<Instant>,
}

struct PublishedBatch {
    batch: publisher::Batch,
    /// By index in `batch`
    made: Vec<Made>,
    capacity: usize,
}

impl Delivery {
    pub(super) fn new(
        settings: &ConsumerSettings,
        stage: &'static str,
        publisher: Option<Publisher>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let transactional = publisher.clone().filter(Publisher::is_transactional);
        Self {
            stage,
            group: settings.group.clone(),
            publisher,
            transactions: transactional.map(|publisher| Transactions::new(stage, publisher)),
            dead_letter_topic: settings
                .dead_letters
                .as_ref()
                .map(|dead_letters| dead_letters.topic.clone()),
            deadline: settings.publish_deadline,
            runtime,
        }
    }

    /// False for a stage that neither forwards nor rejects.
    pub(super) fn publishes(&self) -> bool {
        self.publisher.is_some()
    }

    /// Hands what these outcomes ask for to the Kafka client, which sends it in the background. In a transaction nothing is sent before all
    /// outcomes are known: they may have to wait for a dependency or the breaker, and a transaction must not.
    pub(super) fn send_early(
        &self,
        in_flight: &mut InFlight,
        indices: impl Iterator<Item = usize>,
        handled: Handled<'_>,
    ) -> Result<(), StageError> {
        if self.transactions.is_some() {
            return Ok(());
        }
        self.send(in_flight, indices, handled)
    }

    fn send(
        &self,
        in_flight: &mut InFlight,
        indices: impl Iterator<Item = usize>,
        handled: Handled<'_>,
    ) -> Result<(), StageError> {
        for index in indices {
            for which in 0.. {
                if !self.send_one(in_flight, (index, which), handled)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Publishes what the outcomes ask for and is not published yet, and waits for every acknowledgement, a second at most: between two calls
    /// the loop polls, and stays in its group. Called again after an error, it first sends again what is missing, and only that; a
    /// transaction is aborted by one, and all of it is sent again in the next.
    pub(super) fn publish(
        &mut self,
        in_flight: &mut InFlight,
        handled: Handled<'_>,
        at: Position<'_>,
    ) -> Result<(), StageError> {
        let Some(transactions) = &mut self.transactions else {
            return self.await_acks(in_flight, handled);
        };
        if transactions.begin(at)? {
            *in_flight = InFlight::new(handled.records.len());
            self.send(in_flight, 0..handled.outcomes.len(), handled)?;
        }
        let awaited = self.await_acks(in_flight, handled);
        if awaited.is_err() && !in_flight.is_awaited() {
            self.transactions.iter_mut().for_each(Transactions::abort);
        }
        awaited
    }

    /// Commits the offsets behind the batch, for which everything is done. Without a transaction they are stored, and the client commits
    /// them soon.
    pub(super) fn commit(&mut self, at: Position<'_>) -> Result<(), StageError> {
        if let Some(transactions) = &mut self.transactions {
            return transactions.commit(at);
        }
        self.store(at.consumer, at.offsets);
        Ok(())
    }

    /// Stores offsets for the client to commit.
    pub(super) fn store(&self, consumer: &GroupConsumer, offsets: &TopicPartitionList) {
        if let Err(error) = consumer.store_offsets(offsets) {
            // The client stores nothing for partitions it has lost: their new owner reads the batch again.
            metrics::counter!(names::COMMIT_FAILURES, "stage" => self.stage).increment(1);
            tracing::warn!(event = "offset_store_failed", stage = self.stage, %error);
        }
    }

    /// The batch is not settled, and not in hand any more. True: it may be committed all the same, so only the group's committed offsets say
    /// where to go on.
    pub(super) fn release(&mut self) -> bool {
        self.transactions
            .as_mut()
            .is_some_and(Transactions::release)
    }

    fn await_acks(&self, in_flight: &mut InFlight, handled: Handled<'_>) -> Result<(), StageError> {
        for made in std::mem::take(&mut in_flight.resend) {
            self.send_one(in_flight, made, handled)?;
        }
        let now = Instant::now();
        let since = *in_flight.awaited_since.get_or_insert(now);
        if !self.settle_within(in_flight, SLICE) && since.elapsed() < self.deadline {
            // The same words each time: a text that changes would be logged each time.
            let error = PublishError::NotAcknowledged("still waiting".to_owned());
            return Err(StageError::wait(error.code(), error));
        }
        in_flight.awaited_since = None;
        let mut failed = std::mem::take(&mut in_flight.refused);
        let mut sent = failed.len();
        for PublishedBatch { batch, made, .. } in in_flight.batches.drain(..) {
            sent += made.len();
            let missing = self.runtime.block_on(batch.wait(Duration::ZERO));
            failed.extend(
                missing
                    .into_iter()
                    .map(|(index, error)| (made[index], error)),
            );
        }
        if faults::planted("skip_failed_dead_letter") {
            failed.retain(|((index, _), _)| handled.outcomes[*index].rejection().is_none());
        }
        let Some((_, error)) = failed.first() else {
            return Ok(());
        };
        let reason = format!("{} of {sent} records not published: {error}", failed.len());
        let error = StageError::wait(error.code(), reason);
        in_flight.resend = failed.into_iter().map(|(made, _)| made).collect();
        // In the topic's order again, since failures come in any.
        in_flight.resend.sort_unstable();
        in_flight.capacity = in_flight.resend.len();
        Err(error)
    }

    fn settle_within(&self, in_flight: &mut InFlight, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        in_flight.batches.iter_mut().all(|published| {
            let left = until.saturating_duration_since(Instant::now());
            self.runtime.block_on(published.batch.settles_within(left))
        })
    }

    /// False: there is no such record.
    fn send_one(
        &self,
        in_flight: &mut InFlight,
        made: Made,
        handled: Handled<'_>,
    ) -> Result<bool, StageError> {
        let Some(record) = self.make(made, handled)? else {
            return Ok(false);
        };
        let Some(publisher) = &self.publisher else {
            return Err(broken_contract(format!(
                "{} has no publisher, but its handler forwarded or rejected a record",
                self.stage
            )));
        };
        in_flight.add(publisher, made, record);
        Ok(true)
    }

    /// The record an outcome asks for: one to forward, or the dead letter.
    fn make<'a>(
        &'a self,
        (index, which): Made,
        handled: Handled<'a>,
    ) -> Result<Option<OutRecord<'a>>, StageError> {
        let record = &handled.records[index];
        let (topic, value, headers) = match &handled.outcomes[index] {
            Outcome::Forward(forwards) if which < forwards.len() => {
                let forward = &forwards[which];
                let mut headers = dead_letter::forwarded(record, forward.headers.len());
                for (name, value) in &forward.headers {
                    headers = headers.with(name, Some(value));
                }
                (&*forward.topic, forward.value.as_deref(), headers)
            }
            Outcome::Reject(rejection) if which == 0 => {
                let Some(topic) = &self.dead_letter_topic else {
                    return Err(broken_contract(format!(
                        "{} has no dead-letter topic, but its handler rejected a record: {rejection}",
                        self.stage
                    )));
                };
                let author = dead_letter::Author {
                    stage: self.stage,
                    group: &self.group,
                    now_micros: now_micros(),
                    attempts: handled.attempts,
                };
                let headers = dead_letter::headers(record, rejection, &author);
                (topic.as_str(), record.payload, headers)
            }
            Outcome::Done | Outcome::Forward(_) | Outcome::Reject(_) => return Ok(None),
        };
        let forgets_key = faults::planted("dead_letter_key_dropped");
        let is_dead = handled.outcomes[index].rejection().is_some();
        Ok(Some(OutRecord {
            topic,
            key: record.key.filter(|_| !(forgets_key && is_dead)),
            value,
            headers,
        }))
    }
}

impl InFlight {
    /// Nothing yet, of a batch of so many records.
    pub(super) fn new(records: usize) -> Self {
        Self {
            batches: Vec::new(),
            capacity: records,
            refused: Vec::new(),
            resend: Vec::new(),
            awaited_since: None,
        }
    }

    /// Its acknowledgements are still waited for.
    fn is_awaited(&self) -> bool {
        self.awaited_since.is_some()
    }

    fn add(&mut self, publisher: &Publisher, made: Made, record: OutRecord<'_>) {
        // A batch that forwards to several topics makes more records than it has.
        let is_full = |batch: &PublishedBatch| batch.made.len() == batch.capacity;
        if self.batches.last().is_none_or(is_full) {
            self.batches.push(PublishedBatch {
                batch: publisher.batch(self.capacity),
                made: Vec::with_capacity(self.capacity),
                capacity: self.capacity,
            });
        }
        let Some(current) = self.batches.last_mut() else {
            return;
        };
        match current.batch.add(record) {
            Ok(()) => current.made.push(made),
            Err(error) => self.refused.push((made, error)),
        }
    }
}

fn broken_contract(reason: String) -> StageError {
    StageError::stop("handler_contract", reason)
}
