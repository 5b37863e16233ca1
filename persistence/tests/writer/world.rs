//! A database of persistence's, members of its group, and records of the validated topic.

use contracts::Secret;
use contracts::avro::datum::Decoder;
use contracts::event::{Catalog, Envelope};
use contracts::kafka::headers::SignedBody;
use persistence::writer::{BatchRow, Writer};
use runtime::consumer::{Assigned, Header, Record, StageError};
use runtime::health::Health;
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{database, wait_for};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use store::fate::{Fate, RecordedFate};
use store::offsets::{self, BatchOffsets, Positions};
use store::raw_topic::RawTopic;
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
    pub(crate) datum: Vec<u8>,
    pub(crate) edited: bool,
    /// Its contract and what reads it; that of the member where it says none
    pub(crate) contract: Option<(String, Arc<Decoder>)>,
    /// The header of a body whose id is not signed
    pub(crate) signed_body: Option<String>,
    pub(crate) received_at: i64,
}

/// When records were received, unless they say another time: microseconds since the epoch.
pub(crate) const RECEIVED_AT: i64 = 1_700_000_000_000_000;

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
    let body = serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1,
        "timestamp": "2026-01-02T03:04:05.000006Z", "payload": {"payment_id": "p", "order_id": order, "amount": amount, "currency": "CLF", "provider_auth_id": "a"}});
    let mut delivery = of_body(offset, &Catalog::builtin(), &body);
    for byte in &mut delivery.datum {
        if char::from(*byte) == NUL {
            *byte = 0;
        }
    }
    Delivery {
        partition,
        raw: raw.to_owned(),
        ..delivery
    }
}

/// A record of partition 0, made of a body by its contract, from a raw record of the same offset.
pub(crate) fn of_body(offset: i64, contracts: &Catalog, body: &serde_json::Value) -> Delivery {
    let mut datum = Vec::new();
    contracts
        .validate(Envelope::own(body.to_string().as_bytes()).unwrap())
        .unwrap()
        .encode(&mut datum);
    Delivery {
        partition: 0,
        offset,
        raw: format!("3:{offset}"),
        datum,
        edited: false,
        contract: None,
        signed_body: None,
        received_at: RECEIVED_AT,
    }
}

/// A record of partition 0, made of a body by this contract, from this raw record.
pub(crate) fn of_contract(
    offset: i64,
    raw: &str,
    contracts: &Catalog,
    label: &str,
    body: &serde_json::Value,
) -> Delivery {
    let contract = contracts.contract(label).unwrap();
    let mut datum = Vec::new();
    contract
        .validate(Envelope::own(body.to_string().as_bytes()).unwrap())
        .unwrap()
        .encode(&mut datum);
    let decoder = Decoder::new(&contract.record_avsc).unwrap();
    Delivery {
        partition: 0,
        offset,
        raw: raw.to_owned(),
        datum,
        edited: false,
        contract: Some((contract.label.clone(), Arc::new(decoder))),
        signed_body: None,
        received_at: RECEIVED_AT,
    }
}

/// The same in a signed body, received so many seconds later; its vendor sends again for an hour.
pub(crate) fn in_body(body: u8, item: i32, later: i64, delivery: Delivery) -> Delivery {
    let received_at = RECEIVED_AT + later * 1_000_000;
    let signed_body = SignedBody {
        until_micros: received_at + 3_600_000_000,
        item,
        digest: [body; 32],
    };
    Delivery {
        signed_body: Some(signed_body.to_string()),
        received_at,
        ..delivery
    }
}

/// The same as somebody's edit.
pub(crate) fn edited(delivery: Delivery) -> Delivery {
    Delivery {
        edited: true,
        ..delivery
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
        Self::reading(
            world,
            partitions,
            &Catalog::builtin(),
            "payment.authorized.v1",
        )
        .await
    }

    /// One that reads what this contract writes.
    pub(crate) async fn reading(
        world: &World,
        partitions: &[i32],
        contracts: &Catalog,
        event_type: &str,
    ) -> Self {
        let avsc = &contracts.contract(event_type).unwrap().record_avsc;
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
        let received: Vec<String> = batch
            .iter()
            .map(|delivery| delivery.received_at.to_string())
            .collect();
        let headers: Vec<[Header<'_>; 7]> = batch
            .iter()
            .zip(&received)
            .map(|(delivery, received)| {
                let trace: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
                let last = if delivery.edited {
                    "ef.edited_by"
                } else {
                    "x-other"
                };
                [
                    ("ef.source", Some(&b"acme"[..])),
                    ("ef.raw", Some(delivery.raw.as_bytes())),
                    ("ef.received_at", Some(received.as_bytes())),
                    ("traceparent", Some(trace)),
                    (last, Some(b"ann")),
                    match &delivery.contract {
                        Some((label, _)) => ("ef.contract", Some(label.as_bytes())),
                        None => ("x-other", Some(b"")),
                    },
                    match &delivery.signed_body {
                        Some(body) => ("ef.signed_body", Some(body.as_bytes())),
                        None => ("x-other", Some(b"")),
                    },
                ]
            })
            .collect();
        let mut offsets = BatchOffsets::default();
        let mut rows = Vec::new();
        let raw_topic = RawTopic::default();
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
            let contract = delivery.contract.as_ref();
            let decoder = contract.map_or(&self.decoder, |(_, decoder)| decoder);
            let event = decoder.decode(datum).unwrap();
            rows.push(BatchRow {
                event: EventRow::new(
                    record.headers(),
                    record.key,
                    raw_topic.position(record.raw().unwrap()),
                    1,
                    event,
                )
                .unwrap(),
                record: offsets.include(&record),
            });
        }
        let written = self
            .store
            .write("g", &rows, &[], offsets, &self.positions)
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
        let (positions, _) = offsets::starts(&pool, "g", &partitions, &Assigned::default()).await?;
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
        let mut fates: Vec<_> = all.map(|fate| (fate.raw.place(), fate.fate)).collect();
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
