//! The check `kafka` of a role that publishes: what its records come to, and while none is on its way, what the brokers say.

use super::progress::{Failure, Judge, Verdict};
use super::{Client, PublishError, Publisher, connect, leaders};
use crate::kafka::CHECK;
use crate::kafka::brokers::FORGOTTEN;
use rdkafka::producer::Producer;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(250);
/// Between two questions to the brokers while the check fails.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for the brokers' description of a topic while records fail: the check follows within two seconds.
const DIAGNOSIS: Duration = Duration::from_millis(500);
/// The same while nothing fails any more.
const PROBE: Duration = Duration::from_secs(2);

impl Publisher {
    /// Keeps the `kafka` check up to date until `shutdown`. It fails within two seconds of the first second in which records failed and none
    /// was acknowledged, and says why: the brokers' own description of the topic, else the last failure. It passes again with the next
    /// acknowledgement, or, while no record is on its way, once every partition has a leader and enough replicas that can be reached.
    ///
    /// A client that cannot recover is replaced: what it held was reported as not acknowledged, and once the ACL or cluster is fixed no
    /// restart is needed. One with transactions is replaced by whoever has a transaction open (`transaction.rs`).
    pub async fn watch(self, topic: String, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut judge = Judge::default();
        // The reason shown that this loop found; another one is the client's, and more specific.
        let mut shown: Option<String> = None;
        let mut asked: Option<Instant> = None;
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            if let Some(reason) = self.client_failure().filter(|_| !self.is_transactional) {
                tracing::error!(event = "kafka_client_failed", reason, "replaced");
                self.health.fail_if_fine(CHECK, reason);
                self.replace();
                continue;
            }
            let current = self.health.reason(CHECK);
            let is_ours = current == shown;
            let may_ask = asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY);
            let seen = self.progress.seen(Instant::now());
            match judge.look(seen, self.in_flight() > 0) {
                Verdict::Publishing if current.is_some() && is_ours => {
                    self.health.set(CHECK, Ok(()));
                    shown = None;
                }
                Verdict::Failing if is_ours && (shown.is_none() || may_ask) => {
                    let reason = self.diagnosis(&topic).await;
                    asked = Some(Instant::now());
                    if is_news(shown.as_deref(), &reason) {
                        self.health.set(CHECK, Err(reason.clone()));
                        shown = Some(reason);
                    }
                }
                Verdict::Publishing | Verdict::Unknown if current.is_some() && may_ask => {
                    let probe = self.probe(&topic, PROBE).await;
                    asked = Some(Instant::now());
                    match probe {
                        Ok(()) if self.is_warm() => {
                            self.progress.forget_failures();
                            self.health.set(CHECK, Ok(()));
                            shown = None;
                        }
                        // No broker answered while records failed: one does now, and names the cause.
                        Err(reason) if is_ours && is_news(shown.as_deref(), &reason) => {
                            self.health.set(CHECK, Err(reason.clone()));
                            shown = Some(reason);
                        }
                        Ok(()) | Err(_) => {}
                    }
                }
                Verdict::Publishing | Verdict::Failing | Verdict::Unknown => {}
            }
        }
    }

    /// Why records fail: a code, and what to do.
    async fn diagnosis(&self, topic: &str) -> String {
        let last = self.progress.last_failure();
        let failed_topic = last.as_ref().map_or("", |failure| failure.topic.as_str());
        let topic = if failed_topic.is_empty() {
            topic
        } else {
            failed_topic
        };
        match self.probe(topic, DIAGNOSIS).await {
            Err(reason) => reason,
            Ok(()) => of_failure(last),
        }
    }

    /// Whether a topic can be published to, by what the brokers say; clears or sets nothing.
    ///
    /// # Errors
    /// A code, the reason, and what to do.
    pub(super) async fn probe(&self, topic: &str, deadline: Duration) -> Result<(), String> {
        let (client, topic) = (self.client(), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || leaders::check(&client, &topic, deadline));
        asked.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Why the client will never publish again.
    fn client_failure(&self) -> Option<String> {
        let client = self.client();
        let forgotten = || client.context().brokers.are_forgotten(Instant::now());
        match client.client().fatal_error() {
            Some((code, reason)) => Some(format!("{code:?}: {reason}")),
            None => forgotten().then(|| FORGOTTEN.to_owned()),
        }
    }

    /// A new client in place of this one, whose end waits for its threads.
    pub(super) fn replace(&self) {
        let fresh: Arc<Client> = match connect(&self.config, &self.health, &self.progress) {
            Ok(client) => Arc::new(client),
            Err(error) => return tracing::error!(event = "kafka_client_refused", %error),
        };
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        let failed = std::mem::replace(&mut *client, fresh);
        drop(client);
        let end = std::thread::Builder::new().name("abandoned".to_owned());
        if let Err(error) = end.spawn(move || drop(failed)) {
            tracing::error!(event = "kafka_client_end", %error);
        }
    }
}

/// A line in the log is a change of state: another code, and not that nobody describes a topic whose state is known.
fn is_news(shown: Option<&str>, reason: &str) -> bool {
    let code = |reason: &str| reason.split(':').next().map(str::to_owned);
    shown.is_none_or(|shown| code(shown) != code(reason) && !reason.starts_with(leaders::SILENT))
}

/// What the last failure says, where the brokers say that all is well.
fn of_failure(last: Option<Failure>) -> String {
    let not_acknowledged =
        "not_acknowledged: Kafka takes records and acknowledges none; check that every broker runs";
    match last.map(|failure| failure.error) {
        Some(PublishError::QueueFull) => {
            "queue_full: too many records wait for Kafka's acknowledgement; check that every broker runs, then --queue-records".to_owned()
        }
        Some(PublishError::Refused(reason)) => format!("refused: {reason}"),
        Some(PublishError::NotAcknowledged(_) | PublishError::TooLarge) | None => {
            not_acknowledged.to_owned()
        }
    }
}
