//! What on-call types: `eventflow dlq`, `replay`, `trace`, `audit`, `explain`. Every command is one or two requests to the recovery API,
//! that of a running role or the same routes in this process ([`client`]), and a page for a tired reader ([`table`], [`words`]).

mod client;
mod dlq;
mod edit;
mod failure;
mod jobs;
mod page;
mod replay;
mod story;
mod table;
mod watch;
mod words;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command as Clap};
pub(crate) use client::{Client, Connection, read, reason, trusting};
pub(crate) use failure::{Exit, Failure};
use recovery::model::Selection;
use std::io::{IsTerminal, Write};
use time::format_description::well_known::Rfc3339;
pub(crate) use words::{count, line, quoted};

/// At the end of every command's help.
const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it could not be done, or audit found something, or a replay has failed items; 2 wrong usage or configuration; \
3 needs confirmation (--yes) or the approval of a second person.

The API's token is in EVENTFLOW_RECOVERY_TOKEN or --token-file. NO_COLOR turns colours off.";

/// On-call's commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Dead letters: list, show, edit, discard, take out and in
    Dlq(dlq::Dlq),
    /// Replays: send dead letters back to the stage that failed
    Replay(replay::Replay),
    /// Tell the whole story of an event id, entity key (payment id) or traceparent
    #[command(after_help = "Example: eventflow trace pay_4711")]
    Trace(story::Trace),
    /// Prove that every accepted webhook has exactly one fate; exit 1 when there are gaps or double fates
    #[command(after_help = "Example: eventflow audit --from 24h")]
    Audit(story::Audit),
    /// Explain a dead letter in plain words, and say what to do next
    #[command(after_help = "Example: eventflow explain 17")]
    Explain(story::Explain),
    /// Print completions for a shell
    #[command(
        after_help = "Example: eventflow completions bash > /etc/bash_completion.d/eventflow"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    fn connection(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Dlq(dlq) => Some(&mut dlq.connection),
            Self::Replay(replay) => Some(&mut replay.connection),
            Self::Trace(trace) => Some(&mut trace.connection),
            Self::Audit(audit) => Some(&mut audit.connection),
            Self::Explain(explain) => Some(&mut explain.connection),
            Self::Completions { .. } => None,
        }
    }

    /// What only the matches tell: whether the database's URL was typed, which means to use it.
    pub(crate) fn told(&mut self, matches: &ArgMatches) -> Result<(), Failure> {
        let typed = |name: &str| typed(matches, name);
        let Some(connection) = self.connection() else {
            return Ok(());
        };
        if typed("database_url") && typed("api_url") {
            return Err(Failure::usage(
                "--api-url and --database-url are two ways to the same: give one of them",
            ));
        }
        connection.direct |= typed("database_url");
        Ok(())
    }
}

fn typed(matches: &ArgMatches, name: &str) -> bool {
    let here = matches.try_contains_id(name).is_ok()
        && matches.value_source(name) == Some(ValueSource::CommandLine);
    here || matches
        .subcommand()
        .is_some_and(|(_, below)| typed(below, name))
}

/// What derive cannot say: connection flags may stand before or after the subcommand, and `-h` is short.
pub(crate) fn polish(command: Clap) -> Clap {
    const SHORT: [&str; 8] = [
        "json",
        "api_url",
        "token_file",
        "ca_file",
        "insecure_http",
        "direct",
        "name",
        "database_url",
    ];
    let flags = |command: Clap, global: bool| {
        command.mut_args(move |argument| {
            let id = argument.get_id().as_str();
            let own =
                SHORT.contains(&id) || ["what", "letter", "from", "to", "topic"].contains(&id);
            let argument = if own {
                argument
            } else {
                argument
                    .hide_short_help(true)
                    .help_heading("Straight on the database")
            };
            if global {
                argument.global(true)
            } else {
                argument
            }
        })
    };
    let mut command = command.mut_subcommand("recovery", |command| {
        command.mut_args(|argument| argument.global(true))
    });
    for name in ["dlq", "replay"] {
        command = command.mut_subcommand(name, |command| {
            flags(command, true).after_long_help(EXIT_CODES)
        });
        let leaves: Vec<String> = command
            .find_subcommand(name)
            .into_iter()
            .flat_map(Clap::get_subcommands)
            .map(|leaf| leaf.get_name().to_owned())
            .collect();
        for leaf in leaves {
            command = command.mut_subcommand(name, |command| {
                command.mut_subcommand(leaf, with_exit_codes)
            });
        }
    }
    for name in ["trace", "audit", "explain"] {
        command = command.mut_subcommand(name, |command| with_exit_codes(flags(command, false)));
    }
    command
}

fn with_exit_codes(command: Clap) -> Clap {
    let example = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    command.after_long_help(format!("{example}\n\n{EXIT_CODES}"))
}

/// Runs one command to its end.
pub(crate) async fn run(command: Command, whole: &mut Clap) -> Result<(), Failure> {
    match command {
        Command::Dlq(dlq) => dlq::run(dlq).await,
        Command::Replay(replay) => replay::run(replay).await,
        Command::Trace(trace) => story::trace(trace).await,
        Command::Audit(audit) => story::audit(audit).await,
        Command::Explain(explain) => story::explain(explain).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, whole, "eventflow", &mut script);
            say_bytes(&script)
        }
    }
}

/// The answer, to standard output.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    say_bytes(text.as_bytes())
}

fn say_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // The reader has seen enough: `| head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// An answer verbatim, made safe for terminals, with a line end.
pub(crate) fn say_json(text: &str) -> Result<(), Failure> {
    say(&format!("{}\n", words::json(text.trim_end())))
}

/// A remark beside the answer.
#[expect(clippy::print_stderr, reason = "beside the answer, for a person")]
fn note(text: &str) {
    eprintln!("{}", words::line(text));
}

/// Asks a person; without one the answer is no.
fn ask(question: &str) -> Result<bool, Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Ok(false);
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{} [y/N] ", words::line(question))?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// A selection as the words of a query.
fn query(selection: &Selection) -> Result<Vec<(&'static str, String)>, Failure> {
    fn join<T: ToString>(values: &[T]) -> Option<String> {
        (!values.is_empty()).then(|| {
            values
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        })
    }
    let time =
        |time: Option<recovery::model::Time>| time.map(|time| time.format(&Rfc3339)).transpose();
    let bad = |error: time::error::Format| Failure::usage(format!("--since, --until: {error}"));
    let states: Vec<&str> = selection.state.iter().map(|state| state.as_str()).collect();
    let words = [
        ("id", join(&selection.id)),
        ("group", join(&selection.group)),
        ("state", join(&states)),
        ("code", join(&selection.code)),
        ("stage", join(&selection.stage)),
        ("source", join(&selection.source)),
        ("event_type", join(&selection.event_type)),
        ("event_id", selection.event_id.clone()),
        ("entity_key", selection.entity_key.clone()),
        ("since", time(selection.since).map_err(bad)?),
        ("until", time(selection.until).map_err(bad)?),
        ("contains", selection.contains.clone()),
        ("limit", selection.limit.map(|limit| limit.to_string())),
    ];
    Ok(words
        .into_iter()
        .filter_map(|(word, value)| Some((word, value?)))
        .collect())
}

/// Numbers typed without `--id` are dead letters too.
fn with_letters(mut selection: Selection, letters: Vec<i64>) -> Selection {
    selection.id.extend(letters);
    selection
}
