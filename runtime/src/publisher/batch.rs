//! Records awaited together, with one waiter.

use super::error::{PublishError, classify};
use super::{Client, Reports};
use crate::metrics as names;
use rdkafka::Message;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Headers of a record, in order. Cloning them is cheaper than building them again.
#[derive(Debug, Clone)]
pub struct RecordHeaders(pub(crate) OwnedHeaders);

impl RecordHeaders {
    /// None yet, with room for `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(OwnedHeaders::new_with_capacity(capacity))
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, key: &str, value: Option<&(impl AsRef<[u8]> + ?Sized)>) -> Self {
        Self(self.0.insert(Header {
            key,
            value: value.map(AsRef::as_ref),
        }))
    }
}

impl<'a, V: AsRef<[u8]>> FromIterator<(&'a str, V)> for RecordHeaders {
    fn from_iter<I: IntoIterator<Item = (&'a str, V)>>(headers: I) -> Self {
        headers.into_iter().fold(Self::new(8), |all, (key, value)| {
            all.with(key, Some(&value))
        })
    }
}

/// A record to publish. Key and value are copied before [`Batch::add`] returns.
#[derive(Debug)]
pub struct OutRecord<'a> {
    /// Topic name
    pub topic: &'a str,
    /// Partitioned by this (murmur2, as Java clients do); none is spread at random
    pub key: Option<&'a [u8]>,
    /// Value; `None` is Kafka's null
    pub value: Option<&'a [u8]>,
    /// Written in this order
    pub headers: RecordHeaders,
}

/// No delivery report yet, and somebody waits for it.
const AWAITED: u8 = 0;
/// No delivery report yet, and nobody waits any more: the record may be in Kafka or not.
const UNCONFIRMED: u8 = 1;
const ACKNOWLEDGED: u8 = 2;
const FAILED: u8 = 3;

/// What the records of one batch share.
struct BatchState {
    /// By index in the batch.
    records: Box<[AtomicU8]>,
    failures: Mutex<Vec<(usize, PublishError)>>,
    /// Records without a delivery report, plus one while the batch is open.
    remaining: AtomicUsize,
    settled: Notify,
}

impl BatchState {
    fn finish_one(&self) {
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, Vec<(usize, PublishError)>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka holds for one record until its delivery report.
pub(super) struct Receipt {
    state: Arc<BatchState>,
    index: usize,
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Receipt>;

    fn delivery(&self, result: &DeliveryResult<'_>, receipt: Self::DeliveryOpaque) {
        let state = match result {
            Ok(_) => {
                self.progress.acknowledged();
                ACKNOWLEDGED
            }
            Err((error, message)) => {
                let error = classify(error);
                self.progress.failed(&error, message.topic());
                receipt.state.failures().push((receipt.index, error));
                FAILED
            }
        };
        let before = receipt.state.records[receipt.index].swap(state, Ordering::AcqRel);
        if before == UNCONFIRMED {
            self.progress.reported();
        }
        receipt.state.finish_one();
    }
}

/// Records awaited together.
pub struct Batch {
    client: Arc<Client>,
    published: metrics::Counter,
    state: Arc<BatchState>,
    records: usize,
    /// Further records may be added
    is_open: bool,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new(client: Arc<Client>, published: metrics::Counter, capacity: usize) -> Self {
        let state = BatchState {
            records: (0..capacity).map(|_| AtomicU8::new(AWAITED)).collect(),
            failures: Mutex::default(),
            remaining: AtomicUsize::new(1),
            settled: Notify::new(),
        };
        Self {
            client,
            published,
            state: Arc::new(state),
            records: 0,
            is_open: true,
        }
    }

    /// Hands a record to the Kafka client.
    ///
    /// # Errors
    /// [`PublishError::QueueFull`] at once when the publisher's bound, or the batch's own, is reached. The record is then not part of the batch.
    pub fn add(&mut self, record: OutRecord<'_>) -> Result<(), PublishError> {
        if self.records == self.state.records.len() {
            return Err(PublishError::QueueFull);
        }
        self.state.remaining.fetch_add(1, Ordering::AcqRel);
        let receipt = Box::new(Receipt {
            state: Arc::clone(&self.state),
            index: self.records,
        });
        let mut base = BaseRecord::<'_, [u8], [u8], _>::with_opaque_to(record.topic, receipt)
            .headers(record.headers.0);
        base.key = record.key;
        base.payload = record.value;
        match self.client.send(base) {
            Ok(()) => {
                self.records += 1;
                Ok(())
            }
            Err((error, _)) => {
                self.state.finish_one();
                let error = classify(&error);
                self.client.context().progress.failed(&error, record.topic);
                metrics::counter!(names::PUBLISH_FAILURES, "code" => error.code()).increment(1);
                Err(error)
            }
        }
    }

    /// Waits until every record is acknowledged or failed; false when that takes longer. No record may be added any more.
    pub async fn settles_within(&mut self, wait: Duration) -> bool {
        if std::mem::take(&mut self.is_open) {
            self.state.finish_one();
        }
        let settled = async {
            while self.state.remaining.load(Ordering::Acquire) > 0 {
                self.state.settled.notified().await;
            }
        };
        tokio::time::timeout(wait, settled).await.is_ok()
    }

    /// Waits for every acknowledgement. Returns the records (by their index in the batch) that are not known to be in Kafka: none is success.
    /// The deadline only ends the waiting: those without a report count as not acknowledged, and the client goes on with them in the
    /// background, until their own time-out.
    pub async fn wait(mut self, deadline: Duration) -> Vec<(usize, PublishError)> {
        let in_time = self.settles_within(deadline).await;
        let mut silent = if in_time { Vec::new() } else { self.leave() };
        // A copy: after the deadline further reports may still arrive.
        let mut failed = self.state.failures().clone();
        silent.retain(|index| failed.iter().all(|(known, _)| known != index));
        if !silent.is_empty() {
            let error = PublishError::NotAcknowledged("no acknowledgement in time".to_owned());
            self.client.context().progress.failed(&error, "");
            failed.extend(silent.into_iter().map(|index| (index, error.clone())));
        }
        self.published
            .increment((self.records - failed.len()) as u64);
        for (_, error) in &failed {
            metrics::counter!(names::PUBLISH_FAILURES, "code" => error.code()).increment(1);
        }
        failed
    }

    /// Nobody waits any more: the records without a delivery report, by their index, are unconfirmed until theirs comes.
    fn leave(&self) -> Vec<usize> {
        let progress = &self.client.context().progress;
        let is_silent = |index: &usize| {
            let record = &self.state.records[*index];
            if record.load(Ordering::Acquire) != AWAITED {
                return false;
            }
            // Counted before it is marked: its report may come at once.
            progress.left();
            let left = record
                .compare_exchange(AWAITED, UNCONFIRMED, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
            if !left {
                progress.reported();
            }
            left
        };
        (0..self.records).filter(is_silent).collect()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.leave();
    }
}
