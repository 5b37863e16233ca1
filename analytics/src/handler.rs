//! The stage: from framed Avro to figures. It decides no record's outcome.

use crate::figures::{Figures, MINUTE_MS, Noted, Observation, WINDOW_MINUTES};
use crate::{Shared, metrics as names, now_ms};
use contracts::avro::datum::Event;
use contracts::kafka::headers;
use runtime::consumer::{Handler, Outcome, Record, StageError, Start};
use runtime::registry::Registry;
use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Longest a batch waits for the registry: below the group's `max.poll.interval.ms`.
const DEADLINE: Duration = Duration::from_secs(30);

/// The measuring stage. It never dead-letters: what it cannot read, persistence cannot read either and dead-letters; here it is only counted
/// as an error. It also reads the last hour again on every start, and a dead letter each time would be wrong.
#[derive(Debug)]
pub struct Analytics {
    registry: Registry,
    figures: Shared,
    runtime: tokio::runtime::Handle,
    /// When each partition was assigned, milliseconds since the epoch: what was published before is not live but catching up
    assigned_ms: HashMap<i32, i64>,
}

/// An event, or the code of why the record cannot be read.
type Read<'a> = Result<Option<Event<'a>>, &'static str>;

impl Analytics {
    /// A stage that shares its figures.
    #[must_use]
    pub fn new(registry: Registry, figures: Shared, runtime: tokio::runtime::Handle) -> Self {
        Self {
            registry,
            figures,
            runtime,
            assigned_ms: HashMap::new(),
        }
    }

    /// Reads every record before anything is counted, so that a wait counts nothing twice.
    async fn read<'a>(
        registry: &mut Registry,
        batch: &[Record<'a>],
    ) -> Result<Vec<Read<'a>>, StageError> {
        let polled = Instant::now();
        let mut events = Vec::with_capacity(batch.len());
        for record in batch {
            // What is not wanted, and what was measured when it was stored.
            let unmeasured = [headers::FILTERED, headers::REVALIDATES];
            if unmeasured.iter().any(|name| record.header(name).is_some()) {
                events.push(Ok(None));
                continue;
            }
            let framed = match record.refused() {
                None => registry.decode(record.value(), polled).await?,
                Some(rejection) => Err(rejection),
            };
            events.push(
                framed
                    .map(|framed| Some(framed.event))
                    .map_err(|rejection| rejection.code.code()),
            );
        }
        Ok(events)
    }

    fn measure(&self, batch: &[Record<'_>], events: &[Read<'_>], now_ms: i64) {
        let mut processed: BTreeMap<(usize, i32, &'static str), u64> = BTreeMap::new();
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = Ages {
            event: ::metrics::histogram!(names::EVENT_AGE),
            receipt: ::metrics::histogram!(names::RECEIVE_TO_PROCESS),
        };
        for (record, event) in batch.iter().zip(events) {
            if !figures.begin(record.partition, record.offset, now_ms) {
                continue;
            }
            match event {
                // Nobody wants it: it is in no figure.
                Ok(None) => {}
                Ok(Some(event)) => {
                    let event_type = figures.event_type(event.event_type);
                    let live = self
                        .assigned_ms
                        .get(&record.partition)
                        .is_none_or(|assigned| record.timestamp_ms >= *assigned);
                    *processed
                        .entry((
                            event_type,
                            record.partition,
                            if live { "live" } else { "catch_up" },
                        ))
                        .or_default() += 1;
                    count(
                        &mut figures,
                        record,
                        event,
                        event_type,
                        live.then_some(&ages),
                        now_ms,
                    );
                }
                Err(code) => ::metrics::counter!(names::ERRORS, "code" => *code).increment(1),
            }
        }
        for ((event_type, partition, phase), events) in processed {
            let event_type = figures.event_type_name(event_type).to_owned();
            ::metrics::counter!(names::PROCESSED, "event_type" => event_type, "partition" => partition.to_string(), "phase" => phase)
                .increment(events);
        }
    }
}

/// The histograms of how old live events are.
struct Ages {
    event: ::metrics::Histogram,
    receipt: ::metrics::Histogram,
}

/// `ages` is given for live records.
fn count(
    figures: &mut Figures,
    record: &Record<'_>,
    event: &Event<'_>,
    event_type: usize,
    ages: Option<&Ages>,
    now_ms: i64,
) {
    // A record without was counted as an error, and is no event.
    if record.raw().is_none() {
        return;
    }
    let received_at_ms = received_at_ms(record);
    if let Some(ages) = ages {
        ages.event.record(seconds(
            now_ms.saturating_sub(event.occurred_at_micros / 1000),
        ));
        ages.receipt
            .record(seconds(now_ms.saturating_sub(received_at_ms)));
    }
    let source = record.header_text(headers::SOURCE).unwrap_or_default();
    let seen = Observation {
        partition: record.partition,
        event: figures.event(source, event.event_id),
        received_at_ms,
        event_type,
        kind: figures.kind(event.kind.as_deref()),
        amount: event.amount.as_deref(),
        currency: event.currency.as_deref(),
    };
    match figures.note(&seen, now_ms) {
        Noted::Counted => {}
        Noted::Duplicate => ::metrics::counter!(names::DUPLICATES).increment(1),
        Noted::OutsideWindow => ::metrics::counter!(names::OUTSIDE_WINDOW).increment(1),
    }
}

/// When the edge received it; without that header, Kafka's time of the record.
fn received_at_ms(record: &Record<'_>) -> i64 {
    let micros = record
        .header_text(headers::RECEIVED_AT)
        .and_then(|text| text.parse::<i64>().ok());
    micros.map_or(record.timestamp_ms, |micros| micros / 1000)
}

#[expect(clippy::cast_precision_loss, reason = "seconds for a histogram")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1000.0
}

impl Handler for Analytics {
    fn stage(&self) -> &'static str {
        "analytics"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let started = Instant::now();
        let runtime = self.runtime.clone();
        let events = runtime.block_on(async {
            tokio::time::timeout(DEADLINE, Self::read(&mut self.registry, batch))
                .await
                .unwrap_or_else(|_| {
                    Err(StageError::wait(
                        "registry_unavailable",
                        "the schema registry did not answer in time; retrying",
                    ))
                })
        })?;
        self.measure(batch, &events, now_ms());
        let share = u32::try_from(batch.len())
            .ok()
            .and_then(|records| started.elapsed().checked_div(records));
        ::metrics::histogram!(names::PROCESSING)
            .record_many(share.unwrap_or_default(), batch.len());
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }

    fn positions(&mut self, partitions: &[(String, i32)]) -> Result<Vec<Start>, StageError> {
        let now = now_ms();
        let numbers: Vec<i32> = partitions.iter().map(|(_, number)| *number).collect();
        let ends = self
            .figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .assign(&numbers, now);
        self.assigned_ms
            .retain(|number, _| numbers.contains(number));
        for (number, end) in numbers.iter().zip(&ends) {
            if end.is_none() {
                self.assigned_ms.insert(*number, now);
            }
        }
        // A record is published after it was received; the spare minute is for clocks that differ.
        let window = Start::Since((now.div_euclid(MINUTE_MS) - WINDOW_MINUTES) * MINUTE_MS);
        Ok(ends
            .into_iter()
            .map(|end| end.map_or(window, Start::Offset))
            .collect())
    }
}
