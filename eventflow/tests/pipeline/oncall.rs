//! On-call's commands as people and scripts type them, and looks into the database from outside.

use crate::world::{DEADLINE, PEOPLE, World, program};
use sandbox::harness;
use serde_json::Value;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CommandOutput {
    /// Its answer to a script, with this exit code.
    #[track_caller]
    pub(crate) fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Items of a replay, by state.
pub(crate) type Items = BTreeMap<String, i64>;

pub(crate) fn items<const N: usize>(all: [(&str, i64); N]) -> Items {
    all.map(|(state, count)| (state.to_owned(), count)).into()
}

/// On-call of one world.
pub(crate) struct OnCall {
    url: String,
    pub(crate) pool: PgPool,
}

/// Waits for it; the text says what was waited for.
pub(crate) async fn until(what: &str, reached: impl AsyncFnMut() -> bool) {
    harness::until(what, DEADLINE, reached).await;
}

impl OnCall {
    pub(crate) async fn of(world: &World) -> Self {
        let pool = PgPool::connect(&world.postgres.url()).await.unwrap();
        Self {
            url: format!("http://{}", world.recovery),
            pool,
        }
    }

    fn command(&self, who: &str, arguments: &[&str]) -> Command {
        let (_, token) = PEOPLE.iter().find(|(name, _)| *name == who).unwrap();
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("EVENTFLOW_RECOVERY_URL", &self.url)
            .env("EVENTFLOW_RECOVERY_TOKEN", token);
        command.stdin(Stdio::null());
        command
    }

    /// What this person types.
    pub(crate) async fn types(&self, who: &str, arguments: &[&str]) -> CommandOutput {
        let mut command = tokio::process::Command::from(self.command(who, arguments));
        let output = tokio::time::timeout(DEADLINE, command.kill_on_drop(true).output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("does not end: {arguments:?}"))
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        CommandOutput {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// What Anna's script types, which succeeds.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        self.types("anna", &[arguments, &["--json"]].concat())
            .await
            .json(0)
    }

    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until a query answers this number.
    pub(crate) async fn until_number(&self, query: &'static str, wanted: i64) {
        let mut last = None;
        let deadline = Instant::now() + DEADLINE;
        while last != Some(wanted) {
            assert!(
                Instant::now() < deadline,
                "{query}: {last:?}, never {wanted}"
            );
            // Its table may not be there yet.
            last = sqlx::query_scalar(query).fetch_one(&self.pool).await.ok();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the index has so many dead letters.
    pub(crate) async fn until_indexed(&self, wanted: i64) {
        self.until_number("SELECT count(*) FROM recovery.dead_letters", wanted)
            .await;
    }

    /// The group of this code and event type: its number and how many are open.
    pub(crate) async fn group(&self, code: &str, event_type: &str) -> (String, i64) {
        let answer = self.json(&["dlq", "groups"]).await;
        let groups = answer["groups"].as_array().unwrap();
        let of = |group: &&Value| group["code"] == code && group["event_type"] == event_type;
        let group = groups
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("no group of {code} {event_type}: {answer}"));
        (group["id"].to_string(), group["open"].as_i64().unwrap())
    }

    /// A replay of a selection, planned.
    pub(crate) async fn plan(&self, selection: &[&str]) -> String {
        self.json(&[&["replay", "plan"], selection].concat()).await["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Starts a replay and does not watch.
    pub(crate) async fn apply(&self, job: &str, rate: &str) {
        let started = self
            .json(&["replay", "apply", job, "--rate", rate, "--yes", "--detach"])
            .await;
        assert!(
            ["running", "finished"].contains(&started["state"].as_str().unwrap()),
            "{started}"
        );
    }

    /// Its items by state, from the database: also while nobody serves the API.
    pub(crate) async fn items(&self, job: &str) -> Items {
        let query =
            "SELECT state, count(*) FROM recovery.replay_items WHERE job_id = $1 GROUP BY 1";
        sqlx::query_as::<_, (String, i64)>(query)
            .bind(job)
            .fetch_all(&self.pool)
            .await
            .unwrap()
            .into_iter()
            .collect()
    }

    /// Waits until a replay ended, and says how.
    pub(crate) async fn until_finished(&self, job: &str) -> Items {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let query = "SELECT state, blocked FROM recovery.replay_jobs WHERE id = $1";
            let state: (String, Option<String>) = sqlx::query_as(query)
                .bind(job)
                .fetch_one(&self.pool)
                .await
                .unwrap();
            if state.0 == "finished" {
                return self.items(job).await;
            }
            assert!(
                Instant::now() < deadline,
                "{job} never ends: {state:?} {:?}",
                self.items(job).await
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a replay says why it cannot go on, in these words.
    pub(crate) async fn until_blocked(&self, job: &str, words: &[&str]) {
        until(&format!("blocked: {words:?}"), async || {
            let status = self.json(&["replay", "status", job]).await;
            let blocked = status["blocked"].as_str().unwrap_or_default();
            words.iter().all(|word| blocked.contains(word))
        })
        .await;
    }

    /// The audit of this moment: nothing is missing and nothing is there twice.
    pub(crate) async fn audit(&self) -> Value {
        let audit = self.json(&["audit", "--now"]).await;
        assert_eq!(
            (&audit["gaps"], &audit["double_fates"]),
            (&0.into(), &0.into()),
            "{audit}"
        );
        assert_eq!(audit["findings"].as_array().unwrap().len(), 0, "{audit}");
        audit
    }
}
