//! The books of a run: what was sent, what was accepted, and the fate of every accepted event.

use contracts::{Secret, headers, topics};
use persistence::report::Summary;
use persistence::store::Store;
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use simulator::stream::{Shared, Tally};
use std::collections::{BTreeMap, HashSet};

use std::sync::PoisonError;
use tokio_util::sync::CancellationToken;

/// One look at the books.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Ledger {
    sent: u64,
    accepted: u64,
    refused: BTreeMap<String, u64>,
    unanswered: u64,
    unsure_attempts: u64,
    faults_injected: BTreeMap<String, u64>,
    raw_records: i64,
    validated_records: i64,
    stored: i64,
    duplicates: i64,
    dead_lettered: i64,
    dead_letters_by_code: BTreeMap<String, u64>,
    pub(crate) in_flight: i64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// Looks from outside: at the topics and the database.
pub(crate) struct Watch {
    kafka: KafkaArgs,
    store: Store,
    before: Counts,
    /// First dead-letter offset of this run, by partition
    dead_letters_from: BTreeMap<i32, i64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    raw: i64,
    validated: i64,
    dead: i64,
    summary: Summary,
}

impl Watch {
    pub(crate) async fn open(kafka: KafkaArgs, database_url: &Secret, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let store = Store::open(database_url, &kafka, &Health::new(), shutdown).await?;
        let store = store.ok_or_else(|| anyhow::anyhow!("stopped before the database was ready"))?;
        let mut watch = Self { kafka, store, before: Counts::default(), dead_letters_from: BTreeMap::new() };
        watch.before = watch.count().await?;
        let kafka = watch.kafka.clone();
        let marks = tokio::task::spawn_blocking(move || runtime::admin::watermarks(&kafka, topics::DLQ)).await??;
        watch.dead_letters_from = marks.into_iter().map(|(partition, _, high)| (partition, high)).collect();
        Ok(watch)
    }

    async fn count(&self) -> anyhow::Result<Counts> {
        // Against the stream: what is counted at an end was counted at every step before it, so nothing in flight looks negative.
        let summary = self.store.summary(1000).await?;
        let kafka = self.kafka.clone();
        let ends = tokio::task::spawn_blocking(move || {
            [topics::DLQ, topics::VALIDATED, topics::RAW].map(|topic| {
                runtime::admin::watermarks(&kafka, topic).map(|marks| marks.into_iter().map(|(_, _, high)| high).sum::<i64>())
            })
        });
        let [dead, validated, raw] = ends.await?;
        Ok(Counts { raw: raw?, validated: validated?, dead: dead?, summary })
    }

    pub(crate) async fn look(&mut self, tally: &Shared) -> anyhow::Result<Ledger> {
        let now = self.count().await?;
        let Tally { sent, accepted, refused, unanswered, unsure_attempts, faults, .. } =
            tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let raw_records = now.raw - self.before.raw;
        let stored = now.summary.stored - self.before.summary.stored;
        let duplicates = now.summary.duplicates - self.before.summary.duplicates;
        let dead_lettered = now.dead - self.before.dead;
        Ok(Ledger {
            sent,
            accepted,
            refused,
            unanswered,
            unsure_attempts,
            faults_injected: faults,
            raw_records,
            validated_records: now.validated - self.before.validated,
            stored,
            duplicates,
            dead_lettered,
            dead_letters_by_code: BTreeMap::new(),
            in_flight: raw_records - stored - duplicates - dead_lettered,
            p50_ms: now.summary.p50_seconds.map(|seconds| seconds * 1000.0),
            p99_ms: now.summary.p99_seconds.map(|seconds| seconds * 1000.0),
        })
    }

    /// Reads the dead letters of this run and counts raw records, not copies: one dead-lettered twice has still one fate.
    pub(crate) async fn finish(&self, mut ledger: Ledger) -> anyhow::Result<Ledger> {
        let kafka = self.kafka.clone();
        let records = tokio::task::spawn_blocking(move || runtime::admin::read_all(&kafka, topics::DLQ)).await??;
        let mut seen = HashSet::new();
        for record in records {
            let ours = self.dead_letters_from.get(&record.partition).is_none_or(|from| record.offset >= *from);
            if ours && seen.insert(record.header(headers::RAW)) {
                *ledger.dead_letters_by_code.entry(record.header(headers::dlq::CODE).unwrap_or_default()).or_default() += 1;
            }
        }
        ledger.dead_lettered = i64::try_from(seen.len())?;
        ledger.in_flight = ledger.raw_records - ledger.stored - ledger.duplicates - ledger.dead_lettered;
        Ok(ledger)
    }
}

impl Ledger {
    /// One line for a terminal.
    pub(crate) fn live(&self) -> String {
        let refused: u64 = self.refused.values().sum();
        let milliseconds = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0} ms"));
        format!(
            "sent {:>7}  accepted {:>7}  refused {:>5}  validated {:>7}  stored {:>7}  duplicates {:>5}  dead letters {:>5}  in flight {:>4}  webhook-to-row p50 {} p99 {}\n",
            self.sent,
            self.accepted,
            refused,
            self.validated_records,
            self.stored,
            self.duplicates,
            self.dead_lettered,
            self.in_flight,
            milliseconds(self.p50_ms),
            milliseconds(self.p99_ms)
        )
    }

    /// The conservation table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            out.push_str(&format!("  {name:<34}{value:>10}\n"));
        };
        let refused: u64 = self.refused.values().sum();
        line("sent by the vendors", self.sent.to_string());
        line("= refused", refused.to_string());
        for (code, count) in &self.refused {
            line(&format!("    {code}"), count.to_string());
        }
        line("+ without an answer", self.unanswered.to_string());
        line("+ accepted (200 after the ack)", self.accepted.to_string());
        line("", String::new());
        line("accepted, durable in events.raw.v1", self.raw_records.to_string());
        line("= stored", self.stored.to_string());
        line("+ duplicate", self.duplicates.to_string());
        line("+ dead-lettered", self.dead_lettered.to_string());
        for (code, count) in &self.dead_letters_by_code {
            line(&format!("    {code}"), count.to_string());
        }
        line("+ unaccounted for", self.in_flight.to_string());
        let verdict =
            if self.faults().is_empty() { "every accepted webhook has exactly one fate" } else { "THE BOOKS DO NOT BALANCE" };
        format!("\n{out}\n  {verdict}\n")
    }

    /// What does not add up.
    pub(crate) fn faults(&self) -> Vec<String> {
        let refused: u64 = self.refused.values().sum();
        let mut faults = Vec::new();
        if self.sent != refused + self.unanswered + self.accepted {
            faults.push(format!(
                "sent {} is not refused {refused} + unanswered {} + accepted {}",
                self.sent, self.unanswered, self.accepted
            ));
        }
        let raw = u64::try_from(self.raw_records).unwrap_or(0);
        if raw < self.accepted {
            faults.push(format!("{} were accepted, but only {raw} records are in {}", self.accepted, topics::RAW));
        }
        if raw > self.accepted + self.unsure_attempts {
            faults.push(format!(
                "{raw} records are in {}, but only {} were accepted and {} left unsure",
                topics::RAW,
                self.accepted,
                self.unsure_attempts
            ));
        }
        if self.in_flight != 0 {
            faults.push(format!("{} records have no fate", self.in_flight));
        }
        faults
    }
}
