//! Who has no secret takes neither the edge's memory nor its places: the edge as a process, its memory as the kernel counts it.

use crate::post::{authorized, client_from, post};
use crate::world::{DEADLINE, Role, SECRET, World, embedded};
use sandbox::broker::EmbeddedBroker;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;
/// What the tests give the edge for bodies.
const BUDGET_MIB: usize = 64;
const VENDOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The bound that docs/OPERATING.md states for so many connections: the budget, a quarter of it for what the allocator keeps of
/// memory that was given back, and 32 KiB a connection.
const fn most_mib(connections: usize) -> usize {
    BUDGET_MIB * 5 / 4 + connections * 32 / 1024
}

/// A request for a batch, up to its body: any 64 hexadecimal digits pass the checks that come before it.
fn head(body_bytes: usize) -> String {
    format!(
        "POST /api/webhooks/payment-authorized/batch HTTP/1.1\r\nhost: x\r\ncontent-length: {body_bytes}\r\n\
         x-provider-timestamp: 1700000000\r\nx-provider-signature: {}\r\n\r\n",
        "ab".repeat(32)
    )
}

/// Clients that send a part of a body and never the rest.
struct Strangers {
    /// Have sent what they send, or were answered before
    settled: Arc<AtomicUsize>,
    /// The code of each one's answer
    clients: JoinSet<String>,
}

impl Strangers {
    fn new() -> Self {
        Self {
            settled: Arc::default(),
            clients: JoinSet::new(),
        }
    }

    /// One that connects from `address` and sends `sent` of `announced` bytes.
    fn add(&mut self, edge: SocketAddr, address: Ipv4Addr, announced: usize, sent: usize) {
        let settled = Arc::clone(&self.settled);
        self.clients.spawn(async move {
            let socket = TcpSocket::new_v4().expect("too few file descriptors: ulimit -n 20000");
            socket.bind((address, 0).into()).unwrap();
            let mut stream = socket.connect(edge).await.unwrap();
            let mut request = head(announced).into_bytes();
            request.resize(request.len() + sent, b'x');
            let (mut reader, mut writer) = stream.split();
            let mut answer = Vec::new();
            let wrote = tokio::select! {
                // The edge closes early on who is refused.
                wrote = writer.write_all(&request) => Some(wrote),
                _ = reader.read_to_end(&mut answer) => None,
            };
            settled.fetch_add(1, Ordering::Relaxed);
            if wrote.is_some() {
                reader.read_to_end(&mut answer).await.ok();
            }
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let code = answer.split_once(r#""code":""#);
            code.and_then(|(_, rest)| rest.split_once('"'))
                .map_or_else(String::new, |(code, _)| code.to_owned())
        });
    }

    /// Waits for all their answers. One that was reset before it read its answer has none.
    async fn answers(self) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for code in self.clients.join_all().await {
            *answers.entry(code).or_default() += 1;
        }
        answers
    }
}

struct Edge {
    /// Answers as long as it lives
    _broker: EmbeddedBroker,
    world: World,
    role: Role,
    address: SocketAddr,
    vendor: reqwest::Client,
    posted: usize,
}

impl Edge {
    async fn start(flags: &[&str]) -> Self {
        let (broker, kafka) = embedded();
        let world = World::on(broker.kafka(), kafka);
        let budget = format!("--body-budget-mib={BUDGET_MIB}");
        let role = world.role("producer", &[&[budget.as_str()], flags].concat());
        role.until_ready().await;
        let address = world.edge.parse().unwrap();
        let vendor = client_from(Some(VENDOR.into()));
        let mut edge = Self {
            _broker: broker,
            world,
            role,
            address,
            vendor,
            posted: 0,
        };
        edge.vendor_posts().await;
        edge
    }

    /// A signed webhook from the vendor's address is accepted, whatever the strangers do.
    async fn vendor_posts(&mut self) {
        self.posted += 1;
        let body = authorized(&format!("e-{}", self.posted));
        let answer = post(&self.vendor, &self.world.edge, body, SECRET).await;
        let (status, answer) = answer.unwrap();
        assert_eq!(status, 200, "post {}: {answer}", self.posted);
    }

    /// Posts again and again until `done`, and a few times more.
    async fn vendor_posts_until(&mut self, what: &str, done: impl Fn() -> bool) {
        let posts = async {
            while !done() {
                self.vendor_posts().await;
            }
            for _ in 0..50 {
                self.vendor_posts().await;
            }
        };
        tokio::time::timeout(DEADLINE, posts).await.expect(what);
    }

    fn peak_mib(&self) -> usize {
        self.role.peak_memory_kib() / 1024
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_strangers_stay_within_the_budget_and_a_vendor_elsewhere_is_accepted() {
    let mut edge = Edge::start(&["--body-timeout-ms=60000"]).await;
    let before = edge.peak_mib();
    let body = 4 * MIB;
    let mut held = Strangers::new();
    for _ in 0..150 {
        held.add(edge.address, Ipv4Addr::LOCALHOST, body, body - 1);
    }
    let settled = Arc::clone(&held.settled);
    edge.vendor_posts_until("150 bodies of one stranger", || {
        settled.load(Ordering::Relaxed) == 150
    })
    .await;
    let one = edge.peak_mib();
    let bound = before + most_mib(150);
    assert!(
        one <= bound,
        "{one} MiB of at most {bound}, {before} before"
    );
    assert!(
        one >= before + BUDGET_MIB / 8,
        "the share of one address is filled: {one} MiB, {before} before"
    );

    // Many addresses together fill the budget, and no more.
    for last in 3..11 {
        for _ in 0..40 {
            held.add(edge.address, Ipv4Addr::new(127, 0, 0, last), body, body - 1);
        }
    }
    let settled = Arc::clone(&held.settled);
    sandbox::harness::until("320 bodies of eight strangers", DEADLINE, async || {
        settled.load(Ordering::Relaxed) == 470
    })
    .await;
    let many = edge.peak_mib();
    let bound = before + most_mib(470);
    assert!(
        many <= bound,
        "{many} MiB of at most {bound}, {before} before"
    );
    let log = edge.role.log();
    let metrics = edge.role.ask("/metrics").await.unwrap().1;
    for code in ["peer_over_share", "body_budget_full"] {
        let refused = format!(r#"source="payment-authorized",code="{code}""#);
        assert!(metrics.contains(&refused), "{code}: {metrics}\n{log}");
    }
    drop(held);
    // All of it comes back once they are gone.
    let (client, url) = (edge.vendor.clone(), edge.world.edge.clone());
    sandbox::harness::until("accepted again", DEADLINE, async || {
        let answer = post(&client, &url, authorized("again"), SECRET).await;
        answer.is_ok_and(|(status, _)| status == 200)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_take_no_place_of_a_vendor_and_are_ended_by_their_pace() {
    let mut edge = Edge::start(&["--body-timeout-ms=600000"]).await;
    let before = edge.peak_mib();
    let mut slow = Strangers::new();
    for _ in 0..4096 {
        slow.add(edge.address, Ipv4Addr::LOCALHOST, 1000, 1);
    }
    let settled = Arc::clone(&slow.settled);
    edge.vendor_posts_until("4096 bodies of one byte", || {
        settled.load(Ordering::Relaxed) == 4096
    })
    .await;
    let answers = tokio::time::timeout(DEADLINE, slow.answers());
    let answers = answers.await.expect("the body timeout is ten minutes");
    let count = |code: &str| answers.get(code).copied().unwrap_or_default();
    assert!(
        count("body_too_slow") >= 100 && count("peer_over_share") >= 100,
        "{answers:?}"
    );
    assert!(
        answers
            .keys()
            .all(|code| ["body_too_slow", "peer_over_share", ""].contains(&code.as_str())),
        "{answers:?}"
    );
    let peak = edge.peak_mib();
    let bound = before + most_mib(4096);
    assert!(
        peak <= bound,
        "{peak} MiB of at most {bound}, {before} before"
    );
    edge.vendor_posts().await;
}
