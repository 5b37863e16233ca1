//! What tests of several crates share. Everything here panics instead of returning an error: a test has nothing better to do with one.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "only tests call this"
)]

use crate::postgres::PrivatePostgres;
use runtime::kafka::KafkaArgs;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

/// Polls every 20 ms until `reached` answers true, at most `timeout`; then panics with `what`, which names what was waited for.
pub async fn until(what: &str, timeout: Duration, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !reached().await {
        assert!(
            Instant::now() < deadline,
            "not within {} s: {what}",
            timeout.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `127.0.0.1:port`, free a moment ago: for a process that is told where to listen.
#[must_use]
pub fn free_address() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

/// The flags that lead a role in another process to a plaintext broker.
#[must_use]
pub fn kafka_flags(kafka: &KafkaArgs) -> Vec<String> {
    let brokers = format!("--kafka-brokers={}", kafka.kafka_brokers);
    let settings = kafka.kafka_config.iter();
    let settings = settings.map(|setting| format!("--kafka-config={setting}"));
    [brokers].into_iter().chain(settings).collect()
}

/// An empty database on a private cluster that the tests of one process share. The cluster goes with the last test that uses it.
#[derive(Debug)]
pub struct TestDatabase {
    cluster: Arc<PrivatePostgres>,
    name: String,
}

impl TestDatabase {
    /// Creates it; `name` is one no other test of this process uses.
    pub async fn create(name: &str) -> Self {
        // The last user drops the cluster: a static is never dropped, and its files would stay.
        static CLUSTER: OnceLock<Mutex<Weak<PrivatePostgres>>> = OnceLock::new();
        let cluster = {
            let mut shared = CLUSTER.get_or_init(Mutex::default).lock().unwrap();
            shared.upgrade().unwrap_or_else(|| {
                let started = Arc::new(PrivatePostgres::start(false).unwrap());
                *shared = Arc::downgrade(&started);
                started
            })
        };
        let mut admin = PgConnection::connect(&cluster.url()).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut admin)
            .await
            .unwrap();
        Self {
            cluster,
            name: name.to_owned(),
        }
    }

    /// Its URL, as superuser. Holds a password.
    #[must_use]
    pub fn url(&self) -> String {
        self.cluster.url_of(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tests_share_a_cluster_and_not_a_database() {
        let (one, other) = (
            TestDatabase::create("one").await,
            TestDatabase::create("other").await,
        );
        assert!(Arc::ptr_eq(&one.cluster, &other.cluster));
        let mut connection = PgConnection::connect(&one.url()).await.unwrap();
        sqlx::query("CREATE TABLE mine ()")
            .execute(&mut connection)
            .await
            .unwrap();
        let mut connection = PgConnection::connect(&other.url()).await.unwrap();
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
}
