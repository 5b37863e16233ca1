//! A time-out: the same work is not tried again, and what is good is stored.

use crate::world::{handle, stage, value};
use runtime::consumer::Outcome;
use sandbox::harness::database;
use sqlx::{Connection, PgConnection, PgPool};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_time_out_the_rest_is_stored_and_the_row_at_fault_waits_alone() {
    let url = database().await;
    let stage = stage(&url).await;
    let pool = PgPool::connect(&url).await.unwrap();
    let next_offset = async || -> Option<i64> {
        sqlx::query_scalar("SELECT next_offset FROM persistence.consumer_offsets")
            .fetch_optional(&pool)
            .await
            .unwrap()
    };
    // Somebody has the second record's id in a transaction that does not end.
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut held = other.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id,
                                         raw_partition, raw_offset)
         VALUES ('s', 'e1', 't', '1', now(), '{}', '', 1, 9, 9)",
    )
    .execute(&mut *held)
    .await
    .unwrap();
    let batch: Vec<Vec<u8>> = ["e0", "e1"].map(|id| value(id, "o", "1")).into();
    let (stage, outcomes) = handle(stage, batch.clone()).await;
    let error = outcomes.unwrap_err();
    assert!(
        !error.must_stop()
            && error.code() == "database_timeout"
            && error
                .to_string()
                .ends_with("2 records are retried in parts of 1"),
        "{error}"
    );
    assert_eq!(next_offset().await, None);
    let (stage, outcomes) = handle(stage, batch.clone()).await;
    let error = outcomes.unwrap_err();
    assert!(
        !error.must_stop()
            && error.code() == "database_timeout"
            && error
                .to_string()
                .ends_with("record events.validated.v1:0:1 is retried alone"),
        "{error}"
    );
    assert_eq!(next_offset().await, Some(1), "the first is stored for good");
    held.rollback().await.unwrap();
    let (_, outcomes) = handle(stage, batch).await;
    assert!(
        matches!(outcomes.unwrap().as_slice(), [Outcome::Done, Outcome::Done]),
        "never a dead letter"
    );
    assert_eq!(next_offset().await, Some(2));
    let transactions: i64 =
        sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM persistence.events")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(transactions, 2);
}
