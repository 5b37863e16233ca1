//! From the broker to the index: what the stages really write, the running role, and the index rebuilt.

#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(missing_docs, unreachable_pub, reason = "a test")]
mod index_world;

use clap::Parser as _;
use contracts::event::{Catalog, Envelope};
use contracts::{Rejection, RejectionCode};
use index_world::{DLQ, World, world_with};
use recovery::index;
use recovery::index::{lag, reindex};
use recovery::model::{DeadLetterState, Payload, Resolution, Selection};
use recovery::query::detail;
use recovery::query::list;
use recovery::query::stats;
use runtime::consumer::{self, ConsumerSettings, Handler, Outcome, Record, StageArgs, StageError};
use runtime::health::Health;
use runtime::kafka::KafkaArgs;
use runtime::publisher::{OutRecord, Publisher, PublisherSettings, RecordHeaders};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{kafka_flags, until};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const RAW: &str = "events.raw.v1";
const DEADLINE: Duration = Duration::from_secs(60);

/// A stage that rejects every record with the code it asks for, through the runtime's own loop.
struct Rejecting;

impl Handler for Rejecting {
    fn stage(&self) -> &'static str {
        "validator"
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let code = |record: &Record<'_>| {
            let asked = record.header_text("test.code").unwrap_or_default();
            RejectionCode::ALL
                .iter()
                .copied()
                .find(|code| code.code() == asked)
                .unwrap_or(RejectionCode::NotJson)
        };
        Ok(batch
            .iter()
            .map(|record| {
                Outcome::Reject(Rejection::new(
                    code(record),
                    Some("/payload/amount".to_owned()),
                    "because <b>'; --",
                ))
            })
            .collect())
    }
}

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    config: recovery::Config,
}

#[derive(clap::Parser)]
struct Stage {
    #[command(flatten)]
    stage: StageArgs,
}

fn start_stage(kafka: &KafkaArgs, shutdown: &CancellationToken) -> JoinHandle<anyhow::Result<()>> {
    let stage = Stage::parse_from(["test", "--breaker=off"]).stage;
    let settings = ConsumerSettings {
        raw_topic: Some(RAW.to_owned()),
        ..stage.settings(
            kafka,
            "eventflow-validator",
            vec![RAW.to_owned()],
            None,
            "test",
        )
    };
    let (kafka, shutdown) = (kafka.clone(), shutdown.clone());
    tokio::spawn(async move {
        let publisher = Publisher::new(
            &kafka,
            &PublisherSettings::stage("validator"),
            &Health::new(),
        )?;
        consumer::run(
            settings,
            Rejecting,
            Some(publisher),
            Health::new(),
            shutdown,
        )
        .await
        .map(drop)
    })
}

fn start_index(
    world: &World,
    kafka: &KafkaArgs,
    registry: &str,
    shutdown: &CancellationToken,
) -> JoinHandle<anyhow::Result<()>> {
    let mut flags = vec![
        "test".to_owned(),
        format!("--database-url={}", world.url),
        format!("--registry-url={registry}"),
    ];
    flags.extend(kafka_flags(kafka));
    let config = Cli::parse_from(flags).config;
    let (recovery, shutdown) = (world.recovery.clone(), shutdown.clone());
    tokio::spawn(async move {
        recovery::SCHEMA.migrate(recovery.pool()).await?;
        index::consume(&config, &recovery, Health::new(), shutdown).await
    })
}

async fn publish(
    publisher: &Publisher,
    topic: &str,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: RecordHeaders,
) {
    let record = OutRecord {
        topic,
        key,
        value,
        headers,
    };
    publisher
        .publish(record, Duration::from_secs(20))
        .await
        .unwrap();
}

/// A registry that knows one schema.
async fn registry() -> (String, String) {
    let avsc = Catalog::builtin()
        .contract("payment.authorized.v1")
        .unwrap()
        .record_avsc
        .clone();
    let answer = serde_json::json!({ "schema": avsc });
    let app = axum::Router::new().route(
        "/schemas/ids/7",
        axum::routing::get(move || async move { axum::Json(answer) }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, avsc)
}

fn valid_body() -> String {
    serde_json::json!({"event_id": "evt-avro", "event_type": "payment.authorized.v1", "schema_version": 1,
        "timestamp": "2026-01-02T03:04:05.000006Z", "payload": {"payment_id": "p", "order_id": "o", "amount": "12.34", "currency": "EUR",
        "provider_auth_id": "a"}})
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_reaches_the_index_and_a_lost_index_is_rebuilt() {
    let broker = EmbeddedBroker::start(&[(RAW, 2), (DLQ, 3)]).unwrap();
    let kafka = broker.kafka();
    let (registry, _) = registry().await;
    let world = world_with(&registry, Some(kafka.clone())).await;
    let shutdown = CancellationToken::new();
    let (stage, role) = (
        start_stage(&kafka, &shutdown),
        start_index(&world, &kafka, &registry, &shutdown),
    );
    let publisher =
        Publisher::new(&kafka, &PublisherSettings::stage("test"), &Health::new()).unwrap();
    for code in RejectionCode::ALL {
        let headers = RecordHeaders::new(4)
            .with("test.code", Some(code.code()))
            .with("x", None::<&str>)
            .with("x", Some("2"));
        publish(
            &publisher,
            RAW,
            Some(b"pay"),
            Some(b"{\"event_type\":\"a\"}"),
            headers,
        )
        .await;
    }
    // Framed Avro, and somebody else's dead letter with a null value, straight into the topic.
    let mut framed = Vec::new();
    contracts::avro::framing::frame(7, &mut framed);
    Catalog::builtin()
        .validate(Envelope::own(valid_body().as_bytes()).unwrap())
        .unwrap()
        .encode(&mut framed);
    let headers = RecordHeaders::new(4).with("__connect.errors.connector.name", Some("sink"));
    publish(&publisher, DLQ, None, Some(&framed), headers).await;
    publish(
        &publisher,
        DLQ,
        None,
        None,
        RecordHeaders::new(1).with("nothing", None::<&str>),
    )
    .await;

    let all = RejectionCode::ALL.len() as i64 + 2;
    until("all are indexed", DEADLINE, async || {
        world.number("SELECT count(*) FROM dead_letters").await == all
    })
    .await;
    for code in RejectionCode::ALL {
        let selection = Selection {
            code: vec![code.code().to_owned()],
            ..Selection::default()
        };
        let found = list::dead_letters(&world.recovery, &selection, None)
            .await
            .unwrap()
            .letters;
        assert_eq!(found.len(), 1, "{}", code.code());
        let letter = &found[0];
        assert_eq!(
            (letter.stage.as_str(), letter.disposition.as_str()),
            ("validator", code.disposition())
        );
        assert_eq!(letter.detail, "/payload/amount: because <b>'; --");
        assert_eq!(
            (letter.event_type.as_str(), letter.entity_key.as_deref()),
            ("a", Some("pay"))
        );
        let detail = detail::dead_letter(&world.recovery, letter.id)
            .await
            .unwrap();
        assert_eq!(
            detail.headers[..3],
            [
                ("test.code".to_owned(), Some(code.code().to_owned())),
                ("x".to_owned(), None),
                ("x".to_owned(), Some("2".to_owned()))
            ]
        );
    }
    let avro = Selection {
        event_type: vec!["payment.authorized.v1".to_owned()],
        ..Selection::default()
    };
    let found = list::dead_letters(&world.recovery, &avro, None)
        .await
        .unwrap()
        .letters;
    assert_eq!(found[0].event_id.as_deref(), Some("evt-avro"));
    let Payload::Avro { schema_id, text } = detail::dead_letter(&world.recovery, found[0].id)
        .await
        .unwrap()
        .value
    else {
        panic!("no Avro")
    };
    assert_eq!(schema_id, 7);
    let mut again = Vec::new();
    contracts::avro::framing::frame(7, &mut again);
    Catalog::builtin()
        .validate(Envelope::own(text.as_bytes()).unwrap())
        .unwrap()
        .encode(&mut again);
    assert_eq!(again, framed, "the envelope it was made from");
    // The brokers are asked beside: what a page polls never waits for them.
    let unknown = stats::stats(&world.recovery).await.unwrap();
    assert_eq!(
        (unknown.index_lag, unknown.index_lag_age_seconds),
        (None, None)
    );
    lag::measure(&world.recovery).await.unwrap();
    let stats = stats::stats(&world.recovery).await.unwrap();
    assert_eq!(stats.index_lag, Some(0));
    assert!(stats.index_lag_age_seconds.unwrap() < 60.0);

    // Beside the running role it finds nothing new.
    let mut reported = Vec::new();
    let found = reindex::reindex(&world.recovery, "ann", |progress| {
        reported.push(progress.records);
    })
    .await
    .unwrap();
    assert_eq!(
        (found.records, found.new, found.further, found.resolved),
        (all as u64, 0, 0, 0)
    );
    assert_eq!(reported.last(), Some(&(all as u64)));
    shutdown.cancel();
    stage.await.unwrap().unwrap();
    role.await.unwrap().unwrap();

    // The database is lost; persistence, in it, knows that two of the events were stored after replays the lost index knew of.
    let lost = world_with(&registry, Some(kafka.clone())).await;
    let servers =
        store::servers::Servers::parse(&contracts::Secret::new(lost.url.clone()), "persistence");
    let persistence = servers.unwrap().pool(2, store::DEADLINE);
    sqlx::query("CREATE SCHEMA persistence")
        .execute(&persistence)
        .await
        .unwrap();
    sqlx::migrate!("../persistence/migrations")
        .run(&persistence)
        .await
        .unwrap();
    let raw: Vec<(i32, i64)> =
        sqlx::query_as("SELECT origin_partition, origin_offset FROM dead_letters WHERE origin_topic = $1 ORDER BY id LIMIT 2")
            .bind(RAW)
            .fetch_all(&world.pool)
            .await
            .unwrap();
    sqlx::query(
        "INSERT INTO events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         VALUES ('s', 'e', 't', '1', now(), '{}', '', 1, $1, $2)",
    )
    .bind(raw[0].0)
    .bind(raw[0].1)
    .execute(&persistence)
    .await
    .unwrap();
    sqlx::query("INSERT INTO duplicates (raw_partition, raw_offset, source, event_id) VALUES ($1, $2, 's', 'e')")
        .bind(raw[1].0)
        .bind(raw[1].1)
        .execute(&persistence)
        .await
        .unwrap();
    for round in 0..2 {
        let found = reindex::reindex(&lost.recovery, "ann", |_| {})
            .await
            .unwrap();
        let expected = if round == 0 { (all as u64, 2) } else { (0, 0) };
        assert_eq!((found.new, found.resolved), expected, "round {round}");
    }
    let resolved = Selection {
        state: vec![DeadLetterState::Resolved],
        ..Selection::default()
    };
    let mut resolutions: Vec<_> = list::dead_letters(&lost.recovery, &resolved, None)
        .await
        .unwrap()
        .letters
        .into_iter()
        .filter_map(|letter| letter.resolution)
        .collect();
    resolutions.sort_unstable();
    assert_eq!(resolutions, [Resolution::Stored, Resolution::Duplicate]);
    assert_eq!(
        lost.number(
            "SELECT count(*) FROM audit_log WHERE action = 'recovery.reindex' AND who = 'ann'"
        )
        .await,
        2
    );
    lost.assert_counters().await;
    let columns = "SELECT sum(hashtext((origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset, detail, value, headers::text)::text))::bigint FROM dead_letters";
    assert_eq!(
        world.number(columns).await,
        lost.number(columns).await,
        "the same index"
    );

    // A role that starts on it goes on at the beginning, finds all of it there, and is not stopped by that.
    let shutdown = CancellationToken::new();
    let role = start_index(&lost, &kafka, &registry, &shutdown);
    let read = "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_offsets";
    until("the role has read all of it", DEADLINE, async || {
        lost.number(read).await == all
    })
    .await;
    assert_eq!(lost.number("SELECT count(*) FROM failures").await, 0);
    assert_eq!(
        lost.number("SELECT sum(stored + duplicate)::bigint FROM consumer_offsets")
            .await,
        0
    );
    shutdown.cancel();
    role.await.unwrap().unwrap();
}
