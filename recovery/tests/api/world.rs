//! A database of its own for each test, tokens of every role, and dead letters.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use clap::Parser;
use http_body_util::BodyExt;
use recovery::http::Tokens;
use recovery::{Context, PipelineArgs, SCHEMA};
use sandbox::harness::database;
use serde_json::Value;
use sqlx::PgPool;
use std::io::Write;
use tower::ServiceExt;

/// What no terminal and no page may take at its word.
pub(crate) const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}<script>alert(1)</script>'; DROP TABLE dead_letters; --\u{202e}\u{9b}";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) recovery: Context,
    pub(crate) router: Router,
    _secrets: Vec<tempfile::NamedTempFile>,
}

/// One answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media: String,
    pub(crate) text: String,
    pub(crate) json: Value,
}

pub(crate) fn token(role: &str) -> String {
    format!("the-{role}-token-0123456789")
}

/// `NAME:ROLE=file:...` for every role, and the files.
pub(crate) fn entries() -> (Vec<String>, Vec<tempfile::NamedTempFile>) {
    let roles = [
        ("vera", "viewer"),
        ("olga", "operator"),
        ("otto", "operator"),
        ("anna", "admin"),
    ];
    roles.into_iter().fold(
        (Vec::new(), Vec::new()),
        |(mut entries, mut files), (name, role)| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let secret = if name == "otto" {
                token("second")
            } else {
                token(role)
            };
            file.write_all(secret.as_bytes()).unwrap();
            entries.push(format!("{name}:{role}=file:{}", file.path().display()));
            files.push(file);
            (entries, files)
        },
    )
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(flags: &[&str]) -> Self {
        let url = database().await;
        let pipeline =
            Arguments::parse_from([&["test", "--database-url", &url], flags].concat()).pipeline;
        let recovery = Context::new(pipeline, None).unwrap();
        SCHEMA.migrate(recovery.pool()).await.unwrap();
        let (entries, secrets) = entries();
        let router = recovery::http::routes(recovery.clone(), &Tokens::parse(&entries).unwrap());
        let pool = recovery.pool().clone();
        Self {
            pool,
            recovery,
            router,
            _secrets: secrets,
        }
    }

    /// So many open dead letters of one group; their numbers, ascending.
    pub(crate) async fn dead_letters(&self, code: &str, many: i64) -> Vec<i64> {
        let group: i64 = sqlx::query_scalar(
            "INSERT INTO groups (stage, code, source, event_type) VALUES ('validator', $1, 'payment-provider', 'payment.authorized.v1') RETURNING id",
        )
        .bind(code)
        .fetch_one(&self.pool)
        .await
        .unwrap();
        let body = r#"{"event_id":"evt_1","payload":{"amount":"-1"}}"#;
        let mut ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset,
                consumer_group, detail, disposition, attempts, first_failed_at, last_failed_at, event_id, entity_key, key, value, value_bytes,
                value_sha256, headers)
             SELECT $1, 'events.raw.v1', 0, $1 * 100000 + n, 'eventflow', 0, $1 * 100000 + n, 'eventflow-validator', $2, 'contract', 1,
                clock_timestamp(), clock_timestamp(), 'evt_' || n, 'pay_' || n, 'k', $3, length($3), sha256($3), $4::json
             FROM generate_series(1, $5) n RETURNING id",
        )
        .bind(group)
        .bind(HOSTILE)
        .bind(body.as_bytes())
        .bind(serde_json::json!([["ef.source", "payment-authorized"], ["x-note", HOSTILE], ["null", null]]).to_string())
        .bind(many)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        ids.sort_unstable();
        ids
    }

    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// As the token of this role; no token for the empty one.
    pub(crate) async fn ask(
        &self,
        role: &str,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        self.ask_with(role, method, path, body, None).await
    }

    pub(crate) async fn ask_with(
        &self,
        role: &str,
        method: &str,
        path: &str,
        body: impl Into<Body>,
        key: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path);
        if !role.is_empty() {
            request = request.header("authorization", format!("Bearer {}", token(role)));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(self.router.clone(), request.body(body.into()).unwrap()).await
    }
}

pub(crate) async fn answer(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let media = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let text = String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap();
    let json = serde_json::from_str(&text).unwrap_or_default();
    Answer {
        status,
        media,
        text,
        json,
    }
}

impl Answer {
    /// A problem document with this status and code.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.json["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        assert_eq!(
            (self.media.as_str(), self.json["status"].as_u64()),
            ("application/problem+json", Some(u64::from(status)))
        );
        assert!(
            self.json["detail"].as_str().unwrap().len() > 10 && self.json["title"].is_string(),
            "{}",
            self.text
        );
    }

    #[track_caller]
    pub(crate) fn is_done(&self) -> &Value {
        assert_eq!(self.status, 200, "{}", self.text);
        &self.json
    }
}
