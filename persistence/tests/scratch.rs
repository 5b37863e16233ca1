//! The table in which rows are tried ([`store::scratch`]) is like the one of events, and so is the one made where that has never been.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use persistence::writer::SCHEMA;
use sandbox::postgres::PrivatePostgres;
use sqlx::PgConnection;
use store::scratch;

const EVENTS: &str = "persistence.events";

/// Columns that an insert gives (`raw_epoch` has a default, and `schema_version` is there, only for what
/// version 0.1 still inserts during an upgrade): name, type, and whether it must give them.
async fn columns(connection: &mut PgConnection, table: &str) -> Vec<(String, String, bool)> {
    sqlx::query_as(
        "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
         WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND (NOT atthasdef OR attname = 'raw_epoch')
           AND attname <> 'schema_version'
         ORDER BY attname",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .unwrap()
}

/// Indexes that can refuse a text: whether each is unique, and the columns of its key. A summary of pages refuses none.
async fn text_indexes(connection: &mut PgConnection, table: &str) -> Vec<(bool, Vec<String>)> {
    sqlx::query_as(
        "SELECT i.indisunique, array_agg(a.attname::text ORDER BY k.n)
         FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
         WHERE i.indrelid = to_regclass($1) AND k.n <= i.indnkeyatts GROUP BY i.indexrelid, i.indisunique
         HAVING bool_or(a.atttypid = 'text'::regtype) ORDER BY 2",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_tried_against_the_columns_and_indexes_of_the_migrations_also_without_the_table() {
    let postgres = PrivatePostgres::start(false).unwrap();
    let pool = SCHEMA.pool(&Secret::new(postgres.url()), 1).unwrap();
    SCHEMA.migrate(&pool).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    for (name, like) in [
        ("like_events", EVENTS),
        ("without_events", "persistence.no_such_table"),
    ] {
        scratch::create(&mut connection, name, like).await.unwrap();
    }
    let wanted = (
        columns(&mut connection, EVENTS).await,
        text_indexes(&mut connection, EVENTS).await,
    );
    assert!(!wanted.0.is_empty() && !wanted.1.is_empty());
    for table in ["pg_temp.like_events", "pg_temp.without_events"] {
        let made = (
            columns(&mut connection, table).await,
            text_indexes(&mut connection, table).await,
        );
        assert_eq!(made, wanted, "{table}");
    }
}
