//! As much of a Kafka broker as it takes to be found: it says which requests it knows, who it is, and which topic it has. It can leave itself
//! out of its list of brokers, as a broker does that has just started.

use bytes::{Buf, BufMut};
use runtime::kafka::KafkaArgs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(crate) const TOPIC: &str = "topic";
const NODE: i32 = 1;

/// Kafka's numbers of the requests that are answered, and their versions: old ones, whose form is simple.
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
const INIT_PRODUCER_ID: i16 = 22;
/// Number, lowest and highest version. Produce and fetch are never answered, but without them a client takes the broker for too old.
const KNOWN: [(i16, i16, i16); 6] = [
    (0, 3, 7),
    (1, 4, 4),
    (METADATA, 1, 1),
    (FIND_COORDINATOR, 0, 0),
    (API_VERSIONS, 0, 0),
    (INIT_PRODUCER_ID, 0, 0),
];
const LEADER_NOT_AVAILABLE: i16 = 5;
/// Topics in an answer without brokers. The client's threads race: while one reads the topics, the other ends the last connection, and the
/// attempt to start over that this causes is cancelled when the first is done.
const OTHER_TOPICS: i32 = 10_000;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;

pub(crate) struct FakeBroker {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    leaves_itself_out: AtomicBool,
    full_answers: AtomicU64,
    empty_answers: AtomicU64,
    ended_connections: AtomicU64,
}

impl FakeBroker {
    /// Answers until the process ends.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    let _ended = serve(stream, port, &state);
                    state.ended_connections.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, state }
    }

    pub(crate) fn kafka(&self) -> KafkaArgs {
        KafkaArgs::plaintext(format!("127.0.0.1:{}", self.port))
    }

    pub(crate) fn list_itself(&self, yes: bool) {
        for counter in [&self.state.empty_answers, &self.state.ended_connections] {
            counter.store(0, Ordering::SeqCst);
        }
        self.state.leaves_itself_out.store(!yes, Ordering::SeqCst);
    }

    /// Answers about topics that named the broker, so far.
    pub(crate) fn full_answers(&self) -> u64 {
        self.state.full_answers.load(Ordering::SeqCst)
    }

    /// True once a client that was told of no broker has ended a connection.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.state.empty_answers.load(Ordering::SeqCst) > 0
            && self.state.ended_connections.load(Ordering::SeqCst) > 0
    }
}

/// One connection, until the client ends it.
fn serve(mut stream: TcpStream, port: u16, state: &State) -> Option<()> {
    loop {
        let mut size = [0; 4];
        stream.read_exact(&mut size).ok()?;
        let mut request = vec![0; usize::try_from(i32::from_be_bytes(size)).ok()?];
        stream.read_exact(&mut request).ok()?;
        let mut request = request.as_slice();
        let (key, version) = (request.get_i16(), request.get_i16());
        let correlation = request.get_i32();
        let body = match key {
            API_VERSIONS => api_versions(version),
            METADATA => metadata(port, state),
            FIND_COORDINATOR => no_coordinator(),
            INIT_PRODUCER_ID => producer_id(),
            other => panic!("request {other}, which this broker did not offer"),
        };
        let mut answer = Vec::new();
        answer.put_i32(i32::try_from(body.len() + 4).ok()?);
        answer.put_i32(correlation);
        answer.put_slice(&body);
        stream.write_all(&answer).ok()?;
    }
}

fn put_text(answer: &mut Vec<u8>, text: &str) {
    answer.put_i16(i16::try_from(text.len()).unwrap());
    answer.put_slice(text.as_bytes());
}

/// A version of the request that is not known is answered with error 35 in the oldest form; the client then asks with version 0.
fn api_versions(version: i16) -> Vec<u8> {
    let mut answer = Vec::new();
    answer.put_i16(if version == 0 { 0 } else { 35 });
    answer.put_i32(i32::try_from(KNOWN.len()).unwrap());
    for (key, lowest, highest) in KNOWN {
        answer.put_i16(key);
        answer.put_i16(lowest);
        answer.put_i16(highest);
    }
    answer
}

fn metadata(port: u16, state: &State) -> Vec<u8> {
    let itself = !state.leaves_itself_out.load(Ordering::SeqCst);
    let counter = if itself {
        &state.full_answers
    } else {
        &state.empty_answers
    };
    counter.fetch_add(1, Ordering::SeqCst);
    let mut answer = Vec::new();
    if itself {
        answer.put_i32(1);
        answer.put_i32(NODE);
        put_text(&mut answer, "127.0.0.1");
        answer.put_i32(i32::from(port));
        answer.put_i16(-1); // no rack
    } else {
        answer.put_i32(0);
    }
    answer.put_i32(NODE); // the controller
    let (error, leader, others) = if itself {
        (0, NODE, 0)
    } else {
        (LEADER_NOT_AVAILABLE, -1, OTHER_TOPICS)
    };
    answer.put_i32(1 + others);
    put_topic(&mut answer, TOPIC, error, leader);
    for number in 0..others {
        put_topic(&mut answer, &format!("other-{number:0100}"), error, leader);
    }
    answer
}

fn put_topic(answer: &mut Vec<u8>, name: &str, error: i16, leader: i32) {
    answer.put_i16(error);
    put_text(answer, name);
    answer.put_u8(0); // not internal
    answer.put_i32(1);
    answer.put_i16(error);
    answer.put_i32(0); // partition
    answer.put_i32(leader);
    for _ in ["replicas", "in sync"] {
        answer.put_i32(1);
        answer.put_i32(NODE);
    }
}

fn no_coordinator() -> Vec<u8> {
    let mut answer = Vec::new();
    answer.put_i16(COORDINATOR_NOT_AVAILABLE);
    answer.put_i32(-1);
    put_text(&mut answer, "");
    answer.put_i32(-1);
    answer
}

fn producer_id() -> Vec<u8> {
    let mut answer = Vec::new();
    answer.put_i32(0);
    answer.put_i16(0);
    answer.put_i64(1);
    answer.put_i16(0);
    answer
}
