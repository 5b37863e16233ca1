//! `eventflow contracts`: write contracts from samples, check them before they are released, compare their versions. Offline, except
//! `check --against URL`.

mod check;
mod diff;
mod new;
mod published;
mod report;
mod show;
mod tree;

use contracts::event::Catalog;
use runtime::config::ConfigError;
use std::path::{Path, PathBuf};

/// Write, check and compare contracts (event types)
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value, made once")]
enum Work {
    /// List the contracts with their versions: the built-in ones, and those of a directory
    Ls {
        #[command(flatten)]
        directory: Directory,
    },
    /// Show a contract: its fields with their types, rules and codes, or its files
    #[command(
        after_help = "Examples: eventflow contracts show payment.authorized\n          eventflow contracts show payment.authorized/v1 --avro"
    )]
    Show(show::Config),
    /// Write a contract from samples of a vendor's requests: schema, schema id and examples. What the samples leave open is marked TODO
    // --version is the contract's.
    #[command(
        disable_version_flag = true,
        after_help = "Example: eventflow contracts new --source stripe --from refund-1.json refund-2.json --contracts my-contracts"
    )]
    New(new::Config),
    /// Check the contracts of a directory: their rules, examples, versions and notes to do. Exits 1 when there is an error
    #[command(
        after_help = "Examples: eventflow contracts check my-contracts\n          eventflow contracts check my-contracts --against origin/main --compatibility full"
    )]
    Check(check::Config),
    /// Show what changed between two versions of contracts, and whom it breaks. Each is a folder, NAME/vN, or a git ref of --contracts
    #[command(
        after_help = "Examples: eventflow contracts diff order.placed/v1 order.placed/v2 --contracts my-contracts\n          eventflow contracts diff origin/main my-contracts --contracts my-contracts"
    )]
    Diff(diff::Config),
}

#[derive(Debug, clap::Args)]
struct Directory {
    /// Directory of contracts, one folder per event type
    #[arg(long = "contracts", env = "EVENTFLOW_CONTRACTS", value_name = "DIR")]
    path: Option<PathBuf>,
}

impl Directory {
    /// The directory, which must be given.
    fn needed(&self) -> Result<&Path, ConfigError> {
        needed("--contracts", self.path.as_deref())
    }

    /// The built-in contracts and those of the directory; those of the directory alone where it has built-in ones itself.
    fn catalog(&self) -> Result<Catalog, ConfigError> {
        match &self.path {
            Some(path) if tree::has_builtin(&runtime::files::read_contracts(path)?) => {
                Catalog::compile(runtime::files::read_contracts(path)?)
                    .map_err(|error| ConfigError::new("--contracts", error.to_string()))
            }
            path => runtime::files::load_contracts(path.as_deref()),
        }
    }
}

fn needed<'p>(setting: &'static str, path: Option<&'p Path>) -> Result<&'p Path, ConfigError> {
    let problem = "name the directory of your contracts, or set EVENTFLOW_CONTRACTS";
    path.ok_or_else(|| ConfigError::new(setting, problem.to_owned()))
}

pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    match config.work {
        Work::Ls { directory } => Ok(show::list(&directory)?),
        Work::Show(config) => Ok(show::run(&config)?),
        Work::New(config) => new::run(&config),
        Work::Check(config) => check::run(&config).await,
        Work::Diff(config) => diff::run(&config).await,
    }
}
