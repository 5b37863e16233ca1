//! `eventflow smoke`: one command against any running stack. It plays a vendor at the edge, with sound, forged, stale and broken webhooks,
//! and then looks up the fate of each, through recovery's API or in its database.
//!
//! Everything is sent first and awaited together, so that one deadline is enough for all, and what is missing names the stage to look at:
//! another one when the dead letter is there but no row than when neither is.

mod audit;
mod checks;
mod edge;
mod event;
mod fates;
mod report;
mod stored;

use crate::oncall::{Api, CommandError, DatabaseFlags, Origin, Target, Way};
use checks::Checks;
use edge::Edge;
use event::Run;
use fates::Fates;
use report::Report;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// Most events of the batch: what an edge takes at once by default.
const MAX_EVENTS: u16 = 1000;
/// What to do when fates cannot be looked up.
const NO_TARGET: &str = "give --recovery-url, or --database-url";
const REACHED: &str = "Connection to recovery";

/// What to check, and of which stack.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: eventflow smoke --url http://127.0.0.1:8000 --recovery-url http://127.0.0.1:8004",
    after_long_help = AFTER_HELP,
    mut_args(hide_unused)
)]
pub(crate) struct Config {
    // First: reading a flag takes it out of the matches.
    #[command(flatten)]
    origin: Origin,
    /// Base URL of the producer, or a whole webhook URL. Webhooks are signed with EVENTFLOW_WEBHOOK_SIGNING_SECRET
    #[arg(long)]
    url: String,
    /// Source the webhooks are posted to [default: the last part of a whole webhook URL, otherwise payment-authorized]
    #[arg(long)]
    source: Option<String>,
    /// Events in the batch request
    #[arg(long, default_value_t = 20, value_name = "EVENTS", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_EVENTS)))]
    batch: u16,
    /// Time limit of the whole run, such as 60s or 2m
    #[arg(long, default_value = "60s", value_parser = runtime::config::parse_positive_duration)]
    deadline: Duration,
    /// Fail the checks of fates, instead of skipping them, when fates cannot be looked up; for CI
    #[arg(long)]
    require_fates: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// URL of the recovery role's API, where fates are looked up
    #[arg(
        id = "api_url",
        long = "recovery-url",
        value_name = "URL",
        visible_alias = "api-url",
        env = "EVENTFLOW_RECOVERY_URL",
        hide_env_values = true,
        help_heading = REACHED
    )]
    recovery_url: Option<String>,
    /// File with the API token; without it, the token is read from EVENTFLOW_RECOVERY_TOKEN
    #[arg(long, env = "EVENTFLOW_RECOVERY_TOKEN_FILE", help_heading = REACHED)]
    token_file: Option<PathBuf>,
    /// File with the certificate authority of the edge and of recovery's API (PEM), trusted in addition to the system's
    #[arg(
        long,
        visible_alias = "ca",
        env = "EVENTFLOW_RECOVERY_CA_FILE",
        help_heading = REACHED
    )]
    ca_file: Option<PathBuf>,
    /// Send the token over plain HTTP to another machine, where others on the network can read it
    #[arg(
        long,
        env = "EVENTFLOW_RECOVERY_INSECURE_HTTP",
        hide_short_help = true,
        help_heading = REACHED
    )]
    insecure_http: bool,
    /// Look fates up in the database of --database-url or EVENTFLOW_DATABASE_URL, without a running role; --database-url implies it
    #[arg(long, alias = "direct", help_heading = REACHED)]
    database: bool,
    /// Your name in the audit log when working on the database
    #[arg(
        long = "as",
        value_name = "NAME",
        default_value = "smoke",
        hide_short_help = true,
        help_heading = REACHED
    )]
    name: String,
    #[command(flatten)]
    pipeline: DatabaseFlags,
}

const AFTER_HELP: &str = "\
Checks, in this order:
  ready (the edge answers /ready with 200)
  accepted (valid webhooks are answered 200)
  tampered (one byte changed after signing: 401)
  stale (signed ten minutes ago: 401)
  stored (each of the valid webhooks is a row)
  duplicate (one of them again: 200, and still one row)
  corrupted (signed, but without a required field: a dead letter with code missing_field, which is then discarded)
  batch (every event of a batch is a row)
  audit (every record since the start of this run has exactly one fate)

The checks from stored on look up fates in recovery's API or database; without either, they are skipped.

Webhooks are signed with EVENTFLOW_WEBHOOK_SIGNING_SECRET, as those of the built-in source are (scheme eventflow). Each run leaves some \
payments of 0.01 EUR whose ids begin with smoke-, and a discarded dead letter; with a read-only token that dead letter stays open.

Example: eventflow smoke --url https://events.example.com --recovery-url https://recovery.example.com --require-fates --json

Exit codes: 0 every requested check passed; 1 a check failed; 2 wrong usage or configuration, nothing was sent.";

/// Hides settings of replays, which smoke does not start.
fn hide_unused(flag: clap::Arg) -> clap::Arg {
    let is_unused =
        ["confirm_above", "require_approval", "max_replays"].contains(&flag.get_id().as_str());
    if is_unused { flag.hide(true) } else { flag }
}

impl Config {
    /// How fates are looked up, if they can be. What is typed goes before the environment, in which an empty URL is none.
    fn way(&self) -> Result<Option<Way>, CommandError> {
        let typed = self.origin.typed("--recovery-url", self.database)?;
        let has_url = self
            .recovery_url
            .as_ref()
            .is_some_and(|url| !url.trim().is_empty());
        Ok(typed.or_else(|| self.origin.in_environment(has_url)))
    }
}

/// Runs every check.
///
/// # Errors
/// Wrong usage, or a check that failed.
pub(crate) async fn run(mut config: Config) -> Result<(), CommandError> {
    let way = config.way()?;
    if config.require_fates && way.is_none() {
        return Err(CommandError::usage(format!(
            "--require-fates: fates cannot be looked up: {NO_TARGET}"
        )));
    }
    let started = Instant::now();
    let end = started + config.deadline;
    let secret = config
        .pipeline
        .0
        .webhook_signing_secret
        .take()
        .filter(|secret| !secret.expose().is_empty());
    let secret = secret.ok_or_else(|| {
        CommandError::usage(
            "EVENTFLOW_WEBHOOK_SIGNING_SECRET: the secret webhooks are signed with is not set",
        )
    })?;
    let edge = Edge::new(
        &config.url,
        config.source.as_deref(),
        &secret,
        config.ca_file.as_deref(),
        end,
    )?;
    let (looked_up, target) = match way {
        None => ("none", None),
        Some(Way::Api) => (
            "recovery",
            Some(Target::Api(Api {
                url: config.recovery_url.unwrap_or_default(),
                url_flag: "--recovery-url",
                token_file: config.token_file,
                ca_file: config.ca_file,
                insecure_http: config.insecure_http,
            })),
        ),
        Some(Way::Database) => (
            "database",
            Some(Target::Database {
                pipeline: Box::new(config.pipeline.0),
                name: Some(config.name),
            }),
        ),
    };
    // The last part of the time is for the audit, which says best which stage is behind.
    let reserve = (config.deadline / 6).min(Duration::from_secs(10));
    let fates = match target {
        None => None,
        Some(target) => Some(Fates::open(target, end - reserve).await?),
    };
    let run = Run::new();
    let report = Report::new(run.name(), &edge, looked_up, config.json);
    report.begin()?;
    let mut checks = Checks {
        run,
        report,
        edge,
        end,
    };
    checks
        .run(fates.as_ref(), usize::from(config.batch), config.deadline)
        .await?;
    checks.report.end(started.elapsed(), config.require_fates)
}
