//! What storing, the audit and look-ups read: their indexes, and how a table that is there comes to them.

use crate::world::{Member, World, delivery, world, world_on};
use contracts::Secret;
use persistence::writer::SCHEMA;
use sandbox::harness::{database, until};
use sqlx::migrate::MigrateError;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::time::Duration;
use store::fate::Fate;

const DEADLINE: Duration = Duration::from_secs(60);

/// The migration before the indexes that are made while rows are stored.
const BEFORE: i64 = 8;

const NEW: [&str; 3] = ["events_coordinates", "events_key", "events_texts"];

async fn indexes(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'persistence.events'::regclass AND indisvalid ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
    .into_iter()
    .map(|name: String| name.trim_start_matches("persistence.").to_owned())
    .collect()
}

/// What a former version does with events that are new or stored: answers how many it inserted.
async fn store_as_before(connection: &mut PgConnection, from: i64, to: i64) -> u64 {
    sqlx::query(
        "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         SELECT 'acme', 'e' || o, 'payment.authorized.v1', 'payment.authorized.v1', now(), '{}', '', 1, 3, o FROM generate_series($1, $2) o
         ON CONFLICT (source, event_id) DO NOTHING",
    )
    .bind(from)
    .bind(to)
    .execute(connection)
    .await
    .unwrap()
    .rows_affected()
}

/// A database of the version before, with 20,000 events.
async fn former() -> (String, PgPool) {
    let url = database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    sqlx::query("CREATE SCHEMA persistence")
        .execute(&pool)
        .await
        .unwrap();
    let own = SCHEMA.pool(&Secret::new(url.clone()), 1).unwrap();
    let migrated: Result<(), MigrateError> = SCHEMA.migrations.run_to(BEFORE, &own).await;
    migrated.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(store_as_before(&mut connection, 0, 19_999).await, 20_000);
    (url, pool)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_there_gets_its_indexes_while_rows_are_stored_and_sent_again() {
    let (url, pool) = former().await;
    // An instance that was killed in the middle of it left an index that PostgreSQL does not use.
    for statement in [
        "CREATE UNIQUE INDEX events_key ON persistence.events (event_id COLLATE \"C\", source COLLATE \"C\")",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'persistence.events_key'::regclass",
    ] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    // An instance of the former version in the middle of a batch: whoever makes an index waits for it.
    let mut slow = PgConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN").execute(&mut slow).await.unwrap();
    assert_eq!(store_as_before(&mut slow, 20_000, 20_009).await, 10);
    let migrating = [(), ()].map(|()| {
        let pool = SCHEMA.pool(&Secret::new(url.clone()), 1).unwrap();
        tokio::spawn(async move { SCHEMA.migrate(&pool).await })
    });
    until("an index waits for the batch", DEADLINE, async || {
        let waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%INDEX CONCURRENTLY%'";
        sqlx::query_scalar(waiting).fetch_one(&pool).await.unwrap()
    })
    .await;
    // Meanwhile another stores, and knows what was stored before.
    let mut other = PgConnection::connect(&url).await.unwrap();
    sqlx::query("SET lock_timeout = '10s'")
        .execute(&mut other)
        .await
        .unwrap();
    assert_eq!(store_as_before(&mut other, 19_000, 19_999).await, 0);
    assert_eq!(store_as_before(&mut other, 20_010, 20_019).await, 10);
    sqlx::query("COMMIT").execute(&mut slow).await.unwrap();
    for migrating in migrating {
        let migrated = tokio::time::timeout(DEADLINE, migrating).await.unwrap();
        migrated.unwrap().unwrap();
    }
    assert_eq!(indexes(&pool).await, NEW);
    let statement = "INSERT INTO persistence.events (source, event_id, event_type, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         VALUES ('acme', 'e20005', 't', now(), '{}', '', 1, 0, 0)";
    let again = sqlx::query(statement).execute(&pool).await.unwrap_err();
    assert!(again.to_string().contains("events_key"), "{again}");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM persistence.stored_events")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(count, 20_020);
    // This version stores beside them.
    let world = world_on(url).await;
    let mut member = Member::new(&world, &[0]).await;
    let fates = member
        .write(&[
            delivery(0, 0, "4:0", "new", "1"),
            delivery(0, 1, "4:1", "new", "1"),
            delivery(0, 2, "3:20005", "e20005", "1"),
        ])
        .await;
    assert_eq!(fates, [Fate::Stored, Fate::Duplicate, Fate::StoredBefore]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_table_has_the_same_indexes() {
    let world = world().await;
    assert_eq!(indexes(&world.pool).await, NEW);
}

/// How PostgreSQL runs a statement, in one text.
async fn plan(world: &World, statement: &str) -> String {
    // Of a table that is small, PostgreSQL reads all when it must look at a summary.
    let mut connection = world.pool.acquire().await.unwrap();
    sqlx::query("SET enable_seqscan = off")
        .execute(&mut *connection)
        .await
        .unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN (COSTS OFF) {statement}"));
    let lines: Vec<String> = sqlx::query_scalar(explain)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_reads_ranges_without_the_rows_and_texts_are_found_by_the_summary() {
    let world = world().await;
    for statement in [
        "INSERT INTO persistence.events (source, event_id, event_type, contract, entity_key, occurred_at, payload, content_hash, schema_id, trace_id, raw_partition, raw_offset)
         SELECT 'acme', md5('e' || o), 't', '1', 'pay-' || o, now(), jsonb_build_object('text', repeat(md5(o::text), 10)), '', 1, md5('t' || o), o % 6, o / 6
         FROM generate_series(0, 59999) o",
        "VACUUM (ANALYZE) persistence.events",
    ] {
        sqlx::query(statement).execute(&world.pool).await.unwrap();
    }
    let range = "SELECT raw_offset, count(*) FILTER (WHERE fate = 'stored') FROM persistence.event_fates
         WHERE 'raw' || raw_epoch = 'raw' AND raw_partition = 2 AND raw_offset >= 100 AND raw_offset < 300 GROUP BY raw_offset";
    let found = plan(&world, range).await;
    assert!(
        found.contains("Index Only Scan using events_coordinates"),
        "{found}"
    );
    for (name, condition, index) in [
        (
            "an event",
            "event_id = 'x' COLLATE \"C\" AND source = 'acme' COLLATE \"C\"",
            "events_key",
        ),
        ("an id", "event_id = 'x' COLLATE \"C\"", "events_key"),
        ("an id, as a person asks", "event_id = 'x'", "events_texts"),
        ("an entity", "entity_key = 'pay-7'", "events_texts"),
        ("a trace", "trace_id = 'x'", "events_texts"),
    ] {
        let statement = format!("SELECT * FROM persistence.stored_events WHERE {condition}");
        let found = plan(&world, &statement).await;
        assert!(found.contains(&format!(" {index}")), "{name}: {found}");
    }
    // What VACUUM has not summarized yet is found, too.
    let late = "INSERT INTO persistence.events (source, event_id, event_type, entity_key, occurred_at, payload, content_hash, schema_id, raw_partition, raw_offset)
         VALUES ('acme', 'late', 't', 'pay-late', now(), '{}', '', 1, 0, 10000)";
    sqlx::query(late).execute(&world.pool).await.unwrap();
    let found = world
        .number("SELECT count(*) FROM persistence.stored_events WHERE entity_key IN ('pay-late', 'pay-59999')")
        .await;
    assert_eq!(found, 2);
}
