//! A database of its own for each test, dead letters, and a browser without a screen: cookies, forms, what a page says.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use clap::Parser;
use console::{Console, ConsoleSettings};
use http_body_util::BodyExt;
use recovery::http::{Tokens, routes};
use recovery::{Context, PipelineArgs, SCHEMA};
use sandbox::harness::database;
use sqlx::PgPool;
use std::path::Path;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// What no page may take at its word.
pub(crate) const HOSTILE: &str =
    "<script>alert(1)</script>\"><img src=x onerror=alert(1)>' {{x}} \u{202e}\u{1b}[2J\u{9b}";
/// A value whose contract takes it once the amount is positive.
pub(crate) const BROKEN: &str = r#"{"event_id":"evt_1","event_type":"payment.authorized.v1","schema_version":1,"source":"payment-provider","timestamp":"2026-01-02T03:04:05Z","payload":{"payment_id":"pay_1","order_id":"o","amount":"-1.00","currency":"EUR","provider_auth_id":"a"}}"#;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) console: Console,
    pub(crate) router: Router,
    _folder: tempfile::TempDir,
}

pub(crate) fn token(name: &str) -> String {
    format!("the-token-of-{name}-0123456789")
}

fn secret(folder: &Path, name: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, token(name)).unwrap();
    format!("file:{}", file.display())
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[], ConsoleSettings::default()).await
    }

    pub(crate) async fn with(flags: &[&str], settings: ConsoleSettings) -> Self {
        let (url, folder) = (database().await, tempfile::tempdir().unwrap());
        let sources = folder.path().join("sources.toml");
        let source = format!(
            "[[source]]\nname = \"payment-provider\"\nscheme = \"eventflow\"\nevent = {{ entity = \"/payload/payment_id\" }}\n\
             secrets = [{{ id = \"one\", from = \"{}\" }}]\n",
            secret(folder.path(), "source")
        );
        std::fs::write(&sources, source).unwrap();
        let sources = sources.display().to_string();
        let all = [
            &["test", "--database-url", &url, "--sources", &sources],
            flags,
        ]
        .concat();
        let recovery = Context::new(Arguments::parse_from(all).pipeline, None).unwrap();
        SCHEMA.migrate(recovery.pool()).await.unwrap();
        let persistence = persistence::writer::SCHEMA
            .pool(&contracts::Secret::new(url), 1)
            .unwrap();
        persistence::writer::SCHEMA
            .migrate(&persistence)
            .await
            .unwrap();
        let entries = [
            ("vera", "viewer"),
            ("olga", "operator"),
            ("otto", "operator"),
        ];
        let entries =
            entries.map(|(name, role)| format!("{name}:{role}={}", secret(folder.path(), name)));
        let tokens = Tokens::parse(&entries).unwrap();
        let console = Console::new(&tokens, settings, CancellationToken::new());
        let pool = recovery.pool().clone();
        let router = console.clone().around(routes(recovery, &tokens));
        Self {
            pool,
            console,
            router,
            _folder: folder,
        }
    }

    /// So many open dead letters of one group, with a value that can be fixed; the group, and their numbers, ascending.
    pub(crate) async fn dead_letters(&self, code: &str, many: i64) -> (i64, Vec<i64>) {
        let group: i64 = sqlx::query_scalar(
            "INSERT INTO groups (stage, code, source, event_type) VALUES ('validator', $1, $2, 'payment.authorized.v1') RETURNING id",
        )
        .bind(code)
        .bind(format!("vendor {HOSTILE}"))
        .fetch_one(&self.pool)
        .await
        .unwrap();
        let mut ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO dead_letters (group_id, origin_topic, origin_partition, origin_offset, family, dlq_partition, dlq_offset,
                consumer_group, detail, disposition, attempts, first_failed_at, last_failed_at, event_id, entity_key, key, value, value_bytes,
                value_sha256, headers)
             SELECT $1, 'events.raw.v1', 0, $1 * 100000 + n, 'eventflow', 0, $1 * 100000 + n, 'eventflow-validator', $2, 'contract', 1,
                clock_timestamp() - interval '3 hours', clock_timestamp() - interval '3 hours', 'evt_' || n, 'pay_' || n, 'k', $3, length($3),
                sha256($3), $4::json
             FROM generate_series(1, $5) n RETURNING id",
        )
        .bind(group)
        .bind(format!("/payload/amount: not positive {HOSTILE}"))
        .bind(BROKEN.as_bytes())
        .bind(serde_json::json!([["ef.source", "payment-provider"], ["x-note", HOSTILE]]).to_string())
        .bind(many)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        ids.sort_unstable();
        (group, ids)
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// A browser in which this person has logged in.
    pub(crate) async fn browser(&self, name: &str) -> Browser<'_> {
        let mut browser = Browser::new(self);
        let answer = browser.submit("/login", &[("token", &token(name))]).await;
        assert_eq!((answer.status, answer.location()), (303, "/"), "{answer:?}");
        browser
    }
}

/// One answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location")
    }

    #[track_caller]
    pub(crate) fn says(&self, status: u16, texts: &[&str]) {
        assert_eq!(self.status, status, "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "{text:?} is not in {}", self.text);
        }
    }

    /// The value of a hidden field.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let (_, rest) = self
            .text
            .split_once(&start)
            .unwrap_or_else(|| panic!("no field {name} in {}", self.text));
        rest.split('"').next().unwrap().to_owned()
    }
}

/// What a browser keeps between two requests.
pub(crate) struct Browser<'w> {
    world: &'w World,
    cookie: String,
    csrf: String,
}

impl<'w> Browser<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        Self {
            world,
            cookie: String::new(),
            csrf: String::new(),
        }
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(crate) fn csrf(&self) -> &str {
        &self.csrf
    }

    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "console.test")
            .header("accept", "text/html")
            .header("cookie", &self.cookie)
    }

    async fn take(&mut self, request: Request<Body>) -> Answer {
        let answer = self.world.ask(request).await;
        if let Some(cookie) = answer.headers.get("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookie = cookie.to_owned();
        }
        if answer.text.contains("name=\"csrf\"") {
            self.csrf = answer.field("csrf");
        }
        answer
    }

    pub(crate) async fn open(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        self.take(request).await
    }

    /// What a script asks for.
    pub(crate) async fn part(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path).header("hx-request", "true");
        let request = request.body(Body::empty()).unwrap();
        self.take(request).await
    }

    /// A form of a page of this session.
    pub(crate) async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf.clone();
        let mut all = fields.to_vec();
        if !csrf.is_empty() {
            all.push(("csrf", &csrf));
        }
        self.submit_as(path, &all, &[("origin", "http://console.test")])
            .await
    }

    pub(crate) async fn submit_as(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut form = String::new();
        for (name, value) in fields {
            let encode = |text: &str| {
                text.bytes()
                    .map(|byte| format!("%{byte:02X}"))
                    .collect::<String>()
            };
            form.push_str(&format!("{}={}&", encode(name), encode(value)));
        }
        let mut request = self
            .request("POST", path)
            .header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(form)).unwrap();
        self.take(request).await
    }

    /// Submits, and goes where the answer leads.
    pub(crate) async fn follow(&mut self, path: &str, fields: &[(&str, &str)]) -> (String, Answer) {
        let answer = self.submit(path, fields).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let place = answer.location().to_owned();
        let page = self.open(&place).await;
        (place, page)
    }
}
