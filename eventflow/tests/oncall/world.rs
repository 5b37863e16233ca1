//! A database with dead letters in it, the API served on a loopback port, and `eventflow` as a process.

use clap::Parser;
use recovery::http::{ApiArgs, Tokens, routes, serve};
use recovery::{Context, PipelineArgs, SCHEMA};
use sqlx::PgPool;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Clears the screen, sets the title, colours, turns the reading direction; 8-bit forms too.
pub(crate) const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m<b>\u{202e}txt\r\n\u{8}";
/// A value whose contract takes it once the amount is positive.
pub(crate) const BROKEN: &str = r#"{"event_id":"evt_1","event_type":"payment.authorized.v1","schema_version":1,"source":"payment-provider","timestamp":"2026-01-02T03:04:05Z","payload":{"payment_id":"pay_1","order_id":"o","amount":"-1.00","currency":"EUR","provider_auth_id":"a"}}"#;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(crate) struct World {
    pub(crate) pool: PgPool,
    pub(crate) database_url: String,
    pub(crate) api_url: String,
    pub(crate) folder: tempfile::TempDir,
    _serving: DropGuard,
}

/// How a command reaches recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Api,
    Database,
}

/// Exit code and output of a process.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database_url = sandbox::harness::database().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "a-token-of-an-operator-0123\n").unwrap();
        let sources = folder.path().join("sources.toml");
        let source = format!(
            "[[source]]\nname = \"payment-provider\"\nscheme = \"eventflow\"\nevent = {{ entity = \"/payload/payment_id\" }}\n\
             secrets = [{{ id = \"one\", from = \"file:{}\" }}]\n",
            file.display()
        );
        std::fs::write(&sources, source).unwrap();
        let arguments = ["test", "--database-url", &database_url, "--sources"].map(str::to_owned);
        let arguments = arguments.into_iter().chain([sources.display().to_string()]);
        let recovery = Context::new(Arguments::parse_from(arguments).pipeline, None).unwrap();
        SCHEMA.migrate(recovery.pool()).await.unwrap();
        let tokens = Tokens::parse(&[format!("anna:operator=file:{}", file.display())]).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api_url = format!("http://{}", listener.local_addr().unwrap());
        let (pool, shutdown) = (recovery.pool().clone(), CancellationToken::new());
        let router = routes(recovery, &tokens);
        tokio::spawn({
            let shutdown = shutdown.clone();
            async move { serve(listener, router, &ApiArgs::default(), shutdown).await }
        });
        Self {
            pool,
            database_url,
            api_url,
            folder,
            _serving: shutdown.drop_guard(),
        }
    }

    /// So many open dead letters of one group, with a value that can be fixed.
    pub(crate) async fn dead_letters(&self, code: &str, many: i64) -> Vec<i64> {
        let group: i64 = sqlx::query_scalar(
            "INSERT INTO groups (stage, code, source, event_type) VALUES ('validator', $1, $2, 'payment.authorized.v1') RETURNING id",
        )
        .bind(code)
        .bind(format!("vendor{HOSTILE}"))
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
        .bind(format!("said {HOSTILE}"))
        .bind(BROKEN.as_bytes())
        .bind(serde_json::json!([["ef.source", "payment-provider"], ["x-note", HOSTILE]]).to_string())
        .bind(many)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn command(&self, way: Way, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eventflow"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null());
        match way {
            Way::Api => command
                .env("EVENTFLOW_RECOVERY_URL", &self.api_url)
                .env("EVENTFLOW_RECOVERY_TOKEN", "a-token-of-an-operator-0123"),
            Way::Database => command
                .arg("--database")
                .env("USER", "dora")
                .env("EVENTFLOW_DATABASE_URL", &self.database_url)
                .env("EVENTFLOW_SOURCES", self.folder.path().join("sources.toml")),
        };
        command
    }

    pub(crate) async fn run(&self, way: Way, arguments: &[&str]) -> CommandOutput {
        output_of(self.command(way, arguments)).await
    }

    /// A program that stands for a person's editor.
    pub(crate) fn editor(&self, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("editor");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

#[track_caller]
pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Runs a command to its end, while this process serves the API.
pub(crate) async fn output_of(mut command: Command) -> CommandOutput {
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    CommandOutput {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl CommandOutput {
    /// Exit code 0 and nothing on standard error that a terminal would obey.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.clean();
        self.out
    }

    /// This exit code, one line on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, says: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let last = self.err.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("eventflow: ") && last.contains(says),
            "{self:?}"
        );
        self.clean();
    }

    #[track_caller]
    pub(crate) fn clean(&self) {
        for text in [&self.out, &self.err] {
            let bad: Vec<char> = text
                .chars()
                .filter(|character| {
                    (character.is_control() && *character != '\n') || *character == '\u{202e}'
                })
                .collect();
            assert!(bad.is_empty(), "{bad:?} in {text}");
        }
    }
}
