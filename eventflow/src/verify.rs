//! `eventflow verify`: judges a run from outside, and says so in a table or as JSON.

use crate::oncall::{CommandError, Exit, print, print_json};

/// What to judge
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Config {
    #[command(flatten)]
    args: ::verify::VerifyArgs,
    /// Print the report as JSON
    #[arg(long, default_value_t = false)]
    json: bool,
}

const AFTER_HELP: &str = "\
Reads the journals, the topics and persistence's tables by code of its own, and checks that every event that was answered 2xx has exactly \
one fate, and every row, dead letter and replay a reason. docs/VERIFY.md lists the checks and describes the journal.

Stop the traffic first, and let the stages come to the end: a record without a fate is a finding.

Example: eventflow load --journal sent.ndjson && eventflow verify --journal sent.ndjson

Exit codes: 0 every check passed; 1 a check failed, and the first failures are shown; 2 there is no verdict, and the last line says why.";

/// Judges, and prints the report.
///
/// # Errors
/// A check failed, or there is no verdict.
pub(crate) async fn run(config: Config) -> Result<(), CommandError> {
    let report = ::verify::run(&config.args)
        .await
        .map_err(|error| CommandError::new(Exit::Usage, format!("no verdict: {error:#}")))?;
    if config.json {
        print_json(&serde_json::to_string(&report)?)?;
    } else {
        print(&report.to_string())?;
    }
    match report.failed().as_slice() {
        [] => Ok(()),
        failed => Err(CommandError::failed(format!(
            "failed: {}",
            failed.join(", ")
        ))),
    }
}
