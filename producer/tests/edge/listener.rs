//! The listener: what is no request, whose request it is, what is too slow, what is kept, and the end.

use crate::world::{EVENT, PATH, SECRET, World, now, sign, world};
use runtime::admin::read_all;
use runtime::http::Limits;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const DEADLINE: Duration = Duration::from_secs(20);
const PATIENT: Duration = Duration::from_secs(600);

struct Listening {
    address: SocketAddr,
    server: JoinHandle<()>,
    world: World,
}

impl Listening {
    async fn start(header_timeout: Duration, idle_timeout: Duration) -> Self {
        Self::with(header_timeout, idle_timeout, 100).await
    }

    async fn with(header_timeout: Duration, idle_timeout: Duration, connections: usize) -> Self {
        let world = world(&[], 1000).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            header_timeout,
            idle_timeout,
            connections,
            drain: Duration::from_secs(10),
        };
        let shutdown = world.shutdown.clone();
        let serving = runtime::http::serve(listener, world.app.clone(), limits, None, shutdown);
        Self {
            address,
            server: tokio::spawn(serving),
            world,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What is answered until the server closes the connection.
    async fn talk(&self, parts: &[&[u8]]) -> String {
        let mut stream = self.connect().await;
        for part in parts {
            // A server that has closed already has answered.
            if stream.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        rest(&mut stream).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer));
    // A reset after the answer is an end, too.
    let _ended = read.await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The next answer of a kept connection.
async fn answer(stream: &mut TcpStream) -> String {
    let reading = async {
        let mut answer = String::new();
        // The edge's documents are flat: the first brace that closes is the end.
        while !answer.ends_with('}') {
            let byte = stream.read_u8().await.unwrap();
            answer.push(char::from(byte));
        }
        answer
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap()
}

/// A request with a signature over `signed`.
fn request(signed: &str, lengths: &str, body: &str) -> String {
    let signature: String = sign(signed.as_bytes(), SECRET, now())
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("POST {PATH} HTTP/1.1\r\nhost: x\r\n{signature}{lengths}\r\n{body}")
}

fn plain() -> String {
    request(
        EVENT,
        &format!("content-length: {}\r\n", EVENT.len()),
        EVENT,
    )
}

/// The event in two chunks, with a trailer.
fn chunked() -> String {
    let (first, second) = EVENT.split_at(7);
    let body = format!(
        "{:x}\r\n{first}\r\n{:X};last\r\n{second}\r\n0\r\nx: content-length\r\n\r\n",
        first.len(),
        second.len()
    );
    request(EVENT, "transfer-encoding: chunked\r\n", &body)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_ambiguous_lengths_and_slow_headers_and_drains() {
    let listening = Listening::start(Duration::from_millis(300), PATIENT).await;
    for lengths in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
    ] {
        let smuggled = request("x", lengths, "1\r\nx\r\n0\r\n\r\n");
        let all = format!("{smuggled}{}", plain());
        let head = smuggled.find("\r\n\r\n").unwrap() + 4;
        for split in [
            0,
            1,
            PATH.len(),
            head / 2,
            head - 20,
            head - 3,
            head - 1,
            head,
            all.len(),
        ] {
            let (before, after) = all.as_bytes().split_at(split);
            let answer = listening.talk(&[before, after]).await;
            assert!(
                answer.starts_with("HTTP/1.1 400")
                    && answer.contains("ambiguous_length")
                    && answer.contains("connection: close")
                    && answer.matches("HTTP/1.1").count() == 1,
                "{lengths} {split} {answer}"
            );
        }
    }
    for half in ["", "POST /api/webh", "\r\n"] {
        let answer = listening.talk(&[half.as_bytes()]).await;
        assert_eq!(answer, "", "half a head is cut off");
    }
    for garbage in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST  HTTP/1.1\r\n\r\n",
    ] {
        let answer = listening.talk(&[garbage]).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    listening.world.shutdown.cancel();
    tokio::time::timeout(DEADLINE, listening.server)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_request_does_not_mark_the_next_one_on_a_shared_connection() {
    let listening = Listening::start(PATIENT, PATIENT).await;
    let mut stream = listening.connect().await;
    let body = "POST x HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n";
    let head = request("else", &format!("content-length: {}\r\n", body.len()), "");
    let lines = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let in_chunks = request("else", "transfer-encoding: chunked\r\n", "");
    for (head, body) in [(&head, body), (&in_chunks, lines.as_str())] {
        stream.write_all(head.as_bytes()).await.unwrap();
        // Its body comes in a segment of its own: hyper has taken the head when it is asked for more.
        tokio::task::yield_now().await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let forged = answer(&mut stream).await;
        assert!(forged.contains("signature_mismatch"), "{forged}");
        stream.write_all(plain().as_bytes()).await.unwrap();
        let signed = answer(&mut stream).await;
        assert!(signed.starts_with("HTTP/1.1 200"), "{signed}");
    }
    // Several in one segment, and one byte a segment.
    let all = [plain(), chunked(), plain(), chunked()].concat();
    stream.write_all(all.as_bytes()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for _ in 0..4 {
        let signed = answer(&mut stream).await;
        assert!(signed.starts_with("HTTP/1.1 200"), "{signed}");
    }
    for byte in chunked().into_bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let signed = answer(&mut stream).await;
    assert!(signed.starts_with("HTTP/1.1 200"), "{signed}");
    let records = read_all(&listening.world.broker.kafka(), "events.raw.v1").unwrap();
    assert_eq!(records.len(), 7);
    assert!(
        records
            .iter()
            .all(|record| record.value.as_deref() == Some(EVENT.as_bytes()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_between_requests_for_longer_than_a_head_may_take() {
    let listening = Listening::start(Duration::from_millis(300), PATIENT).await;
    let mut kept = listening.connect().await;
    kept.write_all(plain().as_bytes()).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"));
    for _ in 0..2 {
        // Each of these takes as long as a head may.
        assert_eq!(listening.talk(&[b"POST /api"]).await, "");
    }
    kept.write_all(plain().as_bytes()).await.unwrap();
    assert!(answer(&mut kept).await.starts_with("HTTP/1.1 200"));
    // A head that is begun has the head's deadline, also on a kept connection.
    kept.write_all(b"POST /api").await.unwrap();
    assert_eq!(rest(&mut kept).await, "");

    let short = Duration::from_millis(300);
    let listening = Listening::start(short, short).await;
    let mut idle = listening.connect().await;
    idle.write_all(plain().as_bytes()).await.unwrap();
    assert!(answer(&mut idle).await.starts_with("HTTP/1.1 200"));
    assert_eq!(
        rest(&mut idle).await,
        "",
        "closed once it was idle long enough"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_half_of_the_connections_and_gets_a_place_back() {
    let listening = Listening::with(PATIENT, PATIENT, 5).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = listening.connect().await;
        stream.write_all(plain().as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        held.push(stream);
    }
    assert_eq!(rest(&mut listening.connect().await).await, "", "a fourth");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut elsewhere = socket.connect(listening.address).await.unwrap();
    elsewhere.write_all(plain().as_bytes()).await.unwrap();
    assert!(answer(&mut elsewhere).await.starts_with("HTTP/1.1 200"));
    held.pop();
    sandbox::harness::until("a place is free again", DEADLINE, async || {
        let mut again = listening.connect().await;
        let asked = again
            .write_all(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
            .await;
        asked.is_ok() && rest(&mut again).await.starts_with("HTTP/1.1 200")
    })
    .await;
}
