//! The storing transaction on a real PostgreSQL: one row an event, whatever happens.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use contracts::avro::datum::Decoder;
use contracts::event::Catalog;
use persistence::rows::{Row, RowFate};
use persistence::writer::Writer;
use runtime::consumer::Record;
use runtime::health::Health;
use sandbox::broker::EmbeddedBroker;
use sandbox::postgres::PrivatePostgres;
use sqlx::{PgPool, Row as _};
use store::offsets::{Ends, Positions};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "events.validated.v1";

struct World {
    postgres: Option<PrivatePostgres>,
    broker: EmbeddedBroker,
    url: Secret,
    store: Writer,
    pool: PgPool,
    positions: Positions,
    ends: Ends,
}

/// `EVENTFLOW_TEST_DATABASE_URL` must be an empty database: it is used as it is.
async fn world() -> World {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let (postgres, url) = match std::env::var("EVENTFLOW_TEST_DATABASE_URL") {
        Ok(url) => (None, url),
        Err(_) => {
            let postgres = PrivatePostgres::start(false).unwrap();
            let url = postgres.url();
            (Some(postgres), url)
        }
    };
    let pool = PgPool::connect(&url).await.unwrap();
    sqlx::query("DROP SCHEMA IF EXISTS persistence CASCADE")
        .execute(&pool)
        .await
        .unwrap();
    let url = Secret::new(url);
    let store = Writer::open(
        &url,
        &broker.kafka(),
        &Health::new(),
        &CancellationToken::new(),
    )
    .await
    .unwrap()
    .unwrap();
    World {
        postgres,
        broker,
        url,
        store,
        pool,
        positions: Positions::new(),
        ends: Ends::default(),
    }
}

/// One validated event: its datum, and the raw coordinates it came from.
struct Event {
    datum: Vec<u8>,
    raw: String,
    offset: i64,
}

fn event(offset: i64, id: &str, order: &str, amount: &str) -> Event {
    let body = serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1, "source": "s",
        "timestamp": "2026-01-02T03:04:05.000006Z", "payload": {"payment_id": "p", "order_id": order, "amount": amount, "currency": "CLF", "provider_auth_id": "a"}});
    let mut datum = Vec::new();
    Catalog::builtin()
        .validate(body.to_string().as_bytes())
        .unwrap()
        .encode(&mut datum);
    Event {
        datum,
        raw: format!("3:{offset}"),
        offset,
    }
}

impl World {
    async fn write(&mut self, events: &[Event]) -> Vec<RowFate> {
        let decoder = Decoder::new(
            &Catalog::builtin()
                .get("payment.authorized.v1")
                .unwrap()
                .record_avsc,
        )
        .unwrap();
        let headers: Vec<[(&str, &[u8]); 4]> = events
            .iter()
            .map(|event| {
                let trace: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
                [
                    ("ef.source", &b"acme"[..]),
                    ("ef.raw", event.raw.as_bytes()),
                    ("ef.received_at", b"1700000000000000"),
                    ("traceparent", trace),
                ]
            })
            .collect();
        self.ends = Ends::default();
        let rows: Vec<Row<'_>> = events
            .iter()
            .zip(&headers)
            .map(|(event, headers)| {
                let record = Record::new(
                    TOPIC,
                    0,
                    event.offset,
                    0,
                    Some(b"key"),
                    Some(&event.datum),
                    headers,
                );
                let end = self.ends.cover(&record);
                Row::new(
                    &record,
                    end,
                    1,
                    &event.datum,
                    decoder.decode(&event.datum).unwrap(),
                )
                .unwrap()
            })
            .collect();
        self.store
            .write("g", &rows, &mut self.ends, &mut self.positions)
            .await
            .unwrap()
    }

    async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn next_offset(&self) -> i64 {
        self.number("SELECT next_offset FROM persistence.consumer_offsets")
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_an_event_whatever_is_delivered_again() {
    use RowFate::{Duplicate, Stored, StoredBefore};
    let mut world = world().await;
    let first = [
        event(0, "a", "o", "12345678901.2345"),
        event(1, "b", "o", "1"),
        event(2, "a", "o", "12345678901.2345"),
    ];
    assert_eq!(
        world.write(&first).await,
        [Stored, Stored, Duplicate],
        "a duplicate in one batch"
    );
    assert_eq!(
        world.write(&[event(3, "b", "o", "1.0")]).await,
        [Duplicate],
        "a duplicate across batches; 1 and 1.0 are one amount"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        2
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        2
    );
    assert_eq!(world.next_offset().await, 4);
    let row = sqlx::query("SELECT amount::text, currency, entity_key, raw_partition, raw_offset, trace_id, payload->>'amount', octet_length(content_hash), source FROM persistence.events WHERE event_id = 'a'")
        .fetch_one(&world.pool).await.unwrap();
    assert_eq!(
        row.get::<String, _>(0),
        "12345678901.2345",
        "digit for digit"
    );
    assert_eq!(row.get::<String, _>(1), "CLF");
    assert_eq!(row.get::<String, _>(2), "key");
    assert_eq!((row.get::<i32, _>(3), row.get::<i64, _>(4)), (3, 0));
    assert_eq!(row.get::<String, _>(5), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(row.get::<String, _>(6), "12345678901.2345");
    assert_eq!(
        (row.get::<i32, _>(7), row.get::<String, _>(8)),
        (32, "acme".to_owned())
    );

    // Crashed between the transaction and the Kafka commit: a new process reads the same batch again.
    world.positions = world
        .store
        .positions("g", &[(TOPIC.to_owned(), 0)])
        .await
        .unwrap();
    assert_eq!(
        world.write(&first).await,
        [StoredBefore, StoredBefore, Duplicate]
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        2
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        2
    );
    assert_eq!(world.next_offset().await, 4, "an offset never goes back");
    let counted = world
        .number("SELECT stored * 100 + duplicate FROM persistence.consumer_offsets")
        .await;
    assert_eq!(counted, 202, "what is read again is not counted again");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_other_content_is_a_conflict_and_holds_the_offset() {
    let mut world = world().await;
    let fates = world
        .write(&[
            event(0, "a", "o", "1"),
            event(1, "a", "o", "2"),
            event(2, "c", "o", "3"),
        ])
        .await;
    assert_eq!(fates[0], RowFate::Stored);
    assert!(
        matches!(&fates[1], RowFate::Conflict(detail) if detail.contains("3:0")),
        "{fates:?}"
    );
    assert_eq!(fates[2], RowFate::Stored);
    assert_eq!(
        world.next_offset().await,
        1,
        "until the dead letter is acknowledged a crash must read it again"
    );
    let before = world.positions.clone();
    world
        .store
        .move_past_dead_letters("g", &world.ends, &mut world.positions)
        .await
        .unwrap();
    assert_eq!(world.next_offset().await, 3);
    // The answer to the commit was lost, so it is done again.
    world.positions = before;
    world
        .store
        .move_past_dead_letters("g", &world.ends, &mut world.positions)
        .await
        .unwrap();
    assert_eq!(world.next_offset().await, 3);
    assert_eq!(
        world
            .number("SELECT dead_lettered FROM persistence.consumer_offsets")
            .await,
        1
    );
    assert_eq!(
        world
            .number("SELECT stored FROM persistence.consumer_offsets")
            .await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_in_a_batch_of_500_is_refused_alone() {
    let mut world = world().await;
    let events: Vec<Event> = (0..500)
        .map(|number| {
            event(
                number,
                &format!("e{number}"),
                if number == 321 { "nul \u{0}" } else { "o" },
                "1",
            )
        })
        .collect();
    let fates = world.write(&events).await;
    for (number, fate) in fates.iter().enumerate() {
        match number {
            321 => assert!(
                matches!(fate, RowFate::Refused(detail) if detail.contains("SQLSTATE")),
                "{fate:?}"
            ),
            _ => assert_eq!(*fate, RowFate::Stored, "{number}"),
        }
    }
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        499
    );
    assert_eq!(world.next_offset().await, 321);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_partition_takes_the_true_offset_and_a_gap_ends_it() {
    let mut world = world().await;
    world.write(&[event(0, "a", "o", "1")]).await;
    let stale = world.positions.clone();
    world
        .write(&[event(1, "b", "o", "1"), event(2, "c", "o", "1")])
        .await;
    // The old owner, which had read one of them, writes late.
    world.positions = stale;
    assert_eq!(
        world.write(&[event(1, "b", "o", "1")]).await,
        [RowFate::StoredBefore]
    );
    assert_eq!(world.next_offset().await, 3);
    assert_eq!(
        world
            .number("SELECT stored FROM persistence.consumer_offsets")
            .await,
        3,
        "counted once"
    );
    sqlx::query("UPDATE persistence.consumer_offsets SET next_offset = 1")
        .execute(&world.pool)
        .await
        .unwrap();
    let decoder = Decoder::new(
        &Catalog::builtin()
            .get("payment.authorized.v1")
            .unwrap()
            .record_avsc,
    )
    .unwrap();
    let late = event(9, "z", "o", "1");
    let record = Record::new(TOPIC, 0, 9, 0, None, Some(&late.datum), &[]);
    let mut ends = Ends::default();
    let row = Row::new(
        &record,
        ends.cover(&record),
        1,
        &late.datum,
        decoder.decode(&late.datum).unwrap(),
    )
    .unwrap();
    let error = world
        .store
        .write("g", &[row], &mut ends, &mut world.positions)
        .await
        .unwrap_err();
    assert!(
        error.must_stop() && error.code() == "offset_behind",
        "{error:?}"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events WHERE event_id = 'z'")
            .await,
        0,
        "rolled back"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_transient_and_another_cluster_is_refused() {
    let mut world = world().await;
    world.write(&[event(0, "a", "o", "1")]).await;
    if let Some(postgres) = world.postgres.take() {
        postgres.stop_server().unwrap();
        let error = world.store.positions("g", &[]).await.unwrap_err();
        assert!(
            !error.must_stop() && error.code() == "database_unavailable",
            "{error:?}"
        );
        assert!(
            !error.to_string().contains(&postgres.url()),
            "no password in an error"
        );
        postgres.start_server().unwrap();
        world.postgres = Some(postgres);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while world.store.positions("g", &[]).await.is_err() {
            assert!(std::time::Instant::now() < deadline);
        }
        assert_eq!(
            world.write(&[event(1, "b", "o", "1")]).await,
            [RowFate::Stored]
        );
    }
    sqlx::query("UPDATE persistence.kafka_cluster SET cluster_id = 'another'")
        .execute(&world.pool)
        .await
        .unwrap();
    let refused = Writer::open(
        &world.url,
        &world.broker.kafka(),
        &Health::new(),
        &CancellationToken::new(),
    )
    .await
    .unwrap_err()
    .to_string();
    assert!(
        refused.contains("another") && refused.contains("--kafka-brokers"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_of_the_table_is_no_fault_of_a_row() {
    let mut world = world().await;
    world.write(&[event(0, "a", "o", "1")]).await;
    sqlx::query("ALTER SEQUENCE persistence.events_seq_seq RESTART 1")
        .execute(&world.pool)
        .await
        .unwrap();
    let decoder = Decoder::new(
        &Catalog::builtin()
            .get("payment.authorized.v1")
            .unwrap()
            .record_avsc,
    )
    .unwrap();
    let next = event(1, "b", "o", "1");
    let record = Record::new(TOPIC, 0, 1, 0, None, Some(&next.datum), &[]);
    let mut ends = Ends::default();
    let row = Row::new(
        &record,
        ends.cover(&record),
        1,
        &next.datum,
        decoder.decode(&next.datum).unwrap(),
    )
    .unwrap();
    let error = world
        .store
        .write("g", &[row], &mut ends, &mut world.positions)
        .await
        .unwrap_err();
    assert!(
        error.must_stop() && error.to_string().contains("23505"),
        "no row is dead-lettered for it: {error:?}"
    );
    assert_eq!(world.next_offset().await, 1);
}
