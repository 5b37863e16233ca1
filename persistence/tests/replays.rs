//! Replays through the whole stage: beside live records, twice, edited, and too often.

#![allow(clippy::unwrap_used, reason = "a test")]

use clap::{Args, FromArgMatches};
use contracts::Secret;
use contracts::avro::framing;
use contracts::event::{Catalog, Envelope};
use contracts::kafka::headers::{self, dlq};
use contracts::kafka::topics;
use runtime::admin::{OwnedRecord, committed, read_all};
use runtime::health::Health;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{database, wait_for};
use sqlx::PgPool;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);
const EDITED: &[(&str, &[u8])] = &[
    (headers::REPLAY_COUNT, b"1"),
    (headers::EDITED_BY, b"ann"),
    (headers::ORIGINAL_HASH, b"sha256:00"),
];
const REPLAYED: &[(&str, &[u8])] = &[(headers::REPLAY_ID, b"job"), (headers::REPLAY_COUNT, b"1")];

/// The stage as a process has it.
struct World {
    broker: EmbeddedBroker,
    pool: PgPool,
    url: String,
    retry: String,
    publisher: Publisher,
    health: Health,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

/// A registry that knows one schema.
async fn registry() -> String {
    let avsc = Catalog::builtin()
        .contract("payment.authorized.v1")
        .unwrap()
        .record_avsc
        .clone();
    let answer = serde_json::json!({"schema": avsc}).to_string();
    let app = axum::Router::new().route(
        "/schemas/ids/1",
        axum::routing::get(move || std::future::ready(answer.clone())),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

impl World {
    async fn start() -> Self {
        let retry = topics::retry(persistence::GROUP);
        let broker =
            EmbeddedBroker::start(&[(topics::VALIDATED, 1), (topics::DLQ, 1), (&retry, 1)])
                .unwrap();
        let url = database().await;
        let pool = PgPool::connect(&url).await.unwrap();
        Self::start_on(broker, url, pool).await
    }

    /// With what an earlier one left.
    async fn start_on(broker: EmbeddedBroker, url: String, pool: PgPool) -> Self {
        let retry = topics::retry(persistence::GROUP);
        let command = persistence::Config::augment_args(clap::Command::new("persistence"));
        let matches =
            command.get_matches_from(["persistence", "--registry-url", &registry().await]);
        let mut config = persistence::Config::from_arg_matches(&matches).unwrap();
        config.common.kafka = broker.kafka();
        config.database.database_url = Secret::new(url.as_str());
        let publisher = Publisher::new(
            &broker.kafka(),
            &PublisherSettings::stage("test"),
            &Health::new(),
        )
        .unwrap();
        let (health, stop) = (Health::starting(), CancellationToken::new());
        let (its_health, its_stop) = (health.clone(), stop.clone());
        let running =
            tokio::spawn(async move { persistence::consume(&config, its_health, its_stop).await });
        let world = Self {
            broker,
            pool,
            url,
            retry,
            publisher,
            health,
            stop,
            running,
        };
        world.until("ready", async || world.health.is_ready()).await;
        world
    }

    /// Publishes an event made from this raw record; of none, when it is empty.
    async fn send(&self, topic: &str, raw: &str, id: &str, amount: &str, more: &[(&str, &[u8])]) {
        let body = serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1,
            "timestamp": "2026-01-02T03:04:05Z", "payload": {"payment_id": "p", "order_id": "o", "amount": amount, "currency": "EUR", "provider_auth_id": "a"}});
        let mut value = Vec::new();
        framing::frame(1, &mut value);
        Catalog::builtin()
            .validate(Envelope::own(body.to_string().as_bytes()).unwrap())
            .unwrap()
            .encode(&mut value);
        let headers = [(headers::RAW, raw.as_bytes())]
            .into_iter()
            .filter(|(_, raw)| !raw.is_empty())
            .chain([(headers::SOURCE, &b"s"[..])])
            .chain(more.iter().copied())
            .collect();
        let record = OutRecord {
            topic,
            key: Some(b"p"),
            value: Some(&value),
            headers,
        };
        self.publisher.publish(record, DEADLINE).await.unwrap();
    }

    async fn until(&self, what: &str, done: impl AsyncFn() -> bool) {
        wait_for(DEADLINE, async || {
            if done().await {
                Ok(())
            } else {
                Err(format!("{what}; {:?}", self.health.reasons()))
            }
        })
        .await;
    }

    /// Waits until the database's offset in the topic is there.
    async fn settled(&self, topic: &str, next: i64) {
        let query = "SELECT next_offset FROM persistence.consumer_offsets WHERE topic = $1";
        let there = async || {
            sqlx::query_scalar::<_, i64>(query)
                .bind(topic)
                .fetch_optional(&self.pool)
                .await
                .unwrap()
                == Some(next)
        };
        self.until(&format!("{topic} at {next}"), there).await;
    }

    /// Every stored event with its amount, and how many duplicates are recorded.
    async fn rows(&self) -> (Vec<String>, i64) {
        let rows = "SELECT event_id || ' ' || amount || ' ' || raw_partition || ':' || raw_offset FROM persistence.events ORDER BY stored_at";
        let duplicates = "SELECT count(*) FROM persistence.duplicates";
        (
            sqlx::query_scalar(rows)
                .fetch_all(&self.pool)
                .await
                .unwrap(),
            sqlx::query_scalar(duplicates)
                .fetch_one(&self.pool)
                .await
                .unwrap(),
        )
    }

    fn dead(&self) -> Vec<OwnedRecord> {
        read_all(&self.broker.kafka(), topics::DLQ).unwrap()
    }

    async fn finish(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_stored_once_however_often_it_comes_and_leaves_no_duplicate() {
    let world = World::start().await;
    world.send(topics::VALIDATED, "3:0", "live", "1", &[]).await;
    world.settled(topics::VALIDATED, 1).await;
    // What was stored, twice; what was not, in one batch and in another.
    for _ in 0..2 {
        world.send(&world.retry, "3:0", "live", "1", REPLAYED).await;
        world.send(&world.retry, "3:1", "late", "2", REPLAYED).await;
    }
    world.settled(&world.retry, 4).await;
    // A replay that passed the validator comes by the input topic, with the same headers.
    world
        .send(topics::VALIDATED, "3:1", "late", "2", REPLAYED)
        .await;
    // An edit that says the same is no conflict.
    world
        .send(topics::VALIDATED, "3:1", "late", "2.0", EDITED)
        .await;
    world.settled(topics::VALIDATED, 3).await;
    assert_eq!(
        world.rows().await,
        (vec!["live 1 3:0".to_owned(), "late 2 3:1".to_owned()], 0)
    );
    // Another raw record is another delivery, replayed or not.
    world.send(&world.retry, "5:0", "late", "2", REPLAYED).await;
    world.settled(&world.retry, 5).await;
    assert_eq!(world.rows().await.1, 1);
    assert_eq!(world.dead().len(), 0);
    let counted = "SELECT sum(stored * 100 + duplicate)::bigint FROM persistence.consumer_offsets";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(counted)
            .fetch_one(&world.pool)
            .await
            .unwrap(),
        201
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_never_changes_what_is_stored_nor_makes_a_second_row_of_its_raw_record() {
    let world = World::start().await;
    world.send(topics::VALIDATED, "3:0", "a", "1", &[]).await;
    world.send(&world.retry, "3:1", "b", "2", EDITED).await;
    world.settled(topics::VALIDATED, 1).await;
    world.settled(&world.retry, 1).await;
    let stored = vec!["a 1 3:0".to_owned(), "b 2 3:1".to_owned()];
    let mut expected = stored.clone();
    expected.sort();
    let mut rows = world.rows().await.0;
    rows.sort();
    assert_eq!(
        rows, expected,
        "the edit of what was never stored is the row"
    );
    let conflicts = [
        ("3:0", "a", "9", "other content"),
        ("3:1", "b", "9", "other content"),
        // Under an id of its own it would be a second row of one raw record.
        ("3:0", "z", "1", "event a of source"),
    ];
    for (raw, id, amount, _) in conflicts {
        world.send(&world.retry, raw, id, amount, EDITED).await;
    }
    world.settled(&world.retry, 4).await;
    // The raw record as it was, after an edit of it was stored: its fate is known, nothing is changed.
    world.send(&world.retry, "3:1", "b", "7", REPLAYED).await;
    world.settled(&world.retry, 5).await;
    let (mut rows, duplicates) = world.rows().await;
    rows.sort();
    assert_eq!((rows, duplicates), (expected, 0));
    let dead = world.dead();
    assert_eq!(dead.len(), conflicts.len());
    for (letter, (raw, _, _, words)) in dead.iter().zip(conflicts) {
        let header = |name| letter.header(name).unwrap();
        assert_eq!(
            (header(dlq::CODE), header(headers::RAW)),
            ("conflict".to_owned(), raw.to_owned())
        );
        assert!(
            header(dlq::DETAIL).contains(words),
            "{}",
            header(dlq::DETAIL)
        );
        assert_eq!(
            (header(headers::EDITED_BY), header(headers::ORIGINAL_HASH)),
            ("ann".to_owned(), "sha256:00".to_owned())
        );
        assert_eq!(
            (header(headers::REPLAY_COUNT), header(dlq::ERRORS_TOPIC)),
            ("1".to_owned(), world.retry.clone())
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_replayed_too_often_is_not_stored_and_the_offset_moves_past_it() {
    let world = World::start().await;
    world
        .send(
            &world.retry,
            "3:0",
            "a",
            "1",
            &[(headers::REPLAY_COUNT, b"6")],
        )
        .await;
    world
        .send(
            &world.retry,
            "3:1",
            "b",
            "1",
            &[(headers::REPLAY_COUNT, b"5")],
        )
        .await;
    world.settled(&world.retry, 2).await;
    assert_eq!(world.rows().await, (vec!["b 1 3:1".to_owned()], 0));
    let dead = world.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        dead[0].header(dlq::CODE).as_deref(),
        Some("replays_exhausted")
    );
    assert_eq!(
        dead[0].header(headers::REPLAY_COUNT).as_deref(),
        Some("6"),
        "the count is kept"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_record_is_dead_lettered_and_takes_no_raw_records_place() {
    let world = World::start().await;
    for (raw, id) in [("", "stray"), ("here", "unreadable"), ("0:0", "innocent")] {
        world.send(topics::VALIDATED, raw, id, "1", &[]).await;
    }
    world.settled(topics::VALIDATED, 3).await;
    assert_eq!(world.rows().await, (vec!["innocent 1 0:0".to_owned()], 0));
    let dead: Vec<_> = world
        .dead()
        .iter()
        .map(|letter| (letter.header(dlq::CODE), letter.header(headers::RAW)))
        .collect();
    let code = Some("no_raw_record".to_owned());
    assert_eq!(
        dead,
        [(code.clone(), None), (code, Some("here".to_owned()))],
        "what it came with, and no place of its own"
    );
    world.finish().await;
}

/// Ids of two topics that had the same name.
const OLD: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const NEW: &str = "AAAAAAAAAAAAAAAAAAAAAg";

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_recreated_raw_topic_share_no_place_with_those_of_the_old_one() {
    let world = World::start().await;
    let validated = topics::VALIDATED;
    for (raw, id) in [
        (format!("3:5:{OLD}"), "a"),
        (format!("3:5:{NEW}"), "b"),
        // The same event, delivered once more to each topic, at the same offset.
        (format!("3:6:{OLD}"), "a"),
        (format!("3:6:{NEW}"), "a"),
        // Made by version 0.1, which wrote no id: the topic the database began with.
        ("3:5".to_owned(), "a"),
    ] {
        world.send(validated, &raw, id, "1", &[]).await;
    }
    world.settled(validated, 5).await;
    // A right replay is none of the old topic's business; one that claims another event's raw record still is a conflict.
    let replays = [(format!("3:7:{NEW}"), "c"), (format!("3:5:{NEW}"), "d")];
    for (raw, id) in &replays {
        world.send(&world.retry, raw, id, "1", REPLAYED).await;
    }
    world.settled(&world.retry, 2).await;
    let expected = ["a 1 3:5", "b 1 3:5", "c 1 3:7"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(world.rows().await, (expected, 2));
    let dead = world.dead();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        dead[0].header(headers::RAW),
        Some(format!("3:5:{NEW}")),
        "{:?}",
        dead[0].header(dlq::DETAIL)
    );
    let epochs: Vec<String> = sqlx::query_scalar(
        "SELECT raw_epoch FROM persistence.event_fates ORDER BY raw_epoch, raw_offset, fate",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let new = format!("@{NEW}");
    assert_eq!(epochs, ["", "", &new, &new, &new]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_set_back_is_noticed_without_a_record_and_noted_at_the_restart() {
    let world = World::start().await;
    for number in 0..3 {
        let raw = format!("3:{number}");
        world.send(topics::VALIDATED, &raw, &raw, "1", &[]).await;
    }
    world.settled(topics::VALIDATED, 3).await;
    world
        .until("committed", async || {
            let kafka = world.broker.kafka();
            let next = tokio::task::spawn_blocking(move || {
                committed(&kafka, persistence::GROUP, topics::VALIDATED)
            });
            next.await.unwrap().unwrap() == [(0, Some(3))]
        })
        .await;
    // As a restore does it: rows and offsets are those of before.
    for statement in [
        "DELETE FROM persistence.events WHERE raw_offset > 0",
        "UPDATE persistence.consumer_offsets SET next_offset = 1",
    ] {
        sqlx::query(statement).execute(&world.pool).await.unwrap();
    }
    let World {
        broker,
        pool,
        url,
        running,
        ..
    } = world;
    let ended = tokio::time::timeout(DEADLINE, running).await.unwrap();
    let error = ended.unwrap().unwrap_err().to_string();
    assert!(error.contains("offset_behind"), "{error}");
    // The supervisor starts it again.
    let world = World::start_on(broker, url, pool).await;
    world.settled(topics::VALIDATED, 3).await;
    let rows = ["3:0 1 3:0", "3:1 1 3:1", "3:2 1 3:2"].map(str::to_owned);
    assert_eq!(world.rows().await, (rows.to_vec(), 0));
    let noted: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT topic, next_offset, committed FROM persistence.set_back")
            .fetch_all(&world.pool)
            .await
            .unwrap();
    assert_eq!(noted, [(topics::VALIDATED.to_owned(), 1, 3)]);
    world.finish().await;
}
