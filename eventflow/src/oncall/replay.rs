//! `eventflow replay`.

use super::client::{Client, Connection, encoded, read};
use super::failure::{Exit, Failure};
use super::jobs::{dry_run_page, history_page, job_page};
use super::table::Rows;
use super::watch::{self, End, has_failed};
use super::words::count;
use super::{ask, note, say, say_json, with_letters};
use axum::http::Method;
use recovery::model::{DryRun, Job, JobItem, JobState, Selection};
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
    /// Freeze a selection into a replay; nothing is sent
    #[command(
        after_help = "Example: eventflow replay plan --code unknown_event_type --since 1d --reason \"contract deployed\""
    )]
    Plan {
        #[command(flatten)]
        what: What,
        /// The same key again answers the same replay; a new one unless told
        #[arg(long)]
        key: Option<String>,
    },
    /// Try a replay on today's checks; nothing is sent
    #[command(after_help = "Example: eventflow replay dry-run k3x9")]
    DryRun {
        /// Replay
        job: String,
    },
    /// Start a replay and watch it; or, given a selection instead: plan, dry run and start in one
    #[command(
        after_help = "Examples: eventflow replay apply k3x9 --rate 50\n          eventflow replay apply 17 --yes\n          eventflow replay apply --group 3 --reason \"contract deployed\" --yes"
    )]
    Apply {
        #[command(flatten)]
        what: What,
        /// Records a second
        #[arg(long)]
        rate: Option<f64>,
        /// It is meant; without it a person is asked, and a script ends with exit code 3
        #[arg(long, short)]
        yes: bool,
        /// Do not watch: answer at once
        #[arg(long)]
        detach: bool,
        /// Even if the dry run says that all would fail again
        #[arg(long)]
        force: bool,
    },
    /// Approve a replay that somebody else planned
    #[command(after_help = "Example: eventflow replay approve k3x9")]
    Approve {
        /// Replay
        job: String,
    },
    /// Show where a replay stands; exit 1 when items failed
    #[command(
        after_help = "Examples: eventflow replay status k3x9 --items\n          eventflow replay status k3x9 --watch"
    )]
    Status {
        /// Replay
        job: String,
        /// What became of each dead letter, too
        #[arg(long)]
        items: bool,
        /// Follow it to its end
        #[arg(long, conflicts_with = "items")]
        watch: bool,
        /// Items at most
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Send no more until resumed
    #[command(after_help = "Example: eventflow replay pause k3x9")]
    Pause {
        /// Replay
        job: String,
    },
    /// Go on with a paused replay
    #[command(after_help = "Example: eventflow replay resume k3x9")]
    Resume {
        /// Replay
        job: String,
    },
    /// Send no more for good; what was sent is followed to its end
    #[command(after_help = "Example: eventflow replay stop k3x9")]
    Stop {
        /// Replay
        job: String,
    },
    /// List replays, the newest first
    #[command(after_help = "Example: eventflow replay history --limit 5")]
    History {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

/// What to replay.
#[derive(Debug, clap::Args)]
struct What {
    /// Numbers of dead letters; to apply, a planned replay's name instead
    targets: Vec<String>,
    #[command(flatten)]
    selection: Selection,
    /// Why; kept with the replay and in the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl What {
    /// The selection, when what was typed are numbers.
    fn selection(self) -> Result<(Selection, String), Failure> {
        let numbers: Result<Vec<i64>, _> =
            self.targets.iter().map(|target| target.parse()).collect();
        let numbers =
            numbers.map_err(|_| Failure::usage("dead letters are numbers (eventflow dlq ls)"))?;
        Ok((with_letters(self.selection, numbers), self.reason))
    }
}

pub(crate) async fn run(Replay { connection, work }: Replay) -> Result<(), Failure> {
    let as_json = connection.json;
    let client = Client::new(connection).await?;
    let change = async |job: &str, what: &str| {
        client
            .send(Method::POST, &path(job, what), "{}".to_owned())
            .await
    };
    let text = match work {
        Work::Plan { what, key } => {
            let (selection, reason) = what.selection()?;
            plan(&client, &selection, &reason, key).await?
        }
        Work::DryRun { job } => {
            let text = change(&job, "/dry-run").await?;
            return if as_json {
                say_json(&text)
            } else {
                say(&dry_run_page(&read(&text)?))
            };
        }
        Work::Apply {
            what,
            rate,
            yes,
            detach,
            force,
        } => {
            return apply(
                &client,
                what,
                Start {
                    rate,
                    yes,
                    detach,
                    force,
                    as_json,
                },
            )
            .await;
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
        Work::History { limit } => {
            let text = client
                .get("/api/v1/replays", &[("limit", limit.to_string())])
                .await?;
            return if as_json {
                say_json(&text)
            } else {
                say(&history_page(&text)?)
            };
        }
    };
    if as_json {
        say_json(&text)
    } else {
        say(&job_page(&read(&text)?))
    }
}

fn path(job: &str, what: &str) -> String {
    format!("/api/v1/replays/{}{what}", encoded(job))
}

async fn plan(
    client: &Client,
    selection: &Selection,
    reason: &str,
    key: Option<String>,
) -> Result<String, Failure> {
    let key = key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let body = json!({"selection": selection, "reason": reason}).to_string();
    let mut answer = client
        .open(Method::POST, "/api/v1/replays", Some(&key), Some(body))
        .await?;
    let mut text = Vec::new();
    while let Some(piece) = answer.piece().await? {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text)
        .map_err(|_| Failure::failed("the answer is not UTF-8: is --api-url right?"))
}

/// How a replay is started.
struct Start {
    rate: Option<f64>,
    yes: bool,
    detach: bool,
    force: bool,
    as_json: bool,
}

async fn apply(client: &Client, what: What, start: Start) -> Result<(), Failure> {
    let named = match what.targets.as_slice() {
        [one] if one.parse::<i64>().is_err() => Some(one.clone()),
        _ => None,
    };
    let job: Job = if let Some(name) = named {
        if what.selection != Selection::default() {
            return Err(Failure::usage(format!(
                "{name} is a replay with a selection of its own: give that or a selection, not both"
            )));
        }
        read(&client.get(&path(&name, ""), &[]).await?)?
    } else {
        let (selection, reason) = what.selection()?;
        if selection == Selection::default() {
            return Err(Failure::usage(
                "say what to replay: a planned replay, numbers of dead letters, --group, --code, ...",
            ));
        }
        tried(client, &selection, &reason, &start).await?
    };
    let goes = matches!(
        job.state,
        JobState::Running | JobState::Finished | JobState::Stopped
    );
    if !start.yes && !goes && !ask(&format!("Send {} again?", count(job.items, "dead letter")))? {
        let next = format!(
            "replay {0} is planned and nothing was sent; to send it: eventflow replay apply {0} --yes",
            job.id
        );
        return Err(Failure::new(Exit::Confirmation, next));
    }
    // Whoever answered yes meant it, however many they are.
    let text = client
        .post(
            &path(&job.id, "/apply"),
            &json!({"rate": start.rate, "yes": true}),
        )
        .await
        .map_err(|mut failure| {
            if failure.is("needs_approval") {
                failure.message = format!(
                    "{failure}; somebody else types: eventflow replay approve {}",
                    super::words::line(&job.id)
                );
            }
            failure
        })?;
    if start.detach {
        return if start.as_json {
            say_json(&text)
        } else {
            say(&job_page(&read(&text)?))
        };
    }
    follow(client, &job.id, start.as_json).await
}

/// Planned and tried; refused when it would be of no use.
async fn tried(
    client: &Client,
    selection: &Selection,
    reason: &str,
    start: &Start,
) -> Result<Job, Failure> {
    let job: Job = read(&plan(client, selection, reason, None).await?)?;
    let dry_run: DryRun = read(
        &client
            .send(Method::POST, &path(&job.id, "/dry-run"), "{}".to_owned())
            .await?,
    )?;
    if !start.as_json {
        say(&dry_run_page(&dry_run))?;
    }
    let hopeless = dry_run.would_fail > 0 && dry_run.would_store + dry_run.would_be_duplicate == 0;
    if hopeless && !start.force {
        let id = &job.id;
        return Err(Failure::failed(format!(
            "every one would fail again, so nothing was sent: correct them (eventflow dlq edit) or deploy the fix first; to send them all the \
             same: eventflow replay apply {id} --yes"
        )));
    }
    Ok(job)
}

/// Watches to the end and says how it ended.
async fn follow(client: &Client, id: &str, as_json: bool) -> Result<(), Failure> {
    match watch::watch(client, id).await? {
        End::Left => {
            note(&format!(
                "no longer watching; the replay goes on. To pause it: eventflow replay pause {id}; to look again: eventflow replay status {id} --watch"
            ));
            Ok(())
        }
        End::Seen(job, text) => {
            if as_json {
                say_json(&text)?;
            } else {
                say(&job_page(&job))?;
            };
            verdict(&job)?;
            match job.state {
                JobState::Finished | JobState::Stopped => Ok(()),
                JobState::Paused => Err(Failure::failed(format!(
                    "replay {id} is paused; to go on: eventflow replay resume {id}"
                ))),
                JobState::Planned | JobState::Running => Err(Failure::failed(format!(
                    "no running recovery role was seen: start one (eventflow recovery), and replay {id} goes on by itself"
                ))),
            }
        }
    }
}

fn verdict(job: &Job) -> Result<(), Failure> {
    if !has_failed(job) {
        return Ok(());
    }
    let id = &job.id;
    Err(Failure::failed(format!(
        "some of replay {id} failed again; which and why: eventflow replay status {id} --items"
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
) -> Result<(), Failure> {
    let text = client.get(&path(id, ""), &[]).await?;
    let job: Job = read(&text)?;
    let Some(limit) = items else {
        if as_json {
            say_json(&text)?;
        } else {
            say(&job_page(&job))?;
        };
        return verdict(&job);
    };
    let text = client
        .get(&path(id, "/items"), &[("limit", limit.to_string())])
        .await?;
    if as_json {
        say_json(&text)?;
        return verdict(&job);
    }
    let Items { items } = read(&text)?;
    let mut rows = Rows::new(&["LETTER", "STATE", "CODE", "WOULD", "EVENT", "DETAIL"]);
    for item in items {
        let detail = item.detail.or(item.would_detail).unwrap_or_default();
        let code = item.code.or(item.would_code).unwrap_or_default();
        rows.add(&[
            item.letter.to_string(),
            item.state.to_string(),
            code,
            item.would
                .map(|would| would.to_string())
                .unwrap_or_default(),
            item.event_id.unwrap_or_default(),
            detail,
        ]);
    }
    say(&format!("{}\n{rows}", job_page(&job)))?;
    verdict(&job)
}
