//! `eventflow replay`: its commands; [`apply`] is the longest of them.

pub(super) mod apply;

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::jobs::{dry_run_text, job_text, list_text, named};
use super::table::TextTable;
use super::watch::{self, End, has_failed};
use super::{note, print, print_json, with_ids};
use apply::Start;
use axum::http::Method;
use recovery::model::{Job, JobItem, JobKind, JobState, Selection};
use runtime::text::encoded;
use serde::Deserialize;
use serde_json::json;

/// Replays.
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// Plan a replay of exactly the dead letters selected now; nothing is sent
    #[command(
        after_help = "Example: eventflow replay plan --code unknown_event_type --since 1d --reason \"contract deployed\""
    )]
    Plan {
        #[command(flatten)]
        targets: Targets,
        /// Idempotency key: the same key again returns the same replay [default: a random one]
        #[arg(long)]
        key: Option<String>,
    },
    /// Check a planned replay against the current contracts; nothing is sent
    #[command(after_help = "Example: eventflow replay dry-run k3x9")]
    DryRun {
        /// Id of the replay
        job: String,
    },
    /// Start a planned replay and watch it; with a selection instead, plan it, dry-run it and start it
    #[command(
        after_help = "Examples: eventflow replay apply k3x9 --rate 50\n          eventflow replay apply 17 --yes\n          eventflow replay apply --group 3 --reason \"contract deployed\" --yes"
    )]
    Apply {
        #[command(flatten)]
        targets: Targets,
        /// Records per second [default: 100, or the replay's rate so far]
        #[arg(long)]
        rate: Option<f64>,
        /// Start without asking; without it a person is asked, and a script ends with exit code 3
        #[arg(long, short)]
        yes: bool,
        /// Return at once instead of watching the replay
        #[arg(long)]
        detach: bool,
        /// Start even if the dry run predicts that every record fails again
        #[arg(long)]
        force: bool,
    },
    /// Approve a replay that another person planned
    #[command(after_help = "Example: eventflow replay approve k3x9")]
    Approve {
        /// Id of the replay
        job: String,
    },
    /// Show the state of a replay; exit 1 when items failed
    #[command(
        after_help = "Examples: eventflow replay status k3x9 --items\n          eventflow replay status k3x9 --watch"
    )]
    Status {
        /// Id of the replay
        job: String,
        /// Also list the outcome of each dead letter
        #[arg(long)]
        items: bool,
        /// Watch the replay until it ends
        #[arg(long, conflicts_with = "items")]
        watch: bool,
        /// Maximum items to list with --items
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Pause a replay: nothing more is sent until it is resumed
    #[command(after_help = "Example: eventflow replay pause k3x9")]
    Pause {
        /// Id of the replay
        job: String,
    },
    /// Resume a paused replay
    #[command(after_help = "Example: eventflow replay resume k3x9")]
    Resume {
        /// Id of the replay
        job: String,
    },
    /// Stop a replay for good; what was already sent is followed to its outcome
    #[command(after_help = "Example: eventflow replay stop k3x9")]
    Stop {
        /// Id of the replay
        job: String,
    },
    /// List replays, newest first
    #[command(
        alias = "history",
        after_help = "Example: eventflow replay ls --limit 5"
    )]
    Ls {
        /// Only those in these states, comma separated: planned, running, paused, stopped, finished
        #[arg(long, value_delimiter = ',')]
        state: Vec<JobState>,
        /// Only replays planned before this one: continues after a list
        #[arg(long, value_name = "ID")]
        before: Option<String>,
        /// Maximum replays to list
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// What to replay.
#[derive(Debug, clap::Args)]
struct Targets {
    /// Numbers of dead letters; apply also takes the id of one planned replay
    ids: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Reason, kept with the replay and in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Targets {
    /// The selection and the reason, when the ids are numbers of dead letters.
    fn selection(self) -> Result<(Selection, String), CommandError> {
        let numbers: Result<Vec<i64>, _> = self.ids.iter().map(|target| target.parse()).collect();
        let numbers = numbers.map_err(|_| {
            CommandError::usage(
                "a dead letter is given by its number: list them with eventflow dlq ls",
            )
        })?;
        Ok((with_ids(self.selection, numbers), self.reason))
    }
}

pub(crate) async fn run(Replay { connection, work }: Replay) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    let change = async |job: &str, what: &str| {
        client
            .send(Method::POST, &path(job, what), "{}".to_owned())
            .await
    };
    let text = match work {
        Work::Plan { targets, key } => {
            let (selection, reason) = targets.selection()?;
            plan(&client, &selection, &reason, key).await?
        }
        Work::DryRun { job } => {
            let text = change(&job, "/dry-run").await?;
            return if as_json {
                print_json(&text)
            } else {
                print(&dry_run_text(&read(&text)?))
            };
        }
        Work::Apply {
            targets,
            rate,
            yes,
            detach,
            force,
        } => {
            let start = Start {
                rate,
                yes,
                detach,
                force,
                as_json,
            };
            return apply::run(&client, targets, start).await;
        }
        Work::Approve { job } => change(&job, "/approve").await?,
        Work::Pause { job } => change(&job, "/pause").await?,
        Work::Resume { job } => change(&job, "/resume").await?,
        Work::Stop { job } => change(&job, "/stop").await?,
        Work::Status {
            job, watch: true, ..
        } => return follow(&client, &job, as_json).await,
        Work::Status {
            job, items, limit, ..
        } => return status(&client, &job, items.then_some(limit), as_json).await,
        Work::Ls {
            state,
            before,
            limit,
        } => {
            let states: Vec<&str> = state.iter().map(|state| state.as_str()).collect();
            let mut words = vec![("state", states.join(",")), ("limit", limit.to_string())];
            words.extend(before.map(|id| ("before", id)));
            let text = client.get("/api/v1/replays", &words).await?;
            return if as_json {
                print_json(&text)
            } else {
                print(&list_text(&text)?)
            };
        }
    };
    if as_json {
        print_json(&text)
    } else {
        print(&job_text(&read(&text)?))
    }
}

pub(super) fn path(job: &str, what: &str) -> String {
    format!("/api/v1/replays/{}{what}", encoded(job))
}

async fn plan(
    client: &Client,
    selection: &Selection,
    reason: &str,
    key: Option<String>,
) -> Result<String, CommandError> {
    plan_at(client, "/api/v1/replays", selection, reason, key).await
}

/// Plans a job of whichever kind this place plans.
pub(super) async fn plan_at(
    client: &Client,
    place: &str,
    selection: &Selection,
    reason: &str,
    key: Option<String>,
) -> Result<String, CommandError> {
    let key = key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let body = json!({"selection": selection, "reason": reason}).to_string();
    client
        .open(Method::POST, place, Some(&key), Some(body))
        .await?
        .text()
        .await
}

/// Watches to the end and reports how it ended.
async fn follow(client: &Client, id: &str, as_json: bool) -> Result<(), CommandError> {
    match watch::watch(client, id).await? {
        End::Interrupted => {
            note(&format!(
                "no longer watching; the replay goes on. Pause it: eventflow replay pause {id}; watch it again: eventflow replay status {id} --watch"
            ));
            Ok(())
        }
        End::Job(job, text) => {
            if as_json {
                print_json(&text)?;
            } else {
                print(&job_text(&job))?;
            };
            check_items(&job)?;
            match job.state {
                JobState::Finished | JobState::Stopped => Ok(()),
                JobState::Paused => Err(CommandError::failed(format!(
                    "replay {id} is paused; resume it: eventflow replay resume {id}"
                ))),
                JobState::Planned | JobState::Running => Err(CommandError::failed(format!(
                    "no recovery role is running: start one (eventflow recovery), and replay {id} goes on by itself"
                ))),
            }
        }
    }
}

/// Fails when items of it failed.
fn check_items(job: &Job) -> Result<(), CommandError> {
    if !has_failed(job) {
        return Ok(());
    }
    let (id, again) = match job.kind {
        JobKind::Replay => (&job.id, " again"),
        JobKind::Revalidation => (&job.id, ""),
    };
    Err(CommandError::failed(format!(
        "items of {} {id} failed{again}; list them: eventflow replay status {id} --items",
        job.kind
    )))
}

#[derive(Deserialize)]
struct Items {
    items: Vec<JobItem>,
}

async fn status(
    client: &Client,
    id: &str,
    items: Option<u32>,
    as_json: bool,
) -> Result<(), CommandError> {
    let text = client.get(&path(id, ""), &[]).await?;
    let job: Job = read(&text)?;
    let Some(limit) = items else {
        if as_json {
            print_json(&text)?;
        } else {
            print(&job_text(&job))?;
        };
        return check_items(&job);
    };
    let text = client
        .get(&path(id, "/items"), &[("limit", limit.to_string())])
        .await?;
    if as_json {
        print_json(&text)?;
        return check_items(&job);
    }
    let Items { items } = read(&text)?;
    let item = match job.kind {
        JobKind::Replay => "LETTER",
        JobKind::Revalidation => "RAW RECORD",
    };
    let mut rows = TextTable::new(&[item, "STATE", "CODE", "PREDICTED", "EVENT", "DETAIL"]);
    for item in items {
        let detail = item.detail.or(item.would_detail).unwrap_or_default();
        let code = item.code.or(item.would_code).unwrap_or_default();
        rows.add(&[
            named(item.letter, item.raw.as_deref()),
            item.state.to_string(),
            code,
            item.would
                .map(|would| would.to_string())
                .unwrap_or_default(),
            item.event_id.unwrap_or_default(),
            detail,
        ]);
    }
    print(&format!("{}\n{rows}", job_text(&job)))?;
    check_items(&job)
}
