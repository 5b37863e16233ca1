//! Batches full of rows PostgreSQL refuses, over a slow network.

use crate::world::{NUL, handle, stage, value};
use contracts::RejectionCode;
use runtime::consumer::{Handler, Outcome};
use sandbox::harness::{cluster, database};
use sandbox::proxy::Proxy;
use sqlx::PgPool;
use std::time::Duration;

const RECORDS: usize = 4000;
/// Half a round trip.
const DELAY: Duration = Duration::from_micros(2500);

/// Id, order and amount of a record, and the code it must be dead-lettered with.
fn record(number: usize) -> (String, String, &'static str, Option<RejectionCode>) {
    let (id, order) = (format!("e{number}"), "o".to_owned());
    let refused = Some(RejectionCode::RowRefused);
    match number {
        _ if number.is_multiple_of(4) => (format!("{id}{NUL}"), order, "1", refused),
        _ if number.is_multiple_of(2) => (id, format!("nul {NUL}"), "1", refused),
        // Of the good ones some repeat the one before, or contradict it.
        _ if number % 100 == 3 => (format!("e{}", number - 2), order, "1", None),
        _ if number % 100 == 5 => (
            format!("e{}", number - 4),
            order,
            "2",
            Some(RejectionCode::Conflict),
        ),
        _ => (id, order, "1", None),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_4000_rows_are_refused_at_5_ms_a_round_trip_and_every_row_has_its_fate() {
    let direct = database().await;
    let proxy = Proxy::start(&cluster().address(), DELAY).await.unwrap();
    let stage = stage(&direct.replace(&cluster().address(), &proxy.address())).await;
    let values = (0..RECORDS)
        .map(|number| {
            let (id, order, amount, _) = record(number);
            value(&id, &order, amount)
        })
        .collect();
    // Within the deadline of a stage's work, or it would be a time-out.
    let (mut stage, outcomes) = handle(stage, values).await;
    for (number, outcome) in outcomes.unwrap().iter().enumerate() {
        let (id, .., wanted) = record(number);
        let code = outcome.rejection().map(|rejection| rejection.code);
        assert_eq!(code, wanted, "{number} {id}: {outcome:?}");
        let sqlstate = match outcome {
            Outcome::Reject(rejection) if wanted == Some(RejectionCode::RowRefused) => {
                rejection.detail.contains("SQLSTATE")
            }
            _ => true,
        };
        assert!(sqlstate, "{outcome:?}");
    }
    let pool = PgPool::connect(&direct).await.unwrap();
    let counts = async || -> (i64, i64, i64, i64, i64, i64) {
        sqlx::query_as(
            "SELECT (SELECT count(*) FROM persistence.events), (SELECT count(*) FROM persistence.duplicates), next_offset, stored, duplicate,
                    dead_lettered FROM persistence.consumer_offsets",
        )
        .fetch_one(&pool)
        .await
        .unwrap()
    };
    assert_eq!(
        counts().await,
        (1920, 40, 0, 1920, 40, 0),
        "the first record is a dead letter"
    );
    tokio::task::block_in_place(|| stage.settled()).unwrap();
    assert_eq!(counts().await, (1920, 40, 4000, 1920, 40, 2040));
}
