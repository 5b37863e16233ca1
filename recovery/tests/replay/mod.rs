//! What the tests of replays share: a database a test, a broker, dead letters put in by hand, and the part of the stages played.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test; not every one uses all"
)]

use clap::Parser;
use recovery::model::{Job, Selection};
use recovery::replay::jobs;
use recovery::replay::runner::Settings;
use recovery::{Context, PipelineArgs, SCHEMA};
use runtime::admin::OwnedRecord;
use runtime::health::Health;
use runtime::publisher::{Publisher, PublisherSettings};
use sandbox::broker::EmbeddedBroker;
use sandbox::harness::{database, wait_for};
use sha2::{Digest, Sha256};
use sqlx::{Executor, PgPool};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const VALIDATOR: &str = "eventflow-validator";
pub const PERSISTENCE: &str = "eventflow-persistence";
pub const RETRY_VALIDATOR: &str = "events.retry.eventflow-validator.v1";
pub const RETRY_PERSISTENCE: &str = "events.retry.eventflow-persistence.v1";
pub const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub struct World {
    pub broker: EmbeddedBroker,
    pub recovery: Context,
    pub pool: PgPool,
    pub url: String,
}

pub fn pipeline(url: &str, more: &[&str]) -> PipelineArgs {
    let all = ["test", "--database-url", url]
        .into_iter()
        .chain(more.iter().copied());
    Cli::parse_from(all).pipeline
}

/// The source `acme` as a file; `entity_key` as TOML.
pub fn sources_file(folder: &std::path::Path, entity: &str) -> String {
    let (file, secret) = (folder.join("sources.toml"), folder.join("secret"));
    std::fs::write(&secret, "a secret of acme").unwrap();
    let source = format!(
        "[[source]]\nname = \"acme\"\nscheme = \"eventflow\"\nevent = {{ entity = {entity} }}\n\
         secrets = [{{ id = \"one\", from = \"file:{}\" }}]\n",
        secret.display()
    );
    std::fs::write(&file, source).unwrap();
    file.display().to_string()
}

/// With the source `acme`, whose events are about payments.
pub async fn world(more: &[&str]) -> World {
    let broker = EmbeddedBroker::start(&[
        (RETRY_VALIDATOR, 3),
        (RETRY_PERSISTENCE, 3),
        (contracts::kafka::topics::RAW, 1),
    ])
    .unwrap();
    let url = database().await;
    let folder = tempfile::tempdir().unwrap();
    let sources = sources_file(folder.path(), "\"/payload/payment_id\"");
    let mut flags = more.to_vec();
    if !flags.contains(&"--sources") {
        flags.extend(["--sources", &sources]);
    }
    let recovery = Context::new(pipeline(&url, &flags), Some(broker.kafka())).unwrap();
    SCHEMA.migrate(recovery.pool()).await.unwrap();
    let pool = recovery.pool().clone();
    World {
        broker,
        recovery,
        pool,
        url,
    }
}

/// A dead letter as the index would have it.
#[derive(Clone)]
pub struct Dead<'a> {
    pub group: &'a str,
    pub code: &'a str,
    pub raw: (i32, i64),
    pub value: Option<&'a [u8]>,
    pub headers: serde_json::Value,
    pub replay_count: i32,
}

impl Default for Dead<'_> {
    fn default() -> Self {
        Self {
            group: VALIDATOR,
            code: "invalid_amount",
            raw: (0, 0),
            value: Some(b"{}"),
            headers: serde_json::json!([["ef.source", "acme"]]),
            replay_count: 0,
        }
    }
}

impl World {
    /// The schema persistence makes, in its own place.
    pub async fn with_persistence(self) -> Self {
        let options: sqlx::postgres::PgConnectOptions = self.url.parse().unwrap();
        let pool = PgPool::connect_with(options.options([("search_path", "persistence")]))
            .await
            .unwrap();
        pool.execute("CREATE SCHEMA persistence").await.unwrap();
        sqlx::migrate!("../persistence/migrations")
            .run(&pool)
            .await
            .unwrap();
        pool.close().await;
        self
    }

    pub async fn dead(&self, dead: &Dead<'_>) -> i64 {
        let stage = dead.group.trim_start_matches("eventflow-");
        let group: i64 = sqlx::query_scalar(
            "INSERT INTO groups (stage, code, source, event_type) VALUES ($1, $2, 'acme', 'payment.authorized.v1')
             ON CONFLICT (stage, code, source, event_type) DO UPDATE SET code = $2 RETURNING id",
        )
        .bind(stage)
        .bind(dead.code)
        .fetch_one(&self.pool)
        .await
        .unwrap();
        sqlx::query_scalar(
            "INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset,
                 consumer_group, detail, disposition, attempts, replay_count, first_failed_at, last_failed_at, key, value, value_bytes,
                 value_sha256, headers)
             VALUES ($1, 'events.raw.v1', $2, $3, 'eventflow', 0, $3, $4, 'because', 'contract', 1, $5, now(), now(), 'k', $6, $7, $8, $9::json)
             RETURNING id",
        )
        .bind(group)
        .bind(dead.raw.0)
        .bind(dead.raw.1)
        .bind(dead.group)
        .bind(dead.replay_count)
        .bind(dead.value)
        .bind(dead.value.map(|value| i32::try_from(value.len()).unwrap()))
        .bind(dead.value.map(|value| Sha256::digest(value).to_vec()))
        .bind(dead.headers.to_string())
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// So many dead letters of one group, by raw offsets 0, 1, ...
    pub async fn many(&self, count: i64) -> Vec<i64> {
        let mut ids = Vec::new();
        for offset in 0..count {
            let value = format!("{{\"n\":{offset}}}");
            ids.push(
                self.dead(&Dead {
                    raw: (0, offset),
                    value: Some(value.as_bytes()),
                    ..Dead::default()
                })
                .await,
            );
        }
        ids
    }

    pub async fn planned(&self, ids: &[i64], key: &str) -> Job {
        let selection = Selection {
            id: ids.to_vec(),
            ..Selection::default()
        };
        jobs::plan(&self.recovery, "ann", &selection, "a test", key, None)
            .await
            .unwrap()
    }

    /// Planned and applied.
    pub async fn applied(&self, ids: &[i64], rate: f64) -> Job {
        let job = self.planned(ids, &format!("{:x}", fastrand::u64(..))).await;
        jobs::apply(&self.recovery, "ann", &job.id, Some(rate), true)
            .await
            .unwrap()
    }

    pub fn start_runner(&self) -> Runner {
        start_runner(&self.recovery, &self.broker, Duration::from_millis(300))
    }

    /// Persistence's word on raw records.
    pub async fn stored(&self, raws: &[(i32, i64)], duplicate: bool) {
        for (partition, offset) in raws {
            let query = if duplicate {
                "INSERT INTO persistence.duplicates (raw_partition, raw_offset, source, event_id) VALUES ($1, $2, 'acme', 'e' || $2)
                 ON CONFLICT DO NOTHING"
            } else {
                "INSERT INTO persistence.events (source, event_id, event_type, contract, occurred_at, payload, content_hash, schema_id,
                     raw_partition, raw_offset)
                 VALUES ('acme', 'e' || $2, 't', '1', now(), '{}', 'h', 1, $1, $2) ON CONFLICT DO NOTHING"
            };
            sqlx::query(query)
                .bind(partition)
                .bind(offset)
                .execute(&self.pool)
                .await
                .unwrap();
        }
    }

    pub fn retried(&self) -> Vec<OwnedRecord> {
        runtime::admin::read_all(&self.broker.kafka(), RETRY_VALIDATOR).unwrap()
    }

    pub async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn text(&self, query: &'static str) -> Option<String> {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The job, once `wanted` holds.
    pub async fn job_when(&self, id: &str, wanted: impl Fn(&Job) -> bool) -> Job {
        wait_for(DEADLINE, async || {
            // In an outage of the database there is no answer.
            match jobs::get(&self.recovery, id).await {
                Ok(job) if wanted(&job) => Ok(job),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

pub fn count(job: &Job, state: &str) -> i64 {
    job.by_state
        .get(&state.parse().unwrap())
        .copied()
        .unwrap_or(0)
}

pub struct Runner {
    pub task: JoinHandle<()>,
    pub health: Health,
    publisher: Publisher,
    stop: CancellationToken,
}

pub fn start_runner(recovery: &Context, broker: &EmbeddedBroker, grace: Duration) -> Runner {
    let (health, stop) = (Health::new(), CancellationToken::new());
    let settings = PublisherSettings {
        record_timeout: Duration::from_secs(5),
        ..PublisherSettings::stage("recovery")
    };
    let publisher = Publisher::new(&broker.kafka(), &settings, &health).unwrap();
    let settings = Settings {
        poll: Duration::from_millis(20),
        recheck: Duration::from_millis(50),
        grace,
    };
    let running = recovery::replay::runner::run_with(
        recovery.clone(),
        publisher.clone(),
        health.clone(),
        stop.clone(),
        settings,
    );
    Runner {
        task: tokio::spawn(running),
        health,
        publisher,
        stop,
    }
}

impl Runner {
    /// As a process that is killed: in the middle of whatever it does.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }

    /// Killed, and what it had handed to its client is in the topic or given up before the next one starts: the grace, which tests take
    /// short, stands for longer than a record may be on its way, and a busy machine makes that longer than any short grace.
    pub async fn kill_and_settle(self) {
        let publisher = self.publisher.clone();
        self.kill().await;
        assert_eq!(publisher.drain(DEADLINE).await, 0, "nothing is on its way");
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

/// A registry with the built-in contracts, and nothing else.
pub async fn registry() -> String {
    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use contracts::event::Catalog;
    let by_id = |Path(id): Path<i32>| async move {
        let contracts = Catalog::builtin();
        match contracts
            .iter()
            .find(|contract| contract.schema_id == Some(id))
        {
            Some(contract) => (
                StatusCode::OK,
                serde_json::json!({"schema": contract.record_avsc}).to_string(),
            ),
            None => (
                StatusCode::NOT_FOUND,
                r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned(),
            ),
        }
    };
    let by_subject = |Path(subject): Path<String>| async move {
        let contracts = Catalog::builtin();
        let id = contracts
            .iter()
            .find(|contract| subject.ends_with(&contract.record_name))
            .unwrap()
            .schema_id;
        serde_json::json!({ "id": id }).to_string()
    };
    let app = axum::Router::new()
        .route("/schemas/ids/{id}", get(by_id))
        .route("/subjects/{subject}/versions", post(by_subject));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// A webhook body, with a payload of its own.
pub fn body(event_id: &str, amount: &str) -> String {
    format!(
        r#"{{"event_id":"{event_id}","event_type":"payment.authorized.v1","schema_version":1,"source":"s","timestamp":"2026-01-02T03:04:05Z","payload":{{"payment_id":"p","order_id":"o","amount":{amount},"currency":"EUR","provider_auth_id":"a"}}}}"#
    )
}

/// In a text of [`framed`], stands for U+0000: a validator before this one published that, and PostgreSQL refuses it.
pub const NUL: char = '\u{7f}';

/// As the validator publishes it.
pub fn framed(body: &str) -> Vec<u8> {
    let contracts = contracts::event::Catalog::builtin();
    let event = contracts
        .validate(contracts::event::Envelope::own(body.as_bytes()).unwrap())
        .unwrap();
    let mut value = Vec::new();
    contracts::avro::framing::frame(event.contract().schema_id.unwrap(), &mut value);
    event.encode(&mut value);
    for byte in &mut value {
        if char::from(*byte) == NUL {
            *byte = 0;
        }
    }
    value
}
