//! `eventflow sources`: what a sources file means, offline: no Kafka, and no network unless `show --edge` says so. Secrets are only read by
//! `check` and `verify`.

mod live;
pub(crate) mod offline;
mod request;
mod show;
mod r#try;
mod verify;

use crate::oncall::TextTable;
use contracts::Secret;
use contracts::webhook::preset;
use contracts::webhook::scheme::Scheme;
use contracts::webhook::source::{Source, Sources};
use runtime::config::ConfigError;
use runtime::files;
use runtime::reload::FilesRead;
use std::path::{Path, PathBuf};

/// Look at sources (vendors) and presets, and try and verify requests, offline
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    work: Work,
}

#[derive(Debug, clap::Subcommand)]
enum Work {
    /// List the sources of a file, or every preset
    Ls {
        #[command(flatten)]
        file: File,
        /// List the presets
        #[arg(long)]
        presets: bool,
    },
    /// Show what a source does: its URL, its scheme in words, what is signed and what is not, the form of its bodies, its mapping, its handshakes,
    /// its limits. Without a file, NAME is a preset
    #[command(
        after_help = "Examples: eventflow sources show stripe\n          eventflow sources show acme --sources sources.toml\n          eventflow sources show acme --sources sources.toml --edge http://127.0.0.1:9100"
    )]
    Show {
        /// Name of a source, or of a preset
        name: String,
        #[command(flatten)]
        file: File,
        /// Operations port of a running producer: shows when it last saw each secret; one for each producer
        #[arg(long = "edge", value_name = "URL")]
        edges: Vec<String>,
    },
    /// Say what a request would become, offline: its id, type, time and entity key, and its fate. The signature is not checked
    #[command(
        after_help = "Example: eventflow sources try --sources sources.toml --source github --headers headers.txt body.json"
    )]
    Try(r#try::Config),
    /// Verify a captured request, offline: says which secret it is signed with, or which known mistake fits. Exits 1 when it is not genuine
    #[command(
        after_help = "Examples: eventflow sources verify --sources sources.toml --source stripe --request request.http\n          eventflow sources verify --sources sources.toml --source stripe --request request.http --received 2026-11-21T10:00:00Z"
    )]
    Verify(verify::Config),
    /// Check a file, with its secrets: names the source and the field that is wrong, and exits 2
    Check {
        /// TOML file of sources
        file: PathBuf,
        /// Do not read the secrets, which a CI job does not have
        #[arg(long)]
        without_secrets: bool,
    },
}

#[derive(Debug, clap::Args)]
struct File {
    /// TOML file of sources
    #[arg(long = "sources", env = "EVENTFLOW_SOURCES", value_name = "FILE")]
    path: Option<PathBuf>,
}

pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    match config.work {
        Work::Ls { presets: true, .. } => list_presets(),
        Work::Ls { file, .. } => list(&read(file.path.as_deref())?),
        Work::Show { name, file, edges } => show::show(&name, file.path.as_deref(), &edges).await?,
        Work::Try(config) => r#try::run(&config)?,
        Work::Verify(config) => verify::run(&config)?,
        Work::Check {
            file,
            without_secrets,
        } => check(&file, without_secrets)?,
    }
    Ok(())
}

/// The sources of a file, without their secrets; the built-in one without a file.
fn read(path: Option<&Path>) -> Result<Sources, ConfigError> {
    let Some(path) = path else {
        return Ok(Sources::builtin(&Secret::unread()));
    };
    let bad =
        |problem: String| ConfigError::new("--sources", format!("{}: {problem}", path.display()));
    Sources::described(&text(path)?).map_err(|error| bad(error.to_string()))
}

/// The text of a sources file.
fn text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new("--sources", format!("{}: {error}", path.display())))
}

/// The source that `--source` names.
fn named<'s>(sources: &'s Sources, name: &str) -> Result<&'s Source, ConfigError> {
    sources.get(name).ok_or_else(|| {
        let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
        let names = names.join(", ");
        ConfigError::new(
            "--source",
            format!("there is no source {name:?}; there are {names}"),
        )
    })
}

fn list(sources: &Sources) {
    let mut rows = TextTable::new(&["NAME", "PRESET", "SECRETS", "PROOF", "NOT SIGNED"]);
    for source in sources.iter() {
        let ids: Vec<_> = source.verifier.secret_ids().collect();
        rows.add(&[
            source.name.clone(),
            source.scheme_name.clone(),
            ids.join(","),
            source.verifier.scheme().proof(),
            source.may_be_unsigned().unwrap_or_default(),
        ]);
    }
    print!("{rows}");
}

fn list_presets() {
    let mut rows = TextTable::new(&["PRESET", "VENDOR", "PROOF"]);
    for name in preset::names() {
        let vendor = preset::about(name).map(|about| about.vendor);
        let proof = Scheme::preset(name).map(|scheme| scheme.proof());
        rows.add(&[
            name.to_owned(),
            vendor.unwrap_or_default(),
            proof.unwrap_or_default(),
        ]);
    }
    print!("{rows}");
}

fn check(path: &Path, without_secrets: bool) -> Result<(), ConfigError> {
    let count = if without_secrets {
        read(Some(path))?.iter().count()
    } else {
        let sources = files::load_sources(Some(path), None, &mut FilesRead::default())?;
        sources.iter().flat_map(Sources::iter).count()
    };
    let secrets = if without_secrets {
        "; their secrets were not read"
    } else {
        ""
    };
    let sources = if count == 1 {
        "source is"
    } else {
        "sources are"
    };
    println!("{count} {sources} fine{secrets}");
    Ok(())
}
