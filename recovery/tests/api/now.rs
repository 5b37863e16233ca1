//! The running role looks at the others, adds up what their instances count, and answers without asking anybody.

use crate::world::{entries, token};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Parser as _;
use recovery::http::Tokens;
use recovery::model::{AttentionKind, Now, RoleNow, RoleState, SourceNow};
use recovery::{Context, SCHEMA};
use runtime::health::Health;
use sandbox::harness::{database, free_address, wait_for};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(60);

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    config: recovery::Config,
}

/// A role's instance, which says what the test wants it to: `/ready`, and `/metrics`.
#[derive(Clone)]
struct Instance {
    address: String,
    says: Arc<Mutex<(bool, String)>>,
}

impl Instance {
    async fn start(metrics: &str) -> Self {
        let says = Arc::new(Mutex::new((true, metrics.to_owned())));
        let (ready, metrics) = (Arc::clone(&says), Arc::clone(&says));
        let router = Router::new()
            .route(
                "/ready",
                get(move || async move {
                    let is_ready = ready.lock().unwrap().0;
                    let reasons = if is_ready {
                        ""
                    } else {
                        r#"{"check":"kafka","reason":"no broker <b>answers\u001b[31m"}"#
                    };
                    let status = if is_ready {
                        StatusCode::OK
                    } else {
                        StatusCode::SERVICE_UNAVAILABLE
                    };
                    (
                        status,
                        format!(r#"{{"ready":{is_ready},"reasons":[{reasons}]}}"#),
                    )
                }),
            )
            .route(
                "/metrics",
                get(move || async move { metrics.lock().unwrap().1.clone() }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, says }
    }

    fn say(&self, ready: bool, metrics: &str) {
        *self.says.lock().unwrap() = (ready, metrics.to_owned());
    }

    fn flag(&self, role: &str) -> String {
        format!("--role={role}=http://{}", self.address)
    }
}

fn edge(accepted: u64, refused: u64) -> String {
    let within = |le: &str, many: u64| {
        format!(
            "eventflow_producer_request_duration_seconds_bucket{{source=\"acme\",le=\"{le}\"}} {many}\n"
        )
    };
    format!(
        "# TYPE x counter\neventflow_producer_events_accepted_total{{source=\"acme\"}} {accepted}\n\
         eventflow_producer_requests_total{{source=\"acme\",code=\"accepted\"}} {accepted}\n\
         eventflow_producer_requests_total{{source=\"acme\",code=\"signature_mismatch\"}} {refused}\n{}{}",
        within("0.01", accepted),
        within("+Inf", accepted + refused),
    )
}

fn stage(name: &str, settled: u64, breaker: bool) -> String {
    format!(
        "eventflow_consumer_records_settled_total{{stage=\"{name}\",outcome=\"forwarded\"}} {settled}\n\
         eventflow_consumer_records_settled_total{{stage=\"other\",outcome=\"forwarded\"}} 1000000\n\
         eventflow_consumer_lag_seconds{{stage=\"{name}\"}} 4.5\n\
         eventflow_consumer_breaker_open{{stage=\"{name}\"}} {}\n\
         eventflow_consumer_source_over_dead_letter_ratio{{stage=\"{name}\",source=\"acme\"}} 1\n",
        u8::from(breaker)
    )
}

/// A running role.
struct Running {
    url: String,
    client: reqwest::Client,
    shutdown: CancellationToken,
    _secrets: Vec<tempfile::NamedTempFile>,
}

impl Running {
    async fn start(database: &str, roles: &[String]) -> Self {
        let mut arguments = vec![
            "test",
            "--kafka-brokers=127.0.0.1:9",
            "--registry-url=http://127.0.0.1:9",
            "--database-url",
            database,
        ];
        arguments.extend(roles.iter().map(String::as_str));
        let config = Cli::parse_from(arguments).config;
        // Without Kafka the role does not get so far by itself, and shows what it can all the same.
        let context = Context::new(config.pipeline.clone(), None).unwrap();
        SCHEMA.migrate(context.pool()).await.unwrap();
        context.pool().close().await;
        let (entries, secrets) = entries();
        let tokens = Tokens::parse(&entries).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/now", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let end = shutdown.clone();
        tokio::spawn(async move {
            recovery::serve(&config, &tokens, |api, _| api, listener, Health::new(), end).await
        });
        Self {
            url,
            client: runtime::http_client::new(),
            shutdown,
            _secrets: secrets,
        }
    }

    async fn now(&self) -> Now {
        let request = self.client.get(&self.url).bearer_auth(token("viewer"));
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until it is as said.
    async fn until(&self, what: &str, holds: impl Fn(&Now) -> bool) -> Now {
        wait_for(DEADLINE, async || {
            let now = self.now().await;
            if holds(&now) {
                Ok(now)
            } else {
                Err(format!("{what}: {now:#?}"))
            }
        })
        .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn role<'n>(now: &'n Now, name: &str) -> &'n RoleNow {
    now.roles.iter().find(|role| role.name == name).unwrap()
}

fn acme(now: &Now) -> Option<&SourceNow> {
    now.sources.iter().find(|source| source.name == "acme")
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_added_up_and_a_restart_loses_nothing() {
    let (one, other) = (
        Instance::start(&edge(1000, 0)).await,
        Instance::start(&edge(50, 7)).await,
    );
    let validator = Instance::start(&stage("validator", 10, false)).await;
    let roles = [
        one.flag("producer"),
        other.flag("producer"),
        validator.flag("validator"),
    ];
    let running = Running::start(&database().await, &roles).await;
    // A first look says how far counters are, and a second one that they stood still.
    let now = running
        .until("two looks", |now| role(now, "producer").rate.is_some())
        .await;
    assert_eq!(
        (
            role(&now, "producer").instances,
            role(&now, "producer").rate
        ),
        (2, Some(0.0))
    );
    assert_eq!(role(&now, "producer").state, RoleState::Ready);
    assert_eq!(role(&now, "validator").lag_seconds, Some(4.5));
    assert_eq!(role(&now, "analytics").state, RoleState::NotConfigured);
    assert_eq!(role(&now, "recovery").instances, 1, "itself");
    let path: Vec<&str> = now
        .roles
        .iter()
        .filter(|it| it.on_path)
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(
        path,
        ["producer", "validator", "persistence"],
        "as the pipeline says"
    );

    one.say(true, &edge(1030, 0));
    other.say(true, &edge(62, 10));
    validator.say(true, &stage("validator", 45, false));
    let now = running
        .until("42 accepted", |now| {
            acme(now).is_some_and(|it| it.accepted == 42)
        })
        .await;
    let source = acme(&now).unwrap();
    assert_eq!(source.refused, [("signature_mismatch".to_owned(), 3)]);
    assert!(source.rate.unwrap() > 0.0 && source.last_seen.is_some());
    assert_eq!(source.fails_in, ["validator"]);
    let answer = source.answer_seconds.unwrap();
    assert!(
        answer.p50 <= 0.01 && (answer.p99 - 0.01).abs() < 1e-9,
        "beyond the last bound: {answer:?}"
    );
    let now = running
        .until("35 settled", |now| {
            role(now, "validator").rate.is_some_and(|rate| rate > 0.0)
        })
        .await;
    let raw = now
        .topics
        .iter()
        .find(|topic| topic.name == "events.raw.v1")
        .unwrap();
    assert!(raw.rate.is_some());

    // It was restarted, and counts from 0.
    one.say(true, &edge(5, 0));
    running
        .until("5 more", |now| {
            acme(now).is_some_and(|it| it.accepted == 47)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_work_or_answer_is_named_with_the_reason() {
    let (one, other) = (
        Instance::start(&edge(0, 0)).await,
        Instance::start(&edge(0, 0)).await,
    );
    let validator = Instance::start(&stage("validator", 0, true)).await;
    other.say(false, "");
    // Takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let large = Instance::start(&"x 1\n".repeat(3 << 20)).await;
    let roles = [
        one.flag("producer"),
        other.flag("producer"),
        validator.flag("validator"),
        format!("--role=analytics=http://{}", silent.local_addr().unwrap()),
        format!("--role=persistence=http://{}", free_address()),
        large.flag("registry"),
    ];
    let running = Running::start(&database().await, &roles).await;
    let now = running.until("a look", |now| now.looked_at.is_some()).await;
    let state = |name: &str| role(&now, name).state;
    assert_eq!(
        [
            "producer",
            "validator",
            "analytics",
            "persistence",
            "registry"
        ]
        .map(state),
        [
            RoleState::PartlyReady,
            RoleState::Ready,
            RoleState::Silent,
            RoleState::Silent,
            RoleState::Silent
        ]
    );
    let reason = |name: &str| role(&now, name).reasons.join("; ");
    assert_eq!(
        reason("producer"),
        "kafka: no broker <b>answers\u{fffd}[31m"
    );
    assert!(
        reason("analytics").contains("does not answer within"),
        "{}",
        reason("analytics")
    );
    assert!(
        reason("persistence").contains("refuses the connection"),
        "{}",
        reason("persistence")
    );
    assert!(
        reason("registry").contains("larger than"),
        "{}",
        reason("registry")
    );
    let of = |kind: AttentionKind| -> Vec<&str> {
        let of_kind = now.attention.iter().filter(|it| it.kind == kind);
        of_kind.filter_map(|it| it.of.as_deref()).collect()
    };
    assert_eq!(of(AttentionKind::BreakerOpen), ["validator"]);
    assert_eq!(
        of(AttentionKind::Silent),
        ["analytics", "persistence", "registry"]
    );
    assert_eq!(of(AttentionKind::NotReady), ["producer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_polls_asks_no_database() {
    let url = database().await;
    let running = Running::start(&url, &[]).await;
    let now = running.until("a look", |now| now.looked_at.is_some()).await;
    assert_eq!((now.fates.accepted, now.fates.gaps), (0, 0));
    let (server, name) = url.rsplit_once('/').unwrap();
    let (name, options) = name.split_once('?').unwrap_or((name, ""));
    let admin = sqlx::PgPool::connect(&format!("{server}/postgres?{options}"))
        .await
        .unwrap();
    let gone = format!("DROP DATABASE \"{name}\" WITH (FORCE)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(gone))
        .execute(&admin)
        .await
        .unwrap();
    let looked_at = now.looked_at;
    running
        .until("a look without the database", |now| {
            now.looked_at > looked_at
        })
        .await;
}
