//! Observes a run from outside: reads the topics and the database, and what the vendors and the edge counted.

use super::by_type::{ByType, Fates};
use super::config::{STOPPED, TIMEOUT};
use super::counters::Counters;
use super::reconciliation::Reconciliation;
use anyhow::Context as _;
use contracts::Secret;
use contracts::event::Mappings;
use contracts::kafka::headers;
use contracts::kafka::topics;
use persistence::report::Summary;
use persistence::writer::Writer;
use recovery::Context;
use runtime::admin::{OwnedRecord, Tail, watermarks};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use simulator::stream::{SharedTotals, StreamTotals};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use store::fate::RecordedFate;
use tokio_util::sync::CancellationToken;

/// Rows the latency quantiles are taken over: the newest.
const WINDOW: i64 = 1000;

/// Partition and offset in the raw topic.
type RawPosition = (i32, i64);

/// Counts everything since it was opened.
pub(super) struct Observer {
    kafka: KafkaArgs,
    store: Writer,
    recovery: Context,
    before: Counts,
    dead_letters: Arc<Mutex<DeadLetters>>,
    pub(super) first_row_seconds: Option<f64>,
}

/// The dead letters read so far; shared with the thread that reads on, which continues when an observation is cancelled.
struct DeadLetters {
    tail: Tail,
    /// How events are read, to know their types
    mappings: Mappings,
    /// Every dead-lettered raw record: one dead-lettered twice, after a crash, has still one fate
    letters: HashMap<RawPosition, DeadLetter>,
}

/// What the tables say of a dead letter.
#[derive(Debug, Clone, Default)]
struct DeadLetter {
    code: String,
    source: String,
    /// Where it can be read
    event_type: Option<String>,
}

impl DeadLetters {
    fn read(&mut self) -> anyhow::Result<HashMap<RawPosition, DeadLetter>> {
        for record in self.tail.read()? {
            let raw = record.raw();
            let raw = raw.with_context(|| format!("a dead letter without {}", headers::RAW))?;
            let letter = DeadLetter {
                code: record.header(headers::dlq::CODE).unwrap_or_default(),
                source: record.header(headers::SOURCE).unwrap_or_default(),
                event_type: type_of(&self.mappings, &record),
            };
            self.letters.insert(raw, letter);
        }
        Ok(self.letters.clone())
    }
}

/// The event type of a record, as its source's mapping finds it.
fn type_of(mappings: &Mappings, record: &OwnedRecord) -> Option<String> {
    let (headers, value) = (&record.headers[..], record.value.as_deref()?);
    let opened = mappings.open(&headers, value).ok()?;
    let envelope = mappings.find(headers, &opened).ok()?;
    Some(envelope.event_type.into_owned())
}

#[derive(Debug, Default)]
struct Counts {
    /// Next offset of every partition
    raw: BTreeMap<i32, i64>,
    validated: i64,
    dead: HashMap<RawPosition, DeadLetter>,
    summary: Summary,
}

impl Observer {
    /// Waits for the database, a bounded time; why it is not usable is then the error.
    pub(super) async fn open(
        kafka: KafkaArgs,
        database_url: &Secret,
        recovery: Context,
        mappings: Mappings,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let timeout = TIMEOUT;
        let health = Health::new();
        let Ok(store) = tokio::time::timeout(
            timeout,
            Writer::open(database_url, &kafka, &health, shutdown),
        )
        .await
        else {
            let reason = health
                .reasons()
                .into_iter()
                .next()
                .map_or_else(|| "no answer".to_owned(), |(_, reason)| reason);
            let servers = store::servers::Servers::parse(database_url, "demo")?;
            let place = servers.describe();
            anyhow::bail!(
                "no usable PostgreSQL at {place} within {} s; is it running, and are user, password and database right? ({reason})",
                timeout.as_secs()
            );
        };
        let store = store?.context(STOPPED)?;
        // The role does the same at its start, which may be later.
        recovery::SCHEMA.migrate(recovery.pool()).await?;
        let connection = kafka.clone();
        let tail = tokio::task::spawn_blocking(move || Tail::at_the_end(&connection, topics::DLQ))
            .await??;
        let mut observer = Self {
            kafka,
            store,
            recovery,
            before: Counts::default(),
            dead_letters: Arc::new(Mutex::new(DeadLetters {
                tail,
                mappings,
                letters: HashMap::new(),
            })),
            first_row_seconds: None,
        };
        observer.before = observer.count().await?;
        Ok(observer)
    }

    /// Counts the end of the path first and its start last: an event counted at one step was counted at every step before it, so what is in
    /// flight never looks negative.
    async fn count(&self) -> anyhow::Result<Counts> {
        let summary = self.store.summary(WINDOW).await?;
        // Before the dead letters are read: the fate of a resolved one is its row's now.
        let resolved = recovery::audit::resolved(&self.recovery).await?;
        let (kafka, dead_letters) = (self.kafka.clone(), Arc::clone(&self.dead_letters));
        tokio::task::spawn_blocking(move || {
            let mut dead = dead_letters
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .read()?;
            resolved.iter().for_each(|raw| drop(dead.remove(raw)));
            let validated = watermarks(&kafka, topics::VALIDATED)?
                .into_iter()
                .map(|(_, _, high)| high)
                .sum();
            let raw = watermarks(&kafka, topics::RAW)?
                .into_iter()
                .map(|(partition, _, high)| (partition, high))
                .collect();
            Ok(Counts {
                raw,
                validated,
                dead,
                summary,
            })
        })
        .await?
    }

    /// All counts now.
    pub(super) async fn observe(&self, tally: &SharedTotals) -> anyhow::Result<Reconciliation> {
        let now = self.count().await?;
        // Before the vendors' own count: an answer on its way to them must not look like one to somebody else.
        let counters = Counters::now();
        let edge_accepted = counters.sum(producer::metrics::EVENTS);
        let StreamTotals {
            sent,
            accepted,
            refused,
            unanswered,
            unsure_attempts,
            faults,
            events_accepted,
            resent,
            by_source,
            ..
        } = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let raw_records = now
            .raw
            .iter()
            .map(|(partition, high)| high - self.before(*partition))
            .sum();
        let mut dead_letters_by_code = BTreeMap::new();
        for (_, letter) in now.dead.iter().filter(|(raw, _)| self.is_ours(**raw)) {
            *dead_letters_by_code.entry(letter.code.clone()).or_default() += 1_u64;
        }
        let dead_lettered = i64::try_from(dead_letters_by_code.values().sum::<u64>())?;
        let stored = now.summary.stored - self.before.summary.stored;
        let duplicates = now.summary.duplicates - self.before.summary.duplicates;
        let filtered = now.summary.filtered - self.before.summary.filtered;
        Ok(Reconciliation {
            sent,
            accepted,
            refused,
            unanswered,
            unsure_attempts,
            faults_injected: faults,
            events_accepted,
            resent,
            sent_by: by_source,
            edge_accepted,
            edge_unconfirmed: counters.sum(producer::metrics::UNCONFIRMED),
            accepted_from_others: edge_accepted.saturating_sub(events_accepted),
            raw_records,
            validated_records: now.validated - self.before.validated,
            stored,
            duplicates,
            filtered,
            dead_lettered,
            dead_letters_by_code,
            in_flight: raw_records - stored - duplicates - filtered - dead_lettered,
            with_two_fates: 0,
            by_type: None,
            p50_ms: now.summary.p50_seconds.map(|seconds| seconds * 1000.0),
            p99_ms: now.summary.p99_seconds.map(|seconds| seconds * 1000.0),
            first_row_seconds: self.first_row_seconds,
        })
    }

    /// The same, exact: by the positions of every raw record of this run, not by sums, in which a lost record and one with two
    /// fates would cancel out.
    pub(super) async fn finish(
        &self,
        mut reconciliation: Reconciliation,
    ) -> anyhow::Result<Reconciliation> {
        let mut fates: HashMap<RawPosition, u32> = HashMap::new();
        let mut by_type = ByType::default();
        (
            reconciliation.stored,
            reconciliation.duplicates,
            reconciliation.filtered,
        ) = (0, 0, 0);
        for fate in self
            .store
            .fates()
            .await?
            .into_iter()
            .filter(|fate| self.is_ours(fate.raw.place()))
        {
            *fates.entry(fate.raw.place()).or_default() += 1;
            let mut one = Fates::default();
            let (total, of_type) = match fate.fate {
                RecordedFate::Stored => (&mut reconciliation.stored, &mut one.stored),
                RecordedFate::Duplicate => (&mut reconciliation.duplicates, &mut one.duplicate),
                RecordedFate::Filtered => (&mut reconciliation.filtered, &mut one.filtered),
            };
            *total += 1;
            *of_type += 1;
            by_type.add(&fate.source, fate.event_type.as_deref(), one);
        }
        let mut dead = self
            .dead_letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .letters
            .clone();
        recovery::audit::resolved(&self.recovery)
            .await?
            .iter()
            .for_each(|raw| drop(dead.remove(raw)));
        for (raw, letter) in dead.iter().filter(|(raw, _)| self.is_ours(**raw)) {
            *fates.entry(*raw).or_default() += 1;
            let one = Fates {
                dead_lettered: 1,
                ..Fates::default()
            };
            by_type.add(&letter.source, letter.event_type.as_deref(), one);
        }
        reconciliation.by_type = Some(by_type);
        reconciliation.in_flight = reconciliation.raw_records - i64::try_from(fates.len())?;
        reconciliation.with_two_fates = fates.values().filter(|count| **count > 1).count() as u64;
        Ok(reconciliation)
    }

    fn before(&self, partition: i32) -> i64 {
        self.before.raw.get(&partition).copied().unwrap_or(0)
    }

    fn is_ours(&self, (partition, offset): RawPosition) -> bool {
        offset >= self.before(partition)
    }
}
