//! One event that comes by several partitions: one row, and every further raw record a duplicate, in whatever batch and whoever writes.

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
use sqlx::PgPool;
use std::time::{Duration, Instant};
use store::offsets::{Ends, Positions};
use tokio_util::sync::CancellationToken;

const TOPIC: &str = "events.validated.v1";
const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    _postgres: PrivatePostgres,
    _broker: EmbeddedBroker,
    store: Writer,
    pool: PgPool,
}

async fn world() -> World {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let postgres = PrivatePostgres::start(false).unwrap();
    let url = Secret::new(postgres.url());
    let store = Writer::open(
        &url,
        &broker.kafka(),
        &Health::new(),
        &CancellationToken::new(),
    )
    .await
    .unwrap()
    .unwrap();
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    World {
        _postgres: postgres,
        _broker: broker,
        store,
        pool,
    }
}

/// A record of the validated topic: where it is there, which raw record it was made from, and what it says.
#[derive(Debug, Clone)]
struct Delivery {
    partition: i32,
    offset: i64,
    raw: String,
    datum: Vec<u8>,
    edited: bool,
}

/// A replay with this content, edited by someone.
fn edit(partition: i32, offset: i64, raw: &str, id: &str, amount: &str) -> Delivery {
    Delivery {
        edited: true,
        ..delivery(partition, offset, raw, id, amount)
    }
}

fn delivery(partition: i32, offset: i64, raw: &str, id: &str, amount: &str) -> Delivery {
    let body = serde_json::json!({"event_id": id, "event_type": "payment.authorized.v1", "schema_version": 1, "source": "s",
        "timestamp": "2026-01-02T03:04:05Z", "payload": {"payment_id": "p", "order_id": "o", "amount": amount, "currency": "EUR", "provider_auth_id": "a"}});
    let mut datum = Vec::new();
    Catalog::builtin()
        .validate(body.to_string().as_bytes())
        .unwrap()
        .encode(&mut datum);
    Delivery {
        partition,
        offset,
        raw: raw.to_owned(),
        datum,
        edited: false,
    }
}

/// A member of the group: it has these partitions.
struct Member {
    store: Writer,
    decoder: Decoder,
    positions: Positions,
}

impl Member {
    async fn new(world: &World, partitions: &[i32]) -> Self {
        let places: Vec<_> = partitions
            .iter()
            .map(|partition| (TOPIC.to_owned(), *partition))
            .collect();
        let positions = world.store.positions("g", &places).await.unwrap();
        let decoder = Decoder::new(
            &Catalog::builtin()
                .get("payment.authorized.v1")
                .unwrap()
                .record_avsc,
        )
        .unwrap();
        Self {
            store: world.store.clone(),
            decoder,
            positions,
        }
    }

    /// One batch, tried again while the database asks for it.
    async fn write(&mut self, batch: &[Delivery]) -> Vec<RowFate> {
        let headers: Vec<[(&str, &[u8]); 3]> = batch
            .iter()
            .map(|delivery| {
                let third = if delivery.edited {
                    "ef.edited_by"
                } else {
                    "x-other"
                };
                [
                    ("ef.source", &b"acme"[..]),
                    ("ef.raw", delivery.raw.as_bytes()),
                    (third, b"ann"),
                ]
            })
            .collect();
        let mut ends = Ends::default();
        let rows: Vec<Row<'_>> = batch
            .iter()
            .zip(&headers)
            .map(|(delivery, headers)| {
                let Delivery {
                    partition,
                    offset,
                    datum,
                    ..
                } = delivery;
                let record = Record::new(
                    TOPIC,
                    *partition,
                    *offset,
                    0,
                    Some(b"key"),
                    Some(datum),
                    headers,
                );
                Row::new(
                    &record,
                    ends.cover(&record),
                    1,
                    datum,
                    self.decoder.decode(datum).unwrap(),
                )
                .unwrap()
            })
            .collect();
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self
                .store
                .write("g", &rows, &mut ends.clone(), &mut self.positions)
                .await
            {
                Ok(fates) => return fates,
                Err(error) => assert!(!error.must_stop() && Instant::now() < deadline, "{error:?}"),
            }
        }
    }
}

impl World {
    async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Which raw record was stored and which are duplicates, for one event.
    async fn fates(&self, id: &str) -> Vec<((i32, i64), String)> {
        let all = self
            .store
            .fates()
            .await
            .unwrap()
            .into_iter()
            .filter(|fate| fate.event_id == id);
        let mut fates: Vec<_> = all.map(|fate| (fate.raw, fate.fate)).collect();
        fates.sort();
        fates
    }

    /// Every partition's next offset, and how many rows and duplicates the group counted.
    async fn books(&self) -> (Vec<i64>, i64, i64) {
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

#[tokio::test(flavor = "multi_thread")]
async fn one_event_by_two_partitions_is_one_row_and_one_duplicate_in_one_batch_and_in_two() {
    use RowFate::{Duplicate, Stored, StoredBefore};
    let world = world().await;
    let mut member = Member::new(&world, &[0, 1]).await;
    let both = [
        delivery(0, 0, "0:5", "a", "1"),
        delivery(1, 0, "3:9", "a", "1"),
    ];
    assert_eq!(
        member.write(&both).await,
        [Stored, Duplicate],
        "in one batch the first is the row"
    );
    let stored_first = vec![
        ((0, 5), "stored".to_owned()),
        ((3, 9), "duplicate".to_owned()),
    ];
    assert_eq!(world.fates("a").await, stored_first);
    // In two batches, the higher partition first.
    let (late, early) = (
        delivery(0, 1, "0:6", "b", "2"),
        delivery(1, 1, "3:10", "b", "2"),
    );
    assert_eq!(member.write(std::slice::from_ref(&early)).await, [Stored]);
    assert_eq!(member.write(std::slice::from_ref(&late)).await, [Duplicate]);
    assert_eq!(
        world.fates("b").await,
        [
            ((0, 6), "duplicate".to_owned()),
            ((3, 10), "stored".to_owned())
        ]
    );
    assert_eq!(world.books().await, (vec![2, 2], 2, 2));
    // A crash before the Kafka commits, and other partitions for another member: everything comes again, in another order.
    let mut other = Member::new(&world, &[0, 1]).await;
    let again = [late, early, both[1].clone(), both[0].clone()];
    assert_eq!(
        other.write(&again).await,
        [Duplicate, StoredBefore, Duplicate, StoredBefore]
    );
    assert_eq!(
        world.books().await,
        (vec![2, 2], 2, 2),
        "nothing is counted twice and no offset goes back"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        2
    );
    assert_eq!(world.fates("a").await, stored_first);
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.event_fates")
            .await,
        4,
        "one fate a raw record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_content_by_another_partition_is_a_conflict_that_names_the_row_and_holds_only_its_own_partition()
 {
    let world = world().await;
    let mut member = Member::new(&world, &[0, 1]).await;
    let batch = [
        delivery(0, 0, "0:5", "a", "1"),
        delivery(1, 0, "3:9", "a", "2"),
        delivery(0, 1, "0:6", "b", "1"),
    ];
    let fates = member.write(&batch).await;
    assert!(
        matches!(&fates[1], RowFate::Conflict(detail) if detail.contains("0:5")),
        "{fates:?}"
    );
    assert_eq!((&fates[0], &fates[2]), (&RowFate::Stored, &RowFate::Stored));
    assert_eq!(
        world.books().await,
        (vec![2, 0], 2, 0),
        "the conflict's partition waits for its dead letter, the other does not"
    );
    assert_eq!(world.fates("a").await, [((0, 5), "stored".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_raw_record_in_one_batch_the_first_is_the_row_and_an_edit_that_says_otherwise_a_conflict()
 {
    use RowFate::{Stored, StoredBefore};
    let world = world().await;
    let mut member = Member::new(&world, &[0, 1]).await;
    let batch = [
        delivery(0, 0, "0:5", "a", "1"),
        edit(1, 0, "0:5", "a", "2"),
        edit(1, 1, "0:5", "a", "1"),
        // The edit comes first: it is the row, and its raw record as it was has that fate.
        edit(1, 2, "0:6", "b", "2"),
        delivery(0, 1, "0:6", "b", "1"),
        // Two edits of one raw record, the second under another id.
        edit(1, 3, "0:7", "c", "1"),
        edit(1, 4, "0:7", "d", "1"),
    ];
    let fates = member.write(&batch).await;
    let known: Vec<_> = fates
        .iter()
        .filter(|fate| !matches!(fate, RowFate::Conflict(_)))
        .collect();
    assert_eq!(
        known,
        [&Stored, &StoredBefore, &Stored, &StoredBefore, &Stored]
    );
    assert!(
        matches!(&fates[1], RowFate::Conflict(detail) if detail.contains("0:5")),
        "{fates:?}"
    );
    assert!(
        matches!(&fates[6], RowFate::Conflict(detail) if detail.contains("event c")),
        "{fates:?}"
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        3
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.event_fates")
            .await,
        3,
        "one fate a raw record"
    );
    // Read again after a crash: the same verdicts.
    let mut other = Member::new(&world, &[0, 1]).await;
    let again = other.write(&batch).await;
    assert_eq!(
        (&again[0], &again[2], &again[1]),
        (&StoredBefore, &StoredBefore, &fates[1])
    );
    assert_eq!(
        (&again[3], &again[4], &again[5]),
        (&StoredBefore, &StoredBefore, &StoredBefore)
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_writing_the_same_events_at_once_in_opposite_orders_store_each_once() {
    const EVENTS: usize = 60;
    const ROUNDS: i64 = 10;
    let world = world().await;
    let (mut first, mut second) = (
        Member::new(&world, &[0]).await,
        Member::new(&world, &[1]).await,
    );
    let (mut stored, mut duplicates) = (0, 0);
    for round in 0..ROUNDS {
        let start = round * i64::try_from(EVENTS).unwrap();
        let batch = |partition: i32, ids: Vec<usize>| -> Vec<Delivery> {
            let places = (start..).zip(ids);
            places
                .map(|(offset, id)| {
                    delivery(
                        partition,
                        offset,
                        &format!("{partition}:{offset}"),
                        &format!("{round}-{id}"),
                        "1",
                    )
                })
                .collect()
        };
        // Whoever inserts in the order of arrival meets the other half-way and each waits for the other.
        let (up, down) = (
            batch(0, (0..EVENTS).collect()),
            batch(1, (0..EVENTS).rev().collect()),
        );
        let (left, right) = tokio::join!(first.write(&up), second.write(&down));
        for (id, fate) in left.iter().enumerate() {
            let twin = &right[EVENTS - 1 - id];
            let one_each = matches!(
                (fate, twin),
                (RowFate::Stored, RowFate::Duplicate) | (RowFate::Duplicate, RowFate::Stored)
            );
            assert!(one_each, "event {round}-{id}: {fate:?} and {twin:?}");
        }
        stored += left
            .iter()
            .chain(&right)
            .filter(|fate| **fate == RowFate::Stored)
            .count();
        duplicates += left
            .iter()
            .chain(&right)
            .filter(|fate| **fate == RowFate::Duplicate)
            .count();
    }
    let all = i64::try_from(EVENTS).unwrap() * ROUNDS;
    assert_eq!(
        (
            i64::try_from(stored).unwrap(),
            i64::try_from(duplicates).unwrap()
        ),
        (all, all)
    );
    assert_eq!(world.books().await, (vec![all, all], all, all));
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.events")
            .await,
        all
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM persistence.duplicates")
            .await,
        all
    );
}
