//! The one consumer loop. It never steps over a record.
//!
//! In order, on an OS thread of its own (`run.rs`):
//!
//! 1. A new assignment (`membership.rs` notes it inside `poll`) is answered: the [`Handler`] says where to start, `start.rs` finds the offsets.
//! 2. While topics are missing, `topic_probe.rs` probes them.
//! 3. `source.rs` polls a batch of records (`batch.rs`), up to bounds of records, bytes and age.
//! 4. The handler gives every record one [`Outcome`]: done, forwarded, or rejected. A stage that publishes much is handed the batch in pieces.
//!    The [breaker](crate::breaker) refuses outcomes that would dead-letter too many.
//! 5. `delivery.rs` publishes what is forwarded or dead-lettered, and waits for every acknowledgement.
//! 6. Only then are the batch's offsets stored; the client commits stored offsets every [`COMMIT_EVERY`] and when partitions are revoked.
//!    So every record before a committed offset has its outcome, durably. With a transactional publisher, steps 5 and 6 are one Kafka
//!    transaction instead (`transaction.rs`), so that a batch that is read again has left nothing that anybody reads.
//!
//! While a dependency is down (broker, schema registry, database) a step answers [`StageError::Wait`], and `waiting.rs` retries it with the
//! same batch in hand: partitions are paused and `poll` still called, so the stage stays in its group, and nothing is dead-lettered. A
//! rebalance arrives inside `poll`, which is called only between batches and while waiting; a batch in hand is then released without a
//! commit, and its new owner reads it again.

mod batch;
mod breaker_report;
mod checks;
mod commit_log;
mod delivery;
mod handler;
pub(crate) mod incarnation;
mod membership;
mod run;
mod settings;
mod source;
mod start;
mod topic_probe;
mod transaction;
mod waiting;

pub use crate::record::{Header, Record};
pub use handler::{Assigned, Forward, Handler, Outcome, StageError, Start};
pub use settings::{
    BatchArgs, COMMIT_EVERY, ConsumerSettings, DeadLetterArgs, DeadLetterSettings, DeliveryArgs,
    Guarantee, StageArgs, Switch,
};

use crate::breaker::Breaker;
use crate::health::Health;
use crate::publisher::Publisher;
use delivery::Delivery;
use incarnation::Incarnations;
use membership::{GroupConsumer, GroupMembership};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer;
use source::Source;
use tokio_util::sync::CancellationToken;
use waiting::Waiting;

/// What a stage did, returned when it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageSummary {
    /// Records settled without a new record
    pub done: u64,
    /// Records settled with the records made from them
    pub forwarded: u64,
    /// Records settled with a dead letter
    pub dead_lettered: u64,
    /// Records in hand at the end that are not settled; they are read again
    pub left_unsettled: u64,
}

/// Runs a stage until `shutdown`, and commits what is settled. A stage that neither forwards nor rejects records has no `publisher`, and
/// needs no permission to write.
///
/// # Errors
/// A fatal client error, settings librdkafka refuses, [`StageError::Stop`], or a handler that broke its contract. Nothing unsettled is
/// committed.
pub async fn run<H: Handler + 'static>(
    settings: ConsumerSettings,
    handler: H,
    publisher: Option<Publisher>,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<StageSummary> {
    health.starts(
        checks::MEMBERSHIP,
        "the group has not assigned partitions to this instance yet; that takes a few seconds. If it lasts, check that Kafka is reachable",
    );
    health.started();
    let runtime = tokio::runtime::Handle::current();
    let (done, ended) = tokio::sync::oneshot::channel();
    let stage = handler.stage();
    std::thread::Builder::new()
        .name(stage.to_owned())
        .spawn(move || {
            let result = consume(&settings, handler, publisher, &health, &shutdown, runtime);
            if done.send(result).is_err() {
                tracing::warn!(event = "stage_ended_unobserved", stage);
            }
        })?;
    let summary = ended.await.map_err(|_| {
        anyhow::anyhow!(
            "the {stage} thread panicked; its offsets are not committed. Restart the process"
        )
    })??;
    tracing::info!(
        event = "stage_drained",
        stage,
        done = summary.done,
        forwarded = summary.forwarded,
        dead_lettered = summary.dead_lettered,
        left_unsettled = summary.left_unsettled
    );
    Ok(summary)
}

/// The stage's thread, from first poll to last commit: dropping the consumer commits what is settled, also when the loop ended in an error.
fn consume<H: Handler>(
    settings: &ConsumerSettings,
    mut handler: H,
    publisher: Option<Publisher>,
    health: &Health,
    shutdown: &CancellationToken,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<StageSummary> {
    let stage = handler.stage();
    let config = settings.client_config()?;
    let mut breaker = settings
        .dead_letters
        .as_ref()
        .map(|dead_letters| Breaker::new(dead_letters.breaker, &dead_letters.rules));
    let mut delivery = Delivery::new(settings, stage, publisher, runtime.clone());
    let mut incarnations = Incarnations::new(settings, runtime);
    let mut summary = StageSummary::default();
    loop {
        incarnations.forget();
        let membership = GroupMembership::new(health.clone(), stage);
        let consumer = GroupConsumer::from_config_and_context(&config, membership)?;
        consumer.subscribe(&settings.all_topics().collect::<Vec<_>>())?;
        let replace = run::Loop {
            stage,
            handler: &mut handler,
            source: Source::new(&consumer, settings, stage, health.clone(), shutdown.clone()),
            waiting: Waiting::new(stage, health.clone()),
            breaker: &mut breaker,
            delivery: &mut delivery,
            retry: settings.retry.as_ref(),
            raw_topic: settings.raw_topic.as_deref(),
            incarnations: &mut incarnations,
            piece_records: settings.piece_records,
            health: health.clone(),
            shutdown: shutdown.clone(),
        }
        .run(&mut summary)?;
        let Some(reason) = replace else {
            return Ok(summary);
        };
        tracing::error!(event = "kafka_client_failed", stage, reason, "replaced");
        abandon(consumer)?;
        if shutdown.is_cancelled() {
            return Ok(summary);
        }
        health.set(checks::MEMBERSHIP, Err(reason));
    }
}

/// Drops a client whose end would wait for a broker that it will not find. Nothing is lost: what it has not committed is read again.
fn abandon(consumer: GroupConsumer) -> anyhow::Result<()> {
    consumer.context().mark_replaced();
    std::thread::Builder::new()
        .name("abandoned".to_owned())
        .spawn(move || drop(consumer))?;
    Ok(())
}
