//! What is no fault of a row: lost partitions, gaps, outages, another cluster, a broken table.

use crate::world::{Delivery, Member, delivery, world, world_on};
use persistence::writer::Writer;
use runtime::health::Health;
use sandbox::harness::until;
use sandbox::postgres::PrivatePostgres;
use std::time::Duration;
use store::fate::Fate;
use tokio_util::sync::CancellationToken;

/// A record of partition 0, made from a raw record of the same offset.
fn event(offset: i64, id: &str, amount: &str) -> Delivery {
    delivery(0, offset, &format!("3:{offset}"), id, amount)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_partition_takes_the_true_offset_and_a_gap_ends_it() {
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    member.write(&[event(0, "a", "1")]).await;
    let stale = member.positions.clone();
    member
        .write(&[event(1, "b", "1"), event(2, "c", "1")])
        .await;
    // The old owner, which had read one of them, writes late.
    member.positions = stale;
    assert_eq!(
        member.write(&[event(1, "b", "1")]).await,
        [Fate::StoredBefore]
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
    let late = event(9, "z", "1");
    let error = member.try_write(&[late]).await.unwrap_err();
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
    let postgres = PrivatePostgres::start(false).unwrap();
    let world = world_on(postgres.url()).await;
    let mut member = Member::new(&world, &[0]).await;
    member.write(&[event(0, "a", "1")]).await;
    postgres.stop_server().unwrap();
    let error = world.positions(&[]).await.unwrap_err();
    assert!(
        !error.must_stop() && error.code() == "database_unavailable",
        "{error:?}"
    );
    assert!(
        !error.to_string().contains(&postgres.url()),
        "no password in an error"
    );
    postgres.start_server().unwrap();
    until(
        "the database is back",
        Duration::from_secs(30),
        async || world.positions(&[]).await.is_ok(),
    )
    .await;
    assert_eq!(member.write(&[event(1, "b", "1")]).await, [Fate::Stored]);
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
    let world = world().await;
    let mut member = Member::new(&world, &[0]).await;
    member.write(&[event(0, "a", "1")]).await;
    sqlx::query("CREATE UNIQUE INDEX ON persistence.events (event_type)")
        .execute(&world.pool)
        .await
        .unwrap();
    let next = event(1, "b", "1");
    let error = member.try_write(&[next]).await.unwrap_err();
    assert!(
        error.must_stop() && error.to_string().contains("23505"),
        "no row is dead-lettered for it: {error:?}"
    );
    assert_eq!(world.next_offset().await, 1);
}
