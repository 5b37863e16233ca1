//! How a command reaches recovery: its flags, and the target they come to.

use super::error::CommandError;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use recovery::PipelineArgs;
use std::path::PathBuf;

const REACHED: &str = "Connection to recovery";
const ON_DATABASE: &str = "Settings of --database, for work without a running role";

/// Flags of every on-call command; they may stand before or after its subcommand.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    // First: reading a flag takes it out of the matches.
    #[command(flatten)]
    origin: Origin,
    /// Print the API's answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// URL of the recovery role's API
    #[arg(
        long,
        global = true,
        env = "EVENTFLOW_RECOVERY_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8004",
        help_heading = REACHED
    )]
    api_url: String,
    /// File with the API token; without it, the token is read from EVENTFLOW_RECOVERY_TOKEN
    #[arg(
        long,
        global = true,
        env = "EVENTFLOW_RECOVERY_TOKEN_FILE",
        help_heading = REACHED
    )]
    token_file: Option<PathBuf>,
    /// File with the certificate authority of the API (PEM), trusted in addition to the system's
    #[arg(
        long,
        global = true,
        env = "EVENTFLOW_RECOVERY_CA_FILE",
        help_heading = REACHED
    )]
    ca_file: Option<PathBuf>,
    /// Send the token over plain HTTP to another machine, where others on the network can read it
    #[arg(
        long,
        global = true,
        env = "EVENTFLOW_RECOVERY_INSECURE_HTTP",
        help_heading = REACHED
    )]
    insecure_http: bool,
    /// Work directly on the database of --database-url or EVENTFLOW_DATABASE_URL, without a running role; --database-url implies it
    #[arg(long, alias = "direct", global = true, help_heading = REACHED)]
    database: bool,
    /// Your name in the audit log when working on the database, beside your database login, which alone counts for an approval
    /// [default: $USER]
    #[arg(long = "as", value_name = "NAME", global = true, help_heading = REACHED)]
    name: Option<String>,
    #[command(flatten)]
    pipeline: DatabaseFlags,
}

impl Connection {
    /// # Errors
    /// Both the API and the database were asked for.
    pub(super) fn target(self) -> Result<Target, CommandError> {
        let way = self.origin.typed("--api-url", self.database)?;
        Ok(match way.unwrap_or(Way::Api) {
            Way::Api => Target::Api(Api {
                url: self.api_url,
                url_flag: "--api-url",
                token_file: self.token_file,
                ca_file: self.ca_file,
                insecure_http: self.insecure_http,
            }),
            Way::Database => Target::Database {
                pipeline: Box::new(self.pipeline.0),
                name: self.name,
            },
        })
    }
}

/// What a command works on.
#[derive(Debug)]
pub(crate) enum Target {
    /// The API of a running role
    Api(Api),
    /// The database itself; `name` stands in the audit log
    Database {
        pipeline: Box<PipelineArgs>,
        name: Option<String>,
    },
}

/// The API of a running role, not yet checked.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) url: String,
    /// What the flag of `url` is called, for messages
    pub(crate) url_flag: &'static str,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) insecure_http: bool,
}

/// The two ways to recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Api,
    Database,
}

/// Where the values of `--api-url` and `--database-url` come from: a typed one says which way is meant. It has no flags of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    api_url: Option<ValueSource>,
    database_url: Option<ValueSource>,
}

impl Origin {
    /// The way that was typed, if one was; `database` is the flag of that name.
    ///
    /// # Errors
    /// Both were.
    pub(crate) fn typed(self, api_flag: &str, database: bool) -> Result<Option<Way>, CommandError> {
        let is_typed = |source| source == Some(ValueSource::CommandLine);
        match (
            is_typed(self.api_url),
            database || is_typed(self.database_url),
        ) {
            (true, true) => Err(CommandError::usage(format!(
                "{api_flag} and --database-url (or --database) exclude each other: give one of them"
            ))),
            (true, false) => Ok(Some(Way::Api)),
            (false, true) => Ok(Some(Way::Database)),
            (false, false) => Ok(None),
        }
    }

    /// The way the environment names, if it names one; the API, where `has_api_url`, goes before the database.
    pub(crate) fn in_environment(self, has_api_url: bool) -> Option<Way> {
        let is_set = |source| source == Some(ValueSource::EnvVariable);
        match (
            has_api_url && is_set(self.api_url),
            is_set(self.database_url),
        ) {
            (true, _) => Some(Way::Api),
            (false, true) => Some(Way::Database),
            (false, false) => None,
        }
    }
}

impl Args for Origin {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

impl FromArgMatches for Origin {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            api_url: matches.value_source("api_url"),
            database_url: matches.value_source("database_url"),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The recovery role's own settings, for work without it. `-h` shows only the database's URL.
#[derive(Debug)]
pub(crate) struct DatabaseFlags(pub(crate) PipelineArgs);

impl Args for DatabaseFlags {
    fn augment_args(command: Command) -> Command {
        let flags = PipelineArgs::augment_args(Command::new("flags"));
        let flags: Vec<_> = flags.get_arguments().cloned().collect();
        command.args(flags.into_iter().map(|flag| {
            let shown = flag.get_id() == "database_url";
            flag.global(true)
                .hide_short_help(!shown)
                .help_heading(if shown { REACHED } else { ON_DATABASE })
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for DatabaseFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        PipelineArgs::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
