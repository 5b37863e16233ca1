//! What is said of a server, and connections to it, on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test")]

use contracts::Secret;
use runtime::consumer::StageError;
use sandbox::harness::{cluster, database, until};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::time::Duration;
use store::reach::reach;
use store::servers::Servers;

const DEADLINE: Duration = Duration::from_secs(60);

async fn run(statements: &[&str]) {
    let mut admin = PgConnection::connect(&cluster().url()).await.unwrap();
    for statement in statements {
        sqlx::query(AssertSqlSafe((*statement).to_owned()))
            .execute(&mut admin)
            .await
            .unwrap();
    }
}

async fn reached(url: &str) -> Result<(), String> {
    Servers::parse(&Secret::new(url), "persistence")
        .unwrap()
        .reach()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    run(&["CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0"]).await;
    let problem = reached(&cluster().url_of("latin")).await.unwrap_err();
    assert!(
        problem.contains("database_encoding")
            && problem.contains("LATIN1")
            && problem.contains("ENCODING 'UTF8'"),
        "{problem}"
    );
    reached(&database().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_its_settings_is_refused_as_behind_a_pooler() {
    // A pooler that ignores a connection's settings leaves those of the server.
    let bare: PgConnectOptions = database().await.parse().unwrap();
    let error: StageError = reach(&bare, true).await.unwrap_err();
    assert!(
        error.must_stop() && error.code() == "database_pooler",
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_or_that_only_reads_is_waited_for_and_says_so() {
    run(&[
        "CREATE ROLE crowded LOGIN PASSWORD 'LEAKED' CONNECTION LIMIT 0",
        "CREATE ROLE reader LOGIN PASSWORD 'LEAKED'",
        "ALTER ROLE reader SET default_transaction_read_only = on",
    ])
    .await;
    let place = format!("{}/postgres?sslmode=disable", cluster().address());
    for (user, parameter, wanted) in [
        ("crowded", "", Some("too many connections")),
        ("reader", "", Some("database_read_only")),
        ("reader", "&target_session_attrs=any", None),
    ] {
        let url = format!("postgres://{user}:LEAKED@{place}{parameter}");
        let found = reached(&url).await.err();
        match (&found, wanted) {
            (None, None) => {}
            (Some(problem), Some(wanted)) => assert!(
                problem.contains(wanted)
                    && problem.contains(&cluster().address())
                    && !problem.contains("LEAKED"),
                "{problem}"
            ),
            _ => panic!("{user}{parameter}: {found:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_was_given_up_does_not_keep_its_place_in_the_pool() {
    let url = database().await;
    let pool = Servers::parse(&Secret::new(&*url), "persistence")
        .unwrap()
        .pool(1, Duration::from_secs(1));
    let (begun, begins) = tokio::sync::oneshot::channel();
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut transaction = pool.begin().await.unwrap();
            begun.send(()).unwrap();
            sqlx::query("SELECT pg_sleep(3600)")
                .execute(&mut *transaction)
                .await
        }
    });
    begins.await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut sleeping = async || -> bool {
        sqlx::query_scalar(
            "SELECT count(*) > 0 FROM pg_stat_activity
             WHERE query = 'SELECT pg_sleep(3600)' AND state = 'active' AND datname = current_database()",
        )
        .fetch_one(&mut other)
        .await
        .unwrap()
    };
    until("it sleeps", DEADLINE, &mut sleeping).await;
    busy.abort();
    until("a connection is free", DEADLINE, async || {
        pool.acquire().await.is_ok()
    })
    .await;
    assert!(sleeping().await, "the server is still at it");
}
