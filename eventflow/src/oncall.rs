//! On-call's commands: `eventflow now`, `events`, `dlq`, `replay`, `revalidate`, `rejections`, `trace`, `audit`, `explain`. Each is one or two requests to the recovery API ([`client`]):
//! that of a running role, or the same routes in this process on the database ([`connection`]). [`render`] prints the answers, [`runtime::text`]
//! makes them safe for a terminal.

mod audit;
mod client;
mod connection;
mod dlq;
mod edit;
mod error;
mod events;
mod jobs;
mod now;
mod rejections;
mod render;
mod replay;
mod revalidate;
mod table;
mod trace;
mod watch;

use clap::Command as Clap;
pub(crate) use client::{Client, read, reason, trusting};
pub(crate) use connection::{Api, DatabaseFlags, Origin, Target, Way};
pub(crate) use error::{CommandError, Exit};
use recovery::model::Selection;
use runtime::text;
#[cfg(feature = "demo")]
pub(crate) use runtime::text::quoted;
pub(crate) use runtime::text::{count, line, when};
use std::io::{IsTerminal, Write};
pub(crate) use table::TextTable;

/// At the end of every command's help.
const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, or the audit found something, or a replay has failed items; 2 wrong usage or configuration; \
3 needs confirmation (--yes) or the approval of a second person.

The API token is read from EVENTFLOW_RECOVERY_TOKEN or --token-file. Set NO_COLOR to turn colours off.";

/// On-call's commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the pipeline now: its roles with rates, lag and readiness, its sources, what needs a person
    #[command(after_help = "Example: eventflow now")]
    Now(now::NowArgs),
    /// Accepted events: list and search them with their fates, show one
    Events(events::Events),
    /// Dead letters: group, list, show, edit, discard and export them, and read the audit log
    Dlq(dlq::Dlq),
    /// Replays: send dead letters again, to the stage in which they failed
    Replay(replay::Replay),
    /// Stored events validated once more, after a contract was added: typed rows of what was stored whole
    Revalidate(revalidate::Revalidate),
    /// Refused requests: group, list, show and explain what the edge did not accept
    Rejections(rejections::Rejections),
    /// Show every step of an event, by event id, entity key (payment id) or traceparent
    #[command(after_help = "Example: eventflow trace pay_4711")]
    Trace(trace::TraceArgs),
    /// Prove that every accepted webhook has exactly one fate; exit 1 if one has none (a gap) or two (a double fate)
    #[command(after_help = "Example: eventflow audit --from 24h")]
    Audit(audit::AuditArgs),
    /// Explain why a record was dead-lettered, and what to do next
    #[command(after_help = "Example: eventflow explain 17")]
    Explain(trace::ExplainArgs),
    /// Print the completion script of a shell
    #[command(
        after_help = "Example: eventflow completions bash > /etc/bash_completion.d/eventflow"
    )]
    Completions {
        /// Shell to print completions for
        shell: clap_complete::Shell,
    },
}

/// Adds the exit codes to the long help of every on-call command: clap has no text that subcommands inherit.
pub(crate) fn with_exit_codes(command: Clap) -> Clap {
    let commands = [
        "now",
        "events",
        "dlq",
        "replay",
        "revalidate",
        "rejections",
        "trace",
        "audit",
        "explain",
    ];
    commands.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| {
            add_exit_codes(command).mut_subcommands(add_exit_codes)
        })
    })
}

fn add_exit_codes(command: Clap) -> Clap {
    let help = match command.get_after_help() {
        Some(example) => format!("{example}\n\n{EXIT_CODES}"),
        None => EXIT_CODES.to_owned(),
    };
    command.after_long_help(help)
}

/// Runs one command to its end.
pub(crate) async fn run(command: Command, whole: &mut Clap) -> Result<(), CommandError> {
    match command {
        Command::Now(args) => now::run(args).await,
        Command::Events(events) => events::run(events).await,
        Command::Dlq(dlq) => dlq::run(dlq).await,
        Command::Replay(replay) => replay::run(replay).await,
        Command::Revalidate(revalidate) => revalidate::run(revalidate).await,
        Command::Rejections(rejections) => rejections::run(rejections).await,
        Command::Trace(args) => trace::trace(args).await,
        Command::Audit(args) => audit::audit(args).await,
        Command::Explain(explain) => trace::explain(explain).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, whole, "eventflow", &mut script);
            print_bytes(&script)
        }
    }
}

/// Prints the answer to standard output.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // The reader has seen enough: `| head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints JSON verbatim, made safe for terminals, with a line end.
pub(crate) fn print_json(text: &str) -> Result<(), CommandError> {
    print(&format!("{}\n", text::json(text.trim_end())))
}

/// Prints a line to standard error, beside the answer.
#[expect(clippy::print_stderr, reason = "beside the answer, for a person")]
fn note(text: &str) {
    eprintln!("{}", text::line(text));
}

/// Asks a person at a terminal; without one the answer is no.
fn confirm(question: &str) -> Result<bool, CommandError> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{} [y/N] ", text::line(question))?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The selection with these dead letters added: numbers given without `--id`.
fn with_ids(mut selection: Selection, ids: Vec<i64>) -> Selection {
    selection.id.extend(ids);
    selection
}
