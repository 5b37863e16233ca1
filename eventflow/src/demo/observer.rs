//! Observes a run from outside: reads the topics and the database, and what the vendors and the edge counted.

use super::config::STOPPED;
use super::counters::Counters;
use super::reconciliation::Reconciliation;
use anyhow::Context as _;
use contracts::Secret;
use contracts::kafka::headers;
use contracts::kafka::topics;
use persistence::report::Summary;
use persistence::writer::Writer;
use recovery::Context;
use runtime::admin::{Tail, watermarks};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use simulator::stream::{SharedTotals, StreamTotals};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
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
    /// Code of every dead-lettered raw record: one dead-lettered twice, after a crash, has still one fate
    codes: HashMap<RawPosition, String>,
}

impl DeadLetters {
    fn read(&mut self) -> anyhow::Result<HashMap<RawPosition, String>> {
        for record in self.tail.read()? {
            let raw = record.header(headers::RAW).unwrap_or_default();
            let raw = raw.split_once(':').and_then(|(partition, offset)| {
                Some((partition.parse().ok()?, offset.parse().ok()?))
            });
            let raw = raw.with_context(|| format!("a dead letter without {}", headers::RAW))?;
            self.codes
                .insert(raw, record.header(headers::dlq::CODE).unwrap_or_default());
        }
        Ok(self.codes.clone())
    }
}

#[derive(Debug, Default)]
struct Counts {
    /// Next offset of every partition
    raw: BTreeMap<i32, i64>,
    validated: i64,
    dead: HashMap<RawPosition, String>,
    summary: Summary,
}

impl Observer {
    /// Waits for the database, at most `timeout`; why it is not usable is then the error.
    pub(super) async fn open(
        kafka: KafkaArgs,
        database_url: &Secret,
        recovery: Context,
        timeout: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
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
            let options = store::connect::options(database_url, "demo")?;
            let (host, port) = (options.get_host(), options.get_port());
            anyhow::bail!(
                "no usable PostgreSQL at {host}:{port} within {} s; is it running, and are user, password and database right? ({reason})",
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
                codes: HashMap::new(),
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
            ..
        } = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let raw_records = now
            .raw
            .iter()
            .map(|(partition, high)| high - self.before(*partition))
            .sum();
        let mut dead_letters_by_code = BTreeMap::new();
        for (_, code) in now.dead.iter().filter(|(raw, _)| self.is_ours(**raw)) {
            *dead_letters_by_code.entry(code.clone()).or_default() += 1_u64;
        }
        let dead_lettered = i64::try_from(dead_letters_by_code.values().sum::<u64>())?;
        let stored = now.summary.stored - self.before.summary.stored;
        let duplicates = now.summary.duplicates - self.before.summary.duplicates;
        Ok(Reconciliation {
            sent,
            accepted,
            refused,
            unanswered,
            unsure_attempts,
            faults_injected: faults,
            edge_accepted,
            edge_unconfirmed: counters.sum(producer::metrics::UNCONFIRMED),
            accepted_from_others: edge_accepted.saturating_sub(accepted),
            raw_records,
            validated_records: now.validated - self.before.validated,
            stored,
            duplicates,
            dead_lettered,
            dead_letters_by_code,
            in_flight: raw_records - stored - duplicates - dead_lettered,
            with_two_fates: 0,
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
        (reconciliation.stored, reconciliation.duplicates) = (0, 0);
        for fate in self
            .store
            .fates()
            .await?
            .into_iter()
            .filter(|fate| self.is_ours(fate.raw()))
        {
            *fates.entry(fate.raw()).or_default() += 1;
            *match fate.fate {
                RecordedFate::Stored => &mut reconciliation.stored,
                RecordedFate::Duplicate => &mut reconciliation.duplicates,
            } += 1;
        }
        let mut dead = self
            .dead_letters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .codes
            .clone();
        recovery::audit::resolved(&self.recovery)
            .await?
            .iter()
            .for_each(|raw| drop(dead.remove(raw)));
        for raw in dead.keys().filter(|raw| self.is_ours(**raw)) {
            *fates.entry(*raw).or_default() += 1;
        }
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
