//! On-call's commands as people and scripts type them, and looks into the database from outside.

use crate::report::CommandOutput;
use crate::world::{DEADLINE, PEOPLE, World, program};
use sandbox::harness::{self, wait_for};
use serde_json::Value;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

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
        CommandOutput::of(self.command(who, arguments), DEADLINE).await
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
        wait_for(DEADLINE, async || {
            // Its table may not be there yet.
            let answer: Option<i64> = sqlx::query_scalar(query).fetch_one(&self.pool).await.ok();
            if answer == Some(wanted) {
                Ok(())
            } else {
                Err(format!("{query}: {answer:?}, not {wanted}"))
            }
        })
        .await;
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
        wait_for(DEADLINE, async || {
            let query = "SELECT state, blocked FROM recovery.replay_jobs WHERE id = $1";
            let state: (String, Option<String>) = sqlx::query_as(query)
                .bind(job)
                .fetch_one(&self.pool)
                .await
                .unwrap();
            let items = self.items(job).await;
            if state.0 == "finished" {
                Ok(items)
            } else {
                Err(format!("the end of {job}: {state:?} {items:?}"))
            }
        })
        .await
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
