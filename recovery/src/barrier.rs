//! The proof that the audit and the search for lost replays rest on: everything written before a moment has been settled since.
//!
//! **Why it holds.** A stage moves its offsets past a record only after the record was forwarded, stored or dead-lettered, and that was
//! acknowledged. So, in this order:
//!
//! 1. the ends of the topic that a stage reads are read. What was acknowledged before lies before them, open transactions or not
//!    ([`runtime::admin::ends`]).
//! 2. once the stage's offsets have passed those ends, each of these records has its row, or was forwarded, or is a dead letter. What was
//!    forwarded lies before the ends, as read now, of the topic that the next stage on the path reads; and so on, to the stage that stores
//!    rows. Whatever stage dead-lettered it, it lies before the ends of the dead-letter topic as read after that.
//! 3. once the index's offsets have passed those: that dead letter is in `dead_letters`, written in the transaction that moved them.
//!
//! Then every record has its outcome in this database, or was never read: deleted by retention first, or stepped over by hand. Nothing of
//! this leans on clocks. Reading a topic again, a restart, or a group set back only repeat what is known.
//!
//! Offsets have passed an end when nothing that can be read lies between: Kafka is asked, as what is left may be markers of transactions,
//! or deleted. A recreated topic ends where it ends now, and offsets beyond that are those of the topic before it.

use crate::context::Context;
use crate::error::RecoveryError;
use crate::kafka;
use crate::persistence_views;
use crate::raw_topic;
use crate::replay::jobs::within;
use contracts::pipeline::{self, Pipeline, Stage};
use runtime::{admin, faults};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) type PartitionOffsets = BTreeMap<i32, i64>;

/// How far the proof has come: these ends must be passed next. It survives a restart as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Barrier {
    /// Name of the stage it begins behind
    stage: String,
    topic: String,
    ends: PartitionOffsets,
}

/// A topic, and who must have read it.
struct Hop<'a> {
    topic: &'a str,
    reader: Reader<'a>,
}

#[derive(Clone, Copy)]
enum Reader<'a> {
    Stage(&'a Stage),
    /// Of dead letters
    Index,
}

impl Barrier {
    /// For what a stage has written and dead-lettered until now.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub(crate) async fn behind_output(
        context: &Context,
        stage: &Stage,
    ) -> Result<Self, RecoveryError> {
        let next = behind(&context.pipeline, stage).next();
        let topic = next.map_or(&context.pipeline.dead_letters, |next| &next.reads);
        Self::at(context, stage, topic).await
    }

    /// For what was sent to a stage's retry topic until now.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub(crate) async fn behind_replays(
        context: &Context,
        stage: &Stage,
        retry: &str,
    ) -> Result<Self, RecoveryError> {
        Self::at(context, stage, retry).await
    }

    async fn at(context: &Context, stage: &Stage, topic: &str) -> Result<Self, RecoveryError> {
        Ok(Self {
            stage: stage.name.clone(),
            topic: topic.to_owned(),
            ends: ends(context, topic).await?,
        })
    }

    /// Whether it can go on in this pipeline, which may be described otherwise since.
    pub(crate) fn fits(&self, pipeline: &Pipeline) -> bool {
        pipeline.stage(&self.stage).is_some_and(|stage| {
            hops(pipeline, stage)
                .iter()
                .any(|hop| hop.topic == self.topic)
        })
    }

    /// Takes the steps that can be taken now. `None` when the last one was, else a sentence: who has not read what.
    ///
    /// # Errors
    /// [`RecoveryError::Unavailable`]
    pub(crate) async fn advance(
        &mut self,
        context: &Context,
    ) -> Result<Option<String>, RecoveryError> {
        let pipeline = &context.pipeline;
        let hops = pipeline
            .stage(&self.stage)
            .map_or_else(Vec::new, |stage| hops(pipeline, stage));
        let at = hops.iter().position(|hop| hop.topic == self.topic);
        let mut hops = hops.into_iter().skip(at.unwrap_or(0)).peekable();
        while let Some(hop) = hops.next() {
            if let Some(left) = self.left(context, &hop).await? {
                let who = match hop.reader {
                    Reader::Stage(stage) => stage.group.as_str(),
                    Reader::Index => "the index of dead letters",
                };
                return Ok(Some(format!("{who} has not read {left}")));
            }
            if let Some(next) = hops.peek() {
                self.ends = ends(context, next.topic).await?;
                next.topic.clone_into(&mut self.topic);
            }
        }
        Ok(None)
    }

    /// The first partition in which something can be read before its end.
    async fn left(
        &self,
        context: &Context,
        hop: &Hop<'_>,
    ) -> Result<Option<String>, RecoveryError> {
        let next = offsets(context, hop).await?;
        let (topic, ends) = (hop.topic.to_owned(), self.ends.clone());
        kafka::query(context, move |kafka| {
            for (partition, now) in admin::ends(kafka, &topic)? {
                let end = ends.get(&partition).copied().unwrap_or(0).min(now);
                let known = next.get(&partition).copied();
                let from = known.filter(|next| *next <= now).unwrap_or(0);
                if from >= end {
                    continue;
                }
                let (left, up_to) = admin::read_range(kafka, &topic, partition, from..end, 1)?;
                if !left.is_empty() || up_to < end {
                    return Ok(Some(format!("{topic}:{partition} from {from} to {end}")));
                }
            }
            Ok(None)
        })
        .await
    }
}

/// The stages that what a stage writes still has to pass: none for one that is not on the path.
fn behind<'a>(pipeline: &'a Pipeline, stage: &'a Stage) -> impl Iterator<Item = &'a Stage> {
    pipeline
        .path()
        .skip_while(|other| other.name != stage.name)
        .skip(1)
}

/// From a stage's retry topic to the index: the way of what is sent to it.
fn hops<'a>(pipeline: &'a Pipeline, stage: &'a Stage) -> Vec<Hop<'a>> {
    let retry = stage.retry.as_deref().map(|topic| Hop {
        topic,
        reader: Reader::Stage(stage),
    });
    let behind = behind(pipeline, stage).map(|stage| Hop {
        topic: &stage.reads,
        reader: Reader::Stage(stage),
    });
    let index = Hop {
        topic: &pipeline.dead_letters,
        reader: Reader::Index,
    };
    let index = Some(index).filter(|_| !faults::planted("index_not_awaited"));
    retry.into_iter().chain(behind).chain(index).collect()
}

/// How far a topic was read, as whoever knows says.
async fn offsets(context: &Context, hop: &Hop<'_>) -> Result<PartitionOffsets, RecoveryError> {
    match hop.reader {
        Reader::Stage(stage) => match stage.offsets {
            pipeline::Offsets::Kafka => committed(context, stage, hop.topic).await,
            pipeline::Offsets::Database => within(stored(context, stage, hop.topic)).await,
        },
        Reader::Index => within(read_by_the_index(context)).await,
    }
}

/// A stage's committed offsets of a topic; partitions without one are left out. What it committed late, in a topic that had the same name
/// before, says nothing of the records of this one.
///
/// # Errors
/// [`RecoveryError::Unavailable`]
pub(crate) async fn committed(
    context: &Context,
    stage: &Stage,
    topic: &str,
) -> Result<PartitionOffsets, RecoveryError> {
    let id = raw_topic::topic_id(context, topic).await?;
    let (group, topic) = (stage.group.clone(), topic.to_owned());
    let committed = kafka::query(context, move |kafka| {
        admin::committed_in(kafka, &group, &topic, id.as_deref())
    })
    .await?;
    Ok(committed
        .into_iter()
        .filter_map(|(partition, next)| Some((partition, next?)))
        .collect())
}

/// How far a stage that keeps its offsets with its rows has read a topic.
async fn stored(
    context: &Context,
    stage: &Stage,
    topic: &str,
) -> Result<PartitionOffsets, RecoveryError> {
    if !persistence_views::is_there(&context.pool).await? {
        return Ok(PartitionOffsets::new());
    }
    let rows = sqlx::query_as(persistence_views::NEXT_OFFSETS)
        .bind(&stage.group)
        .bind(topic)
        .fetch_all(&context.pool)
        .await?;
    Ok(rows.into_iter().collect())
}

/// Whichever group of ours read it: they all write to the same index.
async fn read_by_the_index(context: &Context) -> Result<PartitionOffsets, RecoveryError> {
    let rows = sqlx::query_as(
        "SELECT partition, max(next_offset) FROM consumer_offsets WHERE topic = $1 GROUP BY partition",
    );
    Ok(rows
        .bind(&context.pipeline.dead_letters)
        .fetch_all(&context.pool)
        .await?
        .into_iter()
        .collect())
}

async fn ends(context: &Context, topic: &str) -> Result<PartitionOffsets, RecoveryError> {
    let topic = topic.to_owned();
    let ends = kafka::query(context, move |kafka| admin::ends(kafka, &topic)).await?;
    Ok(ends.into_iter().collect())
}
