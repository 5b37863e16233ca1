//! `eventflow smoke`: one command against any running stack. It plays a vendor at the edge, with sound, forged, stale and broken webhooks,
//! and then looks up what became of each, through recovery's API or in its database.
//!
//! Everything is sent first and awaited together, so that one deadline is enough for all, and what is missing tells where to look: a dead
//! letter without a row is another fault than neither.

mod checks;
mod edge;
mod event;
mod fates;
mod report;

use crate::oncall::{Connection, Failure};
use checks::Checks;
use clap::ArgMatches;
use clap::parser::ValueSource;
use edge::Edge;
use event::Run;
use fates::Fates;
use report::Report;
use std::time::Duration;
use tokio::time::Instant;

/// Most events of the batch: what an edge takes at once by default.
const MOST_EVENTS: u16 = 1000;
/// Why checks of fates were skipped, and what to do.
const NO_SIGHT: &str = "give --recovery-url, or --database-url";

/// What to prove, and of whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    /// The edge: its base URL, or a whole webhook URL
    #[arg(long)]
    url: String,
    /// Source the webhooks are sent to; of a whole webhook URL it is the last part [default: payment-authorized]
    #[arg(long)]
    source: Option<String>,
    /// Events of the batch
    #[arg(long, default_value_t = 20, value_name = "EVENTS", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_EVENTS)))]
    batch: u16,
    /// The whole run takes no longer, as 60s or 2m
    #[arg(long, default_value = "60s", value_parser = runtime::config::parse_duration)]
    deadline: Duration,
    /// Fail when a fate cannot be looked up, instead of skipping the check: for pipelines
    #[arg(long)]
    require_fates: bool,
    #[command(flatten)]
    connection: Connection,
    #[arg(skip)]
    sight: Sight,
}

/// How fates are looked up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Sight {
    #[default]
    None,
    Api,
    Database,
}

const AFTER_HELP: &str = "\
Checks: ready (the edge is), accepted (fresh signed webhooks: 200), tampered (one byte changed after signing: 401), stale (signed ten \
minutes ago: 401), stored (each of the fresh ones is a row), duplicate (one of them again: 200, still one row), corrupted (authentic, \
without a required field: a dead letter missing_field, which is then discarded), batch (all of it is rows), audit (no record since the \
start of this run is unaccounted for). What became of webhooks is looked up in recovery's API or database; without either those checks \
are skipped, and say so.

It signs as the built-in source does (scheme eventflow) with EVENTFLOW_WEBHOOK_SIGNING_SECRET. It leaves behind what it sent: some \
payments of 0.01 EUR whose ids begin with smoke-, and a discarded dead letter. A token that may only read leaves that letter open.

Example: eventflow smoke --url https://events.example.com --recovery-url https://recovery.example.com --require-fates --json

Exit codes: 0 every check that was asked for passed; 1 a check failed; 2 wrong usage or configuration, nothing was sent.";

/// Flags of the connection that most people need.
const SHORT: [&str; 12] = [
    "url",
    "source",
    "batch",
    "deadline",
    "require_fates",
    "json",
    "api_url",
    "token_file",
    "ca_file",
    "direct",
    "database_url",
    "webhook_signing_secret",
];

/// What derive cannot say: recovery is one of two things that are reached here, so its flags say which they mean.
pub(crate) fn polish(command: clap::Command) -> clap::Command {
    command.mut_subcommand("smoke", |command| {
        let command = command.mut_args(|argument| {
            let own = SHORT.contains(&argument.get_id().as_str());
            if own { argument } else { argument.hide_short_help(true).help_heading("Straight on the database") }
        });
        command
            .mut_arg("json", |json| json.help("Answer with one JSON document"))
            .mut_arg("api_url", |url| url.long("recovery-url").visible_alias("api-url").hide_default_value(true))
            .mut_arg("ca_file", |file| {
                file.visible_alias("ca")
                    .help("Certificate authority of the edge and of recovery's API (PEM), besides those of the machine")
            })
            .mut_arg("direct", |direct| direct.help("Look fates up in the database of EVENTFLOW_DATABASE_URL"))
            .mut_arg("database_url", |url| url.help_heading("How recovery is reached").hide_default_value(true))
            .mut_arg("webhook_signing_secret", |secret| secret.help("Secret webhooks are signed with; better in the environment"))
            .after_long_help(AFTER_HELP)
            .after_help("Example: eventflow smoke --url http://127.0.0.1:8000 --recovery-url http://127.0.0.1:8004")
    })
}

impl Config {
    /// What only the matches tell: which of the ways to fates was chosen. What is typed goes before the environment.
    pub(crate) fn told(&mut self, matches: &ArgMatches) -> Result<(), Failure> {
        let Some(matches) = matches.subcommand_matches("smoke") else {
            return Ok(());
        };
        let given = |name: &str, by: ValueSource| matches.value_source(name) == Some(by);
        let typed = |name: &str| given(name, ValueSource::CommandLine);
        let direct = typed("direct") || typed("database_url");
        if direct && typed("api_url") {
            return Err(Failure::usage(
                "--recovery-url and --database-url or --direct are two ways to the same: give one of them",
            ));
        }
        let api = given("api_url", ValueSource::EnvVariable)
            && !self.connection.api_url.trim().is_empty();
        self.sight = match (
            direct,
            typed("api_url") || api,
            given("database_url", ValueSource::EnvVariable),
        ) {
            (true, ..) | (false, false, true) => Sight::Database,
            (false, true, _) => Sight::Api,
            (false, false, false) => Sight::None,
        };
        self.connection.direct = self.sight == Sight::Database;
        Ok(())
    }
}

/// Runs every check to its verdict.
pub(crate) async fn run(config: Config) -> Result<(), Failure> {
    let Config {
        url,
        source,
        batch,
        deadline,
        require_fates,
        mut connection,
        sight,
    } = config;
    if require_fates && sight == Sight::None {
        return Err(Failure::usage(format!(
            "--require-fates: fates cannot be looked up: {NO_SIGHT}"
        )));
    }
    let started = Instant::now();
    let end = started + deadline;
    let secret = connection
        .pipeline
        .webhook_signing_secret
        .take()
        .filter(|secret| !secret.expose().is_empty());
    let secret = secret.ok_or_else(|| {
        Failure::usage(
            "EVENTFLOW_WEBHOOK_SIGNING_SECRET: the secret webhooks are signed with is not set",
        )
    })?;
    let edge = Edge::new(
        &url,
        source.as_deref(),
        &secret,
        connection.ca_file.as_deref(),
        end,
    )?;
    let as_json = connection.json;
    // In the audit log of a database that is looked into: who discarded.
    connection.name = connection.name.or_else(|| Some("smoke".to_owned()));
    // The last part of the time is for the audit, which says best which stage is behind.
    let reserve = (deadline / 6).min(Duration::from_secs(10));
    let fates = match sight {
        Sight::None => None,
        Sight::Api | Sight::Database => Some(Fates::open(connection, end - reserve).await?),
    };
    let looked_up = match sight {
        Sight::None => "none",
        Sight::Api => "recovery",
        Sight::Database => "database",
    };
    let run = Run::new();
    let report = Report::new(run.name(), &edge, looked_up, as_json);
    report.begin()?;
    let mut checks = Checks {
        run,
        report,
        edge,
        end,
    };
    checks
        .run(fates.as_ref(), usize::from(batch), deadline)
        .await?;
    checks.report.end(started.elapsed(), require_fates)
}
