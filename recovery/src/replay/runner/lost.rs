//! Replays that were lost after their acknowledgement: retention deleted the record, the topic was made anew, the group was set ahead.
//! Nobody will ever settle them, so this does, once it is certain.
//!
//! **Why it is certain.** As the audit's checkpoint ([`crate::audit`]), in this order, for what one group was sent before the look began:
//!
//! 1. the ends of its retry topic are read: what was acknowledged before lies before them.
//! 2. once the group's offsets have passed those, each record was forwarded, stored or dead-lettered, and that was acknowledged; or it was
//!    never read. What the validator forwarded lies before the ends of the validated topic as read now.
//! 3. once persistence's offsets have passed those: it has its row, or its dead letter lies before the ends of the dead-letter topic as
//!    read now.
//! 4. once the index's offsets have passed those: the index has settled the item that failed again.
//!
//! What is still awaited then and has no row was lost. Offsets passed a topic's end when nothing that can be read lies between them.

use super::metrics as names;
use crate::audit_log::{self, Entry};
use crate::context::Context;
use crate::error::RecoveryError;
use crate::model::Time;
use crate::persistence_views;
use crate::replay::jobs::within;
use contracts::pipeline::Pipeline;
use runtime::admin;
use runtime::kafka::KafkaArgs;
use sqlx::Row;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// What is awaited so long is looked after.
const AWAITED_SECONDS: i32 = 60;
/// Of an item that was lost.
const CODE: &str = "replay_lost";
const DETAIL: &str = "it was sent, and its stage has read past it without storing or rejecting it: deleted by retention, the retry topic made anew, or the group set ahead; replay it again";
/// Most items given up in one transaction.
const PAGE: i64 = 2000;

/// Offsets by partition.
type Offsets = BTreeMap<i32, i64>;

/// What a look waits for: that these ends are passed.
#[derive(Debug, Clone)]
enum Step {
    Retry(Offsets),
    Validated(Offsets),
    Dlq(Offsets),
}

/// One look after what one group was sent.
#[derive(Debug)]
struct Look {
    /// What was sent until then
    until: Time,
    step: Step,
}

/// Looks after both groups. What a look knows is in memory: a restart begins it again.
#[derive(Debug)]
pub(super) struct Lost {
    groups: [String; 2],
    looks: [Option<Look>; 2],
    every: Duration,
    asked_at: Option<Instant>,
}

impl Lost {
    /// Asks the brokers once in `every`, and only while something is awaited for long.
    pub(super) fn new(pipeline: &Pipeline, every: Duration) -> Self {
        Self {
            groups: [
                pipeline.path().next().expect("a path").group.clone(),
                pipeline.stores().expect("a path").group.clone(),
            ],
            looks: [None, None],
            every,
            asked_at: None,
        }
    }

    /// As far as it goes now.
    pub(super) async fn look(&mut self, recovery: &Context) -> Result<(), RecoveryError> {
        if self.asked_at.is_some_and(|at| at.elapsed() < self.every) {
            return Ok(());
        }
        let done = self.look_at_both(recovery).await;
        self.asked_at = Some(Instant::now());
        done
    }

    async fn look_at_both(&mut self, recovery: &Context) -> Result<(), RecoveryError> {
        let [validator, persistence] = &mut self.looks;
        let first = look_after(recovery, &self.groups[0], true, validator).await;
        // What is unusable for one group is no reason to leave the other alone.
        let second = look_after(recovery, &self.groups[1], false, persistence).await;
        first.and(second)
    }
}

async fn look_after(
    recovery: &Context,
    group: &str,
    validator: bool,
    look: &mut Option<Look>,
) -> Result<(), RecoveryError> {
    let Some(retry) = recovery.pipeline.retry_of(group).map(str::to_owned) else {
        return Ok(());
    };
    if look.is_none() {
        let Some(until) = within(awaited_for_long(recovery, group)).await? else {
            return Ok(());
        };
        *look = Some(Look {
            until,
            step: Step::Retry(ends(recovery, &retry).await?),
        });
    }
    let Some(Look { until, step }) = look else {
        return Ok(());
    };
    if advance(recovery, group, &retry, validator, step).await? {
        while within(give_up(recovery, group, *until)).await? {}
        *look = None;
    }
    Ok(())
}

/// The moment up to which things sent to this group are looked after, if there are any.
async fn awaited_for_long(recovery: &Context, group: &str) -> Result<Option<Time>, RecoveryError> {
    // Without persistence nobody can tell what has no row.
    if !persistence_views::is_there(&recovery.pool).await? {
        return Ok(None);
    }
    let until = sqlx::query_scalar(
        "SELECT now() - make_interval(secs => $2)
         WHERE EXISTS (SELECT FROM replay_items i JOIN dead_letters d ON d.id = i.dead_letter_id
                       WHERE i.state = 'sent' AND i.sent_at <= now() - make_interval(secs => $2) AND d.consumer_group = $1)",
    );
    Ok(until
        .bind(group)
        .bind(AWAITED_SECONDS)
        .fetch_optional(&recovery.pool)
        .await?)
}

/// Takes the steps that can be taken; true after the last one.
async fn advance(
    recovery: &Context,
    group: &str,
    retry: &str,
    validator: bool,
    step: &mut Step,
) -> Result<bool, RecoveryError> {
    let pipeline = &recovery.pipeline;
    loop {
        let (topic, ends_then, next) = match &*step {
            Step::Retry(ends) if validator => {
                let (group, topic) = (group.to_owned(), retry.to_owned());
                let next = ask(recovery, move |kafka| {
                    admin::committed(kafka, &group, &topic)
                })
                .await?;
                (
                    retry,
                    ends,
                    next.into_iter()
                        .filter_map(|(partition, next)| Some((partition, next?)))
                        .collect(),
                )
            }
            Step::Retry(ends) => (
                retry,
                ends,
                within(read_by_persistence(recovery, retry)).await?,
            ),
            Step::Validated(ends) => (
                &*pipeline.stores().expect("a path").reads,
                ends,
                within(read_by_persistence(
                    recovery,
                    &pipeline.stores().expect("a path").reads,
                ))
                .await?,
            ),
            Step::Dlq(ends) => (
                &*pipeline.dead_letters,
                ends,
                within(read_by_the_index(recovery)).await?,
            ),
        };
        if !passed(recovery, topic, next, ends_then.clone()).await? {
            tracing::debug!(
                event = "replay_awaited",
                group,
                topic,
                "not read to its end yet"
            );
            return Ok(false);
        }
        *step = match step {
            Step::Retry(_) if validator => {
                Step::Validated(ends(recovery, &pipeline.stores().expect("a path").reads).await?)
            }
            Step::Retry(_) | Step::Validated(_) => {
                Step::Dlq(ends(recovery, &pipeline.dead_letters).await?)
            }
            Step::Dlq(_) => return Ok(true),
        };
    }
}

async fn read_by_persistence(recovery: &Context, topic: &str) -> Result<Offsets, RecoveryError> {
    let rows = sqlx::query_as(persistence_views::NEXT_OFFSETS)
        .bind(&recovery.pipeline.stores().expect("a path").group)
        .bind(topic)
        .fetch_all(&recovery.pool)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Whichever group of ours read it: they all write to the same index.
async fn read_by_the_index(recovery: &Context) -> Result<Offsets, RecoveryError> {
    let rows = sqlx::query_as(
        "SELECT partition, max(next_offset) FROM consumer_offsets WHERE topic = $1 GROUP BY partition",
    );
    Ok(rows
        .bind(&recovery.pipeline.dead_letters)
        .fetch_all(&recovery.pool)
        .await?
        .into_iter()
        .collect())
}

/// Whether nothing that can be read lies between these offsets and those ends. A topic made anew has neither: its ends are those it has now,
/// and offsets beyond them are of the topic that was.
async fn passed(
    recovery: &Context,
    topic: &str,
    next: Offsets,
    ends: Offsets,
) -> Result<bool, RecoveryError> {
    let topic = topic.to_owned();
    ask(recovery, move |kafka| {
        for (partition, now) in admin::ends(kafka, &topic)? {
            let end = ends.get(&partition).copied().unwrap_or(0).min(now);
            let from = next
                .get(&partition)
                .copied()
                .filter(|next| *next <= now)
                .unwrap_or(0);
            if from >= end {
                continue;
            }
            let (left, up_to) = admin::read_range(kafka, &topic, partition, from..end, 1)?;
            if !left.is_empty() || up_to < end {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

async fn ends(recovery: &Context, topic: &str) -> Result<Offsets, RecoveryError> {
    let topic = topic.to_owned();
    Ok(ask(recovery, move |kafka| admin::ends(kafka, &topic))
        .await?
        .into_iter()
        .collect())
}

/// Asks Kafka, on a thread that may block.
async fn ask<T: Send + 'static>(
    recovery: &Context,
    question: impl FnOnce(&KafkaArgs) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, RecoveryError> {
    let unavailable = |problem: String| {
        RecoveryError::Unavailable(format!(
            "Kafka does not tell what became of replays: {problem}"
        ))
    };
    let kafka = recovery
        .kafka
        .clone()
        .ok_or_else(|| unavailable("give --kafka-brokers".to_owned()))?;
    let answer = tokio::task::spawn_blocking(move || question(&kafka)).await;
    answer
        .map_err(|error| unavailable(error.to_string()))?
        .map_err(|error| unavailable(format!("{error:#}")))
}

/// Gives up a page of what is still awaited and has no row: the items failed, their dead letters are open again. True when there may be more.
async fn give_up(recovery: &Context, group: &str, until: Time) -> Result<bool, RecoveryError> {
    let mut transaction = recovery.pool.begin().await?;
    // Dead letters are locked first and in order, as everybody does; one that was settled meanwhile is another version, and left alone.
    let rows = sqlx::query(persistence_views::AWAITED_WITHOUT_ROW)
        .bind(group)
        .bind(until)
        .bind(&recovery.pipeline.raw)
        .bind(PAGE)
        .fetch_all(&mut *transaction)
        .await?;
    let (mut letters, mut jobs, mut lost) =
        (Vec::new(), Vec::new(), BTreeMap::<String, i64>::new());
    for row in &rows {
        let job: String = row.try_get(1)?;
        *lost.entry(job.clone()).or_default() += 1;
        letters.push(row.try_get::<i64, _>(0)?);
        jobs.push(job);
    }
    if letters.is_empty() {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE dead_letters SET state = 'open' WHERE id = ANY($1) AND state = 'replaying'",
    )
    .bind(&letters)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "UPDATE replay_items i SET state = 'failed', code = $3, detail = $4, settled_at = clock_timestamp()
         FROM UNNEST($1::text[], $2::bigint[]) AS s (job, id) WHERE i.job_id = s.job AND i.dead_letter_id = s.id AND i.state = 'sent'",
    )
    .bind(&jobs)
    .bind(&letters)
    .bind(CODE)
    .bind(DETAIL)
    .execute(&mut *transaction)
    .await?;
    for (job, items) in &lost {
        tracing::warn!(
            event = "replay_lost",
            job,
            group,
            items,
            "sent, and gone from the retry topic before it was read"
        );
        let counts = serde_json::json!({"items": items});
        let entry = Entry {
            who: "recovery",
            action: "replay.lost",
            job: Some(job),
            counts,
            ..Entry::default()
        };
        audit_log::write(&mut transaction, entry).await?;
    }
    transaction.commit().await?;
    metrics::counter!(names::REPLAYED, "outcome" => "lost").increment(letters.len() as u64);
    Ok(true)
}
