//! A database whose primary changes: the old one lives on and only reads, or is gone.

use crate::world::{handle, stage, value};
use persistence::handler::Persistence;
use runtime::consumer::Outcome;
use sandbox::harness::{free_address, wait_for};
use sandbox::postgres::PrivatePostgres;
use sandbox::proxy::Proxy;
use sqlx::PgPool;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);
const COUNT: &str = "SELECT count(*) FROM persistence.events";

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar(COUNT).fetch_one(pool).await.unwrap()
}

/// Until it is stored, as the loop does; no record is at fault meanwhile.
async fn store(stage: Persistence, ids: &[&str]) -> Persistence {
    let batch: Vec<Vec<u8>> = ids.iter().map(|id| value(id, "o", "1")).collect();
    let mut stage = Some(stage);
    wait_for(DEADLINE, async || {
        let (back, outcomes) = handle(stage.take().unwrap(), batch.clone()).await;
        stage = Some(back);
        let outcomes = outcomes.map_err(|error| {
            assert!(!error.must_stop(), "{error}");
            error.to_string()
        })?;
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Done)),
            "{outcomes:?}"
        );
        Ok(())
    })
    .await;
    stage.unwrap()
}

/// Waits until the standby has the rows of its primary, which takes having their table.
async fn caught_up(standby: &PgPool, rows: i64) {
    wait_for(DEADLINE, async || {
        let found: Result<i64, _> = sqlx::query_scalar(COUNT).fetch_one(standby).await;
        match found {
            Ok(found) if found == rows => Ok(()),
            other => Err(format!("replicated: {other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_moves_to_the_new_primary_is_followed_though_the_old_one_still_answers() {
    let old = PrivatePostgres::start(false).unwrap();
    let new = old.start_standby().unwrap();
    let proxy = Proxy::start(&old.address(), Duration::ZERO).await.unwrap();
    let stage = stage(&old.url().replace(&old.address(), &proxy.address())).await;
    let stage = store(stage, &["a"]).await;
    let (on_old, on_new) = (
        PgPool::connect(&old.url()).await.unwrap(),
        PgPool::connect(&new.url()).await.unwrap(),
    );
    caught_up(&on_new, 1).await;
    new.promote().unwrap();
    for statement in [
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ] {
        sqlx::query(statement).execute(&on_old).await.unwrap();
    }
    proxy.point_to(&new.address());
    store(stage, &["a", "b"]).await;
    assert_eq!((count(&on_old).await, count(&on_new).await), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_the_primary_is_used_also_after_it_changed() {
    let old = PrivatePostgres::start(false).unwrap();
    let new = old.start_standby().unwrap();
    let servers = [free_address(), new.address(), old.address()].join(",");
    let url = old.url().replace(&old.address(), &servers);
    let stage = store(stage(&url).await, &["a"]).await;
    let on_new = PgPool::connect(&new.url()).await.unwrap();
    caught_up(&on_new, 1).await;
    old.stop_server().unwrap();
    new.promote().unwrap();
    store(stage, &["a", "b"]).await;
    assert_eq!(count(&on_new).await, 2);
}
