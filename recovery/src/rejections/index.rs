//! From the topic to the table. A record that is read again changes nothing; one that cannot be read is counted and skipped: it is a sample.

use crate::config::Config;
use crate::context::{Context, SCHEMA};
use crate::metrics as names;
use contracts::webhook::refused::{Captured, RefusedRequest};
use runtime::consumer::{self, ConsumerSettings, Handler, Outcome, Record, StageError};
use runtime::health::Health;
use serde_json::Value;
use sqlx::postgres::PgPool;
use std::time::Duration;
use store::connect::ACQUIRE;
use store::servers::Servers;
use store::{fault::classify, within};
use tokio_util::sync::CancellationToken;

/// Its name in metrics and logs.
const STAGE: &str = "rejections";
/// After which a consumer that ended is started again.
const RESTART: Duration = Duration::from_secs(30);
/// Longest text of a column, in characters; the edge writes less.
const TEXT_CHARACTERS: usize = 1000;
/// Largest body that the edge captures.
const BODY_BYTES: usize = contracts::webhook::refused::CaptureRejected::MOST_BYTES;

/// The table as a stage.
#[derive(Debug)]
pub struct Index {
    pool: PgPool,
    runtime: tokio::runtime::Handle,
}

impl Index {
    /// With connections of its own: the index of dead letters does not wait for it.
    ///
    /// # Errors
    /// A database URL that cannot be used.
    pub fn new(
        context: &Context,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, runtime::config::ConfigError> {
        let servers = Servers::parse(&context.args.database.database_url, SCHEMA.role)?;
        Ok(Self {
            pool: servers.pool(1, ACQUIRE),
            runtime,
        })
    }
}

impl Handler for Index {
    fn stage(&self) -> &'static str {
        STAGE
    }

    fn handle(&mut self, batch: &[Record<'_>]) -> Result<Vec<Outcome>, StageError> {
        let rows: Vec<Row> = batch.iter().filter_map(Row::of).collect();
        let unreadable = batch.len() - rows.len();
        within(&self.runtime, insert(&self.pool, &rows))?;
        metrics::counter!(names::REJECTIONS_UNREADABLE).increment(unreadable as u64);
        Ok(batch.iter().map(|_| Outcome::Done).collect())
    }
}

/// A record and where it is.
struct Row {
    partition: i32,
    offset: i64,
    refused: RefusedRequest,
}

impl Row {
    fn of(record: &Record<'_>) -> Option<Self> {
        let refused = serde_json::from_slice(record.value()).ok()?;
        Some(Self {
            partition: record.partition,
            offset: record.offset,
            refused,
        })
    }
}

/// Text that PostgreSQL takes, of a bounded length: only the edge writes the topic, and it is not believed either.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|character| *character != '\0')
        .take(TEXT_CHARACTERS)
        .collect()
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Method, query and headers, without the body, which has a column of its own.
fn head(captured: &Captured) -> Value {
    let headers: Vec<_> = captured
        .headers
        .iter()
        .take(200)
        .map(|(name, value)| (clean(name), value.replace('\0', "")))
        .collect();
    let query = captured.query.as_ref().map(|query| query.replace('\0', ""));
    serde_json::json!({"method": clean(&captured.method), "query": query, "headers": headers})
}

async fn insert(pool: &PgPool, rows: &[Row]) -> Result<(), StageError> {
    if rows.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        (|$row:ident| $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let captured = |row: &Row| {
        row.refused
            .captured
            .as_ref()
            .map(|captured| head(captured).to_string())
    };
    let parts = |row: &Row| serde_json::to_string(&row.refused.parts).unwrap_or_default();
    let body = |row: &Row| {
        let captured = row.refused.captured.as_ref()?;
        captured
            .body
            .clone()
            .filter(|body| body.len() <= BODY_BYTES)
    };
    sqlx::query(
        "INSERT INTO rejections (topic_partition, topic_offset, at, source, code, status, detail, scheme, peer, user_agent, skew_seconds, parts,
             body_bytes, body_sha256, trace_id, left_out, captured, body, captured_until)
         SELECT topic_partition, topic_offset, at, source, code, status, detail, scheme, peer, user_agent, skew_seconds, parts::json,
             body_bytes, body_sha256, trace_id, left_out, captured::json, body, captured_until
         FROM UNNEST($1::integer[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::integer[], $7::text[], $8::text[], $9::text[],
             $10::text[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::bigint[], $17::text[], $18::bytea[],
             $19::timestamptz[])
             AS row (topic_partition, topic_offset, at, source, code, status, detail, scheme, peer, user_agent, skew_seconds, parts,
             body_bytes, body_sha256, trace_id, left_out, captured, body, captured_until)
         ON CONFLICT DO NOTHING",
    )
    .bind(column!(|row| row.partition))
    .bind(column!(|row| row.offset))
    .bind(column!(|row| row.refused.time))
    .bind(column!(|row| clean(&row.refused.source)))
    .bind(column!(|row| clean(&row.refused.code)))
    .bind(column!(|row| i32::from(row.refused.status)))
    .bind(column!(|row| clean(&row.refused.detail)))
    .bind(column!(|row| row.refused.scheme.as_deref().map(clean)))
    .bind(column!(|row| clean(&row.refused.peer)))
    .bind(column!(|row| row.refused.user_agent.as_deref().map(clean)))
    .bind(column!(|row| row.refused.skew_seconds))
    .bind(column!(|row| parts(row).replace("\\u0000", "")))
    .bind(column!(|row| row.refused.body_bytes.map(number)))
    .bind(column!(|row| row.refused.body_sha256.as_deref().map(clean)))
    .bind(column!(|row| row.refused.trace_id.as_deref().map(clean)))
    .bind(column!(|row| number(row.refused.left_out)))
    .bind(column!(|row| captured(row)))
    .bind(column!(|row| body(row)))
    .bind(column!(|row| row.refused.captured.as_ref().map(|captured| captured.until)))
    .execute(pool)
    .await
    .map_err(classify)?;
    Ok(())
}

/// Reads the topic until `shutdown`. Its checks are its own: what is wrong here is in the log, and stops nothing of on-call's.
pub(super) async fn run(config: Config, context: Context, shutdown: CancellationToken) {
    let topic = context.pipeline.rejections.clone();
    let group = &context.pipeline.recovery.rejections_group;
    let settings = ConsumerSettings {
        batch_records: 500,
        batch_age: Duration::from_millis(50),
        ..ConsumerSettings::new(&config.common.kafka, group, vec![topic])
    };
    while !shutdown.is_cancelled() {
        let index = match Index::new(&context, tokio::runtime::Handle::current()) {
            Ok(index) => index,
            Err(error) => {
                tracing::error!(event = "rejections_not_read", %error);
                return;
            }
        };
        let ended = consumer::run(
            settings.clone(),
            index,
            None,
            Health::new(),
            shutdown.clone(),
        );
        if let Err(error) = ended.await {
            tracing::error!(
                event = "rejections_not_read",
                error = format!("{error:#}"),
                "trying again"
            );
        }
        shutdown
            .run_until_cancelled(tokio::time::sleep(RESTART))
            .await;
    }
}
