//! Transactions of a publisher that has a transactional id: what is published in one, and the offsets sent to it, are there together or not
//! at all, for whoever reads committed records. One at a time; every call blocks, with a deadline.
//!
//! A producer whose transaction failed for good, or failed without saying how it ended, is replaced. The new one has the same id, so the
//! brokers end what the old one left behind before they let it begin.

use super::{Client, Publisher};
use crate::kafka::{code_of, missing_acl};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Longest a transaction is open: then the brokers abort it. Readers of its topics wait for as long behind one whose process was killed.
pub(super) const LONGEST: Duration = Duration::from_secs(15);
/// Longest wait for the coordinator's answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait until the client has forgotten records whose acknowledgement is in: some microseconds.
const FORGET: Duration = Duration::from_millis(100);

impl Publisher {
    /// True when every record is published in a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.is_transactional
    }

    /// Gets this client the right to begin transactions, once. What an earlier client of the same id left open is ended by it.
    pub(crate) fn init_transactions(&self) -> KafkaResult<()> {
        if self.client().context().may_begin.load(Ordering::Acquire) {
            return Ok(());
        }
        self.within_deadline(|client| {
            client.init_transactions(ANSWER)?;
            client.context().may_begin.store(true, Ordering::Release);
            Ok(())
        })
    }

    pub(crate) fn begin_transaction(&self) -> KafkaResult<()> {
        self.client().begin_transaction()
    }

    /// Sends the offsets that are committed with the transaction, as that member of its group: the brokers refuse one that is no member any
    /// more.
    pub(crate) fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        member: &Arc<ConsumerGroupMetadata>,
    ) -> KafkaResult<()> {
        let (offsets, member) = (offsets.clone(), Arc::clone(member));
        self.within_deadline(move |client| {
            client.send_offsets_to_transaction(&offsets, &member, ANSWER)
        })
    }

    /// Ends the transaction. Every record of it is acknowledged before. After an error nobody knows whether it was committed.
    pub(crate) fn commit_transaction(&self) -> KafkaResult<()> {
        self.within_deadline(|client| {
            // The client counts a record until its report has been read, and would wait in steps of 100 ms for the last one.
            let until = Instant::now() + FORGET;
            while client.flush(Duration::ZERO).is_err() && Instant::now() < until {
                std::thread::yield_now();
            }
            client.commit_transaction(ANSWER)
        })
    }

    /// Nothing of the transaction is ever read. Where that cannot be had, the client is replaced, and the brokers abort it for the new one.
    pub(crate) fn abort_transaction(&self) {
        let aborted = self.within_deadline(|client| client.abort_transaction(ANSWER));
        if let Err(error) = aborted {
            self.replace_after(&error);
        }
    }

    /// Replaces the client because of this error.
    pub(crate) fn replace_after(&self, error: &KafkaError) {
        tracing::warn!(event = "transactional_client_replaced", reason = %reason(error));
        self.replace();
    }

    /// A call of the client, on a thread of its own: one may never return, whatever its time-out says, as when the group's coordinator was
    /// restarted (librdkafka#5511). The client of such a thread is left to it, and replaced.
    fn within_deadline(
        &self,
        call: impl FnOnce(&Client) -> KafkaResult<()> + Send + 'static,
    ) -> KafkaResult<()> {
        let (client, (done, answer)) = (self.client(), mpsc::channel());
        let called = std::thread::Builder::new()
            .name("transaction".to_owned())
            .spawn(move || done.send(call(&client)).is_ok());
        let answer = match called {
            Ok(_) => answer.recv_timeout(ANSWER + Duration::from_secs(1)).ok(),
            Err(_) => None,
        };
        answer.unwrap_or(Err(KafkaError::Global(RDKafkaErrorCode::OperationTimedOut)))
    }
}

/// A transaction's error for people.
pub(crate) fn reason(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
            missing_acl("to write its transactional id")
        }
        Some(_) | None => format!("{}: {error}", code_of(error)),
    }
}
