//! A database of its own for each test, with both schemas as the roles make them.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests; each binary uses its part"
)]

use clap::Parser;
use recovery::{Context, PipelineArgs, SCHEMA};
use runtime::kafka::KafkaArgs;
use sandbox::harness::database;
use store::connect::Schema;

pub(crate) const RAW: &str = contracts::kafka::topics::RAW;

static PERSISTENCE: sqlx::migrate::Migrator = sqlx::migrate!("../persistence/migrations");

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(crate) struct World {
    pub(crate) recovery: Context,
    pub(crate) url: String,
}

/// An empty database; with persistence's schema or without.
pub(crate) async fn world(persistence: bool, kafka: Option<KafkaArgs>, options: &[&str]) -> World {
    let url = database().await;
    let mut arguments = vec!["test", "--database-url", &url];
    arguments.extend(options);
    let pipeline = Cli::parse_from(arguments).pipeline;
    if persistence {
        let schema = Schema {
            role: "persistence",
            migrations: &PERSISTENCE,
        };
        schema
            .migrate(&schema.pool(&pipeline.database.database_url, 1).unwrap())
            .await
            .unwrap();
    }
    let recovery = Context::new(pipeline, kafka).unwrap();
    SCHEMA.migrate(recovery.pool()).await.unwrap();
    World { recovery, url }
}

/// Another set of connections to a database.
pub(crate) fn again(url: &str) -> Context {
    Context::new(
        Cli::parse_from(["test", "--database-url", url]).pipeline,
        None,
    )
    .unwrap()
}

impl World {
    pub(crate) async fn run(&self, statement: impl Into<String>) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.into()))
            .execute(self.recovery.pool())
            .await
            .unwrap();
    }

    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(self.recovery.pool())
            .await
            .unwrap()
    }

    /// Rows of raw offsets `range` of a partition.
    pub(crate) async fn store(&self, partition: i32, range: std::ops::Range<i64>) {
        self.run(format!(
            "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id,
                                             raw_partition, raw_offset)
             SELECT 's', 'e-{partition}-' || o, 't', '1', now(), '{{}}', '', 1, {partition}, o
             FROM generate_series({}, {} - 1) o",
            range.start, range.end
        ))
        .await;
    }

    pub(crate) async fn duplicate(&self, partition: i32, offset: i64) {
        self.run(format!(
            "INSERT INTO persistence.duplicates (raw_partition, raw_offset, source, event_id) VALUES ({partition}, {offset}, 's', 'd')"
        ))
        .await;
    }

    /// A dead letter of ours.
    pub(crate) async fn letter(&self, partition: i32, offset: i64, state: &str) {
        self.run(format!(
            "INSERT INTO groups (stage, code, source, event_type) VALUES ('validator', 'invalid_amount', 's', '') ON CONFLICT DO NOTHING;
             INSERT INTO dead_letters (state, group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset,
                                       consumer_group, detail, disposition, attempts, first_failed_at, last_failed_at, headers)
             SELECT '{state}', id, '{RAW}', {partition}, {offset}, 'eventflow', 0, 0, 'eventflow-validator', 'd', 'contract', 1, now(), now(),
                    '[]' FROM groups WHERE code = 'invalid_amount' AND source = 's' AND event_type = ''"
        ))
        .await;
    }

    pub(crate) async fn set_state(&self, partition: i32, offset: i64, state: &str) {
        let settled = matches!(state, "resolved" | "discarded");
        self.run(format!(
            "UPDATE dead_letters SET state = '{state}', settled_at = CASE WHEN {settled} THEN clock_timestamp() END
             WHERE origin_partition = {partition} AND origin_offset = {offset}"
        ))
        .await;
    }
}
