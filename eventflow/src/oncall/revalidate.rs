//! `eventflow revalidate`: stored events validated once more. Its jobs are those of `eventflow replay`, which shows, pauses and stops them.

use super::client::{Client, read};
use super::connection::Connection;
use super::error::CommandError;
use super::jobs::{dry_run_text, job_text};
use super::replay::apply::{Start, start_planned};
use super::replay::{path, plan_at};
use super::{print, print_json};
use axum::http::Method;
use recovery::model::{Job, JobKind, Selection, Time, parse_time};

/// Revalidations.
#[derive(Debug, clap::Args)]
pub(crate) struct Revalidate {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// Plan a revalidation of a source's stored events, and check them against the current contracts; nothing is sent
    #[command(
        after_help = "Example: eventflow revalidate plan --source github --event-type push --since 7d --reason \"contract github.push\""
    )]
    Plan {
        #[command(flatten)]
        events: Events,
        /// Reason, kept with the job and in the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        /// Idempotency key: the same key again returns the same job [default: a random one]
        #[arg(long)]
        key: Option<String>,
    },
    /// Start a planned revalidation and watch it; pause, resume, stop and show it as any replay
    #[command(
        after_help = "Examples: eventflow revalidate apply k3x9 --rate 50\n          eventflow replay pause k3x9"
    )]
    Apply {
        /// Id of the job
        job: String,
        /// Records per second [default: 100, or the job's rate so far]
        #[arg(long)]
        rate: Option<f64>,
        /// Start without asking; without it a person is asked, and a script ends with exit code 3
        #[arg(long, short)]
        yes: bool,
        /// Return at once instead of watching
        #[arg(long)]
        detach: bool,
    },
}

/// Which stored events: of those whose row has the generic contract, or an older version of one.
#[derive(Debug, clap::Args)]
struct Events {
    /// Sources (vendors), comma separated
    #[arg(long, required = true, value_delimiter = ',')]
    source: Vec<String>,
    /// Event types, comma separated [default: all]
    #[arg(long, alias = "type", value_delimiter = ',')]
    event_type: Vec<String>,
    /// Received at this time or later: RFC 3339, or an age such as 90s, 30m, 2h, 7d
    #[arg(long, value_parser = parse_time)]
    since: Option<Time>,
    /// Received before this time: RFC 3339, or an age
    #[arg(long, value_parser = parse_time)]
    until: Option<Time>,
    /// At most this many, the newest first
    #[arg(long)]
    limit: Option<u32>,
}

impl From<Events> for Selection {
    fn from(events: Events) -> Self {
        let Events {
            source,
            event_type,
            since,
            until,
            limit,
        } = events;
        Self {
            source,
            event_type,
            since,
            until,
            limit,
            ..Self::default()
        }
    }
}

pub(crate) async fn run(Revalidate { connection, work }: Revalidate) -> Result<(), CommandError> {
    let as_json = connection.json;
    let client = Client::new(connection.target()?).await?;
    match work {
        Work::Plan {
            events,
            reason,
            key,
        } => {
            let place = "/api/v1/revalidations";
            let text = plan_at(&client, place, &events.into(), &reason, key).await?;
            let job: Job = read(&text)?;
            let dry_run = client
                .send(Method::POST, &path(&job.id, "/dry-run"), "{}".to_owned())
                .await?;
            if as_json {
                return print_json(&dry_run);
            }
            print(&dry_run_text(&read(&dry_run)?))?;
            print(&job_text(&job))
        }
        Work::Apply {
            job,
            rate,
            yes,
            detach,
        } => {
            let job: Job = read(&client.get(&path(&job, ""), &[]).await?)?;
            if job.kind != JobKind::Revalidation {
                return Err(CommandError::usage(format!(
                    "{0} is a replay of dead letters: eventflow replay apply {0}",
                    job.id
                )));
            }
            let start = Start {
                rate,
                yes,
                detach,
                force: false,
                as_json,
            };
            start_planned(&client, job, start).await
        }
    }
}
