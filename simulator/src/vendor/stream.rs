//! Posts the events of vendors at a rate, and sends again what is not answered 2xx, as each vendor does.

use super::waiting::{Waiting, wait};
use super::{Request, Vendor};
use crate::delivery::{Answer, client, note_attempt, unix_micros};
use crate::event::{Fault, Rate};
use crate::journal::{Items, Journal, Sent, expected};
use crate::metrics;
use crate::stream::{Ended, SharedTotals, StreamTotals, note_answer, note_sent};
use anyhow::Context;
use fastrand::Rng;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Most deliveries that wait to be sent again.
pub const MOST_WAITING: usize = 10_000;
/// Most memory of those, in bytes.
pub const MOST_WAITING_BYTES: usize = 64 << 20;

/// The vendors of a stream; they change when secrets are rotated. Never none.
pub type Vendors = watch::Receiver<Arc<Vec<Vendor>>>;

/// How to stream.
#[derive(Debug, Clone)]
pub struct VendorSettings {
    /// Base URL of the edge: `http://host:port`
    pub url: String,
    /// Requests a second, all vendors together
    pub rate: f64,
    /// Seed of everything random but keys and secrets
    pub seed: u64,
    /// Faults and their shares; each is sent by the vendors that [can](Vendor::can)
    pub faults: Vec<Rate>,
    /// Maximum requests at once
    pub concurrency: usize,
    /// Time limit of an attempt
    pub timeout: Duration,
    /// The vendors' waits are so many times shorter
    pub retry_factor: f64,
    /// Where to write what is sent and answered ([`crate::journal`])
    pub journal: Option<PathBuf>,
}

/// A delivery between two attempts.
struct Delivery {
    request: Request,
    fault: Option<Fault>,
    statuses: Vec<Option<u16>>,
    code: Option<String>,
    retry_after: Option<Duration>,
}

impl Delivery {
    fn new(request: Request, fault: Option<Fault>) -> Self {
        Self {
            request,
            fault,
            statuses: Vec::new(),
            code: None,
            retry_after: None,
        }
    }

    fn ok(&self) -> bool {
        matches!(self.statuses.last(), Some(Some(200..=299)))
    }

    /// Sent wrong on purpose, and refused for it: it would be refused again.
    fn is_hopeless(&self) -> bool {
        let is_refused = matches!(self.statuses.last(), Some(Some(400..=499)));
        let is_wrong = !matches!(self.fault, None | Some(Fault::Duplicate));
        is_refused && is_wrong && self.statuses.last() != Some(&Some(429))
    }
}

/// Posts until `stop`, then waits for what is in progress; what still waits to be sent again ends as it was answered last. Returns the totals.
///
/// # Errors
/// A vendor cannot sign its example, the journal could not be written whole, or a delivery panicked: the totals would not add up.
pub async fn stream(
    settings: &VendorSettings,
    vendors: Vendors,
    totals: SharedTotals,
    stop: CancellationToken,
) -> anyhow::Result<StreamTotals> {
    let journal = settings
        .journal
        .as_deref()
        .map(Journal::open)
        .transpose()?
        .map(Arc::new);
    let run = Run {
        settings,
        vendors,
        client: client(settings.timeout)?,
        totals,
        journal,
    };
    let mut rng = Rng::with_seed(settings.seed);
    let mut running: JoinSet<Delivery> = JoinSet::new();
    let mut waiting = Waiting::new(MOST_WAITING, MOST_WAITING_BYTES);
    let started = Instant::now();
    let rate = settings.rate.clamp(0.1, 1e6);
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut turn = 0;
    loop {
        let has_room = running.len() < settings.concurrency.max(1);
        let due = waiting.next_due();
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick(), if has_room => {
                turn += 1;
                running.spawn(run.post(run.begin(turn, &mut rng)?));
            }
            () = sleep_until(started, due), if has_room && due.is_some() => {
                if let Some(delivery) = waiting.pop(started.elapsed()) {
                    running.spawn(run.post_again(delivery)?);
                }
            }
            Some(delivery) = running.join_next(), if !running.is_empty() => {
                if let Some(next) = run.settle(delivery?, &mut waiting, started.elapsed()) {
                    running.spawn(run.post_again(next)?);
                }
            }
        }
    }
    while let Some(delivery) = running.join_next().await {
        run.end(&delivery?);
    }
    for delivery in waiting.drain() {
        run.end(&delivery);
    }
    if let Some(journal) = &run.journal {
        journal.finish()?;
    }
    let totals = run.totals.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(totals.clone())
}

async fn sleep_until(started: Instant, due: Option<Duration>) {
    tokio::time::sleep_until(started + due.unwrap_or_default()).await;
}

struct Run<'s> {
    settings: &'s VendorSettings,
    vendors: Vendors,
    client: reqwest::Client,
    totals: SharedTotals,
    journal: Option<Arc<Journal>>,
}

impl Run<'_> {
    fn vendors(&self) -> Arc<Vec<Vendor>> {
        Arc::clone(&self.vendors.borrow())
    }

    /// A new event of the vendor whose turn it is, with a fault or without.
    fn begin(&self, turn: usize, rng: &mut Rng) -> anyhow::Result<Delivery> {
        let vendors = self.vendors();
        let vendor = vendors
            .get(turn % vendors.len().max(1))
            .context("there is no vendor")?;
        let fault =
            crate::stream::choose(&self.settings.faults, rng).filter(|fault| vendor.can(*fault));
        let first = fault.filter(|fault| *fault != Fault::Duplicate);
        let request = vendor.request(first, unix_micros(), rng)?;
        note_sent(&self.totals, &request.source, first);
        Ok(Delivery::new(request, fault))
    }

    /// The next attempt of a delivery.
    fn post(&self, mut delivery: Delivery) -> impl Future<Output = Delivery> + use<> {
        let url = format!(
            "{}/api/webhooks/{}",
            self.settings.url, delivery.request.source
        );
        let noted = self.journal.as_ref().map(|journal| {
            let n = note(journal, &url, &delivery.request, delivery.fault);
            (Arc::clone(journal), n)
        });
        let mut posted = self.client.post(url).body(delivery.request.body());
        for (name, value) in delivery.request.headers() {
            posted = posted.header(name, value);
        }
        async move {
            let started = std::time::Instant::now();
            let answer = match posted.send().await {
                Ok(response) => Some(Answer::read(response, unix_micros() / 1_000_000).await),
                Err(_) => None,
            };
            let status = answer.as_ref().map(|answer| answer.status);
            note_attempt(status, started);
            delivery.statuses.push(status);
            (delivery.code, delivery.retry_after) = match answer {
                Some(answer) => (answer.code, answer.retry_after),
                None => (None, None),
            };
            if let Some((journal, n)) = noted {
                journal.answered(n, status, delivery.code.as_deref());
            }
            delivery
        }
    }

    /// The same, signed again where the vendor does so.
    fn post_again(
        &self,
        mut delivery: Delivery,
    ) -> anyhow::Result<impl Future<Output = Delivery> + use<>> {
        let vendors = self.vendors();
        if !delivery.statuses.is_empty() {
            ::metrics::counter!(metrics::WEBHOOK_RETRIES).increment(1);
        }
        if let Some(vendor) = vendors
            .iter()
            .find(|vendor| vendor.name() == delivery.request.source)
        {
            let fault = delivery.fault.filter(|fault| *fault != Fault::Duplicate);
            vendor.sign_again(&mut delivery.request, fault, unix_micros())?;
        }
        Ok(self.post(delivery))
    }

    /// What follows an attempt: an end, a wait, or, returned, the second delivery of what is sent twice.
    fn settle(
        &self,
        delivery: Delivery,
        waiting: &mut Waiting<Delivery>,
        now: Duration,
    ) -> Option<Delivery> {
        if delivery.ok() {
            self.end(&delivery);
            let again = delivery.fault == Some(Fault::Duplicate);
            return again.then(|| {
                note_sent(
                    &self.totals,
                    &delivery.request.source,
                    Some(Fault::Duplicate),
                );
                // Nothing follows the second.
                Delivery::new(delivery.request, None)
            });
        }
        let vendors = self.vendors();
        let vendor = vendors
            .iter()
            .find(|vendor| vendor.name() == delivery.request.source);
        let resends = vendor
            .map(Vendor::resends)
            .filter(|_| !delivery.is_hopeless());
        let wait = resends.and_then(|resends| {
            wait(
                resends,
                delivery.statuses.len(),
                self.settings.retry_factor,
                delivery.retry_after,
            )
        });
        let Some(wait) = wait else {
            self.end(&delivery);
            return None;
        };
        let bytes = delivery.request.bytes();
        if let Err(delivery) = waiting.add(now + wait, bytes, delivery) {
            self.totals
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .given_up += 1;
            self.end(&delivery);
        }
        None
    }

    fn end(&self, delivery: &Delivery) {
        let request = &delivery.request;
        let ended = Ended {
            source: &request.source,
            events: request.events.len() as u64,
            ok: delivery.ok(),
            statuses: &delivery.statuses,
            code: delivery.code.as_deref(),
        };
        note_answer(&self.totals, &ended);
    }
}

/// Notes a request that is about to go out; its number in the journal.
fn note(journal: &Journal, url: &str, request: &Request, fault: Option<Fault>) -> u64 {
    let events: Vec<(&str, &str)> = request
        .events
        .iter()
        .map(|event| (event.id.as_str(), event.event_type.as_str()))
        .collect();
    journal.sent(&Sent {
        source: &request.source,
        url,
        body: &request.body(),
        headers: &request.headers_to_show(),
        items: request.items.as_deref().map_or(Items::Body, Items::At),
        expect: &expected(fault.filter(|fault| *fault != Fault::Duplicate)),
        events: &events,
    })
}

/// The faults that vendors of presets can send.
pub const FAULTS: [Fault; 5] = [
    Fault::Duplicate,
    Fault::BadSignature,
    Fault::StaleTimestamp,
    Fault::FutureTimestamp,
    Fault::NotJson,
];

/// Each of them with this share.
#[must_use]
pub fn faults(share: f64) -> Vec<Rate> {
    FAULTS.map(|fault| Rate { fault, share }).to_vec()
}
