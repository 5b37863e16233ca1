//! The index: every record of the dead-letter topic becomes, or changes, a row.
//!
//! It is a stage like any other, in the one consumer loop: a batch is one transaction ([`write`](mod@write)), the offsets move in it by
//! compare-and-set, and only then is the batch committed to Kafka. It rejects nothing: whatever its headers say
//! ([`dead_letter_headers`]), a record gets a row. The registry says which schema a value has, but is never waited for: it may be what is
//! down.

pub mod dead_letter_headers;
mod groups;
pub mod lag;
pub mod reindex;
pub mod retention;
pub(crate) mod row;
mod sniff;
pub(crate) mod write;

use crate::Config;
use crate::context::{Context, SCHEMA, Vendors};
use crate::metrics as names;
use crate::raw_topic;
use contracts::avro::framing;
use contracts::event::HeaderValues;
use contracts::kafka::headers::SOURCE;
use contracts::pipeline::Pipeline;
use groups::Groups;
use row::{DeadLetterRecord, DeadLetterRow};
use runtime::config::ConfigError;
use runtime::consumer::{
    self, Assigned, ConsumerSettings, Handler, Outcome, Record, StageError, Start,
};
use runtime::faults;
use runtime::health::Health;
use runtime::registry::Registry;
use runtime::reload::Live;
use sniff::{Schemas, Sniffed};
use sqlx::postgres::PgPool;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::connect::ACQUIRE;
use store::offsets::{self, BatchOffsets, BatchRecord, Positions, TopicPartition};
use store::parts::{Parts, place};
use store::raw_topic::RawTopic;
use store::servers::Servers;
use store::{fault::classify, reach, within};
use tokio_util::sync::CancellationToken;
use write::{DlqPosition, Written};

/// Makes rows of records, and writes them.
#[derive(Debug)]
pub(crate) struct Indexer {
    pool: PgPool,
    pipeline: Arc<Pipeline>,
    groups: Groups,
    vendors: Live<Vendors>,
    schemas: Schemas,
    raw_topic: RawTopic,
}

impl Indexer {
    /// With connections of its own: many API requests do not stop the index.
    pub(crate) fn new(context: &Context) -> Result<Self, ConfigError> {
        let servers = Servers::parse(&context.args.database.database_url, SCHEMA.role)?;
        // A batch stands in memory twice, for the insert and for the counters; what does not fit goes through temporary files.
        let pool = servers.with(&[("work_mem", "64MB")]).pool(2, ACQUIRE);
        Ok(Self {
            pool,
            pipeline: Arc::clone(&context.pipeline),
            groups: Groups::default(),
            vendors: context.vendors.clone(),
            schemas: Schemas::new(Registry::new(&context.args.registry)?),
            raw_topic: RawTopic::default(),
        })
    }

    async fn rows<'a>(
        &mut self,
        dead: &[DeadLetterRecord<'a>],
        pipeline: &'a Pipeline,
    ) -> Result<Vec<DeadLetterRow<'a>>, StageError> {
        if self.raw_topic.id().is_none()
            && let Some(id) = dead.iter().find_map(DeadLetterRecord::raw_topic_id)
        {
            self.raw_topic = raw_topic::learn(&self.pool, Some(id)).await?;
        }
        self.schemas
            .learn(dead.iter().filter_map(|dead| dead.value))
            .await;
        // Its source knows where the type is, wherever that is; a value made of it has it in its own envelope.
        let vendors = self.vendors.get();
        let of_source = |dead: &DeadLetterRecord<'a>, value: &'a [u8]| {
            let headers = dead.headers.as_slice();
            let mapping = vendors.mappings.get(headers.one(SOURCE)?)?;
            let opened = vendors.mappings.open(&headers, value).ok()?;
            let found = mapping.event_type.find(headers, &opened)?;
            Some(Cow::Owned(found.into_owned()))
        };
        let sniffed = |dead: &DeadLetterRecord<'a>| {
            let Some(value) = dead.value else {
                return Sniffed::default();
            };
            let mut sniffed = self.schemas.sniff(value);
            if framing::unframe(value).is_err() {
                sniffed.event_type = of_source(dead, value).or(sniffed.event_type);
            }
            sniffed
        };
        let mut rows: Vec<DeadLetterRow<'a>> = dead
            .iter()
            .map(|dead| DeadLetterRow::new(dead, pipeline, &self.raw_topic, sniffed(dead)))
            .collect();
        self.groups.assign(&self.pool, &mut rows).await?;
        Ok(rows)
    }

    /// Indexes records, without any offset.
    pub(crate) async fn index(
        &mut self,
        dead: &[DeadLetterRecord<'_>],
    ) -> Result<Written, StageError> {
        let pipeline = Arc::clone(&self.pipeline);
        let rows = self.rows(dead, &pipeline).await?;
        let (transaction, written) = write::write(&self.pool, &rows).await?;
        transaction.commit().await.map_err(classify)?;
        written.count();
        Ok(written)
    }
}

/// The index as a stage.
#[derive(Debug)]
pub struct Index {
    indexer: Indexer,
    group: String,
    runtime: tokio::runtime::Handle,
    /// The database's next offsets of what we are assigned; `None` where it has none yet.
    positions: Positions,
    /// What Kafka says of it
    assigned: Assigned,
    /// How far the batch in hand is indexed.
    parts: Parts<()>,
}

impl Index {
    /// A stage that has not been assigned anything yet.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn new(
        context: &Context,
        group: &str,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            indexer: Indexer::new(context)?,
            group: group.to_owned(),
            runtime,
            positions: Positions::new(),
            assigned: Assigned::default(),
            parts: Parts::default(),
        })
    }

    async fn settle(&mut self, batch: &[Record<'_>]) -> Result<(), StageError> {
        let started = Instant::now();
        let mut offsets = BatchOffsets::default();
        let records: Vec<BatchRecord> =
            batch.iter().map(|record| offsets.include(record)).collect();
        let dead: Vec<DeadLetterRecord<'_>> = batch.iter().map(DeadLetterRecord::of).collect();
        let pipeline = Arc::clone(&self.indexer.pipeline);
        let rows = self.indexer.rows(&dead, &pipeline).await?;
        let (mut transaction, written) = write::write(&self.indexer.pool, &rows).await?;
        let new: HashSet<&DlqPosition> = written.new.iter().collect();
        let more: HashSet<&DlqPosition> = written.again.iter().chain(&written.copies).collect();
        for (row, record) in rows.iter().zip(records) {
            if new.contains(&row.dlq) {
                offsets.count_stored(record);
            } else if more.contains(&row.dlq) {
                offsets.count_duplicate(record);
            }
        }
        let moved = offsets::advance(
            &mut transaction,
            &self.group,
            &offsets.before_dead_letters(),
            &self.positions,
        )
        .await?;
        faults::kill_point("index_in_transaction");
        transaction.commit().await.map_err(classify)?;
        faults::kill_point("index_committed");
        self.positions.extend(moved);
        metrics::histogram!(names::TRANSACTION_SECONDS).record(started.elapsed());
        written.count();
        Ok(())
    }
}

impl Handler for Index {
    fn stage(&self) -> &'static str {
        "recovery"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let (runtime, mut parts) = (self.runtime.clone(), std::mem::take(&mut self.parts));
        let settled = runtime.block_on(parts.settle(batch, place, async |_, part| {
            self.settle(part).await?;
            Ok(vec![(); part.len()])
        }));
        self.parts = parts;
        settled.map_err(|error| runtime.block_on(reach::explain(&self.indexer.pool, error)))?;
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }

    fn assigned(&mut self, assigned: &Assigned) {
        self.assigned.clone_from(assigned);
    }

    fn look(&mut self) -> Result<(), StageError> {
        let looking = offsets::check(&self.indexer.pool, &self.group, &self.positions);
        within(&self.runtime, looking)
    }

    fn positions(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Start>, StageError> {
        let starts = offsets::starts(&self.indexer.pool, &self.group, partitions, &self.assigned);
        let (positions, starts) = within(&self.runtime, starts)?;
        self.positions = positions;
        self.parts.forget();
        Ok(starts)
    }
}

/// Indexes the dead-letter topic until `shutdown`, in a database that is usable.
///
/// # Errors
/// Bad configuration, a failed migration, a database of another Kafka cluster, or a fatal client error.
pub async fn consume(
    config: &Config,
    context: &Context,
    health: Health,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let kafka = &config.common.kafka;
    let topic = &context.pipeline.dead_letters;
    let described = &context.pipeline.recovery.group;
    let group = config.group.as_ref().unwrap_or(described);
    let settings = ConsumerSettings {
        batch_age: Duration::from_millis(20),
        ..ConsumerSettings::new(kafka, group, vec![topic.clone()])
    };
    let index = Index::new(context, group, tokio::runtime::Handle::current())?;
    consumer::run(settings, index, None, health, shutdown)
        .await
        .map(drop)
}
