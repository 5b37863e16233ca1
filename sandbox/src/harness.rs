//! What tests of several crates share. Everything here panics instead of returning an error: a test has nothing better to do with one.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "only tests call this"
)]

mod real_kafka;

pub use real_kafka::{RealCluster, RealKafka};

use crate::ports::free_port;
use crate::postgres::PrivatePostgres;
use runtime::kafka::KafkaArgs;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::net::Ipv4Addr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Polls every 20 ms until `reached` answers true, at most `timeout`; then panics with `what`, which names what was waited for.
pub async fn until(what: &str, timeout: Duration, mut reached: impl AsyncFnMut() -> bool) {
    let look = async || {
        if reached().await {
            Ok(())
        } else {
            Err(what.to_owned())
        }
    };
    wait_for(timeout, look).await;
}

/// As [`until`], where there is something to return: polls until `look` finds it, and panics with the last error, which says what is there
/// instead.
pub async fn wait_for<T>(timeout: Duration, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(error) => assert!(
                Instant::now() < deadline,
                "not within {} s: {error}",
                timeout.as_secs()
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `127.0.0.1:port`, of a [free port](crate::ports::free_port): for a process that is told where to listen, or for one that finds nobody there.
#[must_use]
pub fn free_address() -> String {
    format!("{}:{}", Ipv4Addr::LOCALHOST, free_port().unwrap())
}

/// The flags that lead a role in another process to a plaintext broker.
#[must_use]
pub fn kafka_flags(kafka: &KafkaArgs) -> Vec<String> {
    let brokers = format!("--kafka-brokers={}", kafka.kafka_brokers);
    let settings = kafka.kafka_config.iter();
    let settings = settings.map(|setting| format!("--kafka-config={setting}"));
    [brokers].into_iter().chain(settings).collect()
}

/// The private PostgreSQL that the tests of one process share. It goes with the process.
pub fn cluster() -> &'static PrivatePostgres {
    static CLUSTER: OnceLock<PrivatePostgres> = OnceLock::new();
    CLUSTER.get_or_init(|| PrivatePostgres::start(false).unwrap())
}

/// URL of a new, empty database in [`cluster`], as superuser. Holds a password.
pub async fn database() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&cluster().url()).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut admin)
        .await
        .unwrap();
    admin.close().await.unwrap();
    cluster().url_of(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tests_share_a_cluster_and_not_a_database() {
        let (one, other) = (database().await, database().await);
        let mut connection = PgConnection::connect(&one).await.unwrap();
        sqlx::query("CREATE TABLE mine ()")
            .execute(&mut connection)
            .await
            .unwrap();
        let mut connection = PgConnection::connect(&other).await.unwrap();
        let found: Option<String> = sqlx::query_scalar("SELECT to_regclass('mine')::text")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(found, None);
    }

    #[tokio::test]
    #[should_panic(expected = "not within 0 s: the impossible")]
    async fn what_is_never_reached_is_named() {
        until("the impossible", Duration::ZERO, async || false).await;
    }

    #[tokio::test]
    async fn what_is_found_is_returned() {
        let mut asked = 0;
        let look = async || {
            asked += 1;
            if asked > 1 {
                Ok("found")
            } else {
                Err("asked once".to_owned())
            }
        };
        assert_eq!(wait_for(Duration::from_secs(60), look).await, "found");
    }
}
