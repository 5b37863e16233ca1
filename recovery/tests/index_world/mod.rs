//! A database of its own for each test, with recovery's schema, and dead letters made by hand.

#![allow(dead_code, clippy::unwrap_used, reason = "every test uses its part")]

use clap::Parser as _;
use contracts::RejectionCode;
use recovery::index::Index;
use recovery::{Context, PipelineArgs, SCHEMA};
use runtime::consumer::{Handler as _, Header, Record, StageError};
use runtime::kafka::KafkaArgs;
use sandbox::harness::database;
use sqlx::PgPool;

pub const DLQ: &str = "events.dlq.v1";

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub struct World {
    pub url: String,
    pub recovery: Context,
    pub pool: PgPool,
}

/// `registry` is a URL; a port nobody listens on is a registry that is down.
pub async fn world_with(registry: &str, kafka: Option<KafkaArgs>) -> World {
    world_at(database().await, registry, kafka).await
}

/// On this empty database.
pub async fn world_at(url: String, registry: &str, kafka: Option<KafkaArgs>) -> World {
    let cli = Cli::parse_from(["test", "--database-url", &url, "--registry-url", registry]);
    let recovery = Context::new(cli.pipeline, kafka).unwrap();
    SCHEMA.migrate(recovery.pool()).await.unwrap();
    let pool = recovery.pool().clone();
    World {
        url,
        recovery,
        pool,
    }
}

pub async fn world() -> World {
    world_with("http://127.0.0.1:9", None).await
}

impl World {
    pub fn index(&self) -> Index {
        let mut index = Index::new(
            &self.recovery,
            "eventflow-recovery",
            tokio::runtime::Handle::current(),
        )
        .unwrap();
        assign(&mut index);
        index
    }

    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The counters must always be what counting gives.
    pub async fn assert_counters(&self) {
        let wrong: Vec<(i64, i64, i64)> = sqlx::query_as(
            "SELECT g.id, g.open + g.replaying * 1000000 + g.resolved * 1000000000000, coalesce(c.n, 0)
             FROM groups g FULL JOIN (
                 SELECT group_id, (count(*) FILTER (WHERE state = 'open') + count(*) FILTER (WHERE state = 'replaying') * 1000000
                        + count(*) FILTER (WHERE state = 'resolved') * 1000000000000)::bigint AS n,
                        count(*) FILTER (WHERE state = 'discarded') AS discarded, sum(kept_bytes) AS bytes,
                        min(id) AS first
                 FROM dead_letters GROUP BY group_id) c ON c.group_id = g.id
             WHERE g.id IS NULL OR g.open + g.replaying * 1000000 + g.resolved * 1000000000000 <> coalesce(c.n, 0)
                OR g.discarded <> coalesce(c.discarded, 0) OR g.bytes <> coalesce(c.bytes, 0)
                OR (c.n IS NOT NULL AND g.sample IS NULL)",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        assert!(wrong.is_empty(), "counters are wrong: {wrong:?}");
    }
}

pub fn assign(index: &mut Index) {
    let places: Vec<(String, i32)> = (0..3)
        .map(|partition| (DLQ.to_owned(), partition))
        .collect();
    tokio::task::block_in_place(|| index.positions(&places)).unwrap();
}

/// A dead letter as the runtime makes it.
#[derive(Debug, Clone)]
pub struct Made {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

pub fn body(id: &str, event_type: &str) -> Vec<u8> {
    format!(
        r#"{{"event_id":"{id}","event_type":"{event_type}","schema_version":1,"source":"vendor","payload":{{"payment_id":"p"}}}}"#
    )
    .into_bytes()
}

/// One of ours, at an offset of partition 0, from the raw record of the same offset.
pub fn ours(offset: i64, code: RejectionCode) -> Made {
    let micros = (1_790_000_000_000_000 + offset * 1_000_000).to_string();
    let detail = format!("/payload/amount: what is wrong with {offset}");
    let headers = [
        ("ef.source", "acme"),
        ("ef.event_id", &format!("evt-{offset}")),
        ("ef.received_at", "1789999999000000"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("ef.raw", &format!("2:{offset}")),
        ("__dlq.errors.topic", "events.raw.v1"),
        ("__dlq.errors.partition", "2"),
        ("__dlq.errors.offset", &offset.to_string()),
        ("__dlq.errors.group", "eventflow-validator"),
        ("__dlq.errors.delivery.count", "1"),
        ("__dlq.errors.message", &detail),
        ("ef.dlq.stage", "validator"),
        ("ef.dlq.group", "eventflow-validator"),
        ("ef.dlq.code", code.code()),
        ("ef.dlq.detail", &detail),
        ("ef.dlq.disposition", code.disposition()),
        ("ef.dlq.attempts", "1"),
        ("ef.dlq.first_failed_at", &micros),
        ("ef.dlq.last_failed_at", &micros),
        ("ef.dlq.service_version", "0.1.0"),
    ];
    Made {
        partition: 0,
        offset,
        timestamp_ms: 1_790_000_000_000,
        key: Some(format!("pay-{}", offset % 7).into_bytes()),
        value: Some(body(&format!("evt-{offset}"), "payment.authorized.v1")),
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect(),
    }
}

impl Made {
    /// Sets a header, or adds it.
    pub fn with(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        let value = value.into();
        match self.headers.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.headers.push((name.to_owned(), value)),
        }
        self
    }

    pub fn at(mut self, offset: i64) -> Self {
        self.offset = offset;
        self
    }
}

/// Hands a batch to the index as the consumer loop does: on a thread that may block.
pub fn take(index: &mut Index, batch: &[Made]) -> Result<(), StageError> {
    let headers: Vec<Vec<Header<'_>>> = batch
        .iter()
        .map(|made| {
            made.headers
                .iter()
                .map(|(name, value)| (name.as_str(), Some(value.as_slice())))
                .collect()
        })
        .collect();
    let records: Vec<Record<'_>> = batch
        .iter()
        .zip(&headers)
        .map(|(made, headers)| {
            Record::new(
                DLQ,
                made.partition,
                made.offset,
                made.timestamp_ms,
                made.key.as_deref(),
                made.value.as_deref(),
                headers,
            )
        })
        .collect();
    let outcomes = tokio::task::block_in_place(|| index.handle(&records))?;
    assert_eq!(outcomes.len(), batch.len());
    assert!(
        outcomes.iter().all(|outcome| outcome.rejection().is_none()),
        "the index rejects nothing"
    );
    Ok(())
}
