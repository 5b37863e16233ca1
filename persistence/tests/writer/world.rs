//! A database of persistence's, members of its group, and records of the validated topic.

use contracts::Secret;
use contracts::avro::datum::Decoder;
use contracts::event::Catalog;
use persistence::writer::{BatchRow, Writer};
use runtime::consumer::{Record, StageError};
use runtime::health::Health;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{database, wait_for};
use sqlx::PgPool;
use std::time::Duration;
use store::fate::{Fate, RecordedFate};
use store::offsets::{self, BatchOffsets, Positions};
use store::row::EventRow;
use tokio_util::sync::CancellationToken;

pub(crate) const TOPIC: &str = "events.validated.v1";
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) broker: EmbeddedBroker,
    pub(crate) url: Secret,
    pub(crate) store: Writer,
    pub(crate) pool: PgPool,
}

/// With a database of its own.
pub(crate) async fn world() -> World {
    world_on(database().await).await
}

/// On this empty database.
pub(crate) async fn world_on(url: String) -> World {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let pool = PgPool::connect(&url).await.unwrap();
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
        broker,
        url,
        store,
        pool,
    }
}

/// A record of the validated topic: where it is there, which raw record it was made from, and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) raw: String,
    datum: Vec<u8>,
    edited: bool,
}

pub(crate) fn delivery(partition: i32, offset: i64, raw: &str, id: &str, amount: &str) -> Delivery {
    of_order(partition, offset, raw, id, "o", amount)
}

/// In a text of [`of_order`], stands for U+0000: the validator lets none pass, an older one did, and PostgreSQL refuses it.
pub(crate) const NUL: char = '\u{7f}';

pub(crate) fn of_order(
    partition: i32,
    offset: i64,
    raw: &str,
    id: &str,
    order: &str,
    amount: &str,
) -> Delivery {
    let body = serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1, "source": "s",
        "timestamp": "2026-01-02T03:04:05.000006Z", "payload": {"payment_id": "p", "order_id": order, "amount": amount, "currency": "CLF", "provider_auth_id": "a"}});
    let mut datum = Vec::new();
    Catalog::builtin()
        .validate(body.to_string().as_bytes())
        .unwrap()
        .encode(&mut datum);
    for byte in &mut datum {
        if char::from(*byte) == NUL {
            *byte = 0;
        }
    }
    Delivery {
        partition,
        offset,
        raw: raw.to_owned(),
        datum,
        edited: false,
    }
}

/// A replay with this content, edited by someone.
pub(crate) fn edit(partition: i32, offset: i64, raw: &str, id: &str, amount: &str) -> Delivery {
    Delivery {
        edited: true,
        ..delivery(partition, offset, raw, id, amount)
    }
}

/// A member of the group: it has some partitions.
pub(crate) struct Member {
    store: Writer,
    decoder: Decoder,
    pub(crate) positions: Positions,
    /// What its last batch covered
    pub(crate) offsets: BatchOffsets,
}

impl Member {
    pub(crate) async fn new(world: &World, partitions: &[i32]) -> Self {
        let avsc = &Catalog::builtin()
            .get("payment.authorized.v1")
            .unwrap()
            .record_avsc
            .clone();
        Self {
            store: world.store.clone(),
            decoder: Decoder::new(avsc).unwrap(),
            positions: world.positions(partitions).await.unwrap(),
            offsets: BatchOffsets::default(),
        }
    }

    /// One batch, retried while the database asks for it.
    pub(crate) async fn write(&mut self, batch: &[Delivery]) -> Vec<Fate> {
        wait_for(DEADLINE, async || {
            self.try_write(batch).await.map_err(|error| {
                assert!(!error.must_stop(), "{error:?}");
                format!("{error:?}")
            })
        })
        .await
    }

    pub(crate) async fn try_write(&mut self, batch: &[Delivery]) -> Result<Vec<Fate>, StageError> {
        let headers: Vec<[(&str, &[u8]); 5]> = batch
            .iter()
            .map(|delivery| {
                let trace: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
                let last = if delivery.edited {
                    "ef.edited_by"
                } else {
                    "x-other"
                };
                [
                    ("ef.source", &b"acme"[..]),
                    ("ef.raw", delivery.raw.as_bytes()),
                    ("ef.received_at", b"1700000000000000"),
                    ("traceparent", trace),
                    (last, b"ann"),
                ]
            })
            .collect();
        let mut offsets = BatchOffsets::default();
        let mut rows = Vec::new();
        for (delivery, headers) in batch.iter().zip(&headers) {
            let datum = &delivery.datum;
            let record = Record::new(
                TOPIC,
                delivery.partition,
                delivery.offset,
                0,
                Some(b"key"),
                Some(datum),
                headers,
            );
            let event = self.decoder.decode(datum).unwrap();
            rows.push(BatchRow {
                event: EventRow::new(record.headers(), record.key, record.raw(), 1, datum, event)
                    .unwrap(),
                record: offsets.include(&record),
            });
        }
        let written = self
            .store
            .write("g", &rows, offsets, &self.positions)
            .await?;
        self.positions.extend(written.moved);
        self.offsets = written.offsets;
        Ok(written.fates)
    }
}

impl World {
    /// The database's next offsets.
    pub(crate) async fn positions(&self, partitions: &[i32]) -> Result<Positions, StageError> {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|partition| (TOPIC.to_owned(), *partition))
            .collect();
        let pool = persistence::writer::SCHEMA.pool(&self.url, 1).unwrap();
        let (positions, _) = offsets::starts(&pool, "g", &partitions).await?;
        Ok(positions)
    }

    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The only partition's next offset.
    pub(crate) async fn next_offset(&self) -> i64 {
        self.number("SELECT next_offset FROM persistence.consumer_offsets")
            .await
    }

    /// Which raw record was stored and which are duplicates, for one event.
    pub(crate) async fn fates(&self, id: &str) -> Vec<((i32, i64), RecordedFate)> {
        let all = self
            .store
            .fates()
            .await
            .unwrap()
            .into_iter()
            .filter(|fate| fate.event_id == id);
        let mut fates: Vec<_> = all.map(|fate| (fate.raw(), fate.fate)).collect();
        fates.sort();
        fates
    }

    /// Every partition's next offset, and how many rows and duplicates the group counted.
    pub(crate) async fn totals(&self) -> (Vec<i64>, i64, i64) {
        let next = sqlx::query_scalar(
            "SELECT next_offset FROM persistence.consumer_offsets ORDER BY partition",
        );
        (
            next.fetch_all(&self.pool).await.unwrap(),
            self.number("SELECT sum(stored)::bigint FROM persistence.consumer_offsets")
                .await,
            self.number("SELECT sum(duplicate)::bigint FROM persistence.consumer_offsets")
                .await,
        )
    }
}
