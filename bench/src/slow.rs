//! One slow vendor, and whether the rest wait for it: the time from webhook to row of a vendor at 1,000 events a second, alone and beside another
//! that sends large bodies slowly, each signed and just fast enough to be accepted, on many connections from an address of its own.

use crate::bench::Bench;
use crate::figures::Goal;
use crate::pipeline::Pipeline;
use crate::process::SECRET;
use crate::report::print;
use crate::whole::to_the_row;
use crate::world::load;
use contracts::Secret;
use contracts::webhook::signature::Verifier;
use simulator::delivery::signer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/slow/sources.toml");
/// Connections of the slow vendor, and the size of its bodies.
const CONNECTIONS: usize = 200;
const BODY_BYTES: usize = 16 << 10;
/// What it sends at once, and how often: 5 KiB a second, where the edge wants 4.
const PIECE_BYTES: usize = 512;
const PAUSE: Duration = Duration::from_millis(100);
/// How much longer the rest may take at the 99th percentile.
const SLOWER: f64 = 1.25;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let sources = [format!("--sources={SOURCES}")];
    let mut pipeline = Pipeline::with(bench, 8, &sources).await?;
    pipeline.warm_up().await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut answers = BTreeMap::new();
    for _ in 0..bench.runs {
        alone.push(rest(bench, &mut pipeline).await?);
        let vendor = SlowVendor::start(&pipeline.address)?;
        beside.push(rest(bench, &mut pipeline).await?);
        for (answer, count) in vendor.end().await {
            *answers.entry(answer).or_insert(0_u64) += count;
        }
    }
    anyhow::ensure!(
        answers.contains_key("200"),
        "no request of the slow vendor was accepted: {answers:?}"
    );
    let ((alone50, alone99), (beside50, beside99)) = (middle(alone), middle(beside));
    let ratio = beside99 / alone99;
    print(&format!(
        "one slow vendor ({CONNECTIONS} connections, {} KiB bodies at 5 KiB/s), and the rest at 1000 event/s\n  webhook to row, alone  p50 {alone50:.1} p99 {alone99:.1} ms\n  … beside the slow one  p50 {beside50:.1} p99 {beside99:.1} ms   ratio {ratio:.2}\n  the slow one was answered {answers:?}\n",
        BODY_BYTES >> 10
    ));
    let what = "p99 of the rest beside a slow vendor, of alone";
    bench.goals.note(what, Goal::Below(SLOWER), ratio);
    Ok(())
}

/// p50 and p99 of the vendor that is measured.
async fn rest(bench: &Bench, pipeline: &mut Pipeline) -> anyhow::Result<(f64, f64)> {
    let since = runtime::clock::now_micros();
    // The slow one needs more than three for each of its requests.
    let duration = format!("--duration={}s", (bench.seconds * 2).max(10));
    let flags = ["--rate=1000", "--connections=64", &duration];
    load(&pipeline.address, &flags).await?;
    pipeline.until_settled().await?;
    let database = &mut pipeline.database.connection;
    let (p50, p99, _) = to_the_row(database, "payment-authorized", since).await?;
    Ok((p50, p99))
}

/// The round in the middle by its p99.
fn middle(mut rounds: Vec<(f64, f64)>) -> (f64, f64) {
    rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
    rounds.swap_remove(rounds.len() / 2)
}

/// Connections that each send one body after the other.
struct SlowVendor(JoinSet<Answers>, tokio_util::sync::CancellationToken);

type Answers = BTreeMap<String, u64>;

impl SlowVendor {
    fn start(address: &str) -> anyhow::Result<Self> {
        let stop = tokio_util::sync::CancellationToken::new();
        let verifier = Arc::new(signer(Secret::new(SECRET))?);
        let next = Arc::new(AtomicU64::new(0));
        let to: SocketAddr = address.parse()?;
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (stop, verifier) = (stop.clone(), Arc::clone(&verifier));
            let next = Arc::clone(&next);
            connections.spawn(async move {
                let mut answers = Answers::new();
                while !stop.is_cancelled() {
                    let sent = tokio::select! {
                        () = stop.cancelled() => break,
                        sent = send(to, &verifier, next.fetch_add(1, Ordering::Relaxed)) => sent,
                    };
                    let answer = sent.unwrap_or_else(|error| error.kind().to_string());
                    *answers.entry(answer).or_insert(0) += 1;
                }
                answers
            });
        }
        Ok(Self(connections, stop))
    }

    async fn end(self) -> Answers {
        self.1.cancel();
        let mut all = Answers::new();
        for (answer, count) in self.0.join_all().await.into_iter().flatten() {
            *all.entry(answer).or_insert(0) += count;
        }
        all
    }
}

/// One request; the status of its answer.
async fn send(to: SocketAddr, verifier: &Verifier, number: u64) -> std::io::Result<String> {
    let (head, body) = request(verifier, number, runtime::clock::now_micros());
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(head.as_bytes()).await?;
    for piece in body.as_bytes().chunks(PIECE_BYTES) {
        stream.write_all(piece).await?;
        tokio::time::sleep(PAUSE).await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).unwrap_or("none").to_owned())
}

/// Head and body of a payment with a long note. The time makes the ids of two rounds differ.
fn request(verifier: &Verifier, number: u64, micros: i64) -> (String, String) {
    let note = "n".repeat(BODY_BYTES);
    let body = format!(
        r#"{{"event_id":"slow-{micros}-{number}","event_type":"payment.authorized.v1","schema_version":1,"timestamp":"2026-01-15T12:00:00.123Z","payload":{{"payment_id":"pay_{number}","order_id":"ord_1","amount":123.45,"currency":"EUR","provider_auth_id":"auth_1","note":"{note}"}}}}"#
    );
    let mut head = format!(
        "POST /api/webhooks/slow HTTP/1.1\r\nhost: edge\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in verifier.sign(None, micros / 1_000_000, body.as_bytes(), 0) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    (head, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_vendor_is_slow_and_still_within_the_edges_least() {
        let seconds = (BODY_BYTES / PIECE_BYTES) as f64 * PAUSE.as_secs_f64();
        let a_second = BODY_BYTES as f64 / seconds;
        assert!(
            seconds > 2.0 && (4096.0..8192.0).contains(&a_second),
            "{a_second}"
        );
    }

    #[test]
    fn what_it_sends_is_a_sound_event_of_its_own() {
        let verifier = signer(Secret::new("s")).unwrap();
        let contracts = contracts::event::Catalog::builtin();
        let mut ids = std::collections::HashSet::new();
        for (number, micros) in [(1, 1), (2, 1), (1, 2)] {
            let (head, body) = request(&verifier, number, micros);
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
            let envelope = contracts::event::Envelope::own(body.as_bytes()).unwrap();
            let event = contracts.validate(envelope).unwrap();
            assert!(ids.insert(event.envelope().id.to_string()));
        }
    }

    #[test]
    fn the_middle_round_is_by_p99() {
        assert_eq!(middle(vec![(1.0, 9.0), (2.0, 3.0), (3.0, 5.0)]), (3.0, 5.0));
    }
}
