//! A stream of events with faults among them, seeded so that a run can be repeated.

use crate::delivery::Deliverer;
use crate::event::{Event, Fault, Payment, Rate, build};
use crate::journal::Journal;
use crate::metrics;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How to stream.
#[derive(Debug, Clone)]
pub struct StreamSettings {
    /// Events a second
    pub rate: f64,
    /// Seed of everything random
    pub seed: u64,
    /// Faults and their shares
    pub faults: Vec<Rate>,
    /// Maximum deliveries at once
    pub concurrency: usize,
    /// Amount of every payment; `None` varies it
    pub amount: Option<String>,
    /// Currency of every payment; `None` varies it
    pub currency: Option<String>,
    /// Prefix of payment ids
    pub payment_prefix: String,
    /// Prefix of order ids
    pub order_prefix: String,
    /// Where to write what is sent and answered ([`crate::journal`])
    pub journal: Option<PathBuf>,
}

/// What was sent and answered, so far.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct StreamTotals {
    /// Deliveries begun (retries of one are one)
    pub sent: u64,
    /// Deliveries answered 2xx at last
    pub accepted: u64,
    /// Deliveries refused at last, by code
    pub refused: BTreeMap<String, u64>,
    /// Deliveries that ended without an answer: they may have been accepted
    pub unanswered: u64,
    /// 2xx answers
    pub answers_2xx: u64,
    /// Attempts without a 2xx that a retry followed, or that ended it: each may have been accepted nevertheless
    pub unsure_attempts: u64,
    /// Faults injected
    pub faults: BTreeMap<String, u64>,
    /// Events in accepted deliveries: a delivery may have several
    pub events_accepted: u64,
    /// Attempts after the first
    pub resent: u64,
    /// Deliveries given up because too many waited to be sent again
    pub given_up: u64,
    /// The same by source
    pub by_source: BTreeMap<String, SourceTotals>,
}

/// What was sent to one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct SourceTotals {
    /// Deliveries begun
    pub sent: u64,
    /// Deliveries answered 2xx at last
    pub accepted: u64,
    /// Events in them
    pub events_accepted: u64,
    /// Deliveries refused at last
    pub refused: u64,
    /// Deliveries that ended without an answer
    pub unanswered: u64,
}

/// How one delivery ended.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) source: &'a str,
    /// Events in it
    pub(crate) events: u64,
    pub(crate) ok: bool,
    /// Status of each attempt; none where no answer came
    pub(crate) statuses: &'a [Option<u16>],
    /// The problem document's code of the last answer
    pub(crate) code: Option<&'a str>,
}

/// Shared with whoever observes the stream.
pub type SharedTotals = Arc<Mutex<StreamTotals>>;

/// Streams until `stop`, then waits for what is under way. Returns the final totals.
///
/// # Errors
/// When the journal could not be written whole, or a delivery panicked: its totals would not add up.
pub async fn stream(
    settings: &StreamSettings,
    deliverer: &Deliverer,
    totals: SharedTotals,
    stop: CancellationToken,
) -> anyhow::Result<StreamTotals> {
    let journal = settings
        .journal
        .as_deref()
        .map(Journal::open)
        .transpose()?
        .map(Arc::new);
    let deliverer = match &journal {
        Some(journal) => deliverer.clone().with_journal(Arc::clone(journal)),
        None => deliverer.clone(),
    };
    let mut rng = fastrand::Rng::with_seed(settings.seed);
    let permits = Arc::new(Semaphore::new(settings.concurrency.max(1)));
    let mut deliveries = JoinSet::new();
    let mut tick =
        tokio::time::interval(Duration::from_secs_f64(1.0 / settings.rate.clamp(0.1, 1e6)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut index = 0_u64;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let fault = choose(&settings.faults, &mut rng);
        for _ in 0..if fault == Some(Fault::Burst) { 20 } else { 1 } {
            index += 1;
            let Some(Ok(permit)) = stop
                .run_until_cancelled(Arc::clone(&permits).acquire_owned())
                .await
            else {
                break;
            };
            let plan = plan(
                settings,
                index,
                fault,
                runtime::clock::now_micros(),
                &mut rng,
            );
            let (deliverer, totals) = (deliverer.clone(), Arc::clone(&totals));
            let mut rng = fastrand::Rng::with_seed(rng.u64(..));
            deliveries.spawn(async move {
                for step in plan {
                    tokio::time::sleep(step.pause).await;
                    note_sent(&totals, deliverer.source(), step.fault);
                    let delivered = deliverer.deliver(&step.event, step.fault, &mut rng).await;
                    note_answer(
                        &totals,
                        &Ended {
                            source: deliverer.source(),
                            events: 1,
                            ok: delivered.ok,
                            statuses: &delivered.statuses,
                            code: delivered.code.as_deref(),
                        },
                    );
                }
                drop(permit);
            });
        }
        while let Some(delivery) = deliveries.try_join_next() {
            delivery?;
        }
    }
    while let Some(delivery) = deliveries.join_next().await {
        delivery?;
    }
    if let Some(journal) = journal {
        journal.finish()?;
    }
    let totals = totals
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    Ok(totals)
}

/// One delivery of a plan.
#[derive(Debug, PartialEq)]
struct Step {
    event: Event,
    fault: Option<Fault>,
    pause: Duration,
}

pub(crate) fn choose(faults: &[Rate], rng: &mut fastrand::Rng) -> Option<Fault> {
    let mut draw = rng.f64();
    faults
        .iter()
        .find(|rate| {
            draw -= rate.share;
            draw < 0.0
        })
        .map(|rate| rate.fault)
}

/// The deliveries one event and its fault make at `now`, in microseconds.
fn plan(
    settings: &StreamSettings,
    index: u64,
    fault: Option<Fault>,
    now: i64,
    rng: &mut fastrand::Rng,
) -> Vec<Step> {
    const CURRENCIES: [(&str, u32); 5] =
        [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("GBP", 2)];
    let (currency, digits) = rng.choice(CURRENCIES).unwrap_or(("USD", 2));
    // Some have more digits than a float holds, so that one on the way would show.
    let unscaled = match rng.u8(..) {
        0..8 => rng.u64(10_u64.pow(17)..10_u64.pow(18)),
        _ => rng.u64(1..10_000_000),
    };
    let amount = contracts::event::money::text(i128::from(unscaled), digits);
    let payment = Payment {
        payment_id: format!("{}_{index}", settings.payment_prefix),
        order_id: format!("{}_{index}", settings.order_prefix),
        amount: settings.amount.clone().unwrap_or(amount),
        currency: settings
            .currency
            .clone()
            .unwrap_or_else(|| currency.to_owned()),
    };
    let event = build(&payment, fault, now, rng);
    let step = |event: Event, fault, millis| Step {
        event,
        fault,
        pause: Duration::from_millis(millis),
    };
    match fault {
        Some(Fault::Duplicate) => vec![
            step(event.clone(), None, 0),
            step(event, fault, rng.u64(0..200)),
        ],
        Some(Fault::Conflicting) => {
            let other = Payment {
                amount: "1".to_owned(),
                ..payment.clone()
            };
            let mut changed = build(&other, None, now, rng);
            let text = String::from_utf8_lossy(&changed.body).replace(&changed.id, &event.id);
            changed = Event {
                id: event.id.clone(),
                body: text.into_bytes(),
            };
            vec![step(event, None, 0), step(changed, fault, 0)]
        }
        Some(Fault::Delayed) => vec![step(event, fault, rng.u64(100..1000))],
        Some(Fault::Reordered) => {
            let later = Payment {
                order_id: format!("{}_later", payment.order_id),
                ..payment
            };
            let later = build(&later, None, now + 1000, rng);
            vec![step(later, fault, 0), step(event, fault, 0)]
        }
        _ => vec![step(event, fault, 0)],
    }
}

pub(crate) fn note_sent(totals: &SharedTotals, source: &str, fault: Option<Fault>) {
    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
    totals.sent += 1;
    totals.by_source.entry(source.to_owned()).or_default().sent += 1;
    if let Some(fault) = fault {
        *totals.faults.entry(fault.name().to_owned()).or_default() += 1;
        metrics::count_fault(fault);
    }
}

pub(crate) fn note_answer(totals: &SharedTotals, ended: &Ended<'_>) {
    let result = if ended.ok { "accepted" } else { "failed" };
    ::metrics::counter!(metrics::AUTO_STREAM_EVENTS, "result" => result).increment(1);
    let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
    // A 503 or no answer leaves open whether the broker has the record; a 4xx does not.
    totals.unsure_attempts += ended
        .statuses
        .iter()
        .filter(|status| status.is_none_or(|status| status >= 500))
        .count() as u64;
    totals.resent += (ended.statuses.len() as u64).saturating_sub(1);
    if ended.ok {
        totals.accepted += 1;
        totals.answers_2xx += 1;
        totals.events_accepted += ended.events;
    } else if ended.statuses.last().is_some_and(Option::is_some) {
        let code = ended.code.unwrap_or("unknown").to_owned();
        *totals.refused.entry(code).or_default() += 1;
    } else {
        totals.unanswered += 1;
    }
    let of_source = totals.by_source.entry(ended.source.to_owned()).or_default();
    match (ended.ok, ended.statuses.last()) {
        (true, _) => {
            of_source.accepted += 1;
            of_source.events_accepted += ended.events;
        }
        (false, Some(Some(_))) => of_source.refused += 1,
        (false, _) => of_source.unanswered += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_clock_make_the_same_deliveries() {
        let settings = StreamSettings {
            rate: 1.0,
            seed: 0,
            faults: Fault::ALL.map(|fault| Rate { fault, share: 0.05 }).to_vec(),
            concurrency: 1,
            amount: None,
            currency: None,
            payment_prefix: "pay".to_owned(),
            order_prefix: "ord".to_owned(),
            journal: None,
        };
        let run = |seed| -> Vec<Step> {
            let mut rng = fastrand::Rng::with_seed(seed);
            let step = |index| {
                let fault = choose(&settings.faults, &mut rng);
                plan(&settings, index, fault, 1_700_000_000_000_000, &mut rng)
            };
            (0..500).flat_map(step).collect()
        };
        let steps = run(7);
        assert_eq!(steps, run(7));
        assert_ne!(steps, run(8));
        for fault in Fault::ALL {
            assert!(
                steps.iter().any(|step| step.fault == Some(fault)),
                "{fault} in 500 events at 5 %"
            );
        }
        let ids: std::collections::HashSet<_> = steps.iter().map(|step| &step.event.id).collect();
        let again = steps
            .iter()
            .filter(|step| matches!(step.fault, Some(Fault::Duplicate | Fault::Conflicting)))
            .count();
        assert_eq!(
            ids.len() + again,
            steps.len(),
            "only these two send an id again"
        );
    }
}
