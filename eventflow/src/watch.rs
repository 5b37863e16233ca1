//! Looks at a run from outside: at the topics, the database, and what the vendors and the edge counted.

use crate::counters::Counters;
use crate::ledger::Ledger;
use crate::pipeline::STOPPED;
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

/// Rows the latency quantiles look back on.
const WINDOW: i64 = 1000;

type Raw = (i32, i64);

/// Everything is counted from when it was opened.
pub(crate) struct Watch {
    kafka: KafkaArgs,
    store: Writer,
    recovery: Context,
    before: Counts,
    dead_letters: Arc<Mutex<DeadLetters>>,
    pub(crate) first_row_seconds: Option<f64>,
}

/// The dead letters read so far; shared with the thread that reads on, which goes on when a look is given up.
struct DeadLetters {
    tail: Tail,
    /// Code of every dead-lettered raw record: one dead-lettered twice, after a crash, has still one fate
    codes: HashMap<Raw, String>,
}

impl DeadLetters {
    fn read(&mut self) -> anyhow::Result<HashMap<Raw, String>> {
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
    dead: HashMap<Raw, String>,
    summary: Summary,
}

impl Watch {
    /// Waits for the database, at most until `patience` ends; its reason is then the error.
    pub(crate) async fn open(
        kafka: KafkaArgs,
        database_url: &Secret,
        recovery: Context,
        patience: Duration,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let health = Health::new();
        let Ok(store) = tokio::time::timeout(
            patience,
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
                patience.as_secs()
            );
        };
        let store = store?.context(STOPPED)?;
        // The role does the same at its start, which may be later.
        recovery::SCHEMA.migrate(recovery.pool()).await?;
        let lent = kafka.clone();
        let tail =
            tokio::task::spawn_blocking(move || Tail::at_the_end(&lent, topics::DLQ)).await??;
        let mut watch = Self {
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
        watch.before = watch.count().await?;
        Ok(watch)
    }

    /// Against the stream: what is counted at an end was counted at every step before it, so nothing in flight looks negative.
    async fn count(&self) -> anyhow::Result<Counts> {
        let summary = self.store.summary(WINDOW).await?;
        // Before the dead letters are read: what is resolved among them was one, and is its row's now.
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

    pub(crate) async fn look(&self, tally: &SharedTotals) -> anyhow::Result<Ledger> {
        let now = self.count().await?;
        // Before the vendors' own count: an answer on its way to them must not look like another's.
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
        Ok(Ledger {
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

    /// Once more, exactly: by the coordinates of every raw record of this run, not by sums, in which a lost record and one with two
    /// fates would cancel out.
    pub(crate) async fn finish(&self, mut ledger: Ledger) -> anyhow::Result<Ledger> {
        let mut fates: HashMap<Raw, u32> = HashMap::new();
        (ledger.stored, ledger.duplicates) = (0, 0);
        for fate in self
            .store
            .fates()
            .await?
            .into_iter()
            .filter(|fate| self.is_ours(fate.raw()))
        {
            *fates.entry(fate.raw()).or_default() += 1;
            *match fate.fate {
                RecordedFate::Stored => &mut ledger.stored,
                RecordedFate::Duplicate => &mut ledger.duplicates,
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
        ledger.in_flight = ledger.raw_records - i64::try_from(fates.len())?;
        ledger.with_two_fates = fates.values().filter(|count| **count > 1).count() as u64;
        Ok(ledger)
    }

    fn before(&self, partition: i32) -> i64 {
        self.before.raw.get(&partition).copied().unwrap_or(0)
    }

    fn is_ours(&self, (partition, offset): Raw) -> bool {
        offset >= self.before(partition)
    }
}
