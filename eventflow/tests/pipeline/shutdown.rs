//! SIGTERM to a producer under load: every answer that a client got is true, whether the broker answers or not.

use crate::post::{authorized, client, post};
use crate::world::{DEADLINE, Role, SECRET, World, embedded};
use contracts::kafka::headers;
use contracts::kafka::topics;
use runtime::admin::read_all;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::wait_for;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// What the clients were answered.
#[derive(Debug, Default)]
struct Answers {
    accepted: HashSet<String>,
    /// By status and code
    refused: BTreeMap<(u16, String), u32>,
    /// Connections that ended without an answer
    unanswered: u32,
}

struct Load {
    answers: Arc<Mutex<Answers>>,
    clients: JoinSet<()>,
}

impl Load {
    /// Clients that post one event after another, each on its own connection, until nobody listens any more.
    fn start(edge: &str, clients: usize) -> Self {
        let answers = Arc::<Mutex<Answers>>::default();
        let mut load = Self {
            answers: Arc::clone(&answers),
            clients: JoinSet::new(),
        };
        for number in 0..clients {
            let (edge, answers) = (edge.to_owned(), Arc::clone(&answers));
            load.clients.spawn(async move {
                let client = client();
                for event in 0.. {
                    let id = format!("e-{number}-{event}");
                    let answer = post(&client, &edge, authorized(&id), SECRET).await;
                    let mut answers = answers.lock().unwrap();
                    match answer {
                        Ok((200, answer)) => {
                            assert_eq!(answer["event_id"].as_str(), Some(id.as_str()));
                            answers.accepted.insert(id);
                        }
                        Ok((status, answer)) => {
                            *answers
                                .refused
                                .entry((
                                    status,
                                    answer["code"].as_str().unwrap_or_default().to_owned(),
                                ))
                                .or_default() += 1;
                        }
                        Err(error) if error.is_connect() => return,
                        Err(_) => answers.unanswered += 1,
                    }
                }
            });
        }
        load
    }

    async fn until(&mut self, what: &str, done: impl Fn(&Answers) -> bool) {
        wait_for(DEADLINE, async || {
            if let Some(ended) = self.clients.try_join_next() {
                panic!("{what}: a client ended early: {ended:?}");
            }
            let answers = self.answers.lock().unwrap();
            if done(&answers) {
                Ok(())
            } else {
                Err(format!("{what}: {:?}", answers.refused))
            }
        })
        .await;
    }

    /// SIGTERM. The process ends well, and then every client finds that nobody listens.
    async fn terminate(mut self, producer: Role, edge: &str) -> Answers {
        let log = producer.log.clone();
        let code = tokio::task::spawn_blocking(move || producer.terminate())
            .await
            .unwrap();
        let log = std::fs::read_to_string(log).unwrap();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("edge_drained"), "{log}");
        assert!(
            std::net::TcpStream::connect(edge).is_err(),
            "new connections are refused"
        );
        tokio::time::timeout(DEADLINE, async {
            while let Some(ended) = self.clients.join_next().await {
                ended.unwrap();
            }
        })
        .await
        .unwrap();
        Arc::into_inner(self.answers).unwrap().into_inner().unwrap()
    }
}

/// Every 200 is a record, and every other answer says to come again.
async fn check(broker: &EmbeddedBroker, answers: &Answers) {
    // A broker that was gone takes a moment to be back.
    let records = wait_for(DEADLINE, async || {
        read_all(&broker.kafka(), topics::RAW).map_err(|error| format!("{error:#}"))
    })
    .await;
    let durable: HashSet<String> = records
        .iter()
        .map(|record| record.header(headers::EVENT_ID).unwrap())
        .collect();
    let lost: Vec<_> = answers.accepted.difference(&durable).collect();
    assert!(
        lost.is_empty(),
        "{} of {} accepted events are not in the topic: {lost:?}",
        lost.len(),
        answers.accepted.len()
    );
    for (status, code) in answers.refused.keys() {
        assert_eq!(*status, 503, "{code}");
    }
    assert_eq!(
        durable.len(),
        records.len(),
        "one record an event: nothing was accepted twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_exits_0_and_every_event_that_was_accepted_is_durable() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    // Slow enough that at any time every client waits for an acknowledgement.
    broker.set_round_trip(Duration::from_millis(100));
    let mut load = Load::start(&world.edge, 32);
    load.until("under load", |answers| answers.accepted.len() >= 300)
        .await;
    let answers = load.terminate(producer, &world.edge).await;
    broker.set_round_trip(Duration::ZERO);
    check(&broker, &answers).await;
    for (_, code) in answers.refused.keys() {
        assert_eq!(
            code, "draining",
            "the broker answered, so that is the only reason: {:?}",
            answers.refused
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_broker_is_gone_exits_0_and_nothing_unacknowledged_was_accepted() {
    let (broker, flags) = embedded();
    let world = World::on(broker.kafka(), flags);
    let producer = world.role("producer", &[]);
    producer.until_ready().await;
    let mut load = Load::start(&world.edge, 32);
    load.until("under load", |answers| answers.accepted.len() >= 300)
        .await;
    broker.set_up(false);
    load.until("refuses", |answers| {
        answers
            .refused
            .keys()
            .any(|(_, code)| code == "publish_not_acknowledged")
    })
    .await;
    let answers = load.terminate(producer, &world.edge).await;
    broker.set_up(true);
    check(&broker, &answers).await;
}
