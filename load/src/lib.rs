//! The load generator: `eventflow load`.
//!
//! Open loop: requests are due at fixed times, any free connection sends the next one, and latency counts from the time it was due, so a
//! stalled server cannot hide the requests it kept from being sent (coordinated omission). What was due and could not be sent before the
//! end is reported as unsent, and counts in the latencies with the time it had waited by then. The timer's resolution is 1 ms; how late
//! requests left is reported beside the latencies that contain it. `--max` is closed loop, as fast as the connections go. Every event has
//! an id of its own and every request is signed. The client writes HTTP/1.1 by hand on kept connections, since a load generator that costs
//! more than the server measures itself.

mod compose;
mod vendors;
mod wire;

use compose::Payments;
use contracts::Secret;
use contracts::webhook::signature::Verifier;
use hdrhistogram::Histogram;
use runtime::config::{ConfigError, parse_positive_duration};
use simulator::delivery::{signer, source_of};
use simulator::journal::{Items, Journal, Sent};
use simulator::vendor::{Played, Vendor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use vendors::Turns;
use wire::Wire;

/// The load, and its target.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// Webhook URL, http only; with --batch, requests go to its /batch; with --as, to the webhook URLs of the vendors at its host
    #[arg(
        long,
        env = "EVENTFLOW_WEBHOOK_URL",
        hide_env_values = true,
        default_value = "http://localhost:8000/api/webhooks/payment-authorized"
    )]
    pub url: String,
    /// Secret requests are signed with, unless --as says which vendors do
    #[arg(
        long,
        env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET",
        hide_env_values = true,
        hide_default_value = true,
        default_value = "eventflow-local-secret"
    )]
    pub secret: Secret,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub played: Played,
    /// Requests per second, sent on schedule however slow the answers are (open loop)
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// Ignore --rate and send as fast as the connections allow: the next request when the last one is answered (closed loop)
    #[arg(long, default_value_t = false)]
    pub max: bool,
    /// Events per request
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// How long to send, such as 10s or 2m
    #[arg(long, alias = "for", default_value = "10s", value_parser = parse_positive_duration)]
    pub duration: Duration,
    /// Stop after this many requests
    #[arg(long)]
    pub requests: Option<u64>,
    /// Number of connections
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// File to which is added what was sent and answered, as JSON lines: the journal for eventflow verify
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long, default_value_t = false)]
    pub json: bool,
}

/// What was measured.
#[derive(Debug, serde::Serialize)]
pub struct LoadReport {
    /// Requests sent
    pub requests: u64,
    /// Requests that were due and could not be sent before the end
    pub unsent: u64,
    /// Events in requests answered 2xx
    pub events_accepted: u64,
    /// Answers by status; `none` where no answer came
    pub answers: BTreeMap<String, u64>,
    /// Seconds the run took
    pub seconds: f64,
    /// Requests a second
    pub requests_per_second: f64,
    /// Accepted events a second
    pub events_per_second: f64,
    /// Milliseconds
    pub p50_ms: f64,
    /// Milliseconds
    pub p99_ms: f64,
    /// Milliseconds
    pub p999_ms: f64,
    /// Milliseconds
    pub max_ms: f64,
    /// Milliseconds by which requests left later than due, the generator's own share of the latencies
    pub late_p99_ms: f64,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "requests    {} in {:.1} s = {:.0}/s",
            self.requests, self.seconds, self.requests_per_second
        )?;
        if self.unsent > 0 {
            writeln!(
                f,
                "unsent      {}: due, but no connection was free before the end",
                self.unsent
            )?;
        }
        writeln!(
            f,
            "accepted    {} events = {:.0}/s",
            self.events_accepted, self.events_per_second
        )?;
        write!(f, "answers    ")?;
        for (status, count) in &self.answers {
            write!(f, " {status}: {count}")?;
        }
        write!(
            f,
            "\nlatency ms  p50 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}  (sent late: p99 {:.2})",
            self.p50_ms, self.p99_ms, self.p999_ms, self.max_ms, self.late_p99_ms
        )
    }
}

struct Target {
    address: String,
    host: String,
    path: String,
    source: String,
    verifier: Verifier,
    batch: usize,
    /// Who sends instead of the payments, in turn; none of them is the payments' source
    vendors: Arc<Vec<Vendor>>,
}

/// The requests of one worker.
enum Composer {
    Payments(Payments),
    Vendors(Turns),
}

impl Composer {
    fn new(target: &Target) -> Self {
        match target.vendors.is_empty() {
            true => Self::Payments(Payments::new(target)),
            false => Self::Vendors(Turns::new(target)),
        }
    }

    /// Signs a request of fresh events, and counts them.
    fn compose(&mut self, target: &Target) -> anyhow::Result<u64> {
        match self {
            Self::Payments(payments) => {
                payments.compose(target);
                Ok(target.batch as u64)
            }
            Self::Vendors(turns) => turns.compose(target),
        }
    }

    /// The last request, as it is sent.
    fn request(&self) -> &[u8] {
        match self {
            Self::Payments(payments) => &payments.request,
            Self::Vendors(turns) => turns.request(),
        }
    }

    /// Notes the last request in a journal; its number there.
    fn note(&self, journal: &Journal, target: &Target) -> u64 {
        match self {
            Self::Payments(payments) => payments.note(journal, target),
            Self::Vendors(turns) => turns.note(journal, target),
        }
    }
}

/// What all workers share.
struct Run {
    target: Target,
    journal: Option<Journal>,
    shutdown: CancellationToken,
    /// The next request nobody has taken
    next: AtomicU64,
    started: Instant,
    ends: Instant,
    limit: u64,
    /// Requests a second; `None` is as fast as the connections go
    rate: Option<f64>,
}

struct Counts {
    answers: BTreeMap<Option<u16>, u64>,
    accepted: u64,
    unsent: u64,
    latency: Histogram<u64>,
    late: Histogram<u64>,
}

impl Counts {
    fn new() -> anyhow::Result<Self> {
        // A microsecond to a minute and a half, three digits.
        let histogram = Histogram::new_with_bounds(1, 100_000_000, 3)?;
        Ok(Self {
            answers: BTreeMap::new(),
            accepted: 0,
            unsent: 0,
            latency: histogram.clone(),
            late: histogram,
        })
    }
}

/// Runs the load and prints the report.
///
/// # Errors
/// As [`run`].
pub async fn run_and_print(args: &LoadArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let report = run(args, shutdown).await?;
    let text = match args.json {
        true => serde_json::to_string(&report)?,
        false => report.to_string(),
    };
    println!("{text}");
    Ok(())
}

/// Runs the load.
///
/// # Errors
/// Bad settings, no answer at all, or a journal that could not be written whole.
pub async fn run(args: &LoadArgs, shutdown: CancellationToken) -> anyhow::Result<LoadReport> {
    let target = target(args)?;
    let journal = args.journal.as_deref().map(Journal::open).transpose()?;
    let started = Instant::now();
    let run = Arc::new(Run {
        target,
        journal,
        shutdown,
        next: AtomicU64::new(0),
        started,
        ends: started + args.duration,
        limit: args.requests.unwrap_or(u64::MAX),
        rate: (!args.max).then_some(args.rate),
    });
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..args.connections.max(1) {
        workers.spawn(work(Arc::clone(&run)));
    }
    let mut total = Counts::new()?;
    while let Some(counts) = workers.join_next().await {
        let counts = counts??;
        total.accepted += counts.accepted;
        total.unsent += counts.unsent;
        counts
            .answers
            .into_iter()
            .for_each(|(status, count)| *total.answers.entry(status).or_default() += count);
        total.latency.add(counts.latency)?;
        total.late.add(counts.late)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    if let Some(journal) = &run.journal {
        journal.finish()?;
    }
    let requests: u64 = total.answers.values().sum();
    anyhow::ensure!(
        requests == 0 || total.answers.keys().any(Option::is_some),
        "no answer from {}: is the producer running?",
        run.target.address
    );
    Ok(report(&total, requests, seconds))
}

fn report(total: &Counts, requests: u64, seconds: f64) -> LoadReport {
    let label = |status: &Option<u16>| {
        status.map_or_else(|| "none".to_owned(), |status| status.to_string())
    };
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (per_second, milliseconds) = (
        |count: u64| count as f64 / seconds,
        |histogram: &Histogram<u64>, quantile: f64| {
            histogram.value_at_quantile(quantile) as f64 / 1000.0
        },
    );
    LoadReport {
        requests,
        unsent: total.unsent,
        events_accepted: total.accepted,
        answers: total
            .answers
            .iter()
            .map(|(status, count)| (label(status), *count))
            .collect(),
        seconds,
        requests_per_second: per_second(requests),
        events_per_second: per_second(total.accepted),
        p50_ms: milliseconds(&total.latency, 0.5),
        p99_ms: milliseconds(&total.latency, 0.99),
        p999_ms: milliseconds(&total.latency, 0.999),
        max_ms: milliseconds(&total.latency, 1.0),
        late_p99_ms: milliseconds(&total.late, 0.99),
    }
}

/// One connection: takes the next request, waits until it is due, sends it, awaits its answer.
async fn work(run: Arc<Run>) -> anyhow::Result<Counts> {
    let mut counts = Counts::new()?;
    let mut wire = Wire::new(&run.target.address);
    let mut composer = Composer::new(&run.target);
    loop {
        let index = run.next.fetch_add(1, Ordering::Relaxed);
        if index >= run.limit {
            break;
        }
        #[expect(clippy::cast_precision_loss, reason = "a schedule in seconds")]
        let due = match run.rate {
            Some(rate) => run.started + Duration::from_secs_f64((index as f64 / rate).min(1e9)),
            None => Instant::now(),
        };
        if due >= run.ends {
            break;
        }
        if run.rate.is_some() {
            let waited = run
                .shutdown
                .run_until_cancelled(tokio::time::sleep_until(due.into()))
                .await;
            if waited.is_none() && Instant::now() < due {
                break;
            }
        }
        let now = Instant::now();
        if now >= run.ends || run.shutdown.is_cancelled() {
            if run.rate.is_none() {
                break;
            }
            // Continues with the next: everything that was due is counted.
            counts.unsent += 1;
            counts.latency.saturating_record(micros(now - due));
            continue;
        }
        counts.late.saturating_record(micros(now - due));
        let events = composer.compose(&run.target)?;
        let noted = run.journal.as_ref();
        let noted = noted.map(|journal| (journal, composer.note(journal, &run.target)));
        let status = wire.exchange(composer.request()).await;
        counts.latency.saturating_record(micros(due.elapsed()));
        let ok = matches!(status, Some(200..=299));
        if ok {
            counts.accepted += events;
        }
        *counts.answers.entry(status).or_default() += 1;
        if let Some((journal, n)) = noted {
            journal.answered(n, status, None);
        }
    }
    Ok(counts)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

fn target(args: &LoadArgs) -> Result<Target, ConfigError> {
    let bad = |problem: &str| ConfigError::new("--url", problem);
    let url = reqwest::Url::parse(&args.url).map_err(|error| bad(&error.to_string()))?;
    if url.scheme() != "http" {
        return Err(bad(
            "must begin with http://, since the load generator has no TLS; give the producer's own address, behind the proxy that does TLS",
        ));
    }
    let host = url.host_str().ok_or_else(|| bad("has no host"))?;
    let address = format!("{host}:{}", url.port_or_known_default().unwrap_or(80));
    if !(1..=100_000).contains(&args.batch) {
        return Err(ConfigError::new("--batch", "must be between 1 and 100000"));
    }
    if !(args.max || args.rate.is_finite() && args.rate > 0.0) {
        return Err(ConfigError::new(
            "--rate",
            "must be above 0; --max sends as fast as the connections allow",
        ));
    }
    let path = url.path().trim_end_matches('/');
    let path = if args.batch > 1 {
        format!("{path}/batch")
    } else {
        path.to_owned()
    };
    if args.duration.is_zero() {
        return Err(ConfigError::new("--duration", "must be above 0"));
    }
    let verifier = signer(args.secret.clone())?;
    let vendors = match args.played.is_asked() {
        true if args.batch > 1 => {
            return Err(ConfigError::new(
                "--batch",
                "vendors of --as send as their presets say; remove it",
            ));
        }
        true => args.played.vendors()?.1,
        false => Vec::new(),
    };
    Ok(Target {
        host: address.clone(),
        address,
        path,
        source: source_of(&url),
        verifier,
        batch: args.batch,
        vendors: Arc::new(vendors),
    })
}
