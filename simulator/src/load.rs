//! The load generator: `eventflow simulator load`.
//!
//! Open loop: every request has a time it should have been sent at, and latency counts from then, so a stalled server cannot hide the
//! requests it kept from being sent (coordinated omission). `--max` is closed loop, as fast as the connections go. Every event has an id of
//! its own and every request is signed. The client writes HTTP/1.1 by hand on kept connections: a load generator that costs more than
//! the server measures itself.

use crate::delivery::{signer, unix_seconds};
use contracts::Secret;
use contracts::signature::Verifier;
use hdrhistogram::Histogram;
use runtime::config::ConfigError;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// What load, against what.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// Webhook URL, http only; batches go to its /batch
    #[arg(long, env = "EVENTFLOW_WEBHOOK_URL", default_value = "http://localhost:8000/api/webhooks/payment-authorized")]
    pub url: String,
    /// Secret requests are signed with
    #[arg(
        long,
        env = "EVENTFLOW_WEBHOOK_SIGNING_SECRET",
        hide_env_values = true,
        hide_default_value = true,
        default_value = "eventflow-local-secret"
    )]
    pub secret: Secret,
    /// Requests a second, open loop
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// As fast as the connections go, closed loop
    #[arg(long, default_value_t = false)]
    pub max: bool,
    /// Events a request
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Seconds, as 10s or 10
    #[arg(long = "for", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Stop after so many requests
    #[arg(long)]
    pub requests: Option<u64>,
    /// Connections
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Write one JSON line an event: its id and what was answered
    #[arg(long)]
    pub journal: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long, default_value_t = false)]
    pub json: bool,
}

/// Parses `30s`, `2m` or `30`.
///
/// # Errors
/// A sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number < 1e6 => Ok(Duration::from_secs_f64(number * factor)),
        _ => Err(format!("{text:?} is no duration; write 30s or 2m")),
    }
}

/// What was measured.
#[derive(Debug, serde::Serialize)]
pub struct LoadReport {
    /// Requests answered
    pub requests: u64,
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
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests    {} in {:.1} s = {:.0}/s", self.requests, self.seconds, self.requests_per_second)?;
        writeln!(f, "accepted    {} events = {:.0}/s", self.events_accepted, self.events_per_second)?;
        write!(f, "answers    ")?;
        for (status, count) in &self.answers {
            write!(f, " {status}: {count}")?;
        }
        write!(
            f,
            "\nlatency ms  p50 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
            self.p50_ms, self.p99_ms, self.p999_ms, self.max_ms
        )
    }
}

struct Target {
    address: String,
    host: String,
    path: String,
    verifier: Verifier,
    batch: usize,
}

#[derive(Default)]
struct Tally {
    answers: BTreeMap<String, u64>,
    accepted: u64,
    latency: Option<Histogram<u64>>,
}

/// Runs the load.
///
/// # Errors
/// Bad settings, or no connection at all.
pub async fn run(args: &LoadArgs, shutdown: CancellationToken) -> anyhow::Result<LoadReport> {
    let target = Arc::new(target(args)?);
    let journal = match &args.journal {
        Some(path) => Some(Arc::new(std::sync::Mutex::new(std::io::BufWriter::new(std::fs::File::create(path)?)))),
        None => None,
    };
    let started = Instant::now();
    let ends = started + args.duration;
    let connections = args.connections.max(1);
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..connections {
        let (target, journal, shutdown, rate, max) =
            (Arc::clone(&target), journal.clone(), shutdown.clone(), args.rate, args.max);
        // Requests are dealt to the connections in turn; this one has every `connections`-th.
        let share = args.requests.map(|all| all / connections as u64 + u64::from((worker as u64) < all % connections as u64));
        workers.spawn(async move {
            let mut tally = Tally { latency: Histogram::new_with_bounds(1, 60_000_000, 3).ok(), ..Tally::default() };
            let mut connection: Option<TcpStream> = None;
            let (mut body, mut request, mut answer) = (Vec::new(), Vec::new(), vec![0; 16 << 10]);
            let mut ids = Vec::new();
            for turn in 0_u64.. {
                #[expect(clippy::cast_precision_loss, reason = "a schedule in seconds")]
                let due = started + Duration::from_secs_f64((turn * connections as u64 + worker as u64) as f64 / rate);
                let due = if max { Instant::now() } else { due };
                if due >= ends || Instant::now() >= ends || share.is_some_and(|share| turn >= share) || shutdown.is_cancelled() {
                    break;
                }
                if !max {
                    tokio::time::sleep_until(due.into()).await;
                }
                ids.clear();
                compose(&target, &mut body, &mut request, &mut ids);
                let status = exchange(&target, &mut connection, &request, &mut answer).await;
                let waited = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                if let Some(latency) = &mut tally.latency {
                    latency.saturating_record(waited.max(1));
                }
                let label = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
                if let Some(journal) = &journal {
                    let mut journal = journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    for id in &ids {
                        if let Err(error) = writeln!(journal, r#"{{"event_id":"{id}","status":{}}}"#, status.unwrap_or(0)) {
                            tracing::error!(event = "journal_write_failed", %error);
                        }
                    }
                }
                if matches!(status, Some(200..=299)) {
                    tally.accepted += target.batch as u64;
                }
                *tally.answers.entry(label).or_default() += 1;
            }
            tally
        });
    }
    let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?;
    let (mut answers, mut accepted) = (BTreeMap::<String, u64>::new(), 0);
    while let Some(tally) = workers.join_next().await {
        let tally = tally?;
        accepted += tally.accepted;
        tally.answers.into_iter().for_each(|(status, count)| *answers.entry(status).or_default() += count);
        if let Some(more) = tally.latency {
            latency.add(more)?;
        }
    }
    if let Some(journal) = journal {
        journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner).flush()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let requests: u64 = answers.values().sum();
    anyhow::ensure!(
        requests == 0 || answers.keys().any(|status| status != "none"),
        "no answer from {}: is the producer running?",
        target.address
    );
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (per_second, milliseconds) =
        (|count: u64| count as f64 / seconds, |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1000.0);
    Ok(LoadReport {
        requests,
        events_accepted: accepted,
        answers,
        seconds,
        requests_per_second: per_second(requests),
        events_per_second: per_second(accepted),
        p50_ms: milliseconds(0.5),
        p99_ms: milliseconds(0.99),
        p999_ms: milliseconds(0.999),
        max_ms: milliseconds(1.0),
    })
}

fn target(args: &LoadArgs) -> Result<Target, ConfigError> {
    let bad = |problem: &str| ConfigError::new("--url", problem);
    let url = reqwest::Url::parse(&args.url).map_err(|error| bad(&error.to_string()))?;
    if url.scheme() != "http" {
        return Err(bad("the load generator speaks http only; put it behind the load balancer"));
    }
    let host = url.host_str().ok_or_else(|| bad("has no host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    if args.batch == 0 || !(args.max || args.rate > 0.0) {
        return Err(ConfigError::new("--batch", "--batch and --rate must be above 0"));
    }
    let path = url.path().trim_end_matches('/');
    let path = if args.batch > 1 { format!("{path}/batch") } else { path.to_owned() };
    Ok(Target {
        address: format!("{host}:{port}"),
        host: format!("{host}:{port}"),
        path,
        verifier: signer(args.secret.clone())?,
        batch: args.batch,
    })
}

/// Writes a signed request of `batch` fresh events.
fn compose(target: &Target, body: &mut Vec<u8>, request: &mut Vec<u8>, ids: &mut Vec<uuid::Uuid>) {
    body.clear();
    let now = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    for place in 0..target.batch {
        let id = uuid::Uuid::now_v7();
        ids.push(id);
        if place > 0 {
            body.push(b'\n');
        }
        let cents = id.as_u128() % 99_999 + 1;
        // Writing to a Vec cannot fail.
        drop(write!(
            body,
            r#"{{"event_id":"{id}","event_type":"payment.authorized.v1","schema_version":1,"source":"load","timestamp":"{now}","payload":{{"payment_id":"pay_{id}","order_id":"ord_1","amount":{}.{:02},"currency":"EUR","provider_auth_id":"auth_1"}}}}"#,
            cents / 100,
            cents % 100
        ));
    }
    request.clear();
    let kind = if target.batch > 1 { "application/x-ndjson" } else { "application/json" };
    drop(write!(
        request,
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n",
        target.path,
        target.host,
        body.len()
    ));
    for (name, value) in target.verifier.sign(None, unix_seconds(), body, 0) {
        drop(write!(request, "{name}: {value}\r\n"));
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
}

/// Sends a request and reads the whole answer; the status, or none. Ten seconds at most.
async fn exchange(target: &Target, connection: &mut Option<TcpStream>, request: &[u8], answer: &mut [u8]) -> Option<u16> {
    let attempt = async {
        let stream = match connection.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&target.address).await.ok()?;
                stream.set_nodelay(true).ok()?;
                stream
            }
        };
        let stream = connection.insert(stream);
        stream.write_all(request).await.ok()?;
        let mut filled = 0;
        loop {
            let read = stream.read(answer.get_mut(filled..)?).await.ok()?;
            if read == 0 {
                return None;
            }
            filled += read;
            if let Some((status, length, close)) = parse_answer(&answer[..filled]) {
                if filled < length {
                    continue;
                }
                if close {
                    *connection = None;
                }
                return Some(status);
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(10), attempt).await.ok().flatten();
    if status.is_none() {
        *connection = None;
    }
    status
}

/// Status, total length and whether the connection closes, once the head is complete.
fn parse_answer(bytes: &[u8]) -> Option<(u16, usize, bool)> {
    let head_end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let header = |name: &str| {
        head.lines().find_map(|line| {
            line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        })
    };
    let body: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Some((status, head_end + body, header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::post;

    #[tokio::test]
    async fn every_request_is_signed_unique_and_counted() {
        let ids = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
        let seen = Arc::clone(&ids);
        let app = axum::Router::new().route(
            "/w/batch",
            post(move |headers: axum::http::HeaderMap, body: axum::body::Bytes| async move {
                let authentic = signer(Secret::new("s")).unwrap().verify(&headers, &body, unix_seconds()).is_ok();
                let mut ids = seen.lock().unwrap();
                for line in body.split(|byte| *byte == b'\n') {
                    let event: serde_json::Value = serde_json::from_slice(line).unwrap();
                    ids.insert(event["event_id"].as_str().unwrap().to_owned());
                }
                if authentic && ids.len() <= 150 {
                    axum::http::StatusCode::OK
                } else {
                    axum::http::StatusCode::SERVICE_UNAVAILABLE
                }
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/w", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let args = LoadArgs {
            url,
            secret: Secret::new("s"),
            rate: 1.0,
            max: true,
            batch: 5,
            duration: Duration::from_secs(30),
            requests: Some(40),
            connections: 1,
            journal: None,
            json: false,
        };
        let report = run(&args, CancellationToken::new()).await.unwrap();
        assert_eq!(report.requests, 40);
        assert_eq!(ids.lock().unwrap().len(), 200);
        assert_eq!(report.events_accepted, 150);
        assert_eq!(report.answers, BTreeMap::from([("200".to_owned(), 30), ("503".to_owned(), 10)]));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("soon").is_err());
    }
}
